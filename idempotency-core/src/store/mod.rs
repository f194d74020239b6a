//! The deduplication store: every remembered request, in stable memory, with nothing to do at an upgrade.
//!
//! ```text
//! page 0         page 1      page 2 …
//! +------------+ +---------+ +-----------+-----------+-----------+
//! | header     | | root of | | segment:  | segment:  | segment:  |
//! | slice table| | index   | | blocks of | records   | replies   | …
//! |            | |         | | the index | of a slice| of a slice|
//! +------------+ +---------+ +-----------+-----------+-----------+
//! ```
//!
//! - A *record* (`record.rs`) is what is kept of a request: 44 bytes, and a reply of up to 64.
//! - A *slice* (`slice.rs`) is a log of the records that expire within the same thirty-second of window and drift. When all
//!   of them have expired, its segments are given back: forgetting costs the same for one record and for a million.
//! - The *index* (`index.rs`) is a trie over hash bits that leads from an identity to its record.
//! - *Segments* (`segments.rs`) are the pages of the memory that slices and index take and give back.
//! - The *header* (`header.rs`) is read when the store is opened and kept on the heap, with the slice table: under 8 KiB,
//!   however many records there are. The ends of the logs are found by reading on from where the table says.
//!
//! # Cost
//! A new request reads the root, mostly one node and one bucket, writes one slot of the bucket, and appends to a log. That
//! is two charged pages, and a third one once in fifty requests. A retry reads the same and its record. Nothing depends on
//! the number of records but the depth of the trie.
//!
//! # Invariants
//! - A slot of the index leads to a record of its slice as long as that slice lives; after that the slot is free.
//! - `entries ≤ capacity` and `bytes ≤ capacity_bytes` after every insert; room for the largest reply is found before a
//!   function runs, so completing a request never fails for want of room.
//! - A slice is given up only after its `until`, which is no earlier than the expiry of any of its records, and what is
//!   running is moved to a later one before.
//!
//! The IC undoes a message that traps as a whole, so there is no moment at which these do not hold.

mod header;
mod index;
mod record;
mod segments;
mod slice;

pub(crate) use record::State;
pub use record::{Attempt, Record};

use crate::{
    admission::Ticket,
    identity::Identity,
    policy::Policy,
    runtime,
    time::{Timestamp, nanos},
};
use candid::CandidType;
use header::{Header, MAX_SLICES};
use ic_stable_structures::Memory;
use index::{Bits, Found, Slot};
use record::{MAX_REPLY_BYTES, RECORD_BYTES, RecordBytes};
use segments::{SEGMENT_BYTES, Segments};
use serde::Deserialize;
use slice::Slice;
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Duration,
};

/// Every remembered request of one or more endpoints. It lives in a `thread_local!`, as other stable structures do.
///
/// It owns the [`Memory`] it is given, for good: give it a `MemoryId` of its own. Its heap does not grow with the requests
/// that it holds.
pub struct Store<M: Memory> {
    policy: Policy,
    inner: RefCell<Inner<M>>,
    /// The time for which the eviction timer of this heap is set.
    #[cfg(feature = "timers")]
    pub(crate) timer: std::cell::Cell<Option<Timestamp>>,
}

struct Inner<M: Memory> {
    segments: Segments<M>,
    /// The live slices, oldest first; the first one's number is in the header.
    slices: VecDeque<Slice>,
    /// The attempts of this heap that have not ended, by number, with the slice of their record.
    running: BTreeMap<u64, (Identity, u16)>,
    /// Where the last look into the index ended.
    found: Found,
    /// The request that was not found there, until the index changes: it would be added there.
    missed: Option<Bits>,
    attempts: u64,
    entries: u64,
    reply_bytes: u64,
}

