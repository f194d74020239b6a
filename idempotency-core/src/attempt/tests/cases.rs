//! One test for each rule of what becomes of a call that is cut off.

use super::{
    WINDOW, awaits, call,
    endpoints::{Failure, Plan},
    ic,
    ic::{Call, Method},
    refusal, reject, reply, user,
};
use crate::{error::IdempotencyError, time::Timestamp};
use std::time::Duration;

const SINCE_START: IdempotencyError = IdempotencyError::OutcomeUnknown {
    since: Timestamp::from_nanos(0),
};

/// G3: effect, record and reply of a sync method commit together.
#[test]
fn g3_a_sync_method_that_traps_leaves_nothing() {
    let mut ic = ic();
    let traps = Plan {
        traps_in: Some(0),
        ..Plan::default()
    };
    let trapped = ic.call(call(Method::Sync, 7, traps));
    assert_eq!(reject(&ic, trapped), "planned");
    assert!(ic.effects().is_empty());
    assert_eq!(ic.stats().entries, 0);

    let done = ic.call(call(Method::Sync, 7, awaits(0)));
    let again = ic.call(call(Method::Sync, 7, awaits(0)));
    assert_eq!(reply(&ic, done), Ok(0));
    assert_eq!(ic.outcome(again), ic.outcome(done));
    assert_eq!(ic.effects()[&(7, 0)], 1);
}

/// G4: the record is pending from the first await on.
#[test]
fn g4_a_call_that_awaits_is_in_progress() {
    let mut ic = ic();
    let first = ic.call(call(Method::Keep, 7, awaits(2)));
    assert_eq!(ic.waiting(), [first]);
    for _ in 0..2 {
        let again = ic.call(call(Method::Keep, 7, awaits(2)));
        let since = Timestamp::from_nanos(0);
        assert_eq!(
            refusal(&ic, again),
            Some(IdempotencyError::InProgress { since })
        );
        ic.answer(first, 5);
    }
    let again = ic.call(call(Method::Keep, 7, awaits(2)));
    assert_eq!(reply(&ic, first), Ok(10));
    assert_eq!(ic.outcome(again), ic.outcome(first));
    assert_eq!(ic.effects()[&(7, 2)], 1);
}

/// G4: the guard is dropped in the cleanup, whose writes stand.
#[test]
fn g4_a_trap_after_an_await_is_unknown() {
    let mut ic = ic();
    let plan = Plan {
        traps_in: Some(1),
        ..awaits(1)
    };
    let first = ic.call(call(Method::Keep, 7, plan));
    ic.pass(Duration::from_secs(5));
    ic.answer(first, 5);
    assert_eq!(reject(&ic, first), "planned");
    let again = ic.call(call(Method::Keep, 7, plan));
    assert_eq!(refusal(&ic, again), Some(SINCE_START));
    let effects = ic.effects();
    assert_eq!((effects[&(7, 0)], effects.get(&(7, 1))), (1, None));
}

/// G4, G8: no destructor runs at an upgrade, and the record is unknown at once.
#[test]
fn g4_an_upgrade_during_an_await_is_unknown() {
    let mut ic = ic();
    let first = ic.call(call(Method::Keep, 7, awaits(1)));
    ic.upgrade();
    assert_eq!(ic.stats().incarnation, 2);
    let again = ic.call(call(Method::Keep, 7, awaits(1)));
    assert_eq!(refusal(&ic, again), Some(SINCE_START));
    // Nobody waits for the answer any more.
    ic.answer(first, 5);
    reject(&ic, first);
    let again = ic.call(call(Method::Keep, 7, awaits(1)));
    assert_eq!(refusal(&ic, again), Some(SINCE_START));
    assert_eq!(ic.effects()[&(7, 0)], 1);
}

/// G4: nothing runs again on a lease. What can't be told from a call in flight is unknown when the window is over.
#[test]
fn g4_what_is_neither_dropped_nor_woken_is_unknown_after_the_window() {
    let mut ic = ic();
    let plan = Plan {
        traps_in: Some(1),
        traps_in_cleanup: true,
        ..awaits(1)
    };
    let first = ic.call(call(Method::Keep, 7, plan));
    ic.answer(first, 5);
    assert_eq!(reject(&ic, first), "planned");
    let since = Timestamp::from_nanos(0);
    let again = ic.call(call(Method::Keep, 7, plan));
    assert_eq!(
        refusal(&ic, again),
        Some(IdempotencyError::InProgress { since })
    );
    ic.pass(WINDOW);
    let again = ic.call(call(Method::Keep, 7, plan));
    assert_eq!(
        refusal(&ic, again),
        Some(IdempotencyError::InProgress { since })
    );
    ic.pass(Duration::from_nanos(1));
    let again = ic.call(call(Method::Keep, 7, plan));
    assert_eq!(refusal(&ic, again), Some(SINCE_START));
    // Also when its record has been evicted.
    ic.pass(10 * WINDOW);
    assert_eq!(ic.stats().entries, 0);
    let again = ic.call(call(Method::Keep, 7, plan));
    assert_eq!(refusal(&ic, again), Some(SINCE_START));
    assert_eq!(ic.effects()[&(7, 0)], 1);
}

