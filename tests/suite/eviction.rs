//! Forgetting: by timer when nobody calls, a bounded amount inline, and never what is running.

use crate::common::{HOUR, NANOSECOND, PARTITION, Plan, is_unknown, ok, with_canister};
use integration_tests::user;

/// Shows G6.
#[test]
fn the_timer_evicts_what_has_expired_and_not_before() {
    with_canister(|it| {
        for number in 0..100u64 {
            it.say("say", &number.to_le_bytes(), "hello")
                .expect("it answers");
        }
        let expiry = it.stats().main.oldest_expiry.expect("there are records");
        it.wait(HOUR - NANOSECOND * 1_000_000);
        it.run_timers();
        assert!(it.now() < expiry);
        assert_eq!(it.stats().main.entries, 100);
        // A run for each partition: the records may lie in two.
        for _ in 0..2 {
            it.wait(PARTITION);
            it.run_timers();
        }
        let stats = it.stats().main;
        assert_eq!(
            (stats.entries, stats.bytes, stats.oldest_expiry),
            (0, 0, None)
        );
    });
}

/// No other request sets it.
#[test]
fn the_timer_evicts_async_requests_too() {
    with_canister(|it| {
        let answer = it.work("work", b"key", Plan::Answer);
        assert_eq!(answer, Ok(ok("1: done")));
        assert_eq!(it.stats().main.entries, 1);
        it.wait(HOUR + PARTITION);
        it.run_timers();
        assert_eq!(it.stats().main.entries, 0);
    });
}

/// Shows G9.
#[test]
fn an_empty_store_sets_no_timer() {
    with_canister(|it| {
        let idle = |it: &crate::common::Fixture<'_>| {
            let ((), charged) = it.canister.cycles_charged(|| {
                for _ in 0..20 {
                    it.wait(HOUR);
                    it.run_timers();
                }
            });
            charged
        };
        // Storage is charged by time; a timer would be 20 runs of over 15 million cycles more.
        let at_first = idle(&it);
        assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
        it.wait(HOUR * 2);
        it.run_timers();
        assert_eq!(it.stats().main.entries, 0);
        let afterwards = idle(&it);
        assert!(
            afterwards < at_first + 100_000_000,
            "{at_first} cycles at first, {afterwards} after all was evicted"
        );
    });
}

/// Shows G9.
#[test]
fn a_request_evicts_no_more_than_its_share() {
    with_canister(|it| {
        for number in 0..50u64 {
            it.say("say", &number.to_le_bytes(), "hello")
                .expect("it answers");
        }
        it.replica.advance_time(HOUR * 2);
        let (_, usual) = it
            .canister
            .cycles_charged(|| it.say("say_loosely", b"after", "hello"));
        // Timers may have run in the same rounds; what the bound promises is that they need not.
        assert_eq!(it.executions("say_loosely"), 1);
        assert!(usual < 400_000_000, "{usual} cycles");
    });
}

/// Shows G4, G6.
#[test]
fn what_is_running_is_never_forgotten() {
    with_canister(|it| {
        let args = (b"key".to_vec(), Plan::Hold);
        let held = it.hold(user(1), "work", args);
        for _ in 0..3 {
            it.wait(HOUR * 2);
            it.run_timers();
            it.say("say", &it.now().to_le_bytes(), "hello")
                .expect("it answers");
        }
        let again = it.work("work", b"key", Plan::Hold).expect("it answers");
        assert!(is_unknown(&again), "past its window: {again:?}");
        assert_eq!(it.finish(held), Ok(ok("1: done")));
        assert_eq!(it.work("work", b"key", Plan::Hold), Ok(ok("1: done")));
        assert_eq!(it.executions("work"), 1);
    });
}