/// Why a memory could not be opened as a store. Nothing in it was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The memory holds something else.
    Foreign {
        /// Its first bytes.
        found: [u8; 8],
    },
    /// The memory holds a store of a layout that this version of the library does not know.
    UnknownVersion {
        /// The layout version found.
        found: u8,
        /// The layout version that this library reads and writes.
        known: u8,
    },
    /// The memory begins as a store, and its header contradicts itself.
    Damaged,
    /// The memory could not grow to hold an empty store.
    OutOfMemory,
    /// The policy contradicts itself.
    InvalidPolicy(&'static str),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { found } => write!(
                f,
                "the memory given to the store begins with {found:02x?}: it belongs to something else; give the store a MemoryId that nothing else uses"
            ),
            Self::UnknownVersion { found, known } => write!(
                f,
                "the store was written in layout version {found}, this library knows version {known}; deploy the version of the library that wrote it, or a later one"
            ),
            Self::Damaged => write!(
                f,
                "the memory given to the store has its header but not what the header describes: something else wrote to it; restore a snapshot, or give the store a new MemoryId and lose its records"
            ),
            Self::OutOfMemory => write!(
                f,
                "the store's memory can't grow; free stable memory or raise its limit"
            ),
            Self::InvalidPolicy(why) => write!(f, "the store's policy can't work: {why}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// How full a store is.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Stats {
    /// Requests held.
    pub entries: u64,
    /// Most requests that may be held.
    pub capacity: u64,
    /// Bytes charged to them: 128 for each, its reply if that is over 64 bytes, and while it runs room for the largest.
    pub bytes: u64,
    /// Most bytes that may be charged.
    pub capacity_bytes: u64,
    /// When the next requests expire: they are forgotten together, within a thirty-second of the window.
    pub oldest_expiry: Option<Timestamp>,
    /// How many times a fresh heap (an install or upgrade) has opened the store.
    pub incarnation: u64,
}

impl<M: Memory> Store<M> {
    /// Opens the store in `memory`, or makes a new one if the memory was never used.
    ///
    /// # Panics
    /// Traps with the [`OpenError`] if the memory can't be opened: an upgrade that would lose the store is undone.
    pub fn new(memory: M, policy: Policy) -> Self {
        Self::open(memory, policy, runtime::time())
            .unwrap_or_else(|error| panic!("idempotency: {error}"))
    }

    /// As [`Store::new`], with the present time as an argument and errors as values.
    ///
    /// # Errors
    /// [`OpenError`]; the memory is unchanged.
    pub fn open(memory: M, policy: Policy, now: Timestamp) -> Result<Self, OpenError> {
        policy.check().map_err(OpenError::InvalidPolicy)?;
        if policy.max_reply_bytes > MAX_REPLY_BYTES {
            return Err(OpenError::InvalidPolicy("max_reply_bytes is over 16 MiB"));
        }
        if RECORD_BYTES + u64::from(policy.max_reply_bytes) > policy.capacity_bytes {
            return Err(OpenError::InvalidPolicy(
                "capacity_bytes has no room for one reply of max_reply_bytes",
            ));
        }
        let found = Header::read(&memory)?;
        let header = found.unwrap_or(Header {
            pages: 2,
            ..Header::default()
        });
        let mut segments = Segments { memory, header };
        if found.is_none() && !segments.make(segments_needed(&policy, 0)) {
            return Err(OpenError::OutOfMemory);
        }
        let slices: VecDeque<Slice> = (0..header.slices)
            .map(|index| {
                let number = header.first_slice.wrapping_add(index);
                let mut slice = Header::read_slice(&segments.memory, number);
                slice.find_end(&segments).then_some(slice)
            })
            .collect::<Option<_>>()
            .ok_or(OpenError::Damaged)?;
        segments.header = Header {
            incarnation: header.incarnation + 1,
            floor: floor(&header, &policy, now),
            window: nanos(policy.window),
            drift: nanos(policy.drift),
            ..header
        };
        segments.write_header();
        let inner = Inner {
            entries: slices.iter().map(|slice| u64::from(slice.entries)).sum(),
            reply_bytes: slices.iter().map(|slice| slice.reply_bytes).sum(),
            segments,
            slices,
            running: BTreeMap::new(),
            found: Found::nothing(),
            missed: None,
            attempts: 0,
        };
        Ok(Self {
            policy,
            inner: RefCell::new(inner),
            #[cfg(feature = "timers")]
            timer: std::cell::Cell::new(None),
        })
    }

    /// How full the store is.
    pub fn stats(&self) -> Stats {
        let inner = self.inner.borrow();
        Stats {
            entries: inner.entries,
            capacity: self.policy.capacity,
            bytes: inner.bytes(&self.policy),
            capacity_bytes: self.policy.capacity_bytes,
            oldest_expiry: inner.slices.front().map(Slice::until),
            incarnation: inner.segments.header.incarnation,
        }
    }

