//! Timers, and time that passes when nothing else is left to do.

use std::collections::BTreeSet;

use candid::Principal;
use local_replica::explore::{Bounds, FaultKind, Message, System};

use crate::world::{PUPPET, SECOND, counter, explore, message, two};

/// The puppet's timer adds 10.
fn set_timer(canister: Principal, time_ns: u64) -> Message {
    message(canister, "set_timer", &time_ns.to_le_bytes())
}

#[test]
fn a_timer_fires_when_nothing_else_is_left() {
    let (host, a, _) = two(&PUPPET);
    let later = host.replica.time_ns + 3_600 * SECOND;
    let system = System::new(host)
        .message(set_timer(a, later))
        .message(message(a, "inc", &[]));
    let look =
        move |view: &mut local_replica::explore::View<'_>| (view.time_ns(), counter(view, a));
    let (found, _, ends) = explore(system, look);
    assert!(found.holds());
    assert_eq!(ends, BTreeSet::from([(later, Some(11))]));
}

#[test]
fn a_timer_that_is_due_fires_at_any_time() {
    let (host, a, _) = two(&PUPPET);
    let now = host.replica.time_ns;
    let system = System::new(host)
        .message(set_timer(a, now))
        .message(message(a, "inc", &[]));
    let (_, states, ends) = explore(system, move |view| counter(view, a));
    assert_eq!(ends, BTreeSet::from([Some(11)]));
    assert!(states.is_superset(&BTreeSet::from([Some(1), Some(10)])));
}

#[test]
fn a_trapped_timer_is_off() {
    let (host, a, _) = two(&PUPPET);
    let later = host.replica.time_ns + SECOND;
    let system = System::new(host)
        .message(set_timer(a, later))
        .faults(1, [FaultKind::TimerTrap]);
    let (_, _, ends) = explore(system, move |view| counter(view, a));
    assert_eq!(ends, BTreeSet::from([Some(0), Some(10)]));
}

#[test]
fn time_passes_as_often_as_the_bound_says() {
    let ends = [0, 1, 2].map(|times| {
        let (host, a, b) = two(&PUPPET);
        let now = host.replica.time_ns;
        let bounds = Bounds {
            times,
            ..Bounds::default()
        };
        let system = System::new(host)
            .message(set_timer(a, now + SECOND))
            .message(set_timer(b, now + 2 * SECOND))
            .bounds(bounds);
        let (_, _, ends) = explore(system, move |view| (counter(view, a), counter(view, b)));
        ends
    });
    let expected = [(0, 0), (10, 0), (10, 10)].map(|(a, b)| BTreeSet::from([(Some(a), Some(b))]));
    assert_eq!(ends, expected);
}
