//! Durable methods end by themselves, in the outcome that they would have had without the fault.

use local_replica::{
    explore::{FaultKind, View},
    in_process::InProcess,
};

use crate::{
    types::{Act, How},
    world::{ALL, Clients, Effects, Pair, effects, explore, told_nothing_else},
};

const SAID: &str = "debit 1; credit 1; notify 1; record 1";

/// Repeatable and verified steps between two effects.
fn acts() -> [Act; 4] {
    [
        Act::effect("debit"),
        Act::call("credit", How::Repeatable),
        Act::call("notify", How::Verified),
        Act::effect("record"),
    ]
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

/// What must hold of [`acts`].
fn comes_to_its_end(clients: Clients, faults: u32, kinds: &[FaultKind]) {
    let mut host = InProcess::new();
    let pair = Pair::new(&mut host);
    let messages = clients.messages(&pair.work(&acts()));
    let system = pair
        .system(host, messages)
        .faults(faults, kinds.iter().copied())
        .always("each effect once at most", move |view| {
            at_most_once(&all(view, pair)?)
        })
        .always("nobody is told anything else", move |view| {
            told_nothing_else(view, clients, SAID)
        })
        .finally(
            "it has ended as without faults, or was never accepted",
            move |view| {
                let (stats, effects) = (pair.stats(view)?, all(view, pair)?);
                let has_ended =
                    stats.entries == 1 && stats.bytes < OPEN_BYTES && effects.len() == 4;
                let is_absent = stats.entries == 0 && effects.is_empty();
                match (has_ended || is_absent) && stats.unknown == 0 {
                    true => Ok(()),
                    false => Err(format!("{stats:?}, {effects:?}")),
                }
            },
        );
    explore(&format!("durable, {faults} faults"), clients, system);
}

#[test]
fn one_fault() {
    for clients in Clients::ALL {
        comes_to_its_end(clients, 1, &ALL);
    }
}
