//! The records of a store: finding, adding, changing and forgetting them.

use super::{
    bucket::{Slot, TALLIES},
    error::{Damaged, OpenError},
    header::{Header, MAX_SLICES},
    index::{self, Index},
    record::{Attempt, Head, RECORD_BYTES, Record, RecordBytes, State},
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

/// An attempt that has not ended.
#[derive(Clone, Copy)]
pub(super) struct Running {
    pub(super) identity: Identity,
    /// Of its record.
    pub(super) slice: u16,
    /// The scope whose quota it counts against, and until when it is counted, ns.
    pub(super) charge: Option<(Identity, u64)>,
}

/// All that a store holds: the memory, and what of it is kept on the heap.
pub(super) struct Contents<M: Memory> {
    pub(super) segments: Segments<M>,
    /// The live slices, oldest first; the first one's number is in the header.
    pub(super) slices: VecDeque<Slice>,
    /// The attempts of this heap that have not ended, by number.
    pub(super) running: BTreeMap<u64, Running>,
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
        let mut segments = Segments { memory, header };
        if found.is_none() && !segments.make(segments_needed(policy, 0)) {
            return Err(OpenError::OutOfMemory);
        }
        let mut slices = VecDeque::with_capacity(usize::from(MAX_SLICES));
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
            attempts: 0,
        })
    }

    pub(super) fn bytes(&self, policy: &Policy) -> u64 {
        let running = self.running.len() as u64;
        (self.entries + self.released) * RECORD_BYTES
            + self.reply_bytes
            + running * u64::from(policy.max_reply_bytes)
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
            if slice.is_none_or(|slice| slice.has_dropped_replies) {
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
        self.append(number, head, state, false, |index, segments, address| {
            index.insert(segments, &head.identity, address, number)
        })?;
        self.entries += 1;
        Ok(number)
    }

    /// Appends a record to a slice, once `link` has had the index lead to its address.
    fn append(
        &mut self,
        number: u16,
        head: &Head,
        state: State<&[u8]>,
        is_replacement: bool,
        link: impl FnOnce(&mut Index, &mut Segments<M>, u64) -> Result<(), Damaged>,
    ) -> Result<(), Damaged> {
        let position = self.position(number);
        let slice = self.slices.get_mut(position).ok_or(Damaged)?;
        let before = slice.reply_bytes;
        let index = &mut self.index;
        let is_moved = slice.append(
            &mut self.segments,
            head,
            state,
            is_replacement,
            &mut self.bytes,
            |segments, address| link(index, segments, address),
        )?;
        self.reply_bytes += slice.reply_bytes - before;
        if is_moved {
            Header::write_slice(&self.segments.memory, number, slice);
        }
        Ok(())
    }

    /// The record of an attempt that is still its own, and ends.
    fn ending(
        &mut self,
        identity: &Identity,
        attempt: Attempt,
    ) -> Result<Option<(u64, Slot, Head)>, Damaged> {
        let Some((at, slot)) = self.find(identity)? else {
            return Ok(None);
        };
        let record = self.record(slot)?;
        if record.state != State::Pending(attempt) {
            return Ok(None);
        }
        if attempt.incarnation == self.segments.header.incarnation {
            self.running.remove(&attempt.number);
        }
        Ok(Some((at, slot, record.head(*identity))))
    }

    /// The slice of the record, if it was the attempt's.
    pub(super) fn complete(
        &mut self,
        identity: &Identity,
        attempt: Attempt,
        reply: &[u8],
    ) -> Result<Option<u16>, Damaged> {
        let Some((at, slot, head)) = self.ending(identity, attempt)? else {
            return Ok(None);
        };
        let state = State::Done(reply);
        self.append(
            slot.slice,
            &head,
            state,
            true,
            |index, segments, address| {
                index.replace(segments, at, slot, address, slot.slice);
                Ok(())
            },
        )?;
        Ok(Some(slot.slice))
    }

    /// Ends an attempt without a reply: the record's body stays as it is, and means nothing.
    pub(super) fn end(
        &mut self,
        identity: &Identity,
        attempt: Attempt,
        state: State,
    ) -> Result<Option<u16>, Damaged> {
        let Some((_, slot, _)) = self.ending(identity, attempt)? else {
            return Ok(None);
        };
        let [first] = self.segments.read(slot.address)?;
        let first = RecordBytes::with_state(first, &state);
        self.segments.memory.write(slot.address, &[first]);
        Ok(Some(slot.slice))
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
        let Some((at, slot, _)) = self.ending(identity, attempt)? else {
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
        let length = (policy.reach() / SLICES_IN_REACH).max(1);
        let until = expires_at.div_ceil(length).saturating_mul(length);
        if self.slices.len() < usize::from(MAX_SLICES) {
            self.slices.push_back(Slice::new(until));
            self.segments.header.slices += 1;
            self.segments.write_header();
        } else if let Some(last) = self.slices.back_mut() {
            // The table is full, after the window was made much longer: the last slice lives as long as it must.
            last.until = until;
        }
        let number = slice::number(first, self.slices.len() - 1);
        if let Some(last) = self.slices.back() {
            Header::write_slice(&self.segments.memory, number, last);
        }
        number
    }

    /// Gives up the oldest slice. What of it is still running gets another window: forgetting it would let it run twice.
    pub(super) fn forget_oldest(&mut self, now: Timestamp, policy: &Policy) -> Result<(), Damaged> {
        let oldest = self.segments.header.first_slice;
        let running: Vec<(u64, Running)> = (self.running.iter())
            .filter(|(_, running)| running.slice == oldest)
            .map(|(number, running)| (*number, *running))
            .collect();
        for (number, running) in running {
            let identity = running.identity;
            let Some((at, slot)) = self.find(&identity)? else {
                continue;
            };
            let record = self.record(slot)?;
            let State::Pending(attempt) = record.state else {
                continue;
            };
            let slice = self.slice_for(now.plus(policy.window), policy);
            let (head, state) = (record.head(identity), State::Pending(attempt));
            self.append(slice, &head, state, false, |index, segments, address| {
                index.replace(segments, at, slot, address, slice);
                Ok(())
            })?;
            self.entries += 1;
            self.running.insert(number, Running { slice, ..running });
        }
        let Some(slice) = self.slices.pop_front() else {
            return Ok(());
        };
        self.entries = self.entries.saturating_sub(u64::from(slice.entries));
        self.released = self.released.saturating_sub(u64::from(slice.released));
        self.reply_bytes = self.reply_bytes.saturating_sub(slice.reply_bytes);
        slice.give_back(&mut self.segments);
        self.segments.header.first_slice = slice::number(oldest, 1);
        self.segments.header.slices -= 1;
        self.segments.write_header();
        Ok(())
    }

    /// Gives up the replies of the oldest slice that has any outside of its records; the ids stay.
    pub(super) fn drop_oldest_replies(&mut self) -> bool {
        let first = self.segments.header.first_slice;
        for (position, slice) in self.slices.iter_mut().enumerate() {
            if slice.reply_bytes > 0 {
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

/// Into how many slices the time is divided in which records can expire.
const SLICES_IN_REACH: u64 = 32;

/// Segments that one more insert and the completion of what is running may take: for replies and records, for what is left
/// of segments that are begun, for tallies, and for nodes and buckets of the index.
pub(super) fn segments_needed(policy: &Policy, running: u64) -> u64 {
    let replies = (running + 1) * (u64::from(policy.max_reply_bytes) + RECORD_BYTES);
    let begun = 2 * (running + 1).min(u64::from(MAX_SLICES));
    // A tally of a lane and one of a scope go with it.
    let tallies = 2;
    replies.div_ceil(SEGMENT_BYTES / 2) + begun + tallies + index::MOST_SEGMENTS + 1
}
