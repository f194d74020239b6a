//! The tallies of a store: finding, keeping and forgetting them.

use super::{
    bucket::{Slot, TALLIES},
    contents::Contents,
    error::Damaged,
    header::{Header, MAX_TALLY_SLICES},
    record::Attempt,
    segments::{SEGMENT_BYTES, Segments},
    slice::{self, NUMBERS},
    tally::{self, FIXED_BYTES, MOST_BODY_BYTES, MOST_BYTES, TallyBytes, TallySlice},
};
use crate::{
    admission::Ticket, error::IdempotencyError, identity::Identity, policy::Policy, quota::Usage,
    sequence::Lane, time::Timestamp,
};
use ic_stable_structures::Memory;
use std::collections::VecDeque;

/// Into how many slices the time is divided for which an idle tally is kept.
const SLICES_IN_KEEP: u64 = 4;

/// `unused_from` of a slice is raised by so much at a time: each time the table is written.
const NUMBERS_AHEAD: u64 = 4_096;

/// And `counts_until` by so much of the time for which a request can be remembered.
const STEPS_IN_REACH: u64 = 32;

/// That of its lane, and that of its scope.
pub(super) const TALLIES_OF_A_REQUEST: u64 = 2;

/// Replies that are let go when a request with `first_incomplete` is recorded: more than it adds.
const LET_GO_AT_A_TIME: u32 = 2;

/// How much of a tally is read at first: all of it but for lanes that are very wide.
const FIRST_READ_BYTES: usize = 160;

/// What of the tallies is on the heap.
pub(super) struct Tallies {
    /// The live slices, oldest first; the first one's number is in the header.
    slices: VecDeque<TallySlice>,
    pub(super) entries: u64,
    /// The tally that was found last.
    last_found: Option<FoundTally>,
    /// What was read or put together last.
    bytes: [u8; MOST_BYTES],
}

impl Tallies {
    pub(super) fn read<M: Memory>(segments: &Segments<M>) -> Result<Self, Damaged> {
        let header = &segments.header;
        let mut slices = VecDeque::with_capacity(usize::from(MAX_TALLY_SLICES));
        for position in 0..usize::from(header.tallies) {
            let number = slice::number(header.first_tallies, position);
            let mut slice = Header::read_tallies(&segments.memory, number);
            slice.find_end(segments)?;
            slices.push_back(slice);
        }
        Ok(Self {
            entries: slices.iter().map(|slice| u64::from(slice.entries)).sum(),
            slices,
            last_found: None,
            bytes: [0; MOST_BYTES],
        })
    }

    /// The last instant for which the oldest are kept.
    #[cfg(feature = "timers")]
    pub(super) fn oldest_until(&self) -> Option<Timestamp> {
        self.slices
            .front()
            .map(|slice| Timestamp::from_nanos(slice.until))
    }
}

impl<M: Memory> Contents<M> {
    /// Writes what goes with a request that is about to be recorded: to its lane, and to what its scope takes. The
    /// scope, and until when the request is counted there, ns.
    pub(super) fn count(
        &mut self,
        ticket: &Ticket,
        reply_bytes: u64,
        has_ended: bool,
        policy: &Policy,
    ) -> Result<Option<(Identity, u64)>, Damaged> {
        let Some(counted) = &ticket.counted else {
            return Ok(None);
        };
        let now = ticket.head.since;
        if let Some((sequence, lane)) = &counted.lane {
            let mut lane = lane.clone();
            lane.begin(sequence.number, now);
            if has_ended {
                lane.end(sequence.number);
            }
            // Nobody has received a reply that is yet to be made.
            let first_incomplete = sequence
                .first_incomplete
                .map(|first_incomplete| first_incomplete.min(sequence.number));
            for _ in 0..LET_GO_AT_A_TIME {
                let number =
                    first_incomplete.and_then(|first_incomplete| lane.let_go(first_incomplete));
                if let Some(number) = number {
                    self.let_go(&Identity::of_number(&sequence.lane, number))?;
                }
            }
            self.keep_lane(&sequence.lane, &lane, now, policy)?;
        }
        let Some((scope, usage)) = &counted.usage else {
            return Ok(None);
        };
        let slice = self.slice_for(ticket.expires_at, policy);
        let mut usage = usage.clone();
        let end = usage.add(self.until(slice).ok_or(Damaged)?, reply_bytes, policy);
        self.keep_usage(scope, &usage, now, policy)?;
        Ok(Some((*scope, end)))
    }

