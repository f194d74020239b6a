//! How much room a store needs: for how long slices last, and how many pages it takes.

use super::{
    header::{MAX_SLICES, MAX_TALLY_SLICES},
    index,
    record::RECORD_BYTES,
    segments::{FIRST_SEGMENT, MOST_PAGES, SEGMENT_BYTES},
    tallies::TALLIES_OF_A_REQUEST,
    tally,
};
use crate::{policy::Policy, time::nanos};

/// The time in ns within which records expire that are forgotten together: 1/32 of that in which they can. More
/// where what is retained would not find a place in the table otherwise, but no more than 1/8.
pub(super) fn slice_length(policy: &Policy) -> u64 {
    // Some slices are begun before others end.
    const MOST_AT_A_TIME: u64 = MAX_SLICES as u64 * 15 / 16;
    let reach = policy.reach();
    let with_retention = reach.saturating_add(nanos(policy.retention));
    (with_retention / MOST_AT_A_TIME)
        .clamp(reach / 32, reach / 8)
        .max(1)
}

/// What of a segment is certain to be used before another is begun: the longest record or tally may not fit into the rest.
const USED_BYTES: u64 = SEGMENT_BYTES - 256;

/// Segments that one request may take at a time: for its reply, a record and tallies where segments are used up, and for nodes
/// and buckets of the index.
pub(super) fn segments_of_one(policy: &Policy) -> u64 {
    let reply = u64::from(policy.max_reply_bytes).div_ceil(USED_BYTES) + 1;
    reply + 1 + TALLIES_OF_A_REQUEST + index::MOST_SEGMENTS
}

/// Segments that a request may take that begins and one that ends, and the ends of so many others: for replies, in so many
/// slices; for tallies, which are written anew if they were kept in an older slice; for records of those that have none any
/// more.
pub(super) fn segments_needed(policy: &Policy, others: u64, slices: u64) -> u64 {
    let end = u64::from(policy.max_reply_bytes)
        + TALLIES_OF_A_REQUEST * tally::MOST_BYTES as u64
        + RECORD_BYTES
        + index::MOST_BYTES;
    let begun = others.min(slices) + others.min(MAX_TALLY_SLICES.into());
    2 * segments_of_one(policy) + (others * end).div_ceil(USED_BYTES) + begun
}

/// Pages of a store that is as full as its policy lets it be.
pub(super) fn most_pages(policy: &Policy) -> u64 {
    let requests = policy.capacity.min(policy.capacity_bytes / RECORD_BYTES);
    let bytes = (policy.capacity_bytes)
        .saturating_add(requests.saturating_mul(MOST_INDEX_BYTES))
        .saturating_add(policy.max_counters.saturating_mul(MOST_SCOPE_BYTES));
    let time = policy.reach().saturating_add(nanos(policy.retention));
    let slices = (time / slice_length(policy) + 3).min(MAX_SLICES.into());
    // Each has two chains, whose last segments may be all but empty.
    let begun = 2 * slices + u64::from(MAX_TALLY_SLICES);
    (u64::from(FIRST_SEGMENT) + bytes / USED_BYTES + begun + segments_needed(policy, 0, 0))
        .min(MOST_PAGES)
}

/// What a request takes of the index beyond the part of it that is charged with its record. Buckets are as good as empty just
/// after they were split, and over many windows each is split that ever was full.
const MOST_INDEX_BYTES: u64 = 64;

/// What a lane or a scope takes with the largest tally in each of five slices: it is kept for four and the one begun.
const MOST_SCOPE_BYTES: u64 = 5 * (tally::MOST_BYTES as u64 + MOST_INDEX_BYTES);
