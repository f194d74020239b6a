//! The counters of a store: found, kept and forgotten.

use super::{
    contents::{Contents, SEQUENCE_FLOOR},
    counter::{self, Body, Bounds, COUNTERS_OF_A_REQUEST, Counters, Kept, MOST_BODY_BYTES},
};
use crate::{
    error::IdempotencyError,
    identity::Identity,
    policy::Policy,
    table::{Composed, Damaged, Entry, Family, Link, Partition},
    time::Timestamp,
};
use ic_stable_structures::Memory;

/// Into how many partitions the time is divided for which an idle counter is kept.
const PARTITIONS_IN_KEEP: u64 = 4;

/// `unused_from` of a partition is raised by so much at a time: each time the table is written.
const NUMBERS_AHEAD: u64 = 4_096;

/// And `counts_until` by so much of the time for which a request can be remembered.
const STEPS_IN_REACH: u64 = 32;

/// A counter as it is to be kept.
pub(super) struct Keeping<'a> {
    pub(super) identity: &'a Identity,
    pub(super) body: Body<'a>,
    /// Every number from this one on is unused in it.
    pub(super) unused_from: u64,
    /// Nothing counts in it after this time, ns.
    pub(super) counts_until: u64,
}

impl<M: Memory> Contents<M> {
    /// A counter, and what `read` makes of its body: `None` if that contradicts itself.
    pub(super) fn find_counter<T>(
        &mut self,
        identity: &Identity,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Entry<(Kept, T)>, Damaged> {
        let (table, counters) = (&mut self.table, &self.counters);
        table.find(
            counters,
            identity.name(),
            |_, place, bytes| {
                let (kept, body) = counter::read(bytes)?;
                let read = read(body).ok_or(Damaged)?;
                Ok(Entry::Occupied(place, (kept, read)))
            },
            Entry::Vacant,
        )
    }

    fn counter_entry(&mut self, identity: &Identity) -> Result<Entry<Kept>, Damaged> {
        let entry = self.find_counter(identity, |_| Some(()))?;
        Ok(entry.map(|(kept, ())| kept))
    }

    /// Keeps a counter as last used now, whether it was known or not.
    pub(super) fn keep(
        &mut self,
        keeping: &Keeping<'_>,
        entry: &Entry<Kept>,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        let &Keeping {
            identity,
            body,
            unused_from,
            counts_until,
        } = keeping;
        let entry = match self.table.is_current(entry) {
            true => *entry,
            false => self.counter_entry(identity)?,
        };
        let number = self.counters_partition_for(now, policy);
        let stands = match entry {
            Entry::Occupied(occupied, kept) if occupied.slot.partition == number => {
                Some(kept.body_bytes)
            }
            Entry::Occupied(..) | Entry::Vacant(_) => None,
        };
        let needed = body.bytes();
        let fits = stands.is_some_and(|stands| stands >= needed);
        let body_bytes = match stands {
            None => needed,
            Some(stands) if fits => stands,
            Some(_) => body.bytes_grown(),
        };
        if body_bytes > MOST_BODY_BYTES {
            return Err(Damaged);
        }
        let compose = |bytes: &mut _, partition: &mut Partition<Bounds>, _| {
            let bounds = &mut partition.own;
            let mut must_write = bounds.unused_from < unused_from;
            if must_write {
                bounds.unused_from = unused_from.saturating_add(NUMBERS_AHEAD);
            }
            if bounds.counts_until < counts_until {
                let step = (policy.reach() / STEPS_IN_REACH).max(1);
                bounds.counts_until = counts_until.div_ceil(step).saturating_mul(step);
                partition.until = partition.until.max(bounds.counts_until);
                must_write = true;
            }
            Composed {
                length: counter::write(bytes, identity, body, body_bytes, now),
                must_write,
            }
        };
        let (table, counters) = (&mut self.table, &mut self.counters);
        let link = match entry {
            Entry::Occupied(occupied, _) if fits => {
                return table.overwrite(counters, occupied.row(), None, compose);
            }
            Entry::Occupied(occupied, _) => Link::Replace(occupied),
            Entry::Vacant(vacant) => Link::Insert(vacant),
        };
        let name = identity.name();
        let added = table.add(
            counters,
            number,
            name,
            (now.as_nanos(), None),
            link,
            compose,
        );
        added.map(|_| ())
    }

    /// Changes what is known in a counter, which is no use of it: it is overwritten where it lies.
    pub(super) fn amend(
        &mut self,
        identity: &Identity,
        entry: &Entry<Kept>,
        body: Body<'_>,
    ) -> Result<(), Damaged> {
        let Entry::Occupied(occupied, kept) = *entry else {
            return Err(Damaged);
        };
        if !self.table.is_current(entry) || body.bytes() > kept.body_bytes {
            return Err(Damaged);
        }
        let (table, counters) = (&mut self.table, &mut self.counters);
        table.overwrite(counters, occupied.row(), None, |bytes, _, _| Composed {
            length: counter::write(bytes, identity, body, kept.body_bytes, kept.last_use),
            must_write: false,
        })
    }

    /// The number of the partition for what is used now: the newest, or a new one.
    fn counters_partition_for(&mut self, now: Timestamp, policy: &Policy) -> u16 {
        let keep = policy.keep();
        let kept_until = now.as_nanos().saturating_add(keep);
        let counters = &mut self.counters;
        // Where idle ones must make room, those that are in use part from them in time.
        let is_tight = policy.evicts_idle_counters
            && counters.rows + COUNTERS_OF_A_REQUEST > policy.max_counters
            && counters.len() < usize::from(Counters::MOST_PARTITIONS / 2);
        let is_late_enough = counters.newest().is_some_and(|newest| {
            let is_old = newest.oldest.saturating_add(policy.reach()) < now.as_nanos();
            newest.until >= kept_until && !(is_tight && is_old)
        });
        let segments = &mut self.table.segments;
        if is_late_enough {
            return counters.newest_number(&segments.header);
        }
        let length = (keep / PARTITIONS_IN_KEEP).max(1);
        counters.begin(segments, kept_until.div_ceil(length).saturating_mul(length))
    }

    /// Makes sure that these counters fit, known or not.
    pub(super) fn make_room_for_counters(
        &mut self,
        identities: impl Iterator<Item = Identity> + Clone,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), IdempotencyError> {
        self.forget_idle_counters(now, 1);
        loop {
            // One of them may be given up to make room for the other.
            let mut new = 0;
            for identity in identities.clone() {
                new += u64::from(self.counter_entry(&identity)?.occupied().is_none());
            }
            let is_full = self.counters.rows + new > policy.max_counters;
            let Some(oldest) = self.counters.oldest().filter(|_| is_full) else {
                return Ok(());
            };
            let until = match policy.evicts_idle_counters {
                true => oldest.own.counts_until,
                false => oldest.until,
            };
            if until >= now.as_nanos() {
                let retry_after = Timestamp::from_nanos(until.saturating_add(1));
                return Err(IdempotencyError::Full { retry_after });
            }
            self.forget_oldest_counters();
        }
    }

    /// Gives up partitions that have been idle for as long as the policy says, no more than `most`; how many.
    pub(super) fn forget_idle_counters(&mut self, now: Timestamp, most: u32) -> u32 {
        for forgotten in 0..most {
            let oldest = self.counters.oldest();
            if oldest.is_none_or(|partition| partition.until >= now.as_nanos()) {
                return forgotten;
            }
            self.forget_oldest_counters();
        }
        most
    }

    /// Gives up the oldest partition. A lane that was in it is not known any more, so the floor rises above its numbers: they would
    /// run again.
    fn forget_oldest_counters(&mut self) {
        let Some(partition) = self.table.forget_oldest(&mut self.counters) else {
            return;
        };
        let segments = &mut self.table.segments;
        let floor = &mut segments.header.words[SEQUENCE_FLOOR];
        *floor = (*floor).max(partition.own.unused_from);
        segments.write_header();
    }
}
