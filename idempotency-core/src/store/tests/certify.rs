//! The tree of a store and its memory: room, damage, and what an older version leaves of it.

use super::{
    harness::{TestMemory, memory::PAGE_BYTES},
    hashed,
};
use crate::{
    admission::{self, Decision, Request},
    identity::{Fingerprint, Identity},
    policy::Policy,
    store::{Batch, Store},
    table::Damaged,
    time::Timestamp,
};
use proptest::prelude::*;
use std::time::Duration;

const WINDOW: u64 = 1_000;

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn policy() -> Policy {
    Policy::new()
        .window(Duration::from_nanos(WINDOW))
        .drift(Duration::ZERO)
        .capacity(10_000)
        .max_reply_bytes(100)
        .certify(Duration::ZERO)
}

fn without() -> Policy {
    Policy {
        certify: None,
        ..policy()
    }
}

fn request(identity: Identity) -> Request {
    Request {
        identity,
        fingerprint: Fingerprint::default(),
        created_at: None,
        sequence: None,
        scope: None,
    }
}

/// Executes a request; whether there was room.
fn execute(store: &Store<TestMemory>, number: u64, now: u64) -> bool {
    match admission::admit(store, &request(hashed(number)), at(now)) {
        Decision::Execute(ticket) => {
            store.record(&ticket, &[7; 60]).unwrap();
            true
        }
        Decision::Refuse(_) => false,
        Decision::Replay(_) => panic!("it is new"),
    }
}

fn certify(store: &Store<TestMemory>, now: u64) -> Option<Batch> {
    loop {
        let batch = store.certify(at(now)).unwrap();
        if batch != Some(Batch::HasMore) {
            return batch;
        }
    }
}

/// Requests are not refused where there is no room for the tree. When there is some again, nothing is missing.
#[test]
fn a_tree_without_room_is_made_later() {
    let memory = TestMemory::new(1_000);
    let store = Store::open(memory.clone(), policy(), at(0)).unwrap();
    for number in 0..3_000 {
        assert!(execute(&store, number, number / 100));
    }
    memory.limit(0);
    assert_eq!(certify(&store, 200), Some(Batch::NoRoom));
    assert!(execute(&store, 3_000, 200));
    memory.limit(1_000);
    assert_eq!(certify(&store, 300), Some(Batch::Done));
    let (parts, watermark) = store.whole_tree();
    assert_eq!(
        parts.iter().map(|(_, leaves)| leaves.len()).sum::<usize>(),
        3_001
    );
    assert_eq!(watermark.covered_after, at(0));
}

/// Nor where there is none for the queue: then the tree begins anew, and says that it does not know what was before.
#[test]
fn a_queue_without_room_is_begun_anew() {
    let memory = TestMemory::new(40);
    let store = Store::open(memory.clone(), policy(), at(0)).unwrap();
    let recorded = (0..10_000).take_while(|number| execute(&store, *number, number / 100));
    assert!(recorded.count() > 5_000);
    let inner = store.inner().unwrap();
    let newest = inner
        .requests
        .newest()
        .map(|newest| at(newest.until))
        .unwrap();
    drop(inner);
    // As if requests that ended had found none.
    store.lose_queue();
    memory.limit(1_000);
    assert_eq!(certify(&store, 300), Some(Batch::Done));
    let (parts, watermark) = store.whole_tree();
    assert!(parts.iter().all(|(_, leaves)| leaves.is_empty()));
    assert_eq!(watermark.covered_after, newest);
}

/// With room for all that the policy allows, there is room for the tree, too.
#[test]
fn preallocated_memory_has_room_for_the_tree() {
    let policy = policy().capacity(3_000).capacity_bytes(800_000);
    let memory = TestMemory::new(1_000);
    let store = Store::open(memory.clone(), policy.max_counters(2).preallocate(), at(0)).unwrap();
    memory.limit(0);
    for number in 0..3_000 {
        assert!(execute(&store, number, number / 3), "{number}");
        if number.is_multiple_of(500) {
            assert_eq!(certify(&store, number / 3), Some(Batch::Done));
        }
    }
    assert_eq!(certify(&store, WINDOW), Some(Batch::Done));
    // And the next window again.
    for number in 3_000..6_000 {
        assert!(execute(&store, number, number), "{number}");
    }
    assert_eq!(certify(&store, 6_000), Some(Batch::Done));
}

