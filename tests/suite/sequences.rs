//! Sequence numbers: which runs, which is answered from memory, and which is refused.

use crate::common::{
    Answer, Failure, Fixture, HOUR, PARTITION, Refusal, gap, ok, refused, used, with_canister,
};
use integration_tests::user;

fn stream(it: &Fixture<'_>, number: u64, first_incomplete: Option<u64>) -> Answer {
    it.canister
        .update(user(1), "stream", (number, first_incomplete, "data"))
        .expect("it answers")
}

/// Shows G1.
#[test]
fn strict_numbers_run_one_after_the_other() {
    with_canister(|it| {
        for number in 0..5 {
            assert_eq!(it.step("step", number + 1, "early"), gap(number));
            assert_eq!(
                it.step("step", number, "hi"),
                ok(&format!("{}: hi", number + 1))
            );
        }
        assert_eq!(it.step("step", u64::MAX, "far"), gap(5));
        for number in 0..5 {
            assert_eq!(
                it.step("step", number, "hi"),
                ok(&format!("{}: hi", number + 1))
            );
            assert_eq!(
                it.step("step", number, "other"),
                refused(Refusal::KeyReused)
            );
        }
        assert_eq!(it.executions("step"), 5);
    });
}

/// Shows G1.
#[test]
fn pipelined_numbers_run_in_any_order_within_the_window() {
    with_canister(|it| {
        assert_eq!(stream(&it, 64, None), gap(0));
        for (execution, number) in (1..=63).zip((1..64).rev()) {
            assert_eq!(stream(&it, number, None), ok(&format!("{execution}: data")));
            assert_eq!(it.next_sequence("stream", 0), 0, "0 is missing");
        }
        assert_eq!(stream(&it, 64, None), gap(0), "the window is full");
        assert_eq!(stream(&it, 0, None), ok("64: data"));
        assert_eq!(it.next_sequence("stream", 0), 64);
        assert_eq!(stream(&it, 128, None), gap(64));
        assert_eq!(stream(&it, 127, None), ok("65: data"));
        for number in 1..64 {
            assert_eq!(
                stream(&it, number, None),
                ok(&format!("{}: data", 64 - number))
            );
        }
        assert_eq!(it.executions("stream"), 65);
    });
}

/// Shows G2.
#[test]
fn a_replay_is_the_first_reply_byte_for_byte() {
    with_canister(|it| {
        let strict = candid::encode_args((0u64, "hi")).expect("it encodes");
        let pipelined = candid::encode_args((7u64, None::<u64>, "hi")).expect("it encodes");
        for (endpoint, arg) in [("step", strict), ("stream", pipelined)] {
            let call = || {
                let reply = it.canister.update_raw(user(1), endpoint, arg.clone());
                reply.expect("it answers")
            };
            let first = call();
            assert_eq!(first, call(), "{endpoint}");
            it.upgrade();
            assert_eq!(first, call(), "{endpoint}");
            assert_eq!(it.executions(endpoint), 1, "{endpoint}");
        }
    });
}

/// Shows G1, G2 and G8.
#[test]
fn the_last_number_of_a_strict_lane_is_answered_from_the_lane() {
    with_canister(|it| {
        let call = |number: u64| {
            let arg = candid::encode_one(number).expect("it encodes");
            it.canister.update_raw(user(1), "count_in_order", arg)
        };
        let is_refused = |number: u64, why: &str| {
            let reject = call(number).expect_err("it is refused");
            assert!(reject.reject_message.contains(why), "{number}: {reject:?}");
        };
        for number in 0..4 {
            is_refused(number + 1, "SequenceGap");
            let first = call(number).expect("it runs");
            assert_eq!(first, candid::encode_one(number + 1).expect("it encodes"));
            assert_eq!(call(number).as_ref(), Ok(&first));
            it.upgrade();
            assert_eq!(call(number).as_ref(), Ok(&first));
            for older in 0..number {
                is_refused(older, "SequenceTooOld");
            }
        }
        let stats = it.stats().lanes;
        assert_eq!((stats.entries, stats.bytes), (0, 0));
        it.wait(HOUR + PARTITION);
        it.run_timers();
        assert!(call(3).is_ok(), "as long as the lane is known");
        assert!(call(4).is_ok());
        is_refused(3, "SequenceTooOld");
        assert_eq!(it.executions("count_in_order"), 5);
        assert_eq!(it.next_sequence("count_in_order", 0), 5);
    });
}

