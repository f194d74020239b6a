//! Methods without steps: what is cut off is unknown, and runs again only on the word of a resolver.

use local_replica::{
    explore::{FaultKind, View},
    in_process::InProcess,
};
use serde_bytes::ByteBuf;

use crate::{
    durable::{OPEN_BYTES, all, at_most_once},
    types::{Answer, Failure, Refusal},
    world::{ALL, Clients, Pair, RECOVERABLE, answer, effects, explore},
};

/// What clients may be told. The method's own error is an answer: it does not know what the callee did.
fn is_fine(answer: &Answer) -> bool {
    match answer {
        Ok(said) => said == "1 paid" || said == "settled",
        Err(Failure::Own(said)) => said == "not paid",
        Err(Failure::Idempotency(refusal)) => matches!(
            refusal,
            Refusal::InProgress { .. } | Refusal::OutcomeUnknown { .. }
        ),
    }
}

fn told_only_what_is_fine(view: &View<'_>, messages: usize) -> Result<(), String> {
    for message in 0..messages {
        match answer::<Answer>(view, message)? {
            Some(Ok(answer)) if !is_fine(&answer) => {
                return Err(format!("message {message} is told {answer:?}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What must hold of a method. `stays_open`: a request may count as running for a whole window, as nothing is left of it that could tell.
fn ends_or_is_unknown(
    method: &'static str,
    clients: Clients,
    faults: u32,
    kinds: &[FaultKind],
    stays_open: bool,
) {
    let mut host = InProcess::new();
    let pair = Pair::new(&mut host);
    let first = pair.message(method, (ByteBuf::from([1]), "tea"));
    let messages = clients.messages(&first);
    let count = messages.len();
    let system = pair
        .system(host, messages)
        .faults(faults, kinds.iter().copied())
        .always("each effect once at most", move |view| {
            at_most_once(&all(view, pair)?)
        })
        .always("nobody is told anything else", move |view| {
            told_only_what_is_fine(view, count)
        })
        .finally("it is done, unknown, or was never accepted", move |view| {
            let (stats, effects) = (pair.stats(view)?, all(view, pair)?);
            let is_absent = stats.entries == 0 && effects.is_empty();
            let is_open = stats.bytes >= OPEN_BYTES && stats.unknown == 0;
            match is_absent || stats.entries == 1 && (!is_open || stays_open) {
                true => Ok(()),
                false => Err(format!("{stats:?}, {effects:?}")),
            }
        });
    explore(&format!("{method}, {faults} faults"), clients, system);
}

#[test]
fn one_fault() {
    for method in ["pay_plainly", "pay_asking"] {
        for clients in Clients::ALL {
            let kinds = ALL.map(|kind| match kind {
                FaultKind::CleanupTrap => FaultKind::Trap,
                kind => kind,
            });
            ends_or_is_unknown(method, clients, 1, &kinds, false);
        }
    }
}

#[test]
fn two_faults() {
    for method in ["pay_plainly", "pay_asking"] {
        for clients in Clients::ALL {
            ends_or_is_unknown(method, clients, 2, &RECOVERABLE, false);
        }
    }
}

/// If the cleanup traps as well, nothing is left that could tell that it has ended: it counts as running for the rest of its window.
#[test]
fn a_cleanup_that_traps_leaves_it_running_until_its_window_is_over() {
    let kinds = [FaultKind::CleanupTrap, FaultKind::Trap, FaultKind::Upgrade];
    for method in ["pay_plainly", "pay_asking"] {
        for clients in Clients::ALL {
            ends_or_is_unknown(method, clients, 2, &kinds, true);
        }
    }
}

/// A callee that is gone rejects the call, and the method says that it is not paid; or its answer was on its way before.
#[test]
fn a_callee_that_is_uninstalled() {
    for method in ["pay_plainly", "pay_asking"] {
        for clients in Clients::ALL {
            let mut host = InProcess::new();
            let pair = Pair::new(&mut host);
            let first = pair.message(method, (ByteBuf::from([1]), "tea"));
            let messages = clients.messages(&first);
            let count = messages.len();
            let system = pair
                .system(host, messages)
                .faults(1, [FaultKind::Uninstall])
                .faults_of([pair.callee])
                .always("the effect here once at most", move |view| {
                    at_most_once(&effects(view, pair.canister)?)
                })
                .always("nobody is told anything else", move |view| {
                    told_only_what_is_fine(view, count)
                })
                .finally("it has ended", move |view| {
                    let stats = pair.stats(view)?;
                    let has_ended = stats.bytes < OPEN_BYTES && stats.unknown == 0;
                    match stats.entries == 1 && has_ended {
                        true => Ok(()),
                        false => Err(format!("{stats:?}")),
                    }
                });
            explore(&format!("{method}, callee uninstalled"), clients, system);
        }
    }
}
