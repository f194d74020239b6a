//! What a store may give up for room sooner than it refuses: records that it retains past their window, and, if its policy
//! says so, long replies.

use crate::common::{
    Answer, Failure, Fixture, HOUR, PARTITION, Refusal, ok, refused, with_canister,
};
use integration_tests::user;
use std::time::Duration;

const RETENTION: Duration = Duration::from_secs(24 * 3600);

fn say_retained(it: &Fixture<'_>, key: u8) -> Answer {
    it.say("say_retained", &[key], "hello")
}

fn say_long(it: &Fixture<'_>, key: u64, bytes: u32) -> Answer {
    it.canister
        .update(user(1), "say_long", (key, bytes))
        .expect("it answers")
}

/// The number of the execution that answered.
fn say_short(it: &Fixture<'_>, key: u64) -> u64 {
    it.canister
        .update(user(1), "say_short", (key,))
        .expect("it answers")
}

fn is_full(answer: &Answer) -> bool {
    matches!(
        answer,
        Err(Failure::Idempotency(Refusal::Full { retry_after: _ }))
    )
}

fn is_dropped(answer: &Answer) -> bool {
    matches!(
        answer,
        Err(Failure::Idempotency(Refusal::ReplyDropped {
            executed_at: _
        }))
    )
}

/// Shows G7.
#[test]
fn a_late_retry_is_answered_from_the_retained_record() {
    with_canister(|it| {
        assert_eq!(say_retained(&it, 1), ok("1: hello"));
        it.wait(HOUR * 20);
        // Timer and new requests forget what has expired in a store that does not retain.
        it.run_timers();
        assert_eq!(say_retained(&it, 2), ok("2: hello"));
        it.upgrade();
        it.run_timers();
        assert_eq!(say_retained(&it, 1), ok("1: hello"), "19 hours late");
        let reused = it.say("say_retained", &[1], "other");
        assert_eq!(reused, refused(Refusal::KeyReused));
        assert_eq!(
            (it.executions("say_retained"), it.stats().retaining.entries),
            (2, 2)
        );

        // After the retention the first is gone, and the second, as old by now as the first was then, is not.
        it.wait(RETENTION + HOUR + PARTITION - HOUR * 20);
        it.run_timers();
        assert_eq!(it.stats().retaining.entries, 1);
        assert_eq!(say_retained(&it, 2), ok("2: hello"));
        assert_eq!(say_retained(&it, 1), ok("3: hello"), "it runs again");
    });
}

/// Shows G6, G7.
#[test]
fn a_full_store_gives_up_what_it_retains_and_nothing_else() {
    with_canister(|it| {
        assert_eq!(say_retained(&it, 1), ok("1: hello"));
        it.wait(HOUR / 2);
        assert_eq!(say_retained(&it, 2), ok("2: hello"));
        assert_eq!(say_retained(&it, 3), ok("3: hello"));
        assert!(is_full(&say_retained(&it, 4)), "all are in their window");
        it.wait(HOUR / 2 + PARTITION);
        it.run_timers();
        assert_eq!(say_retained(&it, 1), ok("1: hello"), "retained");
        assert_eq!(it.stats().retaining.entries, 3);

        assert_eq!(say_retained(&it, 4), ok("4: hello"), "in its place");
        assert!(is_full(&say_retained(&it, 5)), "the rest is in its window");
        for (key, first) in [(2, "2: hello"), (3, "3: hello"), (4, "4: hello")] {
            assert_eq!(say_retained(&it, key), ok(first));
        }
        assert!(is_full(&say_retained(&it, 1)), "it is new, and refused");
        assert_eq!(
            (it.executions("say_retained"), it.stats().retaining.entries),
            (4, 3)
        );
    });
}

#[test]
fn the_oldest_long_replies_go_before_a_request_is_refused() {
    with_canister(|it| {
        // 3,000 bytes in all, 128 for each record, and room for 1,000 more must be there before a call runs.
        assert_eq!(say_short(&it, 10), 1);
        let first = say_long(&it, 1, 700);
        assert!(first.is_ok(), "{first:?}");
        let executed_by = it.now();
        it.wait(HOUR / 4);
        let second = say_long(&it, 2, 700);
        assert_eq!(say_long(&it, 1, 700), first, "there was room for both");
        it.wait(HOUR / 4);
        let third = say_long(&it, 3, 700);
        assert!(third.is_ok(), "a new request still runs: {third:?}");

        let retried = say_long(&it, 1, 700);
        let Err(Failure::Idempotency(Refusal::ReplyDropped { executed_at })) = retried else {
            panic!("expected ReplyDropped, got {retried:?}");
        };
        assert!(executed_at <= executed_by + 1_000_000_000, "{executed_at}");
        assert_eq!(say_long(&it, 1, 701), refused(Refusal::KeyReused));
        assert_eq!(say_long(&it, 2, 700), second, "no more than it takes");
        assert_eq!(say_long(&it, 3, 700), third);
        assert_eq!(say_short(&it, 10), 1, "short replies stay");

        it.upgrade();
        assert!(is_dropped(&say_long(&it, 1, 700)), "for good");
        assert_eq!(say_long(&it, 2, 700), second);
        assert_eq!(say_short(&it, 10), 1);

        it.wait(HOUR / 8);
        assert!(say_long(&it, 4, 700).is_ok());
        assert!(is_dropped(&say_long(&it, 2, 700)), "the next oldest");
        assert_eq!(say_long(&it, 3, 700), third);
        let stats = it.stats().dropping;
        assert!(
            stats.entries == 5 && stats.bytes <= stats.capacity_bytes,
            "{stats:?}"
        );
        assert!(is_full(&say_long(&it, 5, 1)), "as many as it may remember");
        assert_eq!(
            (it.executions("say_long"), it.executions("say_short")),
            (4, 1)
        );
    });
}
