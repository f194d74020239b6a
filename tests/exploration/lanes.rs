//! Durable requests of a lane: each comes to its end by itself, and none begins before the one ahead of it has ended.

use local_replica::{
    explore::{FaultKind, When},
    in_process::InProcess,
};

use crate::{
    durable::{OPEN_BYTES, all, at_most_once},
    types::{Act, Answer, Failure, How, Refusal},
    world::{
        ALL, Clients, OF_MESSAGES, Pair, RECOVERABLE, answer, but_second_upgrades_in_flight,
        explore, pairs,
    },
};

/// What the numbers do, and what their clients are told.
const SAID: [&str; 2] = ["credit 1", "record 1"];

/// Two numbers: the second is sent when the client has an answer to the first, or knows that it won't get one. It is the second that is
/// sent again.
fn in_order(clients: Clients, faults: u32, kinds: &[FaultKind]) {
    let mut host = InProcess::new();
    let pair = Pair::new(&mut host);
    let acts = [Act::call("credit", How::Repeatable), Act::effect("record")];
    let message = |number: usize| {
        let act = &acts[number..][..1];
        pair.message("work_in_order", (number as u64, act))
    };
    let second = message(1).when(When::Over(0));
    let again = match clients {
        Clients::NobodyRetries => None,
        Clients::RetriedAtOnce => Some(message(1).when(When::Over(1))),
        Clients::RetriedLater => Some(message(1).when(When::Later(1))),
        Clients::TwiceAtATime => Some(second.clone()),
    };
    let messages = [message(0), second].into_iter().chain(again).collect();
    let count = 2 + usize::from(clients != Clients::NobodyRetries);
    let system = but_second_upgrades_in_flight(pair.system(host, messages))
        .faults(faults, kinds.iter().copied())
        .always("each effect once at most, and in order", move |view| {
            let effects = all(view, pair)?;
            at_most_once(&effects)?;
            match effects.contains_key("credit") || !effects.contains_key("record") {
                true => Ok(()),
                false => Err(format!("{effects:?}")),
            }
        })
        .always("nobody is told anything else", move |view| {
            for message in 0..count {
                let number = message.min(1);
                let is_fine = match answer::<Answer>(view, message)? {
                    None | Some(Err(_)) => true,
                    Some(Ok(Ok(answer))) => answer == SAID[number],
                    Some(Ok(Err(Failure::Own(_)))) => false,
                    Some(Ok(Err(Failure::Idempotency(refusal)))) => match refusal {
                        Refusal::InProgress { .. } => true,
                        Refusal::SequenceGap { expected } => expected < number as u64,
                        Refusal::OutcomeUnknown { .. } => false,
                    },
                };
                if !is_fine {
                    return Err(format!("message {message}: {:?}", view.answer(message)));
                }
            }
            Ok(())
        })
        .finally("each has ended, or was never accepted", move |view| {
            let (stats, effects) = (pair.stats(view)?, all(view, pair)?);
            let have_ended = stats.unknown == 0 && stats.bytes < OPEN_BYTES;
            match have_ended && stats.entries == effects.len() as u64 {
                true => Ok(()),
                false => Err(format!("{stats:?}, {effects:?}")),
            }
        });
    explore(&format!("lane, {faults} faults"), clients, system);
}

#[test]
fn one_fault() {
    for clients in Clients::ALL {
        in_order(clients, 1, &ALL);
    }
}

/// Faults of messages. With those of canisters, upgrades among them, there are more states than fit into 10 GB.
#[test]
fn two_faults_of_messages() {
    for clients in [Clients::NobodyRetries, Clients::RetriedAtOnce] {
        in_order(clients, 2, &OF_MESSAGES);
    }
}

#[test]
#[ignore = "minutes; cargo test --workspace --test exploration -- --ignored --test-threads 1"]
fn two_faults_a_pair_at_a_time() {
    for kinds in pairs(&RECOVERABLE) {
        in_order(Clients::NobodyRetries, 2, &kinds);
    }
}
