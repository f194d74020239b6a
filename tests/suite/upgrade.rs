//! What an upgrade leaves: everything, and calls in flight unknown.

use crate::common::{Answer, HOUR, Plan, Refusal, is_unknown, ok, refused, with_canister};
use integration_tests::{TEST_CANISTER, user};

#[test]
fn records_survive_any_number_of_upgrades() {
    with_canister(|it| {
        assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
        for upgrade in 1..=3 {
            it.canister
                .upgrade(TEST_CANISTER, ())
                .expect("the upgrade succeeds");
            assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
            assert_eq!(it.say("say", b"key", "other"), refused(Refusal::KeyReused));
            assert_eq!(it.stats().0.incarnation, 1 + upgrade);
        }
        assert_eq!(it.executions("say"), 1);
    });
}

#[test]
fn a_call_in_flight_is_unknown_at_once_and_for_good() {
    with_canister(|it| {
        let args = (b"key".to_vec(), Plan::Hold);
        let sent = it
            .canister
            .send(user(1), "work", args)
            .expect("it is accepted");
        it.run_until_held();
        it.canister
            .upgrade(TEST_CANISTER, ())
            .expect("the upgrade succeeds");
        let again = it.work("work", b"key", Plan::Hold).expect("it answers");
        assert!(is_unknown(&again), "{again:?}");

        // The answer of the outcall arrives in a heap that knows nothing of it.
        it.answer_outcall();
        it.canister
            .answer::<Answer>(sent)
            .expect_err("nobody is left to answer");
        let again = it.work("work", b"key", Plan::Hold).expect("it answers");
        assert!(is_unknown(&again), "{again:?}");
        assert_eq!(it.executions("work"), 1);
        assert_eq!(it.executions("work, after the await"), 0);
        assert_eq!(
            it.say("say", b"key", "hello"),
            ok("1: hello"),
            "everything else works"
        );
    });
}

#[test]
fn reinstalling_forgets() {
    with_canister(|it| {
        assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
        it.canister
            .reinstall(TEST_CANISTER, ())
            .expect("the reinstall succeeds");
        assert_eq!(it.say("say", b"key", "other"), ok("1: other"));
    });
}

#[test]
fn opening_the_stores_costs_the_same_however_full_they_are() {
    with_canister(|it| {
        let cost = || {
            it.canister
                .upgrade(TEST_CANISTER, ())
                .expect("the upgrade succeeds");
            let cost: u64 = it
                .canister
                .query(user(1), "post_upgrade_instructions", ())
                .expect("it answers");
            cost
        };
        assert_eq!(it.say("say", b"first", "hello"), ok("1: hello"));
        let with_one = cost();
        for number in 0..500u64 {
            it.say("say", &number.to_le_bytes(), "hello")
                .expect("it answers");
        }
        let with_many = cost();
        assert!(with_one > 0);
        assert!(
            with_many < with_one + 50_000,
            "{with_one} instructions, then {with_many}"
        );
        assert!(
            with_many < 2_000_000,
            "{with_many} instructions for six stores"
        );
    });
}

#[test]
fn the_timer_is_set_again() {
    with_canister(|it| {
        assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
        it.canister
            .upgrade(TEST_CANISTER, ())
            .expect("the upgrade succeeds");
        it.wait(HOUR * 2);
        it.run_timers();
        assert_eq!(it.stats().0.entries, 0);
    });
}
