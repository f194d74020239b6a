//! Every row of the admission table.

use crate::common::{DRIFT, HOUR, NANOSECOND, Plan, Refusal, ok, refused, with_canister};
use integration_tests::user;

/// Shows G1, G2.
#[test]
fn done_and_the_same_request_again_is_replayed() {
    with_canister(|it| {
        assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
        assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
        assert_eq!(it.executions("say"), 1);
    });
}

#[test]
fn done_and_other_arguments_is_a_reused_key() {
    with_canister(|it| {
        assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
        assert_eq!(
            it.say("say", b"key", "goodbye"),
            refused(Refusal::KeyReused)
        );
        assert_eq!(
            it.say("say", b"key", "hello"),
            ok("1: hello"),
            "the record is untouched"
        );
        assert_eq!(it.executions("say"), 1);
    });
}

/// Shows G1.
#[test]
fn done_and_its_reply_dropped() {
    with_canister(|it| {
        let first = it
            .work("work_small", b"key", Plan::AnswerMuch)
            .expect("it answers");
        assert_eq!(first, Ok("x".repeat(2_000)));
        match it
            .work("work_small", b"key", Plan::AnswerMuch)
            .expect("it answers")
        {
            Err(crate::common::Failure::Idempotency(Refusal::ReplyDropped { executed_at })) => {
                assert!(executed_at <= it.now() && executed_at > 0);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(it.executions("work_small"), 1);
    });
}

/// Shows G1, G4.
#[test]
fn running_and_the_same_request_is_in_progress_and_another_a_reused_key() {
    with_canister(|it| {
        let args = (b"key".to_vec(), Plan::Hold);
        let held = it.hold(user(1), "work", args);
        let since = match it.work("work", b"key", Plan::Hold).expect("it answers") {
            Err(crate::common::Failure::Idempotency(Refusal::InProgress { since })) => since,
            other => panic!("{other:?}"),
        };
        assert!(since <= it.now());
        assert_eq!(
            it.work("work", b"key", Plan::Answer),
            Ok(refused(Refusal::KeyReused))
        );
        assert_eq!(it.finish(held), Ok(ok("1: done")));
        assert_eq!(it.work("work", b"key", Plan::Hold), Ok(ok("1: done")));
        assert_eq!(it.executions("work"), 1);
    });
}

/// Shows G4.
#[test]
fn interrupted_and_the_same_request_is_unknown() {
    with_canister(|it| {
        it.work("work", b"key", Plan::TrapLater)
            .expect_err("it traps");
        for _ in 0..2 {
            match it
                .work("work", b"key", Plan::TrapLater)
                .expect("it answers")
            {
                Err(crate::common::Failure::Idempotency(Refusal::OutcomeUnknown { since })) => {
                    assert!(since <= it.now());
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(
            it.work("work", b"key", Plan::Answer),
            Ok(refused(Refusal::KeyReused))
        );
        assert_eq!(it.executions("work"), 1);
    });
}

/// Shows G8.
#[test]
fn running_in_an_earlier_heap_and_the_same_request_is_unknown() {
    with_canister(|it| {
        let args = (b"key".to_vec(), Plan::Hold);
        it.hold(user(1), "work", args);
        it.upgrade();
        let again = it.work("work", b"key", Plan::Hold).expect("it answers");
        assert!(
            matches!(
                again,
                Err(crate::common::Failure::Idempotency(
                    Refusal::OutcomeUnknown { .. }
                ))
            ),
            "{again:?}"
        );
        assert_eq!(it.executions("work"), 1);
    });
}

/// Shows G1.
#[test]
fn new_and_too_old() {
    with_canister(|it| {
        let reach = (HOUR + DRIFT + NANOSECOND * 1_000).as_nanos() as u64;
        assert_eq!(
            it.say_dated(b"key", it.now() - reach),
            refused(Refusal::TooOld)
        );
        assert_eq!(it.say_dated(b"key", 0), refused(Refusal::TooOld));
        assert_eq!(it.executions("say_dated"), 0);
        assert_eq!(it.stats().main.entries, 0);
    });
}

#[test]
fn new_and_from_the_future() {
    with_canister(|it| {
        let ahead = (DRIFT + NANOSECOND * 1_000).as_nanos() as u64;
        for created_at in [it.now() + ahead, u64::MAX] {
            match it.say_dated(b"key", created_at) {
                Err(crate::common::Failure::Idempotency(Refusal::CreatedInFuture { now })) => {
                    assert!(now <= it.now());
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(it.executions("say_dated"), 0);
    });
}

#[test]
fn new_and_within_the_window_executes() {
    with_canister(|it| {
        let now = it.now();
        assert_eq!(
            it.say_dated(b"old", now - HOUR.as_nanos() as u64),
            ok("1: dated")
        );
        assert_eq!(
            it.say_dated(b"new", now + DRIFT.as_nanos() as u64),
            ok("2: dated")
        );
    });
}
