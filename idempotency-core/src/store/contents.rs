//! What a store holds: its memory, and what of it is kept on the heap.

use super::{
    counter::Counters,
    record::{Attempt, Head, RECORD_BYTES, Record, Requests},
    room::{most_pages, segments_needed},
};
use crate::{
    identity::Identity,
    policy::Policy,
    table::{
        Damaged, FIRST_SEGMENT, Family, Header, OpenError, Opening, Partitions, SEGMENT_BYTES,
        Table, WORDS,
    },
    time::{Timestamp, nanos},
};
use ic_stable_structures::Memory;
use std::collections::BTreeMap;

/// An attempt that has not ended, and its record.
#[derive(Clone, Copy)]
pub(super) struct Running {
    pub(super) head: Head,
    /// Of its record.
    pub(super) partition: u16,
    /// The scope whose quota it counts against, and until when it is counted, ns.
    pub(super) charge: Option<(Identity, u64)>,
}

/// All that a store holds.
pub(super) struct Contents<M: Memory> {
    pub(super) table: Table<M>,
    pub(super) requests: Partitions<Requests>,
    pub(super) counters: Partitions<Counters>,
    /// The attempts of this heap that have not ended, by number.
    pub(super) running: BTreeMap<u64, Running>,
    /// Those whose records expired meanwhile. A future that can't go on, as a guard of its own trapped in the cleanup, stays
    /// here as it stays with the executor: until the heap goes.
    pub(super) overdue: BTreeMap<Identity, Record>,
    pub(super) attempts: u64,
    /// Requests that are not held any more, and whose records go with their partitions.
    pub(super) released: u64,
    pub(super) reply_bytes: u64,
}

// What the store keeps in the header's words.
/// The window of the policy that the store was last opened with, ns.
const WINDOW: usize = 0;
/// Its drift, ns.
const DRIFT: usize = 1;
/// A request created before it may have been forgotten, ns.
const FLOOR: usize = 2;
/// A lane that is not known begins here.
pub(super) const SEQUENCE_FLOOR: usize = 3;

impl<M: Memory> Contents<M> {
    /// What `memory` holds, or an empty store if it was never used.
    pub(super) fn open(memory: M, policy: &Policy, now: Timestamp) -> Result<Self, OpenError> {
        let most = [Requests::MOST_PARTITIONS, Counters::MOST_PARTITIONS];
        let pages = |is_new| match is_new {
            _ if policy.is_preallocated => most_pages(policy),
            true => u64::from(FIRST_SEGMENT) + segments_needed(policy, 0, 0),
            false => 0,
        };
        let opening = Opening::read(memory, !policy.is_preallocated, most, pages)?;
        let requests = opening.partitions::<Requests>(|totals, _, length| {
            totals.reply_bytes = totals.reply_bytes.saturating_add(length as u64);
        })?;
        let counters = opening.partitions::<Counters>(|_, _, _| ())?;
        let bytes = u64::from(opening.header().pages) * SEGMENT_BYTES;
        if (requests.iter()).any(|partition| partition.own.reply_bytes > bytes) {
            return Err(Damaged.into());
        }
        let words = words(opening.header(), policy, now);
        let totals = || requests.iter().map(|partition| partition.own);
        Ok(Self {
            released: totals().map(|totals| u64::from(totals.released)).sum(),
            reply_bytes: totals().map(|totals| totals.reply_bytes).sum(),
            table: opening.open(words, (&requests, &counters)),
            requests,
            counters,
            running: BTreeMap::new(),
            overdue: BTreeMap::new(),
            attempts: 0,
        })
    }

    pub(super) fn header(&self) -> &Header {
        &self.table.segments.header
    }

    pub(super) fn floor(&self) -> Timestamp {
        Timestamp::from_nanos(self.header().words[FLOOR])
    }

    pub(super) fn sequence_floor(&self) -> u64 {
        self.header().words[SEQUENCE_FLOOR]
    }

    /// How many replies room is kept for.
    pub(super) fn reserved(&self) -> u64 {
        self.running.len() as u64
    }

    /// Bytes charged, with room for so many replies.
    pub(super) fn bytes(&self, policy: &Policy, reserved: u64) -> u64 {
        (self.requests.rows + self.released) * RECORD_BYTES
            + self.reply_bytes
            + reserved * u64::from(policy.max_reply_bytes)
    }

    /// Makes sure of segments for one more request and for the end of all that have not ended; `false` if the memory can't grow
    /// that far.
    pub(super) fn reserve_segments(&self, policy: &Policy) -> bool {
        let others = (self.running.len() + self.overdue.len()) as u64;
        let needed = segments_needed(policy, others, self.requests.len() as u64);
        self.table.segments.reserve(needed)
    }

    /// Whether another heap, or another store of this one, has opened the memory since: what is known of it here is out of
    /// date.
    pub(super) fn is_superseded(&self) -> bool {
        let found = Header::read_incarnation(&self.table.segments.memory);
        found != self.header().incarnation
    }

    /// Whether an attempt belongs to this heap.
    pub(super) fn is_of_this_heap(&self, attempt: Attempt) -> bool {
        attempt.incarnation == self.header().incarnation
    }

    /// Whether the policy lets one more request in, with the largest reply, besides room for so many.
    pub(super) fn has_room(&self, policy: &Policy, reserved: u64) -> bool {
        self.requests.rows < policy.capacity
            && self.bytes(policy, reserved + 1) + RECORD_BYTES <= policy.capacity_bytes
    }
}

/// The header's words for a heap that opens the store with a policy.
fn words(header: &Header, policy: &Policy, now: Timestamp) -> [u64; WORDS] {
    let mut words = header.words;
    words[FLOOR] = floor(header, policy, now);
    words[WINDOW] = nanos(policy.window);
    words[DRIFT] = nanos(policy.drift);
    words
}

/// A longer window must not reach back to requests that the shorter one let be forgotten: they would run again.
fn floor(header: &Header, policy: &Policy, now: Timestamp) -> u64 {
    let is_new = header.incarnation == 0;
    let reach = header.words[WINDOW].saturating_add(header.words[DRIFT]);
    let floor = header.words[FLOOR];
    if is_new || nanos(policy.window) + nanos(policy.drift) <= reach {
        return floor;
    }
    floor.max(now.as_nanos().saturating_sub(reach))
}
