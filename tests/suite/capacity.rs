//! A full store refuses what is new, answers what is known, and gives up nothing within its window.

use crate::common::{Answer, Failure, Fixture, HOUR, PARTITION, Plan, Refusal, ok, with_canister};
use integration_tests::user;

fn say_small(it: &Fixture<'_>, key: u64, bytes: u32) -> Answer {
    it.canister
        .update(user(1), "say_small", (key, bytes))
        .expect("it answers")
}

fn retry_after(answer: Answer) -> u64 {
    match answer {
        Err(Failure::Idempotency(Refusal::Full { retry_after })) => retry_after,
        other => panic!("expected Full, got {other:?}"),
    }
}

/// Shows G6.
#[test]
fn full_of_entries() {
    with_canister(|it| {
        for key in 1..=3 {
            assert_eq!(say_small(&it, key, 1), ok(&format!("{key}: x")));
        }
        let retry_at = retry_after(say_small(&it, 4, 1));
        assert_eq!(Some(retry_at - 1), it.stats().small.oldest_expiry);
        for key in 1..=3 {
            assert_eq!(
                say_small(&it, key, 1),
                ok(&format!("{key}: x")),
                "duplicates are served"
            );
        }
        let reused = say_small(&it, 1, 2);
        assert_eq!(reused, Err(Failure::Idempotency(Refusal::KeyReused)));
        assert_eq!(
            (it.executions("say_small"), it.stats().small.entries),
            (3, 3)
        );

        it.replica
            .set_time(pocket_ic::Time::from_nanos_since_unix_epoch(retry_at));
        assert_eq!(
            say_small(&it, 4, 1),
            ok("4: x"),
            "the time it named was right"
        );
    });
}

/// Shows G6.
#[test]
fn full_of_bytes() {
    with_canister(|it| {
        // 3,000 bytes in all, 128 for each record, and room for 1,000 more must be there before a call runs.
        assert!(say_small(&it, 1, 780).is_ok());
        let stats = it.stats().small;
        // The types of the reply, which come with it, take some 210.
        assert!(stats.bytes > 1_000 && stats.bytes < 1_150, "{stats:?}");
        assert!(say_small(&it, 2, 700).is_ok());
        retry_after(say_small(&it, 3, 1));
        let stats = it.stats().small;
        assert!(
            stats.bytes <= stats.capacity_bytes && stats.entries == 2,
            "{stats:?}"
        );
        assert!(say_small(&it, 1, 780).is_ok(), "duplicates are served");
    });
}

/// Shows G6.
#[test]
fn a_running_call_holds_room_for_its_reply() {
    with_canister(|it| {
        for key in [b"a", b"b"] {
            it.hold(user(1), "work_small", (key.to_vec(), Plan::Hold));
        }
        assert_eq!(it.stats().small.bytes, 2 * (128 + 1_000));
        retry_after(say_small(&it, 1, 1));
    });
}

/// Shows G6.
#[test]
fn a_full_store_makes_room_as_its_records_expire() {
    with_canister(|it| {
        for round in 0..3u64 {
            for key in 1..=3u64 {
                assert!(
                    say_small(&it, round * 10 + key, 1).is_ok(),
                    "round {round}, key {key}"
                );
            }
            retry_after(say_small(&it, round * 10 + 9, 1));
            it.wait(HOUR + PARTITION);
        }
    });
}

#[test]
fn one_store_being_full_is_no_matter_to_another() {
    with_canister(|it| {
        for key in 1..=3 {
            assert!(say_small(&it, key, 1).is_ok());
        }
        retry_after(say_small(&it, 4, 1));
        assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
    });
}
