//! Partitions: what is kept past its window, a full table, and numbers that come round.

use super::{
    cases::{execute, request},
    harness::{START, TestMemory},
    hashed,
};
use crate::{
    admission::{self, Decision, Request},
    error::IdempotencyError,
    identity::Identity,
    policy::Policy,
    store::{Reply, Store, record::Requests},
    table::Family,
    time::Timestamp,
};
use std::time::Duration;

const MINUTE: u64 = 60_000_000_000;
const DAY: u64 = 24 * 60 * MINUTE;

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn open(memory: &TestMemory, policy: Policy, now: u64) -> Store<TestMemory> {
    Store::open(memory.clone(), policy, at(now)).unwrap()
}

fn numbered(number: u64) -> Request {
    Request {
        identity: hashed(number),
        ..request(0, 0, None)
    }
}

/// One request each `interval` for `days`, and then as many at once as are let in: how many, and when the next is.
fn burst(policy: Policy, interval: u64, days: u64) -> (Store<TestMemory>, u64, u64) {
    let store = open(&TestMemory::new(u64::MAX), policy, START);
    let before = days * DAY / interval;
    for number in 0..before {
        execute(&store, &numbered(number), START + number * interval, b"x");
    }
    let now = START + days * DAY;
    for number in before.. {
        match admission::admit(&store, &numbered(number), at(now)) {
            Decision::Execute(ticket) => store.record(&ticket, b"x").unwrap(),
            Decision::Refuse(IdempotencyError::Full { retry_after }) => {
                return (store, number - before, retry_after.as_nanos() - now);
            }
            other => panic!("{other:?}"),
        }
    }
    unreachable!("the store has a capacity")
}

#[test]
fn what_is_retained_past_its_window_keeps_no_new_request_out() {
    let hour = 60 * MINUTE;
    let capacity = 1_000;
    for (window, retention_days) in [(hour, 10), (DAY, 30), (hour, 365), (DAY, 0)] {
        let policy = Policy::new()
            .window(Duration::from_nanos(window))
            .drift(Duration::ZERO)
            .retention(Duration::from_nanos(retention_days * DAY))
            .capacity(capacity);
        let interval = window / 40;
        let days = (30 * window / DAY).max(1);
        let (store, burst, wait) = burst(policy, interval, days);
        // Besides what is in its window there is what expires together with some of it, within an eighth of the window.
        let others = window / interval + window / 8 / interval + 1;
        assert!(burst >= capacity - others, "{burst} of {capacity}");
        assert!(wait <= window / 8);
        assert_eq!(store.stats().entries, capacity);
    }
}

#[test]
fn what_there_is_room_for_is_retained_for_as_long_as_the_policy_says() {
    let policy = Policy::new().retention(Duration::from_nanos(30 * DAY));
    let store = open(&TestMemory::new(u64::MAX), policy, START);
    for hour in 0..40 * 24 {
        let now = START + hour * 60 * MINUTE;
        execute(&store, &numbered(hour), now, &hour.to_le_bytes());
        // A window and retention ago.
        if let Some(first) = hour.checked_sub(31 * 24) {
            let answer = admission::admit(&store, &numbered(first), at(now));
            assert_eq!(
                answer,
                Decision::Replay(Reply::first(first.to_le_bytes().to_vec()))
            );
        }
    }
    assert!(store.stats().entries <= 33 * 24);
}

/// A partition lives for no longer than its requests must, however long the table is full of what is retained.
#[test]
fn a_full_table_gives_up_what_it_retains() {
    let window = 60 * MINUTE;
    let policy = Policy::new()
        .window(Duration::from_nanos(window))
        .drift(Duration::ZERO)
        .retention(Duration::from_nanos(365 * DAY));
    let store = open(&TestMemory::new(u64::MAX), policy, START);
    for number in 0..1_000 {
        let now = START + number * 6 * MINUTE;
        execute(&store, &numbered(number), now, b"x");
        let until = store.guaranteed_until(&hashed(number)).unwrap().unwrap();
        assert!(until <= at(now + window + window / 8));
    }
    // Sixty times the window, in partitions of an eighth of it.
    let held = store.stats().entries;
    assert!((600..=650).contains(&held), "{held}");
}

/// Each time that the window is made a partition longer, the next request begins one.
#[test]
fn a_full_table_in_which_nothing_has_expired_forgets_nothing() {
    let memory = TestMemory::new(u64::MAX);
    let policy = |window| {
        Policy::new()
            .drift(Duration::ZERO)
            .window(Duration::from_nanos(window))
    };
    let most = u64::from(Requests::MOST_PARTITIONS);
    let mut window = 1_000;
    for number in 0..most {
        let store = open(&memory, policy(window), START);
        execute(&store, &numbered(number), START, b"x");
        assert_eq!(store.inner.borrow().requests.len() as u64, number + 1);
        window += window / 16;
    }
    let store = open(&memory, policy(2 * window), START);
    execute(&store, &numbered(most), START, b"last");
    for now in [START + window, START + 2 * window] {
        store.evict(at(now), u32::MAX).unwrap();
        let answer = admission::admit(&store, &numbered(most), at(now));
        assert_eq!(answer, Decision::Replay(Reply::first(b"last".to_vec())));
    }
}

/// A slot that nobody needed since leads into a partition that has the number of its own, where its record still lies.
#[test]
#[cfg_attr(miri, ignore = "it would take an hour")]
fn a_slot_of_the_last_round_of_numbers_leads_nowhere() {
    const NUMBERS: u64 = 1 << 15;
    let policy = Policy::new()
        .window(Duration::from_nanos(32))
        .drift(Duration::ZERO);
    let store = open(&TestMemory::new(u64::MAX), policy, START);
    let keyed = |key: u64| Request {
        identity: Identity([key as u8; 24]),
        ..request(0, 0, None)
    };
    // Partitions are written over from their beginnings on: so it lies behind others.
    for number in 0..100 {
        execute(&store, &numbered(number), START, b"others");
    }
    execute(&store, &keyed(0), START, b"old");
    let mut refound = false;
    for later in 1..=NUMBERS + 40 {
        let now = START + later;
        execute(&store, &keyed(100 + later % 40), now, b"new");
        let inner = store.inner.borrow();
        let first = inner.requests.oldest_number(inner.header());
        drop(inner);
        refound |= later > 40 && first == 0;
        let answer = admission::admit(&store, &keyed(0), at(now));
        let is_kept = later <= 32;
        assert_eq!(
            is_kept,
            matches!(answer, Decision::Replay(_)),
            "{later}: {answer:?}"
        );
    }
    assert!(refound, "the numbers have not come round");
}
