//! What a store holds: its memory, and what of it is kept on the heap.

use super::{
    counter::Counters,
    forest::{Certified, FoundTrees},
    open::{Open, OpenRequests},
    record::{Attempt, Head, RECORD_BYTES, Record, Requests, ScopeDigest},
    room::{most_pages, segments_needed},
    stats::Forgotten,
};
use crate::{
    identity::Identity,
    policy::Policy,
    table::{
        Cells, Damaged, FIRST_SEGMENT, Family, Header, OpenError, Opening, Partitions, Purpose,
        SEGMENT_BYTES, Table, Texts, WORDS,
    },
    time::{Timestamp, nanos},
};
use ic_stable_structures::Memory;
use std::{collections::BTreeMap, time::Duration};

/// An attempt that has not ended, and its record.
#[derive(Clone, Copy)]
pub(super) struct Running {
    pub(super) head: Head,
    /// Of its record.
    pub(super) partition: u16,
    pub(super) scope: ScopeDigest,
    /// Of a durable request: whether the attempt has begun to be executed.
    pub(super) has_started: bool,
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
    /// What has begun and has not ended: all of `running`, and what was cut off, sleeps or is parked.
    pub(super) open: OpenRequests,
    /// The oldest partition is not tried to be forgotten by timer before this: there was no room for what of it must be kept.
    pub(super) postponed: Timestamp,
    /// No record that expires later has been forgotten, as far as this heap can know.
    pub(super) forgotten_until: Timestamp,
    /// The tree, if the policy says so.
    pub(super) certified: Option<Box<Certified>>,
    pub(super) cells: Cells,
    pub(super) texts: Texts,
    /// The first attempt of this heap has this number, or a greater one.
    first_attempt: Attempt,
    /// Requests that are not held any more, and whose records go with their partitions.
    pub(super) released: u64,
    pub(super) reply_bytes: u64,
    pub(super) journal_bytes: u64,
    pub(super) forgotten: Forgotten,
}

// What the store keeps in the header's words.
/// The window of the policy that the store was last opened with, ns.
const WINDOW: usize = 0;
/// Its drift, ns.
const DRIFT: usize = 1;
/// Requests created before it are remembered for [`SHORT_REACH`] only, ns: the window was made longer since.
const SHORT_UNTIL: usize = 2;
/// A lane that is not known begins here.
pub(super) const SEQUENCE_FLOOR: usize = 3;
/// A shorter window and its drift, ns.
const SHORT_REACH: usize = 4;

impl<M: Memory> Contents<M> {
    /// What `memory` holds, or an empty store if it was never used.
    pub(super) fn open(memory: M, policy: &Policy, now: Timestamp) -> Result<Self, OpenError> {
        let most = [Requests::MOST_PARTITIONS, Counters::MOST_PARTITIONS];
        let pages = |is_new| match is_new {
            _ if policy.is_preallocated => most_pages(policy),
            true => u64::from(FIRST_SEGMENT) + segments_needed(policy, (0, 0), 0),
            false => 0,
        };
        let opening = Opening::read(
            memory,
            Purpose::Requests,
            !policy.is_preallocated,
            most,
            pages,
        )?;
        let requests = opening.partitions::<Requests>()?;
        let counters = opening.partitions::<Counters>()?;
        let mut open = OpenRequests::default();
        let cells = opening.cells(|cell, bytes| {
            let (number, request) = Open::from_bytes(cell, bytes)?;
            let is_known = requests.get(opening.header(), request.partition).is_some();
            // Two cells of one attempt contradict each other.
            if !is_known || open.get(number).is_some() {
                return Err(Damaged);
            }
            open.insert(number, request);
            Ok(())
        })?;
        if (open.last()).is_some_and(|number| number >= cells.next_number()) {
            return Err(Damaged.into());
        }
        let bytes = u64::from(opening.header().pages) * SEGMENT_BYTES;
        if (requests.iter()).any(|partition| partition.own.reply_bytes > bytes) {
            return Err(Damaged.into());
        }
        let words = words(opening.header(), policy, now);
        let is_new = opening.header().incarnation == 0;
        let totals = || requests.iter().map(|partition| partition.own);
        let trees = FoundTrees::read(&opening)?;
        let mut contents = Self {
            released: totals().map(|totals| u64::from(totals.released)).sum(),
            reply_bytes: totals().map(|totals| totals.reply_bytes).sum(),
            journal_bytes: totals().map(|totals| totals.journal_bytes()).sum(),
            texts: opening.texts()?,
            table: opening.open(words, |segments| {
                requests.write_all(segments);
                counters.write_all(segments);
            }),
            requests,
            counters,
            running: BTreeMap::new(),
            overdue: BTreeMap::new(),
            open,
            postponed: Timestamp::from_nanos(0),
            forgotten_until: match is_new {
                true => Timestamp::from_nanos(0),
                false => now,
            },
            certified: None,
            first_attempt: Attempt(cells.next_number()),
            forgotten: Forgotten::default(),
            cells,
        };
        contents.open_trees(trees, policy)?;
        Ok(contents)
    }