/// With `errors = forget` only an `Err` from before the first await is forgotten.
#[test]
fn g4_an_error_after_an_await_is_kept() {
    let mut ic = ic();
    let fails = |awaits| Plan {
        awaits,
        fails: true,
        ..Plan::default()
    };
    for _ in 0..2 {
        let first = ic.call(call(Method::Forget, 7, fails(0)));
        assert_eq!(reply(&ic, first), Err(Failure::Own));
    }
    assert_eq!(ic.effects()[&(7, 0)], 2);
    assert_eq!(ic.stats().entries, 0);

    let first = ic.call(call(Method::Forget, 8, fails(1)));
    ic.answer(first, 5);
    let again = ic.call(call(Method::Forget, 8, fails(1)));
    assert_eq!(reply(&ic, again), Err(Failure::Own));
    assert_eq!(ic.effects()[&(8, 0)], 1);
}

/// G15: answers may come in any order, and each wakes the call that it is for.
#[test]
fn g15_each_answer_reaches_its_own_call() {
    let mut ic = ic();
    let calls = [7, 8, 9].map(|key| ic.call(call(Method::Keep, key, awaits(1))));
    for (call, answer) in [(calls[2], 30), (calls[0], 10), (calls[1], 20)] {
        ic.answer(call, answer);
    }
    assert_eq!(calls.map(|call| reply(&ic, call)), [Ok(10), Ok(20), Ok(30)]);
}

/// A call of an old heap whose answer leads to a call of the new one, which stands at the same address: the old one and the new.
fn answer_from_before_an_upgrade(old: Call, new: Call) -> (super::ic::Ic, [usize; 2]) {
    let mut ic = ic();
    let old = ic.call(old);
    ic.upgrade();
    let new = ic.call(new);
    ic.answer(old, 666);
    (ic, [old, new])
}

/// G15: another caller's answer. Callback and cleanup are undone, so the call that was woken goes on.
#[test]
fn g15_an_answer_to_another_caller_is_refused() {
    let others = Call {
        caller: user(2),
        instructions: 1_000_000,
        ..call(Method::Keep, 7, awaits(1))
    };
    let (mut ic, [old, new]) =
        answer_from_before_an_upgrade(others, call(Method::Keep, 8, awaits(1)));
    assert!(reject(&ic, old).starts_with("CutOff"));
    assert_eq!(ic.outcome(new), None);
    ic.answer(new, 5);
    assert_eq!(reply(&ic, new), Ok(5));
    let again = ic.call(call(Method::Keep, 7, awaits(1)));
    assert_eq!(refusal(&ic, again), Some(SINCE_START));
}

/// G15: a call has never used fewer instructions than it had.
#[test]
fn g15_an_answer_to_a_call_with_fewer_instructions_is_refused() {
    let later = Call {
        instructions: 2_001,
        ..call(Method::Keep, 8, awaits(1))
    };
    let (mut ic, [old, new]) =
        answer_from_before_an_upgrade(call(Method::Keep, 7, awaits(1)), later);
    assert!(reject(&ic, old).starts_with("CutOff"));
    ic.answer(new, 5);
    assert_eq!(reply(&ic, new), Ok(5));
}

/// G15: a cleanup can't ask for the deadline. Nothing wrong is recorded, but the call that was woken is cut off.
#[test]
fn g15_an_answer_to_a_call_with_another_deadline_is_not_recorded() {
    let bounded = Call {
        deadline: 300,
        ..call(Method::Keep, 7, awaits(1))
    };
    let (mut ic, [old, new]) =
        answer_from_before_an_upgrade(bounded, call(Method::Keep, 8, awaits(1)));
    assert!(reject(&ic, old).starts_with("CutOff"));
    assert_eq!(ic.effects().get(&(8, 1)), None);
    let again = ic.call(call(Method::Keep, 8, awaits(1)));
    assert_eq!(refusal(&ic, again), Some(SINCE_START));
    ic.answer(new, 5);
    reject(&ic, new);
}

/// What is left of G15: nothing tells these two calls apart, as `attempt` says.
#[test]
fn g15_an_answer_to_a_call_that_looks_the_same_is_taken() {
    let (ic, [old, _]) = answer_from_before_an_upgrade(
        call(Method::Keep, 7, awaits(1)),
        call(Method::Keep, 8, awaits(1)),
    );
    assert_eq!(reply(&ic, old), Ok(666));
}

/// G9: a timer is set while something can expire, goes with the heap and is set again by the new one.
#[cfg(feature = "timers")]
#[test]
fn g9_a_timer_forgets_what_has_expired() {
    let mut ic = ic();
    assert_eq!(ic.timers(), 0);
    for key in 0..3 {
        let first = ic.call(call(Method::Keep, key, awaits(1)));
        ic.answer(first, 5);
        assert_eq!(ic.timers(), 1);
    }
    ic.upgrade();
    assert_eq!((ic.timers(), ic.stats().entries), (1, 3));
    ic.pass(WINDOW);
    assert_eq!((ic.timers(), ic.stats().entries), (1, 3));
    ic.pass(WINDOW);
    assert_eq!((ic.timers(), ic.stats().entries), (0, 0));
}
