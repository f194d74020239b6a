//! The second look: calls that wait for what archives say, and what becomes of them.

mod cases;
mod held;
mod interleavings;
mod outcomes;

use super::{
    POLICY, awaits, call,
    endpoints::{Answer, FORGET, Failure, Plan},
    ic::{CallNumber, Course, Event, Ic, Method},
    native::Native,
    refusal, reject, reply, user,
};
use crate::{
    alarm::Due,
    error::IdempotencyError,
    identity::{
        Argument, Compared, Fingerprinted as _, Identity, LazyFingerprint, RequestKey, Scope,
    },
    policy::Keep,
    store::{Archived, Keeper, LookingUp, Record, Reply, State},
    table::{Damaged, tail},
    time::Timestamp,
};

/// It may hold the requests with these keys. What it says of one is what the test answers the call that waits for it.
pub(super) struct Archive(pub(super) Native);

const HELD: std::ops::Range<u64> = 100..110;

/// What the archive says.
const ABSENT: u64 = 0;
const REPLY: u64 = 1;
const NO_REPLY: u64 = 2;
const UNREACHABLE: u64 = 3;

const EXECUTED_AT: Timestamp = Timestamp::from_secs(5);
const RETRY_AFTER: Timestamp = Timestamp::from_secs(70);

/// What a request was answered with that is archived.
const FIRST: Answer = Ok(777);

impl Keeper for Archive {
    fn wake(&self, _: Due) {}

    fn forgot_until(&self) -> Timestamp {
        Timestamp::from_nanos(u64::MAX)
    }

    fn may_hold(&self, id: &[u8; 16]) -> Result<bool, Damaged> {
        Ok(HELD
            .into_iter()
            .any(|key| tail(identity(key).name()) == *id))
    }

    fn look_up(&self, id: [u8; 16]) -> LookingUp {
        let ic = self.0.clone();
        let key = HELD
            .into_iter()
            .find(|key| tail(identity(*key).name()) == id);
        let key = key.expect("only such ids are looked up");
        Box::pin(async move {
            let state = match ic.outcall().await {
                ABSENT => return Ok(None),
                UNREACHABLE => {
                    return Err(IdempotencyError::archive_unreachable(
                        "stopped",
                        RETRY_AFTER,
                    ));
                }
                NO_REPLY => State::ReplyDropped,
                _ => State::Done(Reply::first(candid::encode_one(FIRST).unwrap())),
            };
            let argument = candid::encode_args((key, awaits(0))).unwrap();
            let argument = Argument::new(&argument);
            let fingerprint =
                LazyFingerprint::new(&argument, Compared::Argument, None, &Scope::Global);
            Ok(Some(Archived {
                record: Record {
                    fingerprint: fingerprint.fingerprint(),
                    since: EXECUTED_AT,
                    state,
                },
                digest: None,
            }))
        })
    }
}

/// All callers share the keys.
fn identity(key: u64) -> Identity {
    let key = RequestKey::of(&key).expect("a key");
    Identity::new(FORGET.name, &Scope::Global, &user(1), &key).expect("an identity")
}

fn ic() -> Ic {
    Ic::new(POLICY.archive(Keep::Replies))
}

const METHODS: [Method; 3] = [Method::Sync, Method::Keep, Method::Durable];

/// Delivers what the canister has sent itself, and the answers.
fn settle(ic: &mut Ic) {
    loop {
        match ic.on_their_way() {
            (0, 0) => return,
            (0, _) => ic.happen_as(Event::Respond, Course::Committed),
            _ => ic.happen_as(Event::Deliver, Course::Committed),
        }
    }
}

/// The archive answers a call, and what follows happens.
fn answer(ic: &mut Ic, call: CallNumber, answer: u64) {
    ic.answer(call, answer);
    settle(ic);
}

fn runs(ic: &Ic, key: u64) -> u32 {
    ic.effects().get(&(key, 0)).copied().unwrap_or_default()
}

#[test]
fn what_no_archive_may_hold_runs_at_once() {
    for method in METHODS {
        let mut ic = ic();
        let done = ic.call(call(method, 7, awaits(0)));
        settle(&mut ic);
        assert_eq!(reply(&ic, done), Ok(0), "{method:?}");
        assert_eq!(runs(&ic, 7), 1);
    }
}