#[test]
fn lanes_do_not_wait_for_each_other() {
    with_canister(|it| {
        let step = |lane: u64, number: u64| -> Answer {
            it.canister
                .update(user(1), "step_in_lane", (lane, number, "hi"))
                .expect("it answers")
        };
        assert_eq!(step(7, 0), ok("1: hi"));
        assert_eq!(step(u64::MAX, 0), ok("2: hi"));
        assert_eq!(step(7, 1), ok("3: hi"));
        assert_eq!(step(u64::MAX, 2), gap(1));
        assert_eq!(step(8, 1), gap(0));
        assert_eq!(step(7, 0), ok("1: hi"));
        assert_eq!(it.next_sequence("step_in_lane", 7), 2);
        assert_eq!(it.next_sequence("step_in_lane", u64::MAX), 1);
        assert_eq!(it.next_sequence("step_in_lane", 8), 0);
    });
}

/// Shows G10.
#[test]
fn callers_and_endpoints_have_counters_of_their_own() {
    with_canister(|it| {
        assert_eq!(it.step("step", 0, "hi"), ok("1: hi"));
        let other: Answer = it
            .canister
            .update(user(2), "step", (0u64, "hi"))
            .expect("it answers");
        assert_eq!(other, ok("2: hi"));
        assert_eq!(it.step("step_together", 0, "hi"), ok("1: hi"));
        assert_eq!(it.next_sequence("step_dated", 0), 0);
    });
}

#[test]
fn all_callers_share_a_global_lane() {
    with_canister(|it| {
        let step = |caller: u8, number: u64| -> Answer {
            it.canister
                .update(user(caller), "step_together", (number, "hi"))
                .expect("it answers")
        };
        assert_eq!(step(1, 0), ok("1: hi"));
        assert_eq!(step(2, 2), gap(1));
        assert_eq!(step(2, 1), ok("2: hi"));
        assert_eq!(
            step(3, 0),
            ok("1: hi"),
            "whoever knows the request gets the reply"
        );
        for caller in 1..4 {
            let next: u64 = it
                .canister
                .query(user(caller), "next_sequence_together", ())
                .expect("it answers");
            assert_eq!(next, 2);
        }
    });
}

#[test]
fn an_account_has_a_lane_whoever_calls() {
    with_canister(|it| {
        let step = |caller: u8, account: &str, number: u64| -> Answer {
            it.canister
                .update(user(caller), "step_of", (account, number, "hi"))
                .expect("it answers")
        };
        assert_eq!(step(1, "ours", 0), ok("1: hi of ours"));
        assert_eq!(step(2, "ours", 1), ok("2: hi of ours"));
        assert_eq!(step(2, "theirs", 1), gap(0));
        assert_eq!(step(2, "theirs", 0), ok("3: hi of theirs"));
        assert_eq!(step(2, "ours", 0), ok("1: hi of ours"));
        for (account, next) in [("ours", 2u64), ("theirs", 1)] {
            let said = it.canister.query(user(3), "next_sequence_of", (account,));
            assert_eq!(said, Ok(next), "{account}");
        }
    });
}

#[test]
fn an_error_that_is_forgotten_leaves_its_number() {
    with_canister(|it| {
        let step = |number: u64, fails: bool| -> Answer {
            it.canister
                .update(user(1), "step_and_fail", (number, fails))
                .expect("it answers")
        };
        let failed = |text: &str| -> Answer { Err(Failure::Own(text.into())) };
        assert_eq!(step(0, true), failed("1: failed"));
        assert_eq!(it.next_sequence("step_and_fail", 0), 0);
        assert_eq!(step(1, false), gap(0));
        assert_eq!(step(0, true), failed("2: failed"));
        assert_eq!(step(0, false), ok("3: done"));
        assert_eq!(it.next_sequence("step_and_fail", 0), 1);
    });
}

#[test]
fn what_the_client_has_received_may_go() {
    with_canister(|it| {
        for number in 0..8 {
            assert_eq!(
                stream(&it, number, None),
                ok(&format!("{}: data", number + 1))
            );
        }
        let entries = it.stats().lanes.entries;
        // Two replies go with each request that is recorded.
        for number in 8..12 {
            let answer = stream(&it, number, Some(8));
            assert_eq!(answer, ok(&format!("{}: data", number + 1)));
        }
        assert_eq!(it.stats().lanes.entries, entries + 4 - 8);
        for number in 0..8 {
            assert_eq!(stream(&it, number, Some(8)), used(12));
        }
        for number in 8..12 {
            let again = stream(&it, number, Some(9));
            assert_eq!(again, ok(&format!("{}: data", number + 1)));
        }
        assert_eq!(it.executions("stream"), 12);
    });
}

#[test]
fn what_the_client_says_of_the_future_takes_nothing_away() {
    with_canister(|it| {
        for number in [0, 1, 3] {
            stream(&it, number, Some(u64::MAX)).expect("it runs");
        }
        assert!(stream(&it, 3, None).is_ok(), "2 has not come");
        assert!(
            stream(&it, 2, Some(u64::MAX)).is_ok(),
            "and runs when it comes"
        );
        assert_eq!(it.executions("stream"), 4);
    });
}
