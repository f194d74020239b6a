//! Durable requests natively: every message of theirs undone, or followed by an upgrade, one and two at a time, and nobody asks again.

use super::{
    awaits, call,
    endpoints::{PAUSE, Plan},
    ic,
    ic::{Course, Event, Ic, Method},
    reply,
};
use std::{collections::BTreeMap, time::Duration};

const AWAITS: u8 = 2;

/// Two requests at a time, so that there is somebody's answer to be given to another.
const KEYS: [u64; 2] = [10, 20];

/// How many messages lie between two faults at most.
const CLOSE: usize = 10;

/// More than any case takes.
const MOST_MESSAGES: usize = 200;

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// It traps.
    Trap,
    /// It traps, and so does the cleanup.
    TrapTwice,
    /// The canister is upgraded before it; if it is one for the old heap, it comes all the same.
    Upgrade,
    /// The canister is upgraded, and what goes on by itself begins, before the message for the old heap comes.
    UpgradeAndWait,
}

const FAULTS: [Fault; 4] = [
    Fault::Trap,
    Fault::TrapTwice,
    Fault::Upgrade,
    Fault::UpgradeAndWait,
];

/// At the message with this number.
type Planned = (usize, Fault);

/// The next message for the canister, if there is any.
fn next(ic: &Ic) -> Option<Event> {
    match ic.on_their_way() {
        (0, 0) => {
            let (call, answer) = *ic.asking().first()?;
            Some(Event::Answer { call, answer })
        }
        (0, _) => Some(Event::Respond),
        _ => Some(Event::Deliver),
    }
}

/// The requests, until nothing happens any more. Their clients never hear of it. How many messages it took, with those of the calls.
fn run(ic: &mut Ic, faults: &[Planned]) -> usize {
    let mut calls = KEYS.iter();
    let mut idle = 0;
    for number in 0..MOST_MESSAGES {
        let fault = fault(ic, number, faults);
        let arriving = calls.next();
        let arriving = arriving.map(|key| Event::Call(call(Method::Durable, *key, awaits(AWAITS))));
        let event = arriving.or_else(|| next(ic));
        let is_heard = matches!(event, Some(Event::Respond));
        let course = match fault {
            Some(Fault::TrapTwice) if !(is_heard && faults.len() > 1) => {
                Course::Undone("planned".into())
            }
            // Of an attempt that left no trace nobody hears but who waits for it. If that traps twice, the request is running
            // until the next upgrade.
            Some(Fault::Trap | Fault::TrapTwice) => Course::CleanedUp("planned".into()),
            Some(Fault::Upgrade | Fault::UpgradeAndWait) | None => Course::Committed,
        };
        match event {
            Some(event) => ic.happen_as(event, course),
            // Nothing is to come but timers.
            None if idle < 4 => {
                idle += 1;
                ic.pass(Duration::from_secs(1 << idle));
            }
            None => return number,
        }
    }
    panic!("it does not end");
}

fn fault(ic: &mut Ic, number: usize, faults: &[Planned]) -> Option<Fault> {
    let (_, fault) = *faults.iter().find(|(at, _)| *at == number)?;
    match fault {
        Fault::Trap | Fault::TrapTwice => {}
        Fault::Upgrade => ic.upgrade(),
        Fault::UpgradeAndWait => {
            ic.upgrade();
            ic.pass(Duration::from_secs(2));
            while ic.on_their_way().0 > 0 {
                ic.happen_as(Event::Deliver, Course::Committed);
            }
        }
    }
    Some(fault)
}

/// Whether the calls with these faults were not accepted: their first message was undone.
fn is_refused(index: usize, faults: &[Planned]) -> bool {
    let traps =
        |(at, fault): &Planned| *at == index && matches!(fault, Fault::Trap | Fault::TrapTwice);
    faults.iter().any(traps)
}

/// What was accepted has ended as without faults, before anybody asks; and who asks gets the reply.
fn check(faults: &[Planned]) -> usize {
    let mut ic = ic();
    let messages = run(&mut ic, faults);
    let mut stands = BTreeMap::new();
    for (index, key) in KEYS.into_iter().enumerate() {
        if !is_refused(index, faults) {
            stands.extend((0..=AWAITS).map(|segment| ((key, segment), 1)));
        }
    }
    assert_eq!(ic.effects(), stands, "{faults:?}");
    assert_eq!(ic.stats().unknown, 0, "{faults:?}");
    assert!(ic.waiting().is_empty(), "{faults:?}");
    for (index, key) in KEYS.into_iter().enumerate() {
        if !is_refused(index, faults) {
            let again = ic.call(call(Method::Durable, key, awaits(AWAITS)));
            assert_eq!(reply(&ic, again), Ok(key * u64::from(AWAITS)), "{faults:?}");
        }
    }
    assert_eq!(ic.effects(), stands, "{faults:?}");
    messages
}

