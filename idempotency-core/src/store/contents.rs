//! The records of a store: finding, adding, changing and forgetting them.

use super::{
    bucket::{Slot, TALLIES},
    error::{Damaged, OpenError},
    header::{Header, MAX_SLICES},
    index::Index,
    record::{Attempt, Head, RECORD_BYTES, Record, RecordBytes, State},
    room::{most_pages, segments_needed, segments_of_one, slice_length},
    segments::{FIRST_SEGMENT, SEGMENT_BYTES, Segments},
    slice::{self, Slice},
    tallies::Tallies,
};
use crate::{
    admission::Ticket,
    identity::Identity,
    policy::Policy,
    time::{Timestamp, nanos},
};
use ic_stable_structures::Memory;
use std::collections::{BTreeMap, VecDeque};

/// An attempt that has not ended, and its record.
#[derive(Clone, Copy)]
pub(super) struct Running {
    pub(super) head: Head,
    /// Of its record.
    pub(super) slice: u16,
    /// The scope whose quota it counts against, and until when it is counted, ns.
    pub(super) charge: Option<(Identity, u64)>,
}

/// What became of the record of an attempt that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is in this slice.
    Recorded(u16),
    /// The attempt took longer than its window, and there was no room for another record.
    Forgotten,
    /// It was another attempt's, or is not known: nothing has changed.
    NotItsOwn,
}

/// All that a store holds: the memory, and what of it is kept on the heap.
pub(super) struct Contents<M: Memory> {
    pub(super) segments: Segments<M>,
    /// The live slices, oldest first; the first one's number is in the header.
    pub(super) slices: VecDeque<Slice>,
    /// The attempts of this heap that have not ended, by number.
    pub(super) running: BTreeMap<u64, Running>,
    /// Those whose records expired meanwhile. A future that can't go on, as a guard of its own trapped in the cleanup, stays
    /// here as it stays with the executor: until the heap goes.
    pub(super) overdue: BTreeMap<Identity, Record>,
    pub(super) index: Index,
    pub(super) tallies: Tallies,
    /// The record that was read or put together last: clearing room for each would cost as much as filling it.
    bytes: [u8; RecordBytes::MOST],
    /// How much of it was read.
    length: usize,
    pub(super) attempts: u64,
    pub(super) entries: u64,
    /// Requests that are not held any more, and whose records go with their slices.
    released: u64,
    pub(super) reply_bytes: u64,
}

impl<M: Memory> Contents<M> {
    /// What `memory` holds, or an empty store if it was never used.
    pub(super) fn open(memory: M, policy: &Policy, now: Timestamp) -> Result<Self, OpenError> {
        let found = Header::read(&memory)?;
        let header = found.unwrap_or(Header {
            pages: FIRST_SEGMENT,
            ..Header::default()
        });
        let mut segments = Segments {
            memory,
            header,
            may_grow: !policy.is_preallocated,
        };
        let pages = if policy.is_preallocated {
            most_pages(policy)
        } else if found.is_none() {
            u64::from(FIRST_SEGMENT) + segments_needed(policy, 0, 0)
        } else {
            0
        };
        if !segments.grow_to(pages) {
            return Err(OpenError::OutOfMemory);
        }
        let mut slices = VecDeque::with_capacity(usize::from(header.slices));
        for index in 0..header.slices {
            let number = slice::number(header.first_slice, usize::from(index));
            let mut slice = Header::read_slice(&segments.memory, number);
            slice.find_end(&segments)?;
            slices.push_back(slice);
        }
        let tallies = Tallies::read(&segments)?;
        segments.header = Header {
            incarnation: header.incarnation + 1,
            floor: floor(&header, policy, now),
            window: nanos(policy.window),
            drift: nanos(policy.drift),
            ..header
        };
        segments.write_header();
        Ok(Self {
            entries: slices.iter().map(|slice| u64::from(slice.entries)).sum(),
            released: slices.iter().map(|slice| u64::from(slice.released)).sum(),
            reply_bytes: slices.iter().map(|slice| slice.reply_bytes).sum(),
            index: Index::read(&segments),
            tallies,
            bytes: [0; RecordBytes::MOST],
            length: 0,
            segments,
            slices,
            running: BTreeMap::new(),
            overdue: BTreeMap::new(),
            attempts: 0,
        })
    }

    /// How many replies room is kept for.
    pub(super) fn reserved(&self) -> u64 {
        self.running.len() as u64
    }

    /// Bytes charged, with room for so many replies.
    pub(super) fn bytes(&self, policy: &Policy, reserved: u64) -> u64 {
        (self.entries + self.released) * RECORD_BYTES
            + self.reply_bytes
            + reserved * u64::from(policy.max_reply_bytes)
    }

    /// Makes sure of segments for one more request and for the end of all that have not ended; `false` if the memory can't grow
    /// that far.
    pub(super) fn reserve_segments(&self, policy: &Policy) -> bool {
        let others = (self.running.len() + self.overdue.len()) as u64;
        (self.segments).reserve(segments_needed(policy, others, self.slices.len() as u64))
    }

