//! Memory of a `MemoryManager` that can't grow any more: there growing is a trap, and no value.

use super::{
    cases::{admitted, execute, request},
    harness::{START, TestMemory},
    hashed,
    lanes::{lane_of, scope_identity_of},
};
use crate::{
    admission::{self, Decision, Request},
    error::IdempotencyError,
    identity::Identity,
    policy::Policy,
    sequence::{MOST_IN_FLIGHT, Sequence},
    store::{OpenError, Origin, Reply, Store},
    time::Timestamp,
};
use ic_stable_structures::{
    Memory,
    memory_manager::{MemoryId, MemoryManager, VirtualMemory},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

const WINDOW: u64 = 3_200;

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn policy() -> Policy {
    Policy::new()
        .window(Duration::from_nanos(WINDOW))
        .drift(Duration::ZERO)
        .max_reply_bytes(1_000)
        .max_counters(2)
}

fn numbered(number: u64) -> Request {
    Request {
        identity: hashed(number),
        ..request(0, 0, None)
    }
}

/// A store, and the memory beneath its `MemoryManager`.
fn managed(policy: Policy) -> (Store<VirtualMemory<TestMemory>>, TestMemory) {
    let memory = TestMemory::new(u64::MAX);
    // Each page is asked for by itself.
    let manager = MemoryManager::init_with_bucket_size(memory.clone(), 1);
    let store = Store::open(manager.get(MemoryId::new(1)), policy, at(START)).unwrap();
    (store, memory)
}

/// Executes new requests until one is refused; how many.
fn fill(store: &Store<VirtualMemory<TestMemory>>, from: u64, now: u64, reply: &[u8]) -> u64 {
    for number in from.. {
        match admission::admit(store, &numbered(number), at(now)) {
            Decision::Execute(ticket) => store.record(&ticket, reply).unwrap(),
            Decision::Refuse(IdempotencyError::Full { .. }) => return number - from,
            other => panic!("{other:?}"),
        }
    }
    unreachable!("the store has a capacity")
}

#[test]
#[cfg_attr(miri, ignore = "it would take an hour")]
fn a_preallocated_store_never_grows_and_holds_all_that_its_policy_says() {
    for (capacity_bytes, reply) in [(4 << 20, 200), (1 << 20, 0), (1 << 20, 1_000)] {
        let policy = policy().capacity_bytes(capacity_bytes).preallocate();
        let (store, memory) = managed(policy);
        let pages = memory.size();
        let each = if reply > 64 { 128 + reply } else { 128 };
        // Room for the largest reply is found before each.
        let most = (capacity_bytes - 1_000 - 128) / each + 1;
        let mut number = 0;
        for round in 0..3 {
            let now = START + round * 2 * WINDOW;
            let taken = fill(&store, number, now, &vec![7; reply as usize]);
            assert_eq!(taken, most, "in round {round}");
            number += taken;
        }
        // Nor where its policy says more than it has taken.
        let inner = store.inner.borrow();
        assert!(!inner.reserve_segments(&policy.max_reply_bytes(16 << 20), 0));
        assert_eq!(memory.size(), pages);
    }
}

#[test]
fn a_preallocated_store_gives_up_what_it_retains() {
    let policy = policy()
        .capacity_bytes(1 << 20)
        .retention(Duration::from_secs(3_600))
        .preallocate();
    let (store, memory) = managed(policy);
    memory.limit(memory.size());
    for number in 0..3_000 {
        execute(&store, &numbered(number), START + number * 50, &[7; 1_000]);
    }
}

#[test]
fn a_preallocated_store_drops_replies() {
    let policy = policy()
        .capacity_bytes(1 << 18)
        .drop_replies()
        .preallocate();
    let (store, memory) = managed(policy);
    memory.limit(memory.size());
    for number in 0..1_000 {
        execute(&store, &numbered(number), START, &[7; 1_000]);
    }
}

#[test]
fn what_is_preallocated_follows_the_policy() {
    let small = policy().capacity_bytes(1 << 20).preallocate();
    let large = small.capacity_bytes(4 << 20);
    let memory = TestMemory::new(u64::MAX);
    let open = |policy| Store::open(memory.clone(), policy, at(START)).map(drop);
    open(small).unwrap();
    let pages = memory.size();
    open(small).unwrap();
    assert_eq!(memory.size(), pages);
    memory.limit(pages);
    assert_eq!(open(large), Err(OpenError::OutOfMemory));
    memory.limit(u64::MAX);
    open(large).unwrap();
    assert!(memory.size() >= pages + (3 << 20) / (64 << 10));
}

/// The trap that the policy's docs tell of.
#[test]
fn where_growing_traps_nothing_has_happened_and_retries_are_answered() {
    let (store, memory) = managed(policy());
    let (running, last) = (numbered(1 << 32), numbered(1 << 33));
    let ticket = admitted(&store, &running, START);
    let attempt = store.begin(&ticket, &Origin::NOWHERE).unwrap();
    for number in 0..1_000 {
        execute(&store, &numbered(number), START, &[7; 1_000]);
    }
    memory.limit(memory.size());
    let mut number = 1_000;
    let trapped = loop {
        let admit = || admission::admit(&store, &numbered(number), at(START));
        match catch_unwind(AssertUnwindSafe(admit)) {
            Ok(Decision::Execute(ticket)) => store.record(&ticket, &[7; 1_000]).unwrap(),
            Ok(other) => panic!("{other:?}"),
            Err(trap) => break trap,
        }
        number += 1;
    };
    let text = trapped.downcast_ref::<String>().unwrap();
    assert!(text.contains("grow failed"), "{text}");
    for number in 0..number {
        let answer = admission::admit(&store, &numbered(number), at(START));
        assert_eq!(answer, Decision::Replay(Reply::first(vec![7; 1_000])));
    }
    let done = store.complete(&ticket, attempt, Some(Reply::first(&[7; 1_000])), at(START));
    assert_eq!(done, Ok(true));
    // What has expired makes room that needs no growing.
    execute(&store, &last, START + 2 * WINDOW, &[7; 1_000]);
}

/// Each ends in a lane and a quota of its own, whose counters lie in a partition that is no longer the newest.
#[test]
#[cfg_attr(miri, ignore = "it would take an hour")]
fn thousands_under_way_in_lanes_end_in_a_memory_that_can_not_grow() {
    let attempts = 20_000;
    let policy = policy()
        .max_reply_bytes(64)
        .max_counters(2 * attempts)
        .counter_idle(Duration::ZERO)
        .quota(1, 64);
    let (store, memory) = managed(policy);
    let request = |number: u64| {
        let [caller, lane] = [number % 200, number / 200];
        let sequence = Sequence {
            lane: lane_of(caller as u8, lane),
            number: 0,
            max_in_flight: MOST_IN_FLIGHT,
            first_incomplete: None,
            is_shared: false,
        };
        Request {
            identity: Identity::of_number(&sequence.lane, 0),
            sequence: Some(sequence),
            scope: Some(scope_identity_of(number)),
            ..request(0, 0, None)
        }
    };
    let running: Vec<_> = (0..attempts)
        .map(|number| {
            let ticket = admitted(&store, &request(number), START);
            let attempt = store.begin(&ticket, &Origin::NOWHERE).unwrap();
            (ticket, attempt)
        })
        .collect();
    memory.limit(memory.size());
    for (number, (ticket, attempt)) in running.iter().enumerate() {
        // Over most of a window, in which several partitions of counters begin.
        let now = at(START + WINDOW / 2 + WINDOW / 2 * number as u64 / attempts);
        let done = store.complete(ticket, *attempt, Some(Reply::first(&[7; 64])), now);
        assert_eq!(done, Ok(true), "{number}");
    }
    assert_eq!(store.stats().entries, attempts);
}
