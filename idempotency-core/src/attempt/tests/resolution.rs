//! `on_unknown`: what it says becomes of a request that an upgrade has cut off.

use super::{
    awaits, call,
    endpoints::{DID_NOT_RUN, FOUND, NOBODY_KNOWS, RAN},
    ic,
    ic::{CallNumber, Ic, Method},
    refusal, reply,
};
use crate::error::IdempotencyError;
use std::collections::BTreeMap;

/// A request that was cut off after its first effect, and the call that asked again.
fn cut_off(key: u64) -> (Ic, CallNumber) {
    let mut ic = ic();
    ic.call(call(Method::Asking, key, awaits(1)));
    ic.upgrade();
    let again = ic.call(call(Method::Asking, key, awaits(1)));
    (ic, again)
}

/// How many calls this heap answered with an earlier reply, and how many with an error.
fn counted(ic: &Ic, error: &str) -> (u64, u64) {
    let events = ic.stats().events;
    (events.replayed, events.refused[error])
}

#[test]
fn what_was_executed_is_answered_and_not_executed_again() {
    let (mut ic, again) = cut_off(RAN);
    assert_eq!(reply(&ic, again), Ok(FOUND));
    let later = ic.call(call(Method::Asking, RAN, awaits(1)));
    assert_eq!(reply(&ic, later), Ok(FOUND));
    assert_eq!(ic.effects(), BTreeMap::from([((RAN, 0), 1)]));
    assert_eq!(counted(&ic, "OutcomeUnknown"), (2, 0));
}

#[test]
fn what_did_nothing_is_executed_once_more() {
    let (mut ic, again) = cut_off(DID_NOT_RUN);
    let request = || call(Method::Asking, DID_NOT_RUN, awaits(1));
    let meanwhile = ic.call(request());
    assert!(matches!(
        refusal(&ic, meanwhile),
        Some(IdempotencyError::InProgress { .. })
    ));
    ic.answer(again, 5);
    let later = ic.call(request());
    assert_eq!([again, later].map(|it| reply(&ic, it)), [Ok(5), Ok(5)]);
    let effects = BTreeMap::from([((DID_NOT_RUN, 0), 2), ((DID_NOT_RUN, 1), 1)]);
    assert_eq!(ic.effects(), effects);
    assert_eq!(counted(&ic, "InProgress"), (1, 1));
}

/// A retry that learned nothing does not leave the request in progress.
#[test]
fn what_nobody_knows_stays_unknown() {
    let (mut ic, again) = cut_off(NOBODY_KNOWS);
    let later = ic.call(call(Method::Asking, NOBODY_KNOWS, awaits(1)));
    for call in [again, later] {
        assert!(matches!(
            refusal(&ic, call),
            Some(IdempotencyError::OutcomeUnknown { .. })
        ));
    }
    assert_eq!(ic.effects(), BTreeMap::from([((NOBODY_KNOWS, 0), 1)]));
    assert_eq!(counted(&ic, "OutcomeUnknown"), (0, 2));
}

/// The same of a durable request, whose only step was cut off and is not to be repeated.
#[cfg(feature = "timers")]
mod durable {
    use super::*;
    use crate::attempt::tests::{
        endpoints::Plan,
        ic::{Course, Event},
    };
    use std::time::Duration;

    fn request(key: u64) -> super::super::Call {
        call(Method::DurableAsking, key, Plan::default())
    }

    /// Timers run, and what the canister sends to itself is answered, until nothing of it is on its way.
    fn settle_down(ic: &mut Ic) {
        for _ in 0..4 {
            loop {
                match ic.on_their_way() {
                    (0, 0) => break,
                    (0, _) => ic.happen_as(Event::Respond, Course::Committed),
                    _ => ic.happen_as(Event::Deliver, Course::Committed),
                }
            }
            ic.pass(Duration::from_secs(2));
        }
    }

    fn cut_off(key: u64) -> Ic {
        let mut ic = ic();
        ic.call(request(key));
        settle_down(&mut ic);
        assert_eq!(ic.effects(), BTreeMap::from([((key, 0), 1)]));
        ic.upgrade();
        settle_down(&mut ic);
        ic
    }

    fn retry(ic: &mut Ic, key: u64) -> CallNumber {
        let again = ic.call(request(key));
        settle_down(ic);
        again
    }

    #[test]
    fn what_was_executed_is_answered_and_not_executed_again() {
        let mut ic = cut_off(RAN);
        // Nobody had to ask for it.
        let again = ic.call(request(RAN));
        assert_eq!(reply(&ic, again), Ok(FOUND));
        assert_eq!(ic.effects(), BTreeMap::from([((RAN, 0), 1)]));
    }

    #[test]
    fn what_did_nothing_is_executed_once_more_unasked() {
        let mut ic = cut_off(DID_NOT_RUN);
        assert_eq!(ic.effects(), BTreeMap::from([((DID_NOT_RUN, 0), 2)]));
        let (asking, _) = *ic.asking().last().expect("it called again");
        ic.answer(asking, 5);
        settle_down(&mut ic);
        let again = ic.call(request(DID_NOT_RUN));
        assert_eq!(reply(&ic, again), Ok(5));
        assert_eq!(ic.effects(), BTreeMap::from([((DID_NOT_RUN, 0), 2)]));
    }

    #[test]
    fn what_nobody_knows_is_parked_and_asked_for_by_each_retry() {
        let mut ic = cut_off(NOBODY_KNOWS);
        for _ in 0..2 {
            assert_eq!(ic.stats().unknown, 1);
            let again = retry(&mut ic, NOBODY_KNOWS);
            assert!(matches!(
                refusal(&ic, again),
                Some(IdempotencyError::OutcomeUnknown { .. })
            ));
        }
        assert_eq!(ic.effects(), BTreeMap::from([((NOBODY_KNOWS, 0), 1)]));
    }
}