    /// Whether another heap, or another store of this one, has opened the memory since: what is known of it here is out of
    /// date.
    pub(super) fn is_superseded(&self) -> bool {
        Header::read_incarnation(&self.segments.memory) != self.segments.header.incarnation
    }

    /// Whether the policy lets one more request in, with the largest reply, besides room for so many.
    pub(super) fn has_room(&self, policy: &Policy, reserved: u64) -> bool {
        self.entries < policy.capacity
            && self.bytes(policy, reserved + 1) + RECORD_BYTES <= policy.capacity_bytes
    }

    /// The slot of a request's record, and where that stands.
    pub(super) fn find(&mut self, identity: &Identity) -> Result<Option<(u64, Slot)>, Damaged> {
        let tail = identity.tail();
        let (segments, slices) = (&self.segments, &self.slices);
        let (bytes, length) = (&mut self.bytes, &mut self.length);
        let first = segments.header.first_slice;
        self.index.find(segments, identity, |slot| {
            if slot.slice & TALLIES != 0 {
                return Ok(false);
            }
            // A record does not go beyond its segment, which may be the last.
            let room = SEGMENT_BYTES - slot.address % SEGMENT_BYTES;
            *length = room.min(bytes.len() as u64) as usize;
            segments.read_into(slot.address, &mut bytes[..*length])?;
            let Some((record, _)) = RecordBytes::parse(&bytes[..*length]) else {
                return Ok(false);
            };
            let slice = slices.get(slice::position(first, slot.slice));
            let oldest = slice.map_or(u64::MAX, |slice| slice.oldest);
            Ok(record.has_tail(&tail) && record.since() >= oldest)
        })
    }

    /// The record that [`find`](Self::find) has just found.
    pub(super) fn record(&self, slot: Slot) -> Result<Record, Damaged> {
        let (record, _) = RecordBytes::parse(&self.bytes[..self.length]).ok_or(Damaged)?;
        record.record(|place, length| {
            let slice = self.slices.get(self.position(slot.slice));
            if slice.is_none_or(|slice| slice.drops != place.drops) {
                return Ok(State::ReplyDropped);
            }
            slice::read_reply(&self.segments, place, length).map(State::Done)
        })
    }

    /// Adds a record; the number of its slice.
    pub(super) fn insert(
        &mut self,
        ticket: &Ticket,
        state: State<&[u8]>,
        policy: &Policy,
    ) -> Result<u16, Damaged> {
        let number = self.slice_for(ticket.expires_at, policy);
        let head = &ticket.head;
        let position = self.position(number);
        let slice = self.slices.get_mut(position).ok_or(Damaged)?;
        let before = slice.reply_bytes;
        let index = &mut self.index;
        let is_moved = slice.append(
            &mut self.segments,
            head,
            state,
            &mut self.bytes,
            |segments, address| index.insert(segments, &head.identity, address, number),
        )?;
        self.reply_bytes += slice.reply_bytes - before;
        if is_moved {
            Header::write_slice(&self.segments.memory, number, slice);
        }
        self.entries += 1;
        Ok(number)
    }

