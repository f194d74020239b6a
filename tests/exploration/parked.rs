//! Where a durable request can't come to its end by itself: it is parked, and shown as that, or one more event takes it on.

use std::{cell::Cell, rc::Rc, time::Duration};

use local_replica::{
    explore::{FaultKind, Step, System, View},
    in_process::InProcess,
};

use crate::{
    durable::{OPEN_BYTES, all, at_most_once},
    types::{Act, Answer, Failure, How, Refusal, Unresolved},
    world::{
        ALL, Clients, Effects, Pair, RECOVERABLE, ask, bounds, but_second_upgrades_in_flight,
        effects, explore, is_end_or_wait, told_only,
    },
};

const NAME: &str = "notify";
const SAID: &str = "notify 1";
/// They come after 0, 1 and 3 seconds.
pub(crate) const THREE_ATTEMPTS: Duration = Duration::from_secs(5);

/// What was done, to wait for that, or that nobody knows.
fn is_end_or_unknown(answer: &Answer) -> bool {
    let unknown = matches!(
        answer,
        Err(Failure::Idempotency(Refusal::OutcomeUnknown { .. }))
    );
    unknown || is_end_or_wait(answer, SAID)
}

/// Where a request is.
#[derive(Debug, PartialEq)]
enum Place {
    Absent,
    Done,
    /// It counts as running.
    Open,
    /// An operator sees it, with the reason.
    Parked,
}

fn place(view: &mut View<'_>, pair: Pair) -> Result<Place, String> {
    let stats = pair.stats(view)?;
    let listed: Vec<Unresolved> = ask(view, pair.canister, "unknown", (0u64, 10u64))?;
    let reasons = listed.iter().filter(|it| it.reason.is_some()).count();
    match (stats.entries, stats.unknown) {
        (0, 0) => Ok(Place::Absent),
        (1, 1) if reasons == 1 => Ok(Place::Parked),
        (1, 0) if listed.is_empty() && stats.bytes < OPEN_BYTES => Ok(Place::Done),
        (1, 0) if listed.is_empty() => Ok(Place::Open),
        _ => Err(format!("{stats:?}, {listed:?}")),
    }
}

/// A request of one call, and what always holds.
fn call(clients: Clients, how: How) -> (Pair, System) {
    let mut host = InProcess::new();
    let pair = Pair::new(&mut host);
    let messages = clients.messages(&pair.work(&[Act::call(NAME, how)]));
    let system = pair
        .system(host, messages)
        .always("nobody is told anything else", move |view| {
            told_only(view, clients, is_end_or_unknown)
        });
    (pair, system)
}

/// A step that is neither repeatable nor verified: where its outcome is unknown, the request is parked.
#[test]
fn a_step_that_runs_once() {
    let one = Clients::ALL.map(|clients| (clients, 1, &ALL[..]));
    let two = (Clients::NobodyRetries, 2, &RECOVERABLE[..]);
    for (clients, faults, kinds) in one.into_iter().chain([two]) {
        let (pair, system) = call(clients, How::Once);
        let system = but_second_upgrades_in_flight(system);
        let is_parked = Rc::new(Cell::new(false));
        let parked = Rc::clone(&is_parked);
        let system = system
            .faults(faults, kinds.iter().copied())
            .always("the effect once at most", move |view| {
                at_most_once(&all(view, pair)?)
            })
            .finally("it is done, parked, or was never accepted", move |view| {
                let (place, effects) = (place(view, pair)?, all(view, pair)?);
                let as_it_should = match place {
                    Place::Absent => effects.is_empty(),
                    Place::Done => effects.len() == 1,
                    Place::Parked => true,
                    Place::Open => false,
                };
                parked.set(parked.get() || place == Place::Parked);
                match as_it_should && (place != Place::Parked || !view.faults().is_empty()) {
                    true => Ok(()),
                    false => Err(format!("{place:?}, {effects:?}")),
                }
            });
        let shape = format!("durable, a step that runs once, {faults} faults");
        explore(&shape, clients, system);
        assert!(is_parked.get(), "{clients:?}: nothing is ever parked");
    }
}

/// A callee that is gone has taken what it knew along: nobody can tell any more whether it did its part, so the request is never said to have
/// failed. It is done if the callee answered before, and goes on asking otherwise. This searches its first three attempts; the suite
/// shows that it is parked after the last one.
#[test]
fn a_callee_that_is_uninstalled() {
    for how in [How::Repeatable, How::Verified] {
        for clients in Clients::ALL {
            let (pair, system) = call(clients, how);
            let system = system
                .bounds(bounds(THREE_ATTEMPTS))
                .faults(1, [FaultKind::Uninstall])
                .faults_of([pair.callee])
                .always("the effect once at most", move |view| {
                    at_most_once(&what_is_left(view, pair)?)
                })
                .finally("it is done, or goes on", move |view| {
                    let is_gone = !view.faults().is_empty();
                    match place(view, pair)? {
                        Place::Done => Ok(()),
                        Place::Open if is_gone => Ok(()),
                        other => Err(format!("{other:?}, is gone: {is_gone}")),
                    }
                });
            let shape = format!("durable, {how:?}, callee uninstalled");
            explore(&shape, clients, system);
        }
    }
}

/// Both canisters' effects, of the callee while it is there.
fn what_is_left(view: &mut View<'_>, pair: Pair) -> Result<Effects, String> {
    let is_gone = !view.faults().is_empty();
    match is_gone {
        true => effects(view, pair.canister),
        false => all(view, pair),
    }
}

/// If a cleanup traps, or the timer's own message, only the call that waits for the attempt knows that it has ended, or nobody comes to see.
/// If that call traps as well, the request stays open, whoever asks; the next upgrade goes on with it.
#[test]
fn where_nobody_is_left_an_upgrade_goes_on() {
    const KINDS: [FaultKind; 4] = [
        FaultKind::CleanupTrap,
        FaultKind::TimerTrap,
        FaultKind::Trap,
        FaultKind::Upgrade,
    ];
    for clients in [Clients::NobodyRetries, Clients::RetriedAtOnce] {
        let (pair, system) = call(clients, How::Repeatable);
        let stays_open = Rc::new(Cell::new(false));
        let open = Rc::clone(&stays_open);
        let system = system
            .faults(3, KINDS)
            // The upgrade comes when nothing else does.
            .except(move |view, step| {
                let is_upgrade = matches!(step, Step::Upgrade { .. });
                let is_third = view.faults().len() == 2;
                let waits = view.calls(pair.canister).next().is_some();
                is_upgrade != is_third || is_upgrade && waits
            })
            .faults_of([pair.canister])
            .always("the effect once at most", move |view| {
                at_most_once(&all(view, pair)?)
            })
            .finally("it has ended, or an upgrade will go on", move |view| {
                let faults = view.faults().iter().filter_map(Step::fault);
                let is_upgraded = faults.into_iter().any(|kind| kind == FaultKind::Upgrade);
                let (place, effects) = (place(view, pair)?, all(view, pair)?);
                let as_it_should = match place {
                    Place::Absent => effects.is_empty(),
                    Place::Done => effects.len() == 1,
                    Place::Open => !is_upgraded,
                    Place::Parked => false,
                };
                open.set(open.get() || place == Place::Open);
                match as_it_should {
                    true => Ok(()),
                    false => Err(format!("{place:?}, {effects:?}")),
                }
            });
        explore(
            "durable, nobody is left, 2 faults and an upgrade",
            clients,
            system,
        );
        assert!(stays_open.get(), "{clients:?}: it always ends by itself");
    }
}