    /// The policy it was opened with.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether a request is remembered.
    pub fn contains(&self, identity: &Identity) -> bool {
        self.inner.borrow_mut().find(identity).is_some()
    }

    pub(crate) fn lookup(&self, identity: &Identity) -> Option<Record> {
        let mut inner = self.inner.borrow_mut();
        inner.find(identity).map(|(_, _, record)| record)
    }

    /// Requests created before this may have been executed and forgotten.
    pub(crate) fn floor(&self) -> Timestamp {
        Timestamp::from_nanos(self.inner.borrow().segments.header.floor)
    }

    /// Whether an attempt belongs to this heap: those of earlier heaps can't go on.
    pub(crate) fn is_running(&self, attempt: Attempt) -> bool {
        attempt.incarnation == self.inner.borrow().segments.header.incarnation
    }

    /// Makes sure that one more record with the largest reply fits. Gives up one expired slice, and more only if there is
    /// no room otherwise. If there is none: when to try again.
    pub(crate) fn make_room(&self, now: Timestamp) -> Result<(), Timestamp> {
        self.evict(now, 1);
        let mut inner = self.inner.borrow_mut();
        loop {
            let has_entries = inner.entries < self.policy.capacity;
            let has_bytes =
                inner.bytes(&self.policy) + RECORD_BYTES + u64::from(self.policy.max_reply_bytes)
                    <= self.policy.capacity_bytes;
            let running = inner.running.len() as u64;
            if has_entries
                && has_bytes
                && inner
                    .segments
                    .reserve(segments_needed(&self.policy, running))
            {
                return Ok(());
            }
            let oldest = inner.slices.front().map_or(now, Slice::until);
            if oldest < now {
                inner.forget_oldest(now, &self.policy);
            } else if !(has_entries && self.policy.drops_replies && inner.drop_oldest_replies()) {
                return Err(oldest.plus(Duration::from_nanos(1)));
            }
        }
    }

    /// Records an attempt before it runs. [`make_room`](Self::make_room) has found room for it.
    pub(crate) fn begin(&self, ticket: &Ticket) -> Attempt {
        let mut inner = self.inner.borrow_mut();
        inner.attempts += 1;
        let attempt = Attempt {
            incarnation: inner.segments.header.incarnation,
            number: inner.attempts,
        };
        let record = ticket.record(State::Pending(attempt));
        let slice = inner.insert(&record, ticket.expires_at, &self.policy);
        inner
            .running
            .insert(attempt.number, (ticket.identity, slice));
        attempt
    }

    /// Records an executed request and its reply in one go, as [`admit`](crate::admission::admit) has allowed it in the
    /// same message.
    pub fn record(&self, ticket: &Ticket, reply: Vec<u8>) {
        let record = ticket.record(State::Done(reply));
        self.inner
            .borrow_mut()
            .insert(&record, ticket.expires_at, &self.policy);
    }

    /// The attempt ended with this reply, or with one that is not to be held. `false`, and nothing changes, if the record
    /// is not (or no longer) this attempt's.
    pub(crate) fn complete(
        &self,
        identity: &Identity,
        attempt: Attempt,
        reply: Option<Vec<u8>>,
    ) -> bool {
        self.inner
            .borrow_mut()
            .end(identity, attempt, |inner, at, slot, record| match reply {
                Some(reply) => {
                    let state = State::Done(reply);
                    let record = Record {
                        state,
                        is_replacement: true,
                        ..record
                    };
                    let address = inner.append(slot.slice, &record);
                    index::replace(&inner.segments, at, slot, address, slot.slice);
                }
                None => inner.write_state(slot, &record, State::ReplyDropped),
            })
    }

    /// The attempt was interrupted; as [`complete`](Self::complete).
    pub(crate) fn interrupt(&self, identity: &Identity, attempt: Attempt) -> bool {
        self.inner
            .borrow_mut()
            .end(identity, attempt, |inner, _, slot, record| {
                inner.write_state(slot, &record, State::Interrupted);
            })
    }

    /// The attempt did nothing and is forgotten; as [`complete`](Self::complete).
    pub(crate) fn release(&self, identity: &Identity, attempt: Attempt) -> bool {
        self.inner
            .borrow_mut()
            .end(identity, attempt, |inner, at, slot, _| {
                index::remove(&inner.segments, at);
                inner.entries -= 1;
                let slice = inner.slice_mut(slot.slice);
                slice.entries -= 1;
                inner.write_slice(slot.slice);
            })
    }

