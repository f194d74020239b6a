//! Methods that await: each await commits, so a trap can come too late to undo what was done.

use crate::common::{
    Answer, Failure, Fixture, HOUR, PARTITION, Plan, Refusal, is_in_progress, is_unknown, ok,
    with_canister,
};
use integration_tests::user;
use pocket_ic::RejectCode;

/// Calls `endpoint` three times: what it answers first, and that it answers the same again without running.
fn once_and_again(it: &Fixture<'_>, endpoint: &str, key: &[u8], plan: Plan) -> Answer {
    let before = it.executions(endpoint);
    let first = it.work(endpoint, key, plan).expect("it answers");
    for _ in 0..2 {
        assert_eq!(it.work(endpoint, key, plan), Ok(first.clone()));
    }
    assert_eq!(it.executions(endpoint), before + 1);
    first
}

/// Shows G1, G2.
#[test]
fn an_answer_is_replayed() {
    with_canister(|it| {
        assert_eq!(
            once_and_again(&it, "work", b"1", Plan::Answer),
            ok("1: done")
        );
        assert_eq!(
            once_and_again(&it, "work", b"2", Plan::AnswerAtOnce),
            ok("2: at once")
        );
    });
}

/// Shows G1, G4.
#[test]
fn errors_are_kept_unless_forgotten_before_the_first_await() {
    with_canister(|it| {
        let own = |text: &str| -> Answer { Err(Failure::Own(text.to_owned())) };
        assert_eq!(
            once_and_again(&it, "work", b"1", Plan::FailFirst),
            own("1: failed first")
        );
        assert_eq!(
            once_and_again(&it, "work", b"2", Plan::FailLater),
            own("2: failed later")
        );

        let forgetful = "work_forgetfully";
        assert_eq!(
            it.work(forgetful, b"1", Plan::FailFirst),
            Ok(own("1: failed first"))
        );
        assert_eq!(
            it.work(forgetful, b"1", Plan::FailFirst),
            Ok(own("2: failed first"))
        );
        let kept = once_and_again(&it, forgetful, b"2", Plan::FailLater);
        assert_eq!(
            kept,
            own("3: failed later"),
            "after an await calls may have had effects"
        );
    });
}

/// Shows G3.
#[test]
fn a_trap_before_the_first_await_leaves_nothing() {
    with_canister(|it| {
        let reject = it
            .work("work", b"key", Plan::TrapFirst)
            .expect_err("it traps");
        assert_eq!(reject.reject_code, RejectCode::CanisterError);
        assert!(
            reject.reject_message.contains("planned, first"),
            "{}",
            reject.reject_message
        );
        assert_eq!((it.executions("work"), it.stats().main.entries), (0, 0));
        assert_eq!(
            it.work("work", b"key", Plan::Answer),
            Ok(ok("1: done")),
            "the key is free"
        );
    });
}

/// Shows G4.
#[test]
fn a_trap_after_an_await_is_unknown_and_never_runs_again() {
    with_canister(|it| {
        let reject = it
            .work("work", b"key", Plan::TrapLater)
            .expect_err("it traps");
        assert_eq!(reject.reject_code, RejectCode::CanisterError);
        assert!(
            reject.reject_message.contains("planned, later"),
            "{}",
            reject.reject_message
        );
        for _ in 0..3 {
            assert!(is_unknown(
                &it.work("work", b"key", Plan::TrapLater)
                    .expect("it answers")
            ));
        }
        assert_eq!(
            it.executions("work"),
            1,
            "what it did before the await stands"
        );
        assert_eq!(
            it.executions("work, after the await"),
            0,
            "what it did after is undone"
        );
        assert_eq!(it.work("work", b"other", Plan::Answer), Ok(ok("2: done")));
    });
}

/// Shows G4.
#[test]
fn a_trap_in_a_later_round_is_unknown() {
    with_canister(|it| {
        let args = (b"key".to_vec(), Plan::HoldAndTrap);
        let held = it.hold(user(1), "work", args);
        it.finish(held).expect_err("it traps");
        assert!(is_unknown(
            &it.work("work", b"key", Plan::HoldAndTrap)
                .expect("it answers")
        ));
    });
}

#[test]
fn a_reply_over_the_limit_reaches_the_first_caller_only() {
    with_canister(|it| {
        let large = it
            .work("work_small", b"key", Plan::AnswerMuch)
            .expect("it answers");
        assert_eq!(large, Ok("x".repeat(2_000)));
        let again = it
            .work("work_small", b"key", Plan::AnswerMuch)
            .expect("it answers");
        assert!(
            matches!(
                again,
                Err(Failure::Idempotency(Refusal::ReplyDropped { .. }))
            ),
            "{again:?}"
        );
        assert_eq!(it.executions("work_small"), 1);
    });
}

/// Shows G1.
#[test]
fn many_at_once_each_run_once() {
    with_canister(|it| {
        let send = |number: u8| {
            let args = (vec![number], Plan::Answer);
            it.canister
                .send(user(number), "work", args)
                .expect("it is accepted")
        };
        let sent: Vec<_> = (0..40).map(|number| send(number % 20)).collect();
        let answers: Vec<Answer> = sent
            .into_iter()
            .map(|sent| it.canister.answer(sent).expect("it answers"))
            .collect();
        assert_eq!(it.executions("work"), 20);
        assert_eq!(it.executions("work, after the await"), 20);
        for (first, second) in answers[..20].iter().zip(&answers[20..]) {
            // Either may be executed first.
            let waiting = [first, second].map(is_in_progress);
            assert!(
                waiting[0] != waiting[1] || first == second && !waiting[0],
                "{first:?} and {second:?}"
            );
        }
    });
}

/// Neither is the attempt's guard dropped nor does the attempt go on: it looks as if it waited for a callee.
///
/// Shows G4.
#[test]
fn after_a_trap_in_the_cleanup_the_outcome_is_unknown_once_the_window_is_over() {
    with_canister(|it| {
        let retry = || it.work("work", b"key", Plan::TrapInCleanup);
        retry().expect_err("it traps");
        assert!(is_in_progress(&retry().expect("it answers")));
        it.wait(HOUR);
        for _ in 0..5 {
            it.wait(PARTITION);
            it.run_timers();
            assert!(is_unknown(&retry().expect("it answers")));
            it.wait(HOUR);
        }
        assert_eq!((it.executions("work"), it.stats().main.entries), (1, 0));
    });
}
