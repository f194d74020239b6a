//! Pruning leaves out steps, and no state.

use std::collections::BTreeSet;

use candid::Principal;
use local_replica::explore::{Explored, FaultKind, System, View};
use local_replica::in_process::InProcess;

use crate::world::{PUPPET, RECORDER, answer, counter, explore, message, relay_arg, two};

type Answers = Vec<Option<Result<Vec<u8>, String>>>;

/// Everything that an invariant can look at in two puppets.
fn puppets(
    view: &mut View<'_>,
    ids: [Principal; 2],
    messages: usize,
) -> ([Option<u32>; 2], Answers) {
    let answers = (0..messages).map(|message| answer(view, message)).collect();
    (ids.map(|id| counter(view, id)), answers)
}

fn compare<T: Ord + std::fmt::Debug + 'static>(
    system: impl Fn() -> System,
    look: impl Fn(&mut View<'_>) -> T + Clone + 'static,
) -> [Explored; 3] {
    let (pruned, all, last) = explore(system(), look.clone());
    let (orders, all_orders, last_orders) = explore(system().every_order(), look.clone());
    let (paths, all_paths, last_paths) = explore(system().every_path(), look);
    assert!(pruned.holds() && orders.holds() && paths.holds());
    for other in [all_orders, all_paths] {
        let difference: Vec<_> = all.symmetric_difference(&other).collect();
        assert!(difference.is_empty(), "{difference:?}");
    }
    assert!(last == last_orders && last == last_paths);
    assert_eq!(pruned.counts.states, orders.counts.states);
    assert_eq!(pruned.counts.finals, orders.counts.finals);
    assert_eq!(pruned.counts.longest, orders.counts.longest);
    println!("{pruned}{orders}{paths}");
    [pruned, orders, paths]
}

fn crosswise(host: InProcess, a: Principal, b: Principal, how: &str) -> System {
    System::new(host)
        .message(message(a, how, &relay_arg(b, "inc")))
        .message(message(b, how, &relay_arg(a, "inc")))
}

#[test]
fn the_same_states_without_faults() {
    let (_, a, b) = two(&PUPPET);
    let system = || {
        let (host, a, b) = two(&PUPPET);
        crosswise(host, a, b, "relay").message(message(a, "inc", &[]))
    };
    let [pruned, orders, paths] = compare(system, move |view| puppets(view, [a, b], 3));
    assert!(pruned.counts.commuted > 0);
    assert!(
        pruned.counts.steps < orders.counts.steps,
        "{pruned}{orders}"
    );
    assert!(orders.counts.steps < paths.counts.steps, "{orders}{paths}");
}

#[test]
fn the_same_states_with_a_fault() {
    let (_, a, b) = two(&PUPPET);
    let system = || {
        let (host, a, b) = two(&PUPPET);
        crosswise(host, a, b, "relay_bounded").faults(1, FaultKind::ALL)
    };
    let [pruned, orders, _] = compare(system, move |view| puppets(view, [a, b], 2));
    assert!(
        pruned.counts.steps < orders.counts.steps,
        "{pruned}{orders}"
    );
}

#[test]
fn the_same_states_with_two_faults() {
    let (_, a, b) = two(&PUPPET);
    let system = || {
        let (host, a, b) = two(&PUPPET);
        let kinds = [FaultKind::Trap, FaultKind::Stop, FaultKind::LoseAnswer];
        System::new(host)
            .message(message(a, "relay_bounded", &relay_arg(b, "inc")))
            .message(message(b, "inc", &[]))
            .faults(2, kinds)
    };
    compare(system, move |view| puppets(view, [a, b], 2));
}

#[test]
fn the_same_orders() {
    let (_, a, b) = two(&RECORDER);
    let system = || {
        let (host, a, b) = two(&RECORDER);
        System::new(host)
            .message(message(a, "ask", b.as_slice()))
            .message(message(b, "ask_back", a.as_slice()))
    };
    let look = move |view: &mut View<'_>| {
        let mut log = |id| view.query(id, "log", Vec::new()).unwrap();
        (log(a), log(b))
    };
    compare(system, look);
}

#[test]
fn the_shortest_violation_is_as_short() {
    let lengths = [false, true].map(|every_order| {
        let (host, a, b) = two(&PUPPET);
        let mut system = crosswise(host, a, b, "relay")
            .faults(2, FaultKind::ALL)
            .always("a cleanup never runs twice", move |view| {
                let runs =
                    counter(view, a).unwrap_or(0) / 1_000 + counter(view, b).unwrap_or(0) / 1_000;
                match runs {
                    2.. => Err(format!("{runs} times")),
                    _ => Ok(()),
                }
            });
        if every_order {
            system = system.every_order();
        }
        let found = system.explore().unwrap().violation.unwrap();
        (found.schedule.faults(), found.schedule.0.len())
    });
    // Two calls, each of which reaches the other canister and is answered with a trap in the callback.
    assert_eq!(lengths, [(2, 6); 2]);
}

#[test]
fn a_search_takes_the_same_steps_in_each_run() {
    let found: Vec<Explored> = (0..2)
        .map(|_| {
            let (host, a, b) = two(&PUPPET);
            let mut system = crosswise(host, a, b, "relay_bounded").faults(1, FaultKind::ALL);
            let first = system.explore().unwrap();
            assert_eq!(first, system.explore().unwrap());
            first
        })
        .collect();
    assert_eq!(found[0], found[1]);
}

#[test]
fn states_that_are_not_kept_are_computed_anew() {
    let explored = [1 << 30, 0].map(|memory| {
        let (host, a, b) = two(&PUPPET);
        let bounds = local_replica::explore::Bounds {
            memory,
            ..Default::default()
        };
        let system = crosswise(host, a, b, "relay")
            .faults(1, FaultKind::ALL)
            .bounds(bounds);
        explore(system, move |view| puppets(view, [a, b], 2))
    });
    assert_eq!(explored[0], explored[1]);
    let seen: &BTreeSet<_> = &explored[0].1;
    assert!(seen.len() > 100);
}
