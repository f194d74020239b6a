//! The records of a store: finding, adding, changing and forgetting them.

use super::{
    header::{Header, MAX_SLICES},
    index::{self, Bits, Found, Slot},
    record::{Attempt, RECORD_BYTES, Record, RecordBytes, State},
    segments::{SEGMENT_BYTES, Segments},
    slice::{self, Slice},
};
use crate::{
    identity::Identity,
    policy::Policy,
    time::{Timestamp, nanos},
};
use ic_stable_structures::Memory;
use std::collections::{BTreeMap, VecDeque};

/// All that a store holds: the memory, and what of it is kept on the heap.
pub(super) struct Contents<M: Memory> {
    pub(super) segments: Segments<M>,
    /// The live slices, oldest first; the first one's number is in the header.
    pub(super) slices: VecDeque<Slice>,
    /// The attempts of this heap that have not ended, by number, with the slice of their record.
    pub(super) running: BTreeMap<u64, (Identity, u16)>,
    /// Where the last look into the index ended.
    pub(super) found: Found,
    /// The request that was not found there, until the index changes: it would be added there.
    pub(super) missed: Option<Bits>,
    pub(super) attempts: u64,
    pub(super) entries: u64,
    pub(super) reply_bytes: u64,
}

impl<M: Memory> Contents<M> {
    pub(super) fn bytes(&self, policy: &Policy) -> u64 {
        let running = self.running.len() as u64;
        self.entries * RECORD_BYTES + self.reply_bytes + running * u64::from(policy.max_reply_bytes)
    }

    /// The record of a request, its slot, and where that stands.
    pub(super) fn find(&mut self, identity: &Identity) -> Option<(u64, Slot, Record)> {
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
    pub(super) fn insert(
        &mut self,
        record: &Record,
        expires_at: Timestamp,
        policy: &Policy,
    ) -> u16 {
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
    pub(super) fn append(&mut self, number: u16, record: &Record) -> u64 {
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
    pub(super) fn write_state(&mut self, slot: Slot, record: &Record, state: State) {
        let record = Record {
            state,
            ..record.clone()
        };
        self.segments
            .memory
            .write(slot.address, &record.to_bytes(None)[..1]);
    }

    pub(super) fn end(
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
    pub(super) fn forget_oldest(&mut self, now: Timestamp, policy: &Policy) {
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
    pub(super) fn drop_oldest_replies(&mut self) -> bool {
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

    pub(super) fn slice_mut(&mut self, number: u16) -> &mut Slice {
        let position = self.position(number);
        &mut self.slices[position]
    }

    pub(super) fn write_slice(&self, number: u16) {
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
pub(super) fn segments_needed(policy: &Policy, running: u64) -> u64 {
    let replies = (running + 1) * (u64::from(policy.max_reply_bytes) + RECORD_BYTES);
    let begun = 2 * (running + 1).min(u64::from(MAX_SLICES));
    replies.div_ceil(SEGMENT_BYTES / 2) + begun + index::MOST_BLOCKS.div_ceil(256) + 1
}