#[test]
fn what_the_archive_does_not_hold_runs_in_the_message_of_its_answer() {
    for method in METHODS {
        let mut ic = ic();
        let first = ic.call(call(method, 100, awaits(0)));
        assert_eq!((ic.outcome(first), runs(&ic, 100)), (None, 0), "{method:?}");
        assert_eq!(ic.stats().entries, 0);
        answer(&mut ic, first, ABSENT);
        assert_eq!((reply(&ic, first), runs(&ic, 100)), (Ok(0), 1));
        // The store knows it now.
        let again = ic.call(call(method, 100, awaits(0)));
        assert_eq!(ic.outcome(again), ic.outcome(first), "{method:?}");
        assert_eq!(runs(&ic, 100), 1);
    }
}

/// G2, for ever.
#[test]
fn what_the_archive_holds_is_answered_with_the_first_reply() {
    for method in METHODS {
        let mut ic = ic();
        let late = ic.call(call(method, 101, awaits(0)));
        answer(&mut ic, late, REPLY);
        assert_eq!(reply(&ic, late), FIRST, "{method:?}");
        assert_eq!((runs(&ic, 101), ic.stats().entries), (0, 0));
        assert_eq!(ic.stats().events.replayed, 1);
    }
}

#[test]
fn a_late_retry_is_told_when_the_request_ran_whose_reply_is_not_kept() {
    for method in METHODS {
        let mut ic = ic();
        let late = ic.call(call(method, 101, awaits(0)));
        answer(&mut ic, late, NO_REPLY);
        let dropped = IdempotencyError::ReplyDropped {
            executed_at: EXECUTED_AT,
        };
        assert_eq!(refusal(&ic, late), Some(dropped), "{method:?}");
        assert_eq!(runs(&ic, 101), 0);
    }
}

#[test]
fn a_key_that_the_archive_holds_is_not_reused() {
    for method in METHODS {
        for said in [REPLY, NO_REPLY] {
            let mut ic = ic();
            let other = Plan {
                fails: true,
                ..awaits(0)
            };
            let other = ic.call(call(method, 102, other));
            answer(&mut ic, other, said);
            assert_eq!(refusal(&ic, other), Some(IdempotencyError::KeyReused));
            assert_eq!((runs(&ic, 102), ic.stats().entries), (0, 0), "{method:?}");
        }
    }
}

#[test]
fn nothing_runs_while_the_archive_can_not_be_asked() {
    for method in METHODS {
        let mut ic = ic();
        let refused = ic.call(call(method, 103, awaits(0)));
        answer(&mut ic, refused, UNREACHABLE);
        match refusal(&ic, refused) {
            Some(IdempotencyError::Other {
                code: 8,
                retry_after,
                ..
            }) => assert_eq!(retry_after, Some(RETRY_AFTER)),
            other => panic!("{method:?}: {other:?}"),
        }
        assert_eq!((runs(&ic, 103), ic.stats().entries), (0, 0));
        // Later it can.
        let again = ic.call(call(method, 103, awaits(0)));
        answer(&mut ic, again, ABSENT);
        assert_eq!((reply(&ic, again), runs(&ic, 103)), (Ok(0), 1));
    }
}

/// Nothing is reserved while they wait: the first that is answered runs, and the others find its record.
#[test]
fn of_two_calls_that_wait_one_runs() {
    for method in METHODS {
        for first in [0, 1] {
            let mut ic = ic();
            let calls = [0, 1].map(|_| ic.call(call(method, 104, awaits(0))));
            assert_eq!(ic.waiting(), calls);
            answer(&mut ic, calls[first], ABSENT);
            assert_eq!(reply(&ic, calls[first]), Ok(0), "{method:?}");
            answer(&mut ic, calls[1 - first], ABSENT);
            assert_eq!(ic.outcome(calls[0]), ic.outcome(calls[1]), "{method:?}");
            assert_eq!(runs(&ic, 104), 1);
        }
    }
}

#[test]
fn who_finds_the_other_under_way_is_told() {
    let mut ic = ic();
    let calls = [0, 1].map(|_| ic.call(call(Method::Keep, 104, awaits(1))));
    ic.answer(calls[0], ABSENT);
    ic.answer(calls[1], ABSENT);
    let in_progress = IdempotencyError::InProgress {
        since: Timestamp::default(),
    };
    assert_eq!(refusal(&ic, calls[1]), Some(in_progress));
    ic.answer(calls[0], 5);
    assert_eq!((reply(&ic, calls[0]), runs(&ic, 104)), (Ok(5), 1));
}