    /// As [`count`](Self::count), when a request that has begun ends: its lane goes on.
    pub(super) fn end_in_lane(
        &mut self,
        ticket: &Ticket,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        if let Some((sequence, _)) = ticket.lane()
            && let Some(tally) = self.tally(&sequence.lane)?
        {
            let mut lane = Lane::from_tally(&tally);
            lane.end(sequence.number);
            self.keep_lane(&sequence.lane, &lane, now, policy)?;
        }
        Ok(())
    }

    /// Until when an attempt that has not ended counts against a quota, ns. What runs on when its record has gone counts no
    /// more; what an earlier heap began is counted.
    pub(super) fn counted_until(&self, attempt: Attempt) -> u64 {
        if attempt.incarnation != self.segments.header.incarnation {
            return u64::MAX;
        }
        let running = self.running.get(&attempt.number);
        let charge = running.and_then(|running| running.charge);
        charge.map_or(0, |(_, counted_until)| counted_until)
    }

    /// As [`count`](Self::count), when a request that has begun ends: what it is remembered with counts against its quota.
    pub(super) fn end_in_quota(
        &mut self,
        ticket: &Ticket,
        counted_until: u64,
        slice: u16,
        reply_bytes: u64,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        let Some((scope, _)) = ticket.usage() else {
            return Ok(());
        };
        let until = self.until(slice).ok_or(Damaged)?;
        let has_more = reply_bytes > 0 || counted_until < until.as_nanos();
        if !has_more || until < now {
            return Ok(());
        }
        let mut usage = match self.tally(scope)? {
            Some(tally) => Usage::from_tally(&tally, now),
            None => Usage::new(now),
        };
        usage.end(counted_until, until, reply_bytes, policy);
        self.keep_usage(scope, &usage, now, policy)
    }

    /// As [`count`](Self::count), when a request did nothing: its number can be used. It still counts against the quota, as
    /// its record takes room until its slice goes.
    pub(super) fn release_in_lane(
        &mut self,
        ticket: &Ticket,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        if let Some((sequence, _)) = ticket.lane()
            && let Some(tally) = self.tally(&sequence.lane)?
        {
            let mut lane = Lane::from_tally(&tally);
            lane.release(sequence.number);
            self.keep_lane(&sequence.lane, &lane, ticket.head.since, policy)?;
        }
        Ok(())
    }

