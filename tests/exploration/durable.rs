//! Durable methods end by themselves, in the outcome that they would have had without the fault.

use local_replica::{
    explore::{FaultKind, View},
    in_process::InProcess,
};

use crate::{
    types::{Act, How},
    world::{
        ALL, Clients, Effects, Pair, RECOVERABLE, but_second_upgrades_in_flight, effects, explore,
        is_end_or_wait, pairs, told_only,
    },
};

/// Repeatable and verified steps between two effects.
fn all_acts() -> Vec<Act> {
    vec![
        Act::effect("debit"),
        Act::call("credit", How::Repeatable),
        Act::call("notify", How::Verified),
        Act::effect("record"),
    ]
}

/// What a client is told when all is done.
fn said(acts: &[Act]) -> String {
    let said: Vec<String> = acts.iter().map(|act| format!("{} 1", act.name())).collect();
    said.join("; ")
}

/// More than the records of requests that have ended, less than the room that an open one holds.
pub(crate) const OPEN_BYTES: u64 = 10_000;

/// Each effect once at most.
pub(crate) fn at_most_once(of: &Effects) -> Result<(), String> {
    match of.values().all(|count| *count == 1) {
        true => Ok(()),
        false => Err(format!("{of:?}")),
    }
}

/// Both canisters' effects.
pub(crate) fn all(view: &mut View<'_>, pair: Pair) -> Result<Effects, String> {
    let mut all = effects(view, pair.canister)?;
    all.extend(effects(view, pair.callee)?);
    Ok(all)
}

/// What must hold, whatever a request does.
fn comes_to_its_end(acts: &[Act], clients: Clients, faults: u32, kinds: &[FaultKind]) {
    let mut host = InProcess::new();
    let pair = Pair::new(&mut host);
    let messages = clients.messages(&pair.work(acts));
    let (said, said_of, count) = (said(acts), said(acts), acts.len());
    let system = but_second_upgrades_in_flight(pair.system(host, messages))
        .faults(faults, kinds.iter().copied())
        .always("each effect once at most", move |view| {
            at_most_once(&all(view, pair)?)
        })
        .always("nobody is told anything else", move |view| {
            told_only(view, clients, |answer| is_end_or_wait(answer, &said))
        })
        .finally(
            "it has ended as without faults, or was never accepted",
            move |view| {
                let (stats, effects) = (pair.stats(view)?, all(view, pair)?);
                let has_ended =
                    stats.entries == 1 && stats.bytes < OPEN_BYTES && effects.len() == count;
                let is_absent = stats.entries == 0 && effects.is_empty();
                match (has_ended || is_absent) && stats.unknown == 0 {
                    true => Ok(()),
                    false => Err(format!("{stats:?}, {effects:?}")),
                }
            },
        );
    explore(
        &format!("durable, {said_of}, {faults} faults"),
        clients,
        system,
    );
}

#[test]
fn one_fault() {
    for clients in Clients::ALL {
        comes_to_its_end(&all_acts(), clients, 1, &ALL);
    }
}

#[test]
fn two_faults_in_a_repeatable_step() {
    let acts = [Act::call("credit", How::Repeatable)];
    comes_to_its_end(&acts, Clients::NobodyRetries, 2, &RECOVERABLE);
}

#[test]
#[ignore = "minutes; cargo test --workspace --test exploration -- --ignored --test-threads 1"]
fn two_faults_in_a_verified_step() {
    let acts = [Act::call("notify", How::Verified)];
    comes_to_its_end(&acts, Clients::NobodyRetries, 2, &RECOVERABLE);
}

#[test]
#[ignore = "minutes; cargo test --workspace --test exploration -- --ignored --test-threads 1"]
fn two_faults_a_pair_at_a_time() {
    let acts = [Act::call("credit", How::Repeatable)];
    for clients in [Clients::RetriedAtOnce, Clients::RetriedLater] {
        for kinds in pairs(&RECOVERABLE) {
            comes_to_its_end(&acts, clients, 2, &kinds);
        }
    }
}