    /// Gives up slices whose records have all expired, and been retained for as long as the policy says: oldest first, no
    /// more than `most`. How many it gave up. Each costs the same, however many records it holds.
    pub fn evict(&self, now: Timestamp, most: u32) -> u32 {
        let mut inner = self.inner.borrow_mut();
        for evicted in 0..most {
            let is_over = |slice: &Slice| slice.until().plus(self.policy.retention) < now;
            if !inner.slices.front().is_some_and(is_over) {
                return evicted;
            }
            inner.forget_oldest(now, &self.policy);
        }
        most
    }

    /// The first instant at which something can be evicted.
    #[cfg(feature = "timers")]
    pub(crate) fn next_eviction(&self) -> Option<Timestamp> {
        let inner = self.inner.borrow();
        let oldest = inner.slices.front()?;
        Some(
            oldest
                .until()
                .plus(self.policy.retention)
                .plus(Duration::from_nanos(1)),
        )
    }
}

impl<M: Memory> fmt::Debug for Store<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("policy", &self.policy)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl<M: Memory> Inner<M> {
    fn bytes(&self, policy: &Policy) -> u64 {
        let running = self.running.len() as u64;
        self.entries * RECORD_BYTES + self.reply_bytes + running * u64::from(policy.max_reply_bytes)
    }

    /// The record of a request, its slot, and where that stands.
    fn find(&mut self, identity: &Identity) -> Option<(u64, Slot, Record)> {
        let (bits, tail) = (Bits::of(identity), identity.tail());
        let mut bytes = [0; RecordBytes::MOST];
        self.missed = None;
        let found = index::find(&self.segments, bits, &mut self.found, |slot| {
            // A record does not go beyond its segment, which may be the last.
            let length = (SEGMENT_BYTES - slot.address % SEGMENT_BYTES).min(bytes.len() as u64);
            self.segments
                .memory
                .read(slot.address, &mut bytes[..length as usize]);
            RecordBytes::parse(&bytes).is_some_and(|(record, _)| record.has_tail(&tail))
        });
        let Some((at, slot)) = found else {
            self.missed = Some(bits);
            return None;
        };
        let (record, _) = RecordBytes::parse(&bytes)?;
        let has_replies = !self.slices[self.position(slot.slice)].has_dropped_replies;
        let record = record.record(*identity, |place, length| {
            has_replies.then(|| slice::read_reply(&self.segments, place, length))
        })?;
        Some((at, slot, record))
    }

    /// Adds a record; the number of its slice.
    fn insert(&mut self, record: &Record, expires_at: Timestamp, policy: &Policy) -> u16 {
        let slice = self.slice_for(expires_at, policy);
        let address = self.append(slice, record);
        self.entries += 1;
        let bits = Bits::of(&record.identity);
        if self.missed.take() != Some(bits) {
            index::descend(&self.segments, bits, &mut self.found);
        }
        index::insert(&mut self.segments, bits, &mut self.found, address, slice);
        slice
    }

    /// Appends a record to a slice; its address.
    fn append(&mut self, number: u16, record: &Record) -> u64 {
        let position = self.position(number);
        let slice = &mut self.slices[position];
        let before = slice.reply_bytes;
        let (address, is_moved) = slice.append(&mut self.segments, record);
        self.reply_bytes += slice.reply_bytes - before;
        if is_moved {
            self.write_slice(number);
        }
        address
    }

    /// Changes the state of a record whose body stays as long as it is.
    fn write_state(&mut self, slot: Slot, record: &Record, state: State) {
        let record = Record {
            state,
            ..record.clone()
        };
        self.segments
            .memory
            .write(slot.address, &record.to_bytes(None)[..1]);
    }

    fn end(
        &mut self,
        identity: &Identity,
        attempt: Attempt,
        end: impl FnOnce(&mut Self, u64, Slot, Record),
    ) -> bool {
        let Some((at, slot, record)) = self.find(identity) else {
            return false;
        };
        if record.state != State::Pending(attempt) {
            return false;
        }
        if attempt.incarnation == self.segments.header.incarnation {
            self.running.remove(&attempt.number);
        }
        self.missed = None;
        end(self, at, slot, record);
        true
    }

