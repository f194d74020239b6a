//! The store and its opponents at one size.

use crate::{
    Progress,
    results::{Results, grouped},
    subject::{REPLY_BYTES, SAMPLES, Subject, replica_at_epoch},
};
use bench_work::{LANES, Operation, Room, STEP, WINDOW, Who};
use integration_tests::{BENCH_CANISTER, user};

const PAGE_BYTES: u64 = 65_536;

/// When this request expires, every lane has been idle for long enough.
const IDLE_FOR_LONG: u64 = 4 * (WINDOW.as_nanos() / STEP.as_nanos()) as u64;

/// Requests that exist in no size.
const UNKNOWN: u64 = 1 << 40;

/// The name of a contestant in the results.
fn name(who: Who) -> &'static str {
    match who {
        Who::Store => "store",
        Who::Aliased => "aliased",
        Who::Sequences => "sequence",
        Who::Certified => "certified",
        Who::TwoBtrees => "two_btrees",
        Who::HeapPair => "heap_pair",
    }
}

pub(crate) fn run(who: Who, entries: u64, results: &mut Results, progress: &Progress) {
    let name = name(who);
    progress.say(&format!("{name} with {} requests", grouped(entries)));
    let replica = replica_at_epoch();
    let subject = Subject::new(&replica, who);
    let empty = subject.room();
    let fill = subject.fill(entries, REPLY_BYTES, progress);
    let full = subject.room();
    let bytes = bytes_per_entry(empty, full, entries);
    let mut add = |operation: &str, median, max, bytes| {
        results.add(&format!("{name}/{operation}"), entries, median, max, bytes);
    };

    add("insert_bulk", fill.median(), fill.dearest, None);
    let stride = entries / SAMPLES;
    let hits = subject.singles(Operation::Hit, 0, stride);
    add("hit", hits.median(), hits.max(), None);
    let misses = subject.singles(Operation::Miss, UNKNOWN, 1);
    add("miss", misses.median(), misses.max(), None);
    let (inserts, charged) = subject.inserts(entries);
    add("insert", inserts.median(), inserts.max(), Some(bytes));
    add("insert_charged", charged.median(), charged.max(), None);
    if who == Who::Store {
        add(
            "heap_growth",
            full.heap_pages - empty.heap_pages,
            full.heap_pages - empty.heap_pages,
            None,
        );
        let upgrade = post_upgrade(&subject);
        add("post_upgrade", upgrade, upgrade, None);
    }

    let expiry = subject.expire(entries + SAMPLES);
    add("expire", expiry.steps.median(), expiry.steps.max(), None);
    add("expire_each", expiry.each(), expiry.each(), None);
}

/// Sequence numbers: as many strict lanes as entries, each with one request.
pub(crate) fn sequences(entries: u64, results: &mut Results, progress: &Progress) {
    progress.say(&format!("{} lanes of numbers", grouped(entries)));
    let replica = replica_at_epoch();
    let subject = Subject::new(&replica, Who::Sequences);
    let empty = subject.room();
    let fill = subject.fill(entries, REPLY_BYTES, progress);
    let bytes = bytes_per_entry(empty, subject.room(), entries);
    let mut add = |operation: &str, median, max, bytes| {
        results.add(
            &format!("sequence/{operation}"),
            entries,
            median,
            max,
            bytes,
        );
    };
    add("new_lane_bulk", fill.median(), fill.dearest, Some(bytes));
    let stride = entries / SAMPLES;
    let replays = subject.singles(Operation::Hit, 0, stride);
    add("replay", replays.median(), replays.max(), None);
    let nexts = subject.singles(Operation::Insert, LANES, stride);
    add("accept", nexts.median(), nexts.max(), None);
    let expiry = subject.expire(IDLE_FOR_LONG);
    add("forget", expiry.steps.median(), expiry.steps.max(), None);
    add("forget_each", expiry.each(), expiry.each(), None);
}

/// Instructions that the store takes at an upgrade.
fn post_upgrade(subject: &Subject<'_>) -> u64 {
    subject
        .canister
        .upgrade(BENCH_CANISTER, ())
        .expect("the upgrade succeeds");
    subject
        .canister
        .query(user(1), "post_upgrade_instructions", ())
        .expect("the canister answers")
}

/// The store with requests whose reply takes no room.
pub(crate) fn id_only(entries: u64, results: &mut Results, progress: &Progress) {
    progress.say(&format!("{} requests without a reply", grouped(entries)));
    let replica = replica_at_epoch();
    let subject = Subject::new(&replica, Who::Store);
    let empty = subject.room();
    let fill = subject.fill(entries, 0, progress);
    let bytes = bytes_per_entry(empty, subject.room(), entries);
    results.add(
        "store/id_only_bulk",
        entries,
        fill.median(),
        fill.dearest,
        Some(bytes),
    );
}

/// Stable memory and heap together: each contestant uses one of them.
fn bytes_per_entry(empty: Room, full: Room, entries: u64) -> f64 {
    let pages = full.stable_pages + full.heap_pages - empty.heap_pages;
    (pages * PAGE_BYTES) as f64 / entries as f64
}
