//! Requests that are running: for longer than their window, in a store that is full, in memory.

use super::{
    cases::{admitted, execute, request},
    harness::{START, TestMemory},
    hashed,
};
use crate::{
    admission::{self, Decision, Request, Ticket},
    error::IdempotencyError,
    identity::{Identity, Scope},
    policy::Policy,
    store::{Attempt, Origin, Reply, Stats, Store},
    time::Timestamp,
};
use candid::Principal;
use ic_stable_structures::Memory;
use std::time::Duration;

const WINDOW: u64 = 3_200;
/// By then what began at the start is past its window, and so are all that expire together with it.
const PAST: u64 = START + WINDOW + WINDOW / 32 + 1;

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn policy() -> Policy {
    Policy::new()
        .window(Duration::from_nanos(WINDOW))
        .drift(Duration::ZERO)
        .max_reply_bytes(1_000)
}

fn open(policy: Policy) -> Store<TestMemory> {
    Store::open(TestMemory::new(u64::MAX), policy, at(START)).unwrap()
}

fn numbered(number: u64) -> Request {
    Request {
        identity: hashed(number),
        ..request(0, 0, None)
    }
}

fn begin(store: &Store<TestMemory>, request: &Request, now: u64) -> (Ticket, Attempt) {
    let ticket = admitted(store, request, now);
    let attempt = store.begin(&ticket, &Origin::NOWHERE).unwrap();
    (ticket, attempt)
}

fn answer(store: &Store<TestMemory>, request: &Request, now: u64) -> Decision {
    admission::admit(store, request, at(now))
}

fn in_progress() -> Decision {
    Decision::Refuse(IdempotencyError::InProgress { since: at(START) })
}

fn unknown() -> Decision {
    Decision::Refuse(IdempotencyError::OutcomeUnknown { since: at(START) })
}

#[test]
fn what_runs_past_its_window_is_unknown_and_does_not_run_again() {
    let store = open(policy().capacity(1));
    let stuck = numbered(1);
    let (ticket, attempt) = begin(&store, &stuck, START);
    assert_eq!(answer(&store, &stuck, START + WINDOW), in_progress());
    assert_eq!(answer(&store, &stuck, START + WINDOW + 1), unknown());
    // Its room is another's, ten times over.
    for number in 2..12 {
        let now = PAST + number * 2 * WINDOW;
        execute(&store, &numbered(number), now, b"x");
        assert_eq!(answer(&store, &stuck, now), unknown());
        let other = Request {
            fingerprint: request(0, 1, None).fingerprint,
            ..stuck.clone()
        };
        let reused = Decision::Refuse(IdempotencyError::KeyReused);
        assert_eq!(answer(&store, &other, now), reused);
    }
    // It ends after all, when there is room.
    let now = PAST + 100 * WINDOW;
    store.evict(at(now), u32::MAX).unwrap();
    assert_eq!(store.stats().bytes, 0);
    let done = store.complete(&ticket, attempt, Some(Reply::first(b"late")), at(now));
    assert_eq!(done, Ok(true));
    let late = Decision::Replay(Reply::first(b"late".to_vec()));
    assert_eq!(answer(&store, &stuck, now + WINDOW), late);
    let again = store.complete(&ticket, attempt, Some(Reply::first(b"again")), at(now));
    assert_eq!(again, Ok(false));
}

#[test]
fn what_is_interrupted_past_its_window_is_remembered_for_another() {
    let store = open(policy());
    let (ticket, attempt) = begin(&store, &numbered(1), START);
    store.evict(at(PAST), u32::MAX).unwrap();
    assert_eq!(store.interrupt(&ticket, attempt, at(PAST)), Ok(true));
    assert_eq!(answer(&store, &numbered(1), PAST + WINDOW), unknown());
}

#[test]
fn what_ends_past_its_window_takes_nobodys_room() {
    let store = open(policy().capacity(1));
    let (ticket, attempt) = begin(&store, &numbered(1), START);
    execute(&store, &numbered(2), PAST, b"x");
    let before = store.stats();
    assert_eq!(before.in_progress, 1);
    let done = store.complete(&ticket, attempt, Some(Reply::first(&[1; 1_000])), at(PAST));
    assert_eq!(done, Ok(true));
    let after = Stats {
        in_progress: 0,
        ..before
    };
    assert_eq!(store.stats(), after);
}

#[test]
fn what_runs_past_its_window_counts_against_no_quota() {
    let store = open(policy().quota(1, 1_000));
    let scope = Identity::of_scope("pay", &Scope::Caller, &Principal::from_slice(&[1])).unwrap();
    let counted = |number| Request {
        sequence: None,
        scope: Some(scope),
        ..numbered(number)
    };
    let (ticket, attempt) = begin(&store, &counted(1), START);
    let exceeded = |decision| {
        matches!(
            decision,
            Decision::Refuse(IdempotencyError::QuotaExceeded { .. })
        )
    };
    assert!(exceeded(answer(&store, &counted(2), START + WINDOW)));
    // What is counted is so for up to a sixth of the window longer.
    let now = PAST + WINDOW / 6;
    execute(&store, &counted(2), now, b"x");
    // Nor does it come in again where the quota is used up.
    let done = store.complete(&ticket, attempt, Some(Reply::first(b"late")), at(now));
    assert_eq!(done, Ok(true));
    assert_eq!(store.stats().entries, 1);
    assert!(exceeded(answer(&store, &counted(3), now)));
}