    pub(super) fn header(&self) -> &Header {
        &self.table.segments.header
    }

    /// Requests created before this may have been executed and forgotten, however long the window is by now.
    pub(super) fn floor(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_nanos(floor(&self.header().words, now))
    }

    /// Until when a request with this `created_at` can be executed, and its record is kept at the least.
    pub(super) fn expiry(
        &self,
        created_at: Timestamp,
        now: Timestamp,
        policy: &Policy,
    ) -> Timestamp {
        let words = &self.header().words;
        let expiry = policy.expires_at(Some(created_at), now);
        match created_at.as_nanos() < words[SHORT_UNTIL] {
            // The window may have been made shorter again since.
            true => expiry.min(created_at.plus(Duration::from_nanos(words[SHORT_REACH]))),
            false => expiry,
        }
    }

    /// Requests created before the first are remembered for the second only.
    pub(super) fn short_window(&self) -> (Timestamp, Duration) {
        let words = &self.header().words;
        (
            Timestamp::from_nanos(words[SHORT_UNTIL]),
            Duration::from_nanos(words[SHORT_REACH]),
        )
    }

    pub(super) fn sequence_floor(&self) -> u64 {
        self.header().words[SEQUENCE_FLOOR]
    }

    /// Bytes that room is kept for: the replies of what is running, and what durable requests may yet record.
    pub(super) fn reserved(&self, policy: &Policy) -> u64 {
        (self.running.len() as u64 + self.open.waiting) * u64::from(policy.max_reply_bytes)
            + self.open.durable * u64::from(policy.max_journal_bytes)
    }

    /// Bytes charged, with so many that room is kept for.
    pub(super) fn bytes(&self, reserved: u64) -> u64 {
        (self.requests.rows + self.released) * RECORD_BYTES
            + self.reply_bytes
            + self.journal_bytes
            + reserved
    }

    /// Whether no partition has expired that a request may give up.
    #[inline]
    pub(super) fn has_all(&self, now: Timestamp, policy: &Policy) -> bool {
        let now = now.as_nanos();
        (policy.has_archive() || (self.requests.oldest()).is_none_or(|oldest| oldest.until >= now))
            && (self.counters.oldest()).is_none_or(|oldest| oldest.until >= now)
    }

    /// Makes sure of segments for one more request, so many journals that begin, and the end of all that have not ended; `false` if the
    /// memory can't grow that far.
    pub(super) fn reserve_segments(&self, policy: &Policy, journals: u64) -> bool {
        let others = self.running.len() as u64 + self.open.waiting + self.overdue.len() as u64;
        let durable = self.open.durable + journals;
        let needed = segments_needed(policy, (others, durable), self.requests.len() as u64);
        self.table
            .segments
            .reserve(needed + self.segments_for_queue(others))
    }

    /// Whether another heap, or another store of this one, has opened the memory since: what is known of it here is out of
    /// date.
    pub(super) fn is_superseded(&self) -> bool {
        let found = Header::read_incarnation(&self.table.segments.memory);
        found != self.header().incarnation
    }

    /// The attempt that begins next.
    pub(super) fn next_attempt(&mut self) -> Attempt {
        Attempt(self.cells.number(&self.table.segments))
    }

    /// Whether an attempt belongs to this heap.
    pub(super) fn is_of_this_heap(&self, attempt: Attempt) -> bool {
        attempt >= self.first_attempt
    }

    /// Whether the policy lets one more request in, with the largest reply and so many bytes for its journal, besides what room is kept for.
    pub(super) fn has_room(&self, policy: &Policy, reserved: u64, journal: u64) -> bool {
        let request = RECORD_BYTES + u64::from(policy.max_reply_bytes) + journal;
        self.requests.rows < policy.capacity
            && self.bytes(reserved) + request <= policy.capacity_bytes
    }
}

/// The header's words for a heap that opens the store with a policy.
fn words(header: &Header, policy: &Policy, now: Timestamp) -> [u64; WORDS] {
    let mut words = header.words;
    let is_new = header.incarnation == 0;
    let reach = words[WINDOW].saturating_add(words[DRIFT]);
    if !is_new && nanos(policy.window) + nanos(policy.drift) > reach {
        // What is created by now expires as it was promised, and must not run again after that.
        let is_over = words[SHORT_UNTIL] <= now.as_nanos().saturating_sub(reach);
        words[SHORT_REACH] = match is_over {
            true => reach,
            false => reach.min(words[SHORT_REACH]),
        };
        let latest = now.as_nanos().saturating_add(words[DRIFT]);
        words[SHORT_UNTIL] = words[SHORT_UNTIL].max(latest.saturating_add(1));
    }
    words[WINDOW] = nanos(policy.window);
    words[DRIFT] = nanos(policy.drift);
    words
}

fn floor(words: &[u64; WORDS], now: Timestamp) -> u64 {
    let forgotten = now.as_nanos().saturating_sub(words[SHORT_REACH]);
    words[SHORT_UNTIL].min(forgotten)
}
