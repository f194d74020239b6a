//! The edges of the window, to the nanosecond.

use crate::common::{
    Answer, DRIFT, Failure, Fixture, HOUR, PARTITION, Refusal, ok, refused, with_canister,
};
use integration_tests::user;
use pocket_ic::Time;

/// Makes a call that executes exactly at `time`, which is later than the last round: only then is that the next one's.
fn at<T>(it: &Fixture<'_>, time: u64, call: impl FnOnce() -> T) -> T {
    assert!(time > it.now(), "a round of that time has been executed");
    it.replica.set_time(Time::from_nanos_since_unix_epoch(time));
    call()
}

fn window() -> u64 {
    HOUR.as_nanos() as u64
}

fn drift() -> u64 {
    DRIFT.as_nanos() as u64
}

#[test]
fn the_test_controls_time_to_the_nanosecond() {
    with_canister(|it| {
        let time = it.now() + 12_345;
        let seen = at(&it, time, || it.canister.update::<u64>(user(1), "time", ()));
        assert_eq!(seen, Ok(time));
    });
}

#[test]
fn created_at_at_the_old_edge() {
    for (nanoseconds_late, expected) in [
        (-1, ok("1: dated")),
        (0, ok("1: dated")),
        (1, refused(Refusal::TooOld)),
    ] {
        with_canister(|it| {
            let created_at = it.now();
            let time = (created_at + window() + drift()).saturating_add_signed(nanoseconds_late);
            let answer = at(&it, time, || it.say_dated(b"key", created_at));
            assert_eq!(answer, expected, "{nanoseconds_late} ns late");
        });
    }
}

#[test]
fn created_at_at_the_future_edge() {
    for (nanoseconds_early, is_taken) in [(-1, true), (0, true), (1, false)] {
        with_canister(|it| {
            let time = it.now() + 1_000;
            let created_at = (time + drift()).saturating_add_signed(nanoseconds_early);
            let expected = match is_taken {
                true => ok("1: dated"),
                false => refused(Refusal::CreatedInFuture { now: time }),
            };
            let answer = at(&it, time, || it.say_dated(b"key", created_at));
            assert_eq!(answer, expected, "{nanoseconds_early} ns early");
        });
    }
}

/// What a retry of a dated request gets at a time relative to its expiry, after another request made room.
fn retry_after_expiry(nanoseconds: i64) -> Answer {
    let mut answer = None;
    with_canister(|it| {
        let created_at = it.now();
        assert_eq!(it.say_dated(b"key", created_at), ok("1: dated"));
        let time = (created_at + window() + drift()).saturating_add_signed(nanoseconds);
        at(&it, time, || it.say("say", b"other", "hello")).expect("it answers");
        answer = Some(it.say_dated(b"key", created_at));
        assert_eq!(it.executions("say_dated"), 1);
    });
    answer.expect("the test ran")
}

/// Shows G1.
#[test]
fn a_dated_record_lives_until_its_last_nanosecond_and_runs_never_again() {
    let partition = PARTITION.as_nanos() as i64;
    assert_eq!(retry_after_expiry(-1), ok("1: dated"));
    assert_eq!(retry_after_expiry(0), ok("1: dated"));
    assert_eq!(retry_after_expiry(partition), refused(Refusal::TooOld));
    // In between it is kept for as long as its partition is.
    let best_effort = [ok("1: dated"), refused(Refusal::TooOld)];
    assert!(best_effort.contains(&retry_after_expiry(1)));
}

/// Shows G1.
#[test]
fn an_undated_record_lives_until_its_last_nanosecond() {
    let partition = PARTITION.as_nanos() as i64;
    for (nanoseconds, expected) in [
        (-1, ok("1: hello")),
        (0, ok("1: hello")),
        (partition, ok("2: hello")),
    ] {
        with_canister(|it| {
            let executed_at = it.now() + 1_000;
            at(&it, executed_at, || it.say("say", b"key", "hello")).expect("it answers");
            let time = (executed_at + window()).saturating_add_signed(nanoseconds);
            // Another request evicts what has expired, on the retry's behalf.
            at(&it, time, || it.say("say_loosely", b"other", "hello")).expect("it answers");
            assert_eq!(
                it.say("say", b"key", "hello"),
                expected,
                "{nanoseconds} ns after its expiry"
            );
        });
    }
}

/// Shows G7.
#[test]
fn a_late_retry_is_answered_while_the_record_is_there() {
    with_canister(|it| {
        let created_at = it.now();
        assert_eq!(it.say_dated(b"key", created_at), ok("1: dated"));
        let long_after = created_at + window() * 3;
        let answer = at(&it, long_after, || it.say_dated(b"key", created_at));
        let best_effort = [ok("1: dated"), Err(Failure::Idempotency(Refusal::TooOld))];
        assert!(best_effort.contains(&answer), "{answer:?}");
        assert_eq!(it.executions("say_dated"), 1);
    });
}

/// Shows G1, with no time but that in the key.
#[test]
fn a_uuid_of_version_7_runs_once_for_ever() {
    with_canister(|it| {
        let made = it.now();
        let uuid = |version: u8, number: u8| {
            let mut uuid = [0; 16];
            uuid[..6].copy_from_slice(&(made / 1_000_000).to_be_bytes()[2..]);
            (uuid[6], uuid[8], uuid[15]) = (version << 4, 0x80, number);
            uuid
        };
        let say = |uuid: [u8; 16]| it.say("say_timed", &uuid, "hello");
        assert_eq!(say(uuid(7, 1)), ok("1: hello"));
        it.upgrade();
        assert_eq!(say(uuid(7, 1)), ok("1: hello"));
        // Another key of the same time, and one of another version.
        assert_eq!(say(uuid(7, 2)), ok("2: hello"));
        let untimed = say(uuid(4, 1));
        let is_refused = matches!(
            untimed,
            Err(Failure::Idempotency(Refusal::Other { code: 5, .. }))
        );
        assert!(is_refused, "{untimed:?}");
        let late = made + 2 * (window() + drift());
        at(&it, late, || it.say("say", b"other", "hello")).expect("it answers");
        for number in [1, 2, 3] {
            assert_eq!(say(uuid(7, number)), refused(Refusal::TooOld));
        }
        assert_eq!(it.executions("say_timed"), 2);
    });
}