    /// The number of the slice for what expires at a time: the first that lives as long, or else a new one.
    fn slice_for(&mut self, expires_at: Timestamp, policy: &Policy) -> u16 {
        let expires_at = expires_at.as_nanos();
        let position = self
            .slices
            .partition_point(|slice| slice.until < expires_at);
        let first = self.segments.header.first_slice;
        if position < self.slices.len() {
            return first.wrapping_add(position as u16);
        }
        let length =
            (nanos(policy.window).saturating_add(2 * nanos(policy.drift)) / SLICES_IN_REACH).max(1);
        let until = expires_at.div_ceil(length).saturating_mul(length);
        if self.slices.len() < usize::from(MAX_SLICES) {
            self.slices.push_back(Slice::new(until));
            self.segments.header.slices += 1;
            self.segments.write_header();
        } else if let Some(last) = self.slices.back_mut() {
            // The table is full, after the window was made much longer: the last slice lives as long as it must.
            last.until = until;
        }
        let number = first.wrapping_add(self.slices.len() as u16 - 1);
        self.write_slice(number);
        number
    }

    /// Gives up the oldest slice. What of it is still running gets another window: forgetting it would let it run twice.
    fn forget_oldest(&mut self, now: Timestamp, policy: &Policy) {
        let oldest = self.segments.header.first_slice;
        let running: Vec<(u64, Identity)> = (self.running.iter())
            .filter(|(_, (_, slice))| *slice == oldest)
            .map(|(number, (identity, _))| (*number, *identity))
            .collect();
        for (number, identity) in running {
            let Some((at, slot, record)) = self.find(&identity) else {
                continue;
            };
            let slice = self.slice_for(now.plus(policy.window), policy);
            let address = self.append(
                slice,
                &Record {
                    is_replacement: false,
                    ..record
                },
            );
            self.entries += 1;
            index::replace(&self.segments, at, slot, address, slice);
            self.running.insert(number, (identity, slice));
        }
        let Some(slice) = self.slices.pop_front() else {
            return;
        };
        self.entries -= u64::from(slice.entries);
        self.reply_bytes -= slice.reply_bytes;
        slice.give_back(&mut self.segments);
        self.segments.header.first_slice = oldest.wrapping_add(1);
        self.segments.header.slices -= 1;
        self.segments.write_header();
    }

    /// Gives up the replies of the oldest slice that has any outside of its records; the ids stay.
    fn drop_oldest_replies(&mut self) -> bool {
        let Some(position) = self.slices.iter().position(|slice| slice.reply_bytes > 0) else {
            return false;
        };
        let slice = &mut self.slices[position];
        self.reply_bytes -= slice.reply_bytes;
        slice.drop_replies(&mut self.segments);
        self.segments.write_header();
        self.write_slice(
            self.segments
                .header
                .first_slice
                .wrapping_add(position as u16),
        );
        true
    }

    fn position(&self, number: u16) -> usize {
        usize::from(number.wrapping_sub(self.segments.header.first_slice))
    }

    fn slice_mut(&mut self, number: u16) -> &mut Slice {
        let position = self.position(number);
        &mut self.slices[position]
    }

    fn write_slice(&self, number: u16) {
        Header::write_slice(
            &self.segments.memory,
            number,
            &self.slices[self.position(number)],
        );
    }
}

/// Into how many slices the time is divided in which records can expire.
const SLICES_IN_REACH: u64 = 32;

/// Segments that one more insert and the completion of what is running may take: for replies and records, for what is left
/// of segments that are begun, and for blocks of the index.
fn segments_needed(policy: &Policy, running: u64) -> u64 {
    let replies = (running + 1) * (u64::from(policy.max_reply_bytes) + RECORD_BYTES);
    let begun = 2 * (running + 1).min(u64::from(MAX_SLICES));
    replies.div_ceil(SEGMENT_BYTES / 2) + begun + index::MOST_BLOCKS.div_ceil(256) + 1
}

/// A longer window must not reach back to requests that the shorter one let be forgotten: they would run again.
fn floor(header: &Header, policy: &Policy, now: Timestamp) -> u64 {
    let is_new = header.incarnation == 0;
    let reach = header.window.saturating_add(header.drift);
    if is_new || nanos(policy.window) + nanos(policy.drift) <= reach {
        return header.floor;
    }
    header.floor.max(now.as_nanos().saturating_sub(reach))
}

#[cfg(test)]
mod tests;