    /// What a scope takes, and whether it is known.
    pub(super) fn usage(
        &mut self,
        scope: &Identity,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(Usage, bool), Damaged> {
        let tally = self.tally(scope)?;
        let running = self.running.values().filter(|running| {
            let is_counted = running.charge.is_some_and(|(of, _)| of == *scope);
            is_counted && self.until(running.slice).is_some_and(|until| until >= now)
        });
        let running = running.count() as u64;
        let usage = match &tally {
            Some(tally) => Usage::from_tally(tally, now),
            None => Usage::new(now),
        };
        let usage = usage.with_running(running, policy);
        Ok((usage, tally.is_some()))
    }

    fn keep_lane(
        &mut self,
        identity: &Identity,
        lane: &Lane,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        let (unused_from, counts_until) = (
            lane.unused_from(),
            now.as_nanos().saturating_add(policy.reach()),
        );
        let body = lane.to_tally();
        self.keep_tally(identity, &body, unused_from, counts_until, now, policy)
    }

    fn keep_usage(
        &mut self,
        scope: &Identity,
        usage: &Usage,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        let (body, counts_until) = (usage.to_tally(), usage.counts_until());
        self.keep_tally(scope, &body, 0, counts_until, now, policy)
    }

    /// Changes what is known of a lane, which is no use of it: its tally is overwritten where it lies.
    pub(super) fn amend_lane(&mut self, identity: &Identity, lane: &Lane) -> Result<(), Damaged> {
        let found = self.find_tally(identity)?.ok_or(Damaged)?;
        let body = lane.to_tally();
        if body.len() != found.body_bytes {
            return Err(Damaged);
        }
        let at = found.slot.address + FIXED_BYTES as u64;
        self.segments.check(at, body.len())?;
        self.segments.memory.write(at, &body);
        Ok(())
    }

    /// The body of a tally.
    pub(super) fn tally(&mut self, identity: &Identity) -> Result<Option<Vec<u8>>, Damaged> {
        let found = self.find_tally(identity)?;
        Ok(found.map(|found| {
            let body = FIXED_BYTES..FIXED_BYTES + found.body_bytes;
            self.tallies.bytes[body].to_vec()
        }))
    }

    fn find_tally(&mut self, identity: &Identity) -> Result<Option<FoundTally>, Damaged> {
        let tail = identity.tail();
        let (segments, tallies) = (&self.segments, &mut self.tallies);
        let (slices, bytes) = (&tallies.slices, &mut tallies.bytes);
        let first = segments.header.first_tallies;
        let mut length = 0;
        let found = self.index.find(segments, identity, |slot| {
            if slot.slice & TALLIES == 0 {
                return Ok(false);
            }
            // A tally does not go beyond its segment, which may be the last.
            let room = (SEGMENT_BYTES - slot.address % SEGMENT_BYTES) as usize;
            length = room.min(FIRST_READ_BYTES);
            segments.read_into(slot.address, &mut bytes[..length])?;
            let Some(tally) = TallyBytes::parse(&bytes[..length]) else {
                return Ok(false);
            };
            let slice = slices.get(slice::position(first, slot.slice));
            let oldest = slice.map_or(u64::MAX, |slice| slice.oldest);
            if !tally.has_tail(&tail) || tally.last_use() < oldest {
                return Ok(false);
            }
            let whole = FIXED_BYTES + tally.body_bytes();
            if whole > length {
                segments.read_into(slot.address + length as u64, &mut bytes[length..whole])?;
                length = whole;
            }
            Ok(true)
        })?;
        let Some((at, slot)) = found else {
            return Ok(None);
        };
        let tally = TallyBytes::parse(&bytes[..length]).ok_or(Damaged)?;
        let found = FoundTally {
            identity: *identity,
            at,
            slot,
            body_bytes: tally.body_bytes(),
            changes: self.index.changes(),
        };
        tallies.last_found = Some(found);
        Ok(Some(found))
    }

    /// Keeps a tally as last used now, whether it was known or not. Every number from `unused_from` on is unused in it, and
    /// nothing counts in it after `counts_until`.
    fn keep_tally(
        &mut self,
        identity: &Identity,
        body: &[u8],
        unused_from: u64,
        counts_until: u64,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        if body.len() > MOST_BODY_BYTES {
            return Err(Damaged);
        }
        let changes = self.index.changes();
        let is_it = |last: &FoundTally| last.identity == *identity && last.changes == changes;
        let found = match self.tallies.last_found.filter(is_it) {
            Some(found) => Some(found),
            None => self.find_tally(identity)?,
        };
        let number = self.tally_slice_for(now, policy);
        let first = self.segments.header.first_tallies;
        let (segments, tallies) = (&mut self.segments, &mut self.tallies);
        let length = tally::write(&mut tallies.bytes, identity, body, now);
        let slice = (tallies.slices)
            .get_mut(slice::position(first, number))
            .ok_or(Damaged)?;
        let mut is_changed = slice.unused_from < unused_from;
        if is_changed {
            slice.unused_from = unused_from.saturating_add(NUMBERS_AHEAD);
        }
        if slice.counts_until < counts_until {
            let step = (policy.reach() / STEPS_IN_REACH).max(1);
            slice.counts_until = counts_until.div_ceil(step).saturating_mul(step);
            slice.until = slice.until.max(slice.counts_until);
            is_changed = true;
        }
        let is_in_place = |found: &FoundTally| {
            found.slot.slice == number | TALLIES && found.body_bytes == body.len()
        };
        if let Some(found) = found.as_ref().filter(|found| is_in_place(found)) {
            let bytes = &tallies.bytes[..length];
            segments.memory.write(found.slot.address, bytes);
            if is_changed {
                Header::write_tallies(&segments.memory, number, slice);
            }
            return Ok(());
        }
        let (address, is_moved) = slice.append(segments, &tallies.bytes, length, now)?;
        is_changed |= is_moved;
        tallies.entries += 1;
        if is_changed {
            Header::write_tallies(&segments.memory, number, slice);
        }
        let number = number | TALLIES;
        let Some(FoundTally { at, slot, .. }) = found else {
            return (self.index).insert(segments, identity, address, number);
        };
        (self.index).replace(segments, at, slot, address, number);
        tallies.entries = tallies.entries.saturating_sub(1);
        if let Some(left) = (tallies.slices).get_mut(slice::position(first, slot.slice)) {
            left.entries = left.entries.saturating_sub(1);
            Header::write_tallies(&segments.memory, slot.slice & NUMBERS, left);
        }
        Ok(())
    }

    /// The number of the slice for what is used now: the last one, or a new one.
    fn tally_slice_for(&mut self, now: Timestamp, policy: &Policy) -> u16 {
        let keep = policy.keep();
        let kept_until = now.as_nanos().saturating_add(keep);
        let first = self.segments.header.first_tallies;
        let slices = &mut self.tallies.slices;
        // Where idle ones must make room, those that are in use part from them in time.
        let is_tight = policy.evicts_idle_counters
            && self.tallies.entries + TALLIES_OF_A_REQUEST > policy.max_counters
            && slices.len() < usize::from(MAX_TALLY_SLICES / 2);
        let is_late_enough = slices.back().is_some_and(|last| {
            let is_old = last.oldest.saturating_add(policy.reach()) < now.as_nanos();
            last.until >= kept_until && !(is_tight && is_old)
        });
        if !is_late_enough {
            let length = (keep / SLICES_IN_KEEP).max(1);
            let until = kept_until.div_ceil(length).saturating_mul(length);
            if slices.len() < usize::from(MAX_TALLY_SLICES) {
                slices.push_back(TallySlice::new(until));
                self.segments.header.tallies += 1;
                self.segments.write_header();
            } else if let Some(last) = slices.back_mut() {
                // The table is full, after the time was made much longer.
                last.until = until;
            }
        }
        let number = slice::number(first, slices.len().saturating_sub(1));
        if let (false, Some(last)) = (is_late_enough, slices.back()) {
            Header::write_tallies(&self.segments.memory, number, last);
        }
        number
    }

    /// Makes sure that these tallies fit, known or not.
    pub(super) fn make_room_for_tallies(
        &mut self,
        tallies: impl Iterator<Item = Identity> + Clone,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), IdempotencyError> {
        self.forget_idle_tallies(now, 1);
        loop {
            // One of them may be given up to make room for the other.
            let mut new = 0;
            for tally in tallies.clone() {
                new += u64::from(self.find_tally(&tally)?.is_none());
            }
            let oldest = self.tallies.slices.front();
            let Some(oldest) = oldest.filter(|_| self.tallies.entries + new > policy.max_counters)
            else {
                return Ok(());
            };
            let until = match policy.evicts_idle_counters {
                true => oldest.counts_until,
                false => oldest.until,
            };
            if until >= now.as_nanos() {
                let retry_after = Timestamp::from_nanos(until.saturating_add(1));
                return Err(IdempotencyError::Full { retry_after });
            }
            self.forget_oldest_tallies();
        }
    }

    /// Gives up slices that have been idle for as long as the policy says, no more than `most`; how many.
    pub(super) fn forget_idle_tallies(&mut self, now: Timestamp, most: u32) -> u32 {
        for forgotten in 0..most {
            let oldest = self.tallies.slices.front();
            if oldest.is_none_or(|slice| slice.until >= now.as_nanos()) {
                return forgotten;
            }
            self.forget_oldest_tallies();
        }
        most
    }

    /// Gives up the oldest slice. A lane that was in it is not known any more, so the floor rises above its numbers: they would
    /// run again.
    fn forget_oldest_tallies(&mut self) {
        self.tallies.last_found = None;
        let Some(slice) = self.tallies.slices.pop_front() else {
            return;
        };
        let entries = u64::from(slice.entries);
        self.tallies.entries = self.tallies.entries.saturating_sub(entries);
        let header = &mut self.segments.header;
        header.sequence_floor = header.sequence_floor.max(slice.unused_from);
        header.first_tallies = slice::number(header.first_tallies, 1);
        header.tallies -= 1;
        slice.give_back(&mut self.segments);
        self.segments.write_header();
    }
}

/// Where a tally was found.
#[derive(Clone, Copy)]
struct FoundTally {
    identity: Identity,
    at: u64,
    slot: Slot,
    body_bytes: usize,
    /// The changes of the index until then: it stands there until the next.
    changes: u64,
}