/// G12, G13, G15: whatever message is undone, and whenever the canister is upgraded, once.
#[test]
fn g12_whatever_cuts_a_durable_request_off_it_ends_as_without() {
    let undisturbed = check(&[]);
    assert!(
        undisturbed >= 2 * (3 + usize::from(AWAITS)),
        "{undisturbed}"
    );
    for number in 0..undisturbed {
        for fault in FAULTS {
            check(&[(number, fault)]);
        }
    }
}

/// An answer from before an upgrade has woken who waits for an attempt, which then traps without a trace: the request is running until
/// the next upgrade.
fn hides_the_end(fault: Fault, other: Fault) -> bool {
    matches!(fault, Fault::Upgrade | Fault::UpgradeAndWait) && other == Fault::TrapTwice
}

/// G12, G13, G15: twice.
#[test]
fn g12_two_faults_at_a_time() {
    let mut cases = 0;
    for first in 0..check(&[]) {
        for fault in FAULTS {
            let messages = check(&[(first, fault)]);
            // What is farther apart has nothing to do with each other.
            for second in first + 1..messages.min(first + 1 + CLOSE) {
                for other in FAULTS {
                    if !hides_the_end(fault, other) {
                        check(&[(first, fault), (second, other)]);
                        cases += 1;
                    }
                }
            }
        }
    }
    assert!(cases > 1_000, "{cases}");
}

/// However many requests were cut off one after the other, timers are not more than requests that wait.
#[test]
fn g12_timers_do_not_become_more() {
    let mut ic = ic();
    for key in 0..20 {
        ic.happen_as(
            Event::Call(call(Method::Durable, key, awaits(1))),
            Course::Committed,
        );
        // Its first attempt traps, and is heard of.
        ic.happen_as(Event::Deliver, Course::CleanedUp("planned".into()));
        ic.happen_as(Event::Respond, Course::Committed);
        ic.pass(Duration::from_secs(2));
        while let Some(event) = next(&ic) {
            ic.happen_as(event, Course::Committed);
        }
        // One for what is forgotten, one for what was tried last.
        assert!(ic.timers() <= 2, "{key}: {}", ic.timers());
    }
    assert_eq!(ic.effects().len(), 40);
}

/// Whatever the canister has sent to itself arrives.
fn deliver(ic: &mut Ic) {
    while ic.on_their_way().0 > 0 {
        ic.happen_as(Event::Deliver, Course::Committed);
    }
}

/// After an upgrade the requests that it cut off go on, a few in a second, and those first that began first.
#[test]
fn g12_many_go_on_a_few_in_a_second_and_the_oldest_first() {
    const MANY: u64 = 50;
    const IN_A_SECOND: u64 = 20;
    let mut ic = ic();
    for key in 0..MANY {
        ic.call(call(Method::Durable, key, awaits(1)));
    }
    deliver(&mut ic);
    let cut_off = ic.asking();
    assert_eq!(cut_off.len() as u64, MANY);
    ic.upgrade();
    for seconds in 0..5 {
        ic.pass(Duration::from_secs(u64::from(seconds > 0)));
        deliver(&mut ic);
        let asking = ic.asking().into_iter();
        let goes_on = asking.filter(|asking| !cut_off.contains(asking));
        let mut keys: Vec<_> = goes_on.map(|(_, key)| key).collect();
        keys.sort_unstable();
        let most = MANY.min((seconds + 1) * IN_A_SECOND);
        assert_eq!(keys, (0..most).collect::<Vec<_>>(), "{seconds}");
    }
}

/// A message of the one who waits for the attempt is undone when the attempt sleeps, and no cleanup runs: nobody but the attempt itself can
/// have set the timer.
#[test]
fn g12_a_request_that_sleeps_needs_nobody_to_hear_of_it() {
    let mut ic = ic();
    let plan = Plan {
        sleeps: true,
        ..Plan::default()
    };
    ic.call(call(Method::Durable, 10, plan));
    deliver(&mut ic);
    ic.happen_as(Event::Respond, Course::Undone("planned".into()));
    assert_eq!(ic.stats().unknown, 0);
    for _ in 0..2 {
        ic.pass(PAUSE);
        deliver(&mut ic);
    }
    let again = ic.call(call(Method::Durable, 10, plan));
    assert_eq!(reply(&ic, again), Ok(0));
}