/// G3: the archive's answer, the effects, the record and the reply are of one message.
#[test]
fn a_trap_after_the_second_look_leaves_nothing() {
    let mut ic = ic();
    let traps = Plan {
        traps_in: Some(0),
        ..awaits(0)
    };
    let trapped = ic.call(call(Method::Sync, 105, traps));
    ic.answer(trapped, ABSENT);
    assert_eq!(reject(&ic, trapped), "planned");
    assert_eq!((runs(&ic, 105), ic.stats().entries), (0, 0));
    assert!(ic.waiting().is_empty());

    let again = ic.call(call(Method::Sync, 105, awaits(0)));
    ic.answer(again, ABSENT);
    assert_eq!((reply(&ic, again), runs(&ic, 105)), (Ok(0), 1));
}

/// As without archives, a trap of an async method before its own first await leaves nothing, and one after it is unknown.
#[test]
fn an_attempt_that_is_cut_off_after_the_second_look_is_unknown_from_its_own_await_on() {
    for traps_in in [0, 1] {
        let mut ic = ic();
        let plan = Plan {
            traps_in: Some(traps_in),
            ..awaits(1)
        };
        let trapped = ic.call(call(Method::Keep, 105, plan));
        ic.answer(trapped, ABSENT);
        if traps_in == 1 {
            ic.answer(trapped, 5);
        }
        assert_eq!(reject(&ic, trapped), "planned");
        let again = ic.call(call(Method::Keep, 105, plan));
        match traps_in {
            0 => assert_eq!(ic.waiting(), [again]),
            _ => assert!(matches!(
                refusal(&ic, again),
                Some(IdempotencyError::OutcomeUnknown { .. })
            )),
        }
    }
}

/// The time at which an attempt may forget its `Err` ends with its own first await, not with the archive's.
#[test]
fn an_err_before_the_methods_own_await_is_forgotten() {
    let fails = Plan {
        fails: true,
        ..awaits(0)
    };
    for method in [Method::Sync, Method::Forget] {
        let mut ic = ic();
        for run in 1..=2 {
            let failed = ic.call(call(method, 106, fails));
            ic.answer(failed, ABSENT);
            assert_eq!(reply(&ic, failed), Err(Failure::Own), "{method:?}");
            assert_eq!((runs(&ic, 106), ic.stats().entries), (run, 0));
        }
    }
}

/// Whoever waited in the old heap gets no answer but that he is cut off, and nothing ran.
#[test]
fn an_upgrade_while_the_archive_is_asked_leaves_nothing() {
    for method in METHODS {
        for said in [ABSENT, REPLY, UNREACHABLE] {
            let mut ic = ic();
            let lost = ic.call(call(method, 107, awaits(0)));
            ic.upgrade();
            answer(&mut ic, lost, said);
            reject(&ic, lost);
            assert_eq!((runs(&ic, 107), ic.stats().entries), (0, 0), "{method:?}");
            let again = ic.call(call(method, 107, awaits(0)));
            answer(&mut ic, again, ABSENT);
            assert_eq!((reply(&ic, again), runs(&ic, 107)), (Ok(0), 1));
        }
    }
}

/// G15: where the old call waited another waits now.
#[test]
fn an_answer_for_another_callers_call_is_not_taken() {
    for method in METHODS {
        let mut ic = ic();
        let old = ic.call(call(method, 108, awaits(0)));
        ic.upgrade();
        let mut present = call(method, 101, awaits(0));
        present.caller = user(2);
        let present = ic.call(present);
        answer(&mut ic, old, ABSENT);
        assert!(reject(&ic, old).starts_with("CutOff"), "{method:?}");
        assert_eq!((ic.outcome(present), runs(&ic, 101)), (None, 0));
        answer(&mut ic, present, REPLY);
        assert_eq!((reply(&ic, present), runs(&ic, 101)), (FIRST, 0));
    }
}

/// Quotas and capacity count as they are when the archive answers.
#[test]
fn who_waited_while_the_store_filled_up_is_refused() {
    for method in METHODS {
        let mut ic = Ic::new(POLICY.archive(Keep::Replies).capacity(1));
        let late = ic.call(call(method, 100, awaits(0)));
        ic.call(call(Method::Sync, 7, awaits(0)));
        answer(&mut ic, late, ABSENT);
        let refused = refusal(&ic, late);
        assert!(
            matches!(refused, Some(IdempotencyError::Full { .. })),
            "{method:?}"
        );
        // Who was executed long ago is answered all the same.
        let retry = ic.call(call(method, 101, awaits(0)));
        answer(&mut ic, retry, REPLY);
        assert_eq!(reply(&ic, retry), FIRST, "{method:?}");
    }
}