#[test]
fn an_async_request_counts_once() {
    let entries = 10;
    let store = open(policy().quota(entries, entries * 1_024));
    let scope = Identity::of_scope("pay", &Scope::Caller, &Principal::from_slice(&[1])).unwrap();
    for number in 0..=entries {
        let counted = Request {
            sequence: None,
            scope: Some(scope),
            ..numbered(number)
        };
        let decision = answer(&store, &counted, START);
        let Decision::Execute(ticket) = decision else {
            assert_eq!(number, entries, "{decision:?}");
            return;
        };
        let attempt = store.begin(&ticket, &Origin::NOWHERE).unwrap();
        let done = store.complete(&ticket, attempt, Some(Reply::first(&[1; 1_000])), at(START));
        assert_eq!(done, Ok(true));
        let usage = store.usage(&scope, at(START)).unwrap().counter;
        assert_eq!(usage.taken(START), (number + 1, (number + 1) * 1_024));
    }
    panic!("more than the quota were taken");
}

#[test]
fn who_waits_for_room_that_is_kept_for_replies_is_told_no_time_too_late() {
    let store = open(policy().capacity_bytes(3_000));
    let running = [1, 2].map(|number| begin(&store, &numbered(number), START));
    let full = |retry_after| Decision::Refuse(IdempotencyError::Full { retry_after });
    assert_eq!(answer(&store, &numbered(3), START), full(at(START + 1)));
    for (ticket, attempt) in running {
        store
            .complete(
                &ticket,
                attempt,
                Some(Reply::first(&[1; 900])),
                at(START + 1),
            )
            .unwrap();
    }
    // Now it is the replies themselves.
    let expiry = store.stats().oldest_expiry.unwrap().as_nanos();
    assert_eq!(
        answer(&store, &numbered(3), START + 1),
        full(at(expiry + 1))
    );
}

#[test]
#[cfg_attr(miri, ignore = "it would take an hour")]
fn async_requests_take_no_more_memory_than_their_capacity() {
    let policy = policy().max_reply_bytes(64).capacity_bytes(4 << 20);
    let pages = [false, true].map(|is_async| {
        let memory = TestMemory::new(u64::MAX);
        let store = Store::open(memory.clone(), policy, at(START)).unwrap();
        for number in 0.. {
            let Decision::Execute(ticket) = answer(&store, &numbered(number), START) else {
                break;
            };
            if is_async {
                let attempt = store.begin(&ticket, &Origin::NOWHERE).unwrap();
                let reply = Some(&[1; 64][..]);
                store
                    .complete(&ticket, attempt, reply.map(Reply::first), at(START))
                    .unwrap();
            } else {
                store.record(&ticket, &[1; 64]).unwrap();
            }
        }
        assert_eq!(store.stats().entries, (policy.capacity_bytes - 64) / 128);
        memory.size()
    });
    assert_eq!(pages[0], pages[1]);
    let capacity_pages = policy.capacity_bytes / (64 << 10);
    // Header, root, and growing by a megabyte.
    assert!(pages[1] <= capacity_pages + 24, "{} pages", pages[1]);
}

/// Records from before those that the table knows of get replies after them.
#[test]
fn replies_that_come_late_are_there_after_an_upgrade() {
    let memory = TestMemory::new(u64::MAX);
    let open = |now| Store::open(memory.clone(), policy(), at(now)).unwrap();
    let store = open(START);
    let running: Vec<_> = (0..5)
        .map(|number| begin(&store, &numbered(number), START))
        .collect();
    for number in 10..200 {
        execute(&store, &numbered(number), START, &[number as u8; 90]);
    }
    let reply = |number: u64| vec![number as u8; 100 + number as usize];
    for (number, (ticket, attempt)) in running.iter().enumerate() {
        let reply = reply(number as u64);
        store
            .complete(ticket, *attempt, Some(Reply::first(&reply)), at(START))
            .unwrap();
    }
    let stats = store.stats();
    drop(store);
    let store = open(START);
    assert_eq!(store.stats().bytes, stats.bytes);
    execute(&store, &numbered(1_000), START, &[9; 1_000]);
    for number in 0..5 {
        let kept = Decision::Replay(Reply::first(reply(number)));
        assert_eq!(answer(&store, &numbered(number), START), kept);
    }
    for number in 10..200 {
        let kept = Decision::Replay(Reply::first(vec![number as u8; 90]));
        assert_eq!(answer(&store, &numbered(number), START), kept);
    }
}

#[test]
fn replies_are_dropped_when_there_is_no_room_and_new_ones_are_kept() {
    let policy = policy().capacity(100).capacity_bytes(5_000).drop_replies();
    let memory = TestMemory::new(u64::MAX);
    let mut store = Store::open(memory.clone(), policy, at(START)).unwrap();
    let mut dropped = 0;
    for number in 0..20 {
        execute(&store, &numbered(number), START, &[number as u8; 700]);
        if number % 3 == 0 {
            drop(store);
            store = Store::open(memory.clone(), policy, at(START)).unwrap();
        }
        let newest = Decision::Replay(Reply::first(vec![number as u8; 700]));
        assert_eq!(answer(&store, &numbered(number), START), newest);
        assert!(store.stats().bytes <= 5_000);
        let executed_at = at(START);
        let is_dropped = |number: &u64| {
            answer(&store, &numbered(*number), START)
                == Decision::Refuse(IdempotencyError::ReplyDropped { executed_at })
        };
        // As many as before, or all but the newest.
        let now_dropped = (0..number).filter(is_dropped).count() as u64;
        assert!([dropped, number].contains(&now_dropped), "{now_dropped}");
        dropped = now_dropped;
    }
    assert!(dropped >= 15, "{dropped}");
}
