//! Sequence numbers over upgrades and long times: a number that was used is never used again.

use crate::common::{
    Answer, Fixture, HOUR, NANOSECOND, PARTITION, Refusal, gap, ok, refused, used, with_canister,
};
use integration_tests::user;
use std::time::Duration;

/// For how long a lane of the test canister is known when it is idle, and a quarter of that: lanes are forgotten together.
const IDLE: Duration = Duration::from_secs(5 * 3600 + 1);

fn step_dated(it: &Fixture<'_>, number: u64, created_at: u64) -> Answer {
    it.canister
        .update(user(1), "step_dated", (number, created_at, "hi"))
        .expect("it answers")
}

/// Shows G8.
#[test]
fn an_upgrade_between_call_and_retry_changes_nothing() {
    with_canister(|it| {
        for number in 0..4 {
            it.canister.lose_answer(user(1), "step", (number, "hi"));
            it.upgrade();
            assert_eq!(it.next_sequence("step", 0), number + 1);
            assert_eq!(
                it.step("step", number, "hi"),
                ok(&format!("{}: hi", number + 1))
            );
            assert_eq!(it.step("step", number + 2, "hi"), gap(number + 1));
        }
        assert_eq!(it.executions("step"), 4);
    });
}

/// Shows G1.
#[test]
fn a_number_stays_used_when_its_reply_has_expired() {
    with_canister(|it| {
        for number in 0..3 {
            it.step("step", number, "hi").expect("it runs");
        }
        it.wait(HOUR + PARTITION);
        it.run_timers();
        assert_eq!(it.stats().lanes.entries, 0);
        for number in 0..3 {
            assert_eq!(it.step("step", number, "hi"), used(3));
        }
        assert_eq!(it.step("step", 3, "hi"), ok("4: hi"));
    });
}

/// Shows G11.
#[test]
fn an_idle_lane_is_forgotten_by_the_timer_and_its_numbers_are_not() {
    with_canister(|it| {
        for number in 0..3 {
            it.step("step", number, "hi").expect("it runs");
        }
        it.wait(HOUR * 4 - NANOSECOND * 1_000_000_000);
        it.run_timers();
        assert_eq!(it.next_sequence("step", 0), 3, "not idle for long enough");
        it.wait(IDLE - HOUR * 4);
        it.run_timers();

        let floor = it.next_sequence("step", 0);
        assert!(floor > 3, "forgotten, and goes on at {floor}");
        for number in 0..3 {
            assert_eq!(it.step("step", number, "hi"), used(floor));
        }
        assert_eq!(
            it.step("step", 3, "hi"),
            used(floor),
            "never used, and never will be"
        );
        assert_eq!(it.step("step", floor + 1, "hi"), gap(floor));
        assert_eq!(it.step("step", floor, "hi"), ok("4: hi"));
        it.upgrade();
        assert_eq!(it.step("step", floor, "hi"), ok("4: hi"));
        assert_eq!(it.next_sequence("step", 0), floor + 1);
        assert_eq!(
            it.next_sequence("step_in_lane", 5),
            floor,
            "as do lanes that are new"
        );
    });
}

/// Shows G11.
#[test]
fn a_lane_in_use_is_never_forgotten() {
    with_canister(|it| {
        for number in 0..12 {
            assert_eq!(
                it.step("step", number, "hi"),
                ok(&format!("{}: hi", number + 1))
            );
            it.wait(HOUR);
            it.run_timers();
        }
        assert_eq!(it.next_sequence("step", 0), 12);
        assert_eq!(it.step("step", 0, "hi"), used(12));
    });
}

#[test]
fn numbers_and_creation_times_together() {
    with_canister(|it| {
        let first = it.now();
        assert_eq!(step_dated(&it, 0, first), ok("1: hi"));
        assert_eq!(step_dated(&it, 0, first), ok("1: hi"));
        let later = first + 1_000_000_000;
        assert_eq!(step_dated(&it, 0, later), refused(Refusal::KeyReused));
        assert_eq!(step_dated(&it, 1, 0), refused(Refusal::TooOld));
        assert!(step_dated(&it, 1, u64::MAX).is_err());
        assert_eq!(
            it.next_sequence("step_dated", 0),
            1,
            "a refusal takes no number"
        );
        assert_eq!(step_dated(&it, 2, it.now()), gap(1));
        let second = it.now();
        assert_eq!(step_dated(&it, 1, second), ok("2: hi"));

        it.wait(HOUR + PARTITION * 3);
        it.run_timers();
        assert_eq!(step_dated(&it, 1, second), refused(Refusal::TooOld));
        assert_eq!(
            step_dated(&it, 1, it.now()),
            used(2),
            "by its time it could run"
        );
        assert_eq!(step_dated(&it, 2, it.now()), ok("3: hi"));

        it.wait(IDLE);
        it.run_timers();
        assert_eq!(step_dated(&it, 2, second), refused(Refusal::TooOld));
        let floor = it.next_sequence("step_dated", 0);
        assert_eq!(step_dated(&it, 2, it.now()), used(floor));
        assert_eq!(step_dated(&it, floor, it.now()), ok("4: hi"));
        assert_eq!(it.executions("step_dated"), 4);
    });
}