/// All pages that trees and queue have taken come back.
#[test]
fn switched_off_it_leaves_nothing_behind() {
    let memory = TestMemory::new(1_000);
    let free = |policy: Policy| {
        let store = Store::open(memory.clone(), policy, at(10)).unwrap();
        let inner = store.inner().unwrap();
        (inner.header().free_count, inner.header().pages)
    };
    let store = Store::open(memory.clone(), without(), at(0)).unwrap();
    for number in 0..100 {
        assert!(execute(&store, number, number));
    }
    drop(store);
    let (before, pages) = free(without());
    let store = Store::open(memory.clone(), policy(), at(100)).unwrap();
    for number in 100..4_000 {
        assert!(execute(&store, number, 101));
    }
    assert_eq!(certify(&store, 150), Some(Batch::Done));
    // Some changes are still in the queue.
    assert!(execute(&store, 4_000, 151));
    drop(store);
    let (after, pages_after) = free(without());
    assert!(after > before && pages_after > pages, "the tree was there");
    let features = |memory: &TestMemory| {
        let mut features = 0;
        memory.edit(|bytes| features = bytes[80]);
        features
    };
    assert_eq!(features(&memory), 0);
    free(policy());
    assert_eq!(features(&memory), 1);
    assert_eq!(free(without()).0, after, "a tree of nothing takes no page");
}

/// An older version opens the memory, ignores the trees, records something, and goes: then they are not to be believed.
#[test]
fn trees_that_an_older_version_ignored_begin_anew() {
    let memory = TestMemory::new(1_000);
    let store = Store::open(memory.clone(), policy(), at(0)).unwrap();
    for number in 0..100 {
        assert!(execute(&store, number, 0));
    }
    certify(&store, 1);
    drop(store);
    // It counts its heap, and nothing more.
    memory.edit(|bytes| bytes[8] += 1);
    let store = Store::open(memory, policy(), at(2)).unwrap();
    store.renew_tree(at(2)).unwrap();
    let witness = store.tree_witness(&hashed(7), None).unwrap().unwrap();
    let identity = hashed(7);
    let shown = witness.list_paths();
    let is_shown = |path: &Vec<ic_certification::Label>| {
        path.iter().any(|label| label.as_bytes() == identity.name())
    };
    assert!(!shown.iter().any(is_shown));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is written into the memory, there is an end, and no panic.
    #[test]
    fn damage_is_an_error(
        patches in prop::collection::vec((any::<u32>(), any::<u8>()), 1..40),
        requests in 1..400u64,
    ) {
        let memory = TestMemory::new(200);
        let store = Store::open(memory.clone(), policy(), at(0)).unwrap();
        for number in 0..requests {
            assert!(execute(&store, number, number / 10));
        }
        certify(&store, 40);
        for number in requests..requests + 10 {
            assert!(execute(&store, number, 41));
        }
        memory.edit(|bytes| {
            for (place, value) in patches {
                // Trees, queue and the header's part that is theirs; and anything else.
                let place = match place % 3 {
                    0 => 1_280 + place as usize / 3 % 2_816,
                    1 => 2 * PAGE_BYTES + place as usize / 3 % (bytes.len() - 2 * PAGE_BYTES),
                    _ => 2_048 + place as usize / 3 % 64,
                };
                bytes[place] = value;
            }
        });
        memory.allow(200_000);
        for _ in 0..3 {
            let _: Result<Option<Batch>, Damaged> = store.certify(at(50));
        }
        let _ = store.tree_root(at(50));
        for number in 0..20 {
            let _ = store.tree_witness(&hashed(number * 7), None);
        }
        let _ = store.evict(at(5_000), 100);
        drop(store);
        if let Ok(store) = Store::open(memory, policy(), at(60)) {
            let _ = store.certify(at(60));
            let _ = store.tree_root(at(60));
            let _ = store.tree_witness(&hashed(7), None);
        }
    }
}
