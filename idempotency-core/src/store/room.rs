//! How much room a store needs: for how long partitions last, and how many pages it takes.

use super::{
    counter::{self, COUNTERS_OF_A_REQUEST, Counters},
    record::{RECORD_BYTES, Requests},
};
use crate::{
    certified::tree::BYTES_OF_A_REQUEST,
    policy::Policy,
    table::{
        FIRST_SEGMENT, Family, MOST_INDEX_BYTES, MOST_INDEX_SEGMENTS, MOST_PAGES, QUEUED_BYTES,
        SEGMENT_BYTES,
    },
    time::nanos,
};

/// The time in ns within which records expire that are forgotten together: 1/32 of that in which they can. More
/// where what is retained would not find a place in the table otherwise, but no more than 1/8.
pub(super) fn partition_length(policy: &Policy) -> u64 {
    // Some partitions are begun before others end.
    const MOST_AT_A_TIME: u64 = Requests::MOST_PARTITIONS as u64 * 15 / 16;
    let reach = policy.reach();
    let with_retention = reach.saturating_add(nanos(policy.retention));
    (with_retention / MOST_AT_A_TIME)
        .clamp(reach / 32, reach / 8)
        .max(1)
}

/// By how many names the index knows a request: its identity and its alias.
const NAMES: u64 = 2;

/// What of a segment is certain to be used before another is begun: the longest record or counter may not fit into the rest.
const USED_BYTES: u64 = SEGMENT_BYTES - 256;

/// Segments that one request may take at a time: for its reply, a record and counters where segments are used up, and for nodes
/// and buckets of the index.
pub(super) fn segments_of_one(policy: &Policy) -> u64 {
    // One for the record and the journal's first row, and one for cells.
    segments_of_end(policy.max_reply_bytes.into()) + 2
}

/// Segments that one request may take when it ends with a reply of so many bytes, or is moved with so many.
pub(super) fn segments_of_end(bytes: u64) -> u64 {
    bytes.div_ceil(USED_BYTES) + 1 + COUNTERS_OF_A_REQUEST + NAMES * MOST_INDEX_SEGMENTS
}

/// Segments that a request may take that begins and one that ends, and the ends of so many others: for replies, in so many
/// partitions; for counters, which are written anew if they were kept in an older partition; for records of those that have none any
/// more.
///
/// So many are durable: these may yet record steps.
pub(super) fn segments_needed(
    policy: &Policy,
    (others, durable): (u64, u64),
    partitions: u64,
) -> u64 {
    // Mostly so, and what follows adds nothing then.
    if (others, durable) == (0, 0) {
        return 2 * segments_of_one(policy);
    }
    let end = u64::from(policy.max_reply_bytes)
        + COUNTERS_OF_A_REQUEST * counter::MOST_BYTES as u64
        + RECORD_BYTES
        + NAMES * MOST_INDEX_BYTES;
    let begun = others.min(partitions) + others.min(Counters::MOST_PARTITIONS.into());
    // Their rows take no more than they are charged with.
    let journals = durable * u64::from(policy.max_journal_bytes);
    2 * segments_of_one(policy) + (others * end + journals).div_ceil(USED_BYTES) + begun
}

/// Pages of a store that is as full as its policy lets it be.
pub(super) fn most_pages(policy: &Policy) -> u64 {
    let requests = policy.capacity.min(policy.capacity_bytes / RECORD_BYTES);
    let bytes = (policy.capacity_bytes)
        .saturating_add(requests.saturating_mul(NAMES * INDEX_BYTES_OF_A_ROW))
        .saturating_add(policy.max_counters.saturating_mul(MOST_COUNTER_BYTES))
        .saturating_add(match policy.certify {
            Some(_) => requests.saturating_mul(BYTES_IN_TREE),
            None => 0,
        });
    let time = policy.reach().saturating_add(nanos(policy.retention));
    let partitions = (time / partition_length(policy) + 3).min(Requests::MOST_PARTITIONS.into());
    // Each has two chains, whose last segments may be all but empty.
    // And the queue has two.
    let trees = if policy.certify.is_some() {
        partitions + 2
    } else {
        0
    };
    let begun = 2 * partitions + trees + u64::from(Counters::MOST_PARTITIONS);
    (u64::from(FIRST_SEGMENT) + bytes / USED_BYTES + begun + segments_needed(policy, (0, 0), 0))
        .min(MOST_PAGES)
}

/// What a request takes of the index beyond the part of it that is charged with its record. Buckets are as good as empty just
/// after they were split, and over many windows each is split that ever was full.
const INDEX_BYTES_OF_A_ROW: u64 = 64;

/// What a request takes of the tree, and of the queue for it when it begins and when it ends.
const BYTES_IN_TREE: u64 = BYTES_OF_A_REQUEST + 2 * QUEUED_BYTES as u64;

/// What a lane or a scope takes in each of five partitions: it is kept for four and the one begun.
const MOST_COUNTER_BYTES: u64 = 5 * (counter::MOST_BYTES_IN_PARTITION + INDEX_BYTES_OF_A_ROW);