    /// Ends an attempt in a state: writes it over the record, if that is still the attempt's. Whether it was, and the number
    /// of the slice.
    pub(super) fn end(
        &mut self,
        ticket: &Ticket,
        attempt: Attempt,
        state: State<&[u8]>,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<Ended, Damaged> {
        let Some((_, slot)) = self.ending(&ticket.head.identity, attempt)? else {
            return self.end_overdue(ticket, attempt, state, now, policy);
        };
        let position = self.position(slot.slice);
        let slice = self.slices.get_mut(position).ok_or(Damaged)?;
        let before = slice.reply_bytes;
        let (segments, bytes) = (&mut self.segments, &mut self.bytes);
        let is_moved = slice.overwrite(segments, slot.address, &ticket.head, state, bytes)?;
        self.reply_bytes += slice.reply_bytes - before;
        if is_moved {
            Header::write_slice(&self.segments.memory, slot.slice, slice);
        }
        Ok(Ended::Recorded(slot.slice))
    }

    /// As [`end`](Self::end), of an attempt whose record has gone: it gets a new one, for another window, where there is room.
    fn end_overdue(
        &mut self,
        ticket: &Ticket,
        attempt: Attempt,
        state: State<&[u8]>,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<Ended, Damaged> {
        let identity = &ticket.head.identity;
        let is_own = |record: &Record| record.state == State::Pending(attempt);
        if !self.overdue.get(identity).is_some_and(is_own) {
            return Ok(Ended::NotItsOwn);
        }
        self.overdue.remove(identity);
        let scope = (ticket.counted.as_ref()).and_then(|counted| counted.usage.as_ref());
        let is_within_quota = match policy.quota.zip(scope) {
            Some((quota, (scope, _))) => {
                let (usage, _) = self.usage(scope, now, policy)?;
                usage.admit(&quota, policy).is_ok()
            }
            None => true,
        };
        let running = self.reserved();
        let has_room = self.has_room(policy, running) && self.segments.has(segments_of_one(policy));
        if !is_within_quota || !has_room {
            return Ok(Ended::Forgotten);
        }
        let ticket = Ticket {
            head: ticket.head,
            expires_at: now.plus(policy.window),
            counted: None,
        };
        self.insert(&ticket, state, policy).map(Ended::Recorded)
    }

    /// The record of an attempt that is still its own, and ends.
    fn ending(
        &mut self,
        identity: &Identity,
        attempt: Attempt,
    ) -> Result<Option<(u64, Slot)>, Damaged> {
        let Some((at, slot)) = self.find(identity)? else {
            return Ok(None);
        };
        if self.record(slot)?.state != State::Pending(attempt) {
            return Ok(None);
        }
        if attempt.incarnation == self.segments.header.incarnation {
            self.running.remove(&attempt.number);
        }
        Ok(Some((at, slot)))
    }

    /// Forgets a request that has ended, if it is known: its record goes with its slice.
    pub(super) fn let_go(&mut self, identity: &Identity) -> Result<(), Damaged> {
        let Some((at, slot)) = self.find(identity)? else {
            return Ok(());
        };
        match self.record(slot)?.state {
            State::Done(_) | State::ReplyDropped => self.remove(at, slot),
            State::Pending(_) | State::Interrupted => Ok(()),
        }
    }

    pub(super) fn release(
        &mut self,
        identity: &Identity,
        attempt: Attempt,
    ) -> Result<bool, Damaged> {
        let Some((at, slot)) = self.ending(identity, attempt)? else {
            return Ok(false);
        };
        self.remove(at, slot)?;
        Ok(true)
    }

    fn remove(&mut self, at: u64, slot: Slot) -> Result<(), Damaged> {
        self.index.remove(&self.segments, at);
        self.entries = self.entries.saturating_sub(1);
        self.released += 1;
        let position = self.position(slot.slice);
        let slice = self.slices.get_mut(position).ok_or(Damaged)?;
        slice.entries = slice.entries.saturating_sub(1);
        slice.released = slice.released.saturating_add(1);
        Header::write_slice(&self.segments.memory, slot.slice, slice);
        Ok(())
    }

    /// The number of the slice for what expires at a time: the first that lives as long, or else a new one.
    pub(super) fn slice_for(&mut self, expires_at: Timestamp, policy: &Policy) -> u16 {
        let expires_at = expires_at.as_nanos();
        let position = self
            .slices
            .partition_point(|slice| slice.until < expires_at);
        let first = self.segments.header.first_slice;
        if position < self.slices.len() {
            return slice::number(first, position);
        }
        let length = slice_length(policy);
        let until = expires_at.div_ceil(length).saturating_mul(length);
        if self.slices.len() < usize::from(MAX_SLICES) {
            self.slices.push_back(Slice::new(until));
            self.segments.header.slices += 1;
            self.segments.write_header();
        } else if let Some(last) = self.slices.back_mut() {
            // The table is full and nothing in it has expired, after the window was made longer again and again: the last slice
            // lives as long as it must.
            last.until = until;
        }
        let number = slice::number(first, self.slices.len() - 1);
        if let Some(last) = self.slices.back() {
            Header::write_slice(&self.segments.memory, number, last);
        }
        number
    }

    /// Gives up the oldest slice. What of it is still running is remembered on the heap, until it ends: forgetting it would let
    /// it run twice.
    pub(super) fn forget_oldest(&mut self) {
        let oldest = self.segments.header.first_slice;
        let incarnation = self.segments.header.incarnation;
        let overdue = self
            .running
            .extract_if(.., |_, running| running.slice == oldest);
        self.overdue.extend(overdue.map(|(number, running)| {
            let Head {
                identity,
                fingerprint,
                since,
            } = running.head;
            let state = State::Pending(Attempt {
                incarnation,
                number,
            });
            (
                identity,
                Record {
                    fingerprint,
                    since,
                    state,
                },
            )
        }));
        let Some(slice) = self.slices.pop_front() else {
            return;
        };
        self.entries = self.entries.saturating_sub(u64::from(slice.entries));
        self.released = self.released.saturating_sub(u64::from(slice.released));
        self.reply_bytes = self.reply_bytes.saturating_sub(slice.reply_bytes);
        slice.give_back(&mut self.segments);
        self.segments.header.first_slice = slice::number(oldest, 1);
        self.segments.header.slices -= 1;
        self.segments.write_header();
    }

    /// Gives up the replies of the oldest slice that has any outside of its records; the ids stay.
    pub(super) fn drop_oldest_replies(&mut self) -> bool {
        let first = self.segments.header.first_slice;
        for (position, slice) in self.slices.iter_mut().enumerate() {
            if slice.can_drop_replies() {
                self.reply_bytes = self.reply_bytes.saturating_sub(slice.reply_bytes);
                slice.drop_replies(&mut self.segments);
                self.segments.write_header();
                let number = slice::number(first, position);
                Header::write_slice(&self.segments.memory, number, slice);
                return true;
            }
        }
        false
    }

    /// The last instant for which a slice is kept.
    pub(super) fn until(&self, number: u16) -> Option<Timestamp> {
        self.slices.get(self.position(number)).map(Slice::until)
    }

    fn position(&self, number: u16) -> usize {
        slice::position(self.segments.header.first_slice, number)
    }
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
