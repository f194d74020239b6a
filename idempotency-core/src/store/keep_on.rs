//! Forgetting a partition while requests in it have not ended: those that must not be forgotten are moved to another one.

use super::{
    contents::Contents,
    journal::{Class, Entry},
    open::Open,
    origin::Known,
    record::Attempt,
    room::segments_of_end,
};
use crate::{policy::Policy, table::Damaged, time::Timestamp};
use ic_stable_structures::Memory;
use std::time::Duration;

/// So many durable requests are moved to another partition in one message that makes room.
pub(super) const MOST_MOVED: usize = 8;

/// The timer tries again after so long when there was no room for what must be kept.
const POSTPONED_FOR: Duration = Duration::from_secs(60);

/// What became of a partition that was to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forgetting {
    Done,
    /// More of it must be moved than is moved at a time.
    HasMore,
    /// The memory has no room for what must be moved.
    NoRoom,
}

impl<M: Memory> Contents<M> {
    /// Forgets the oldest partition, which has expired. What of it is durable and has not ended is kept for another window.
    pub(super) fn forget_expired(
        &mut self,
        now: Timestamp,
        most_moved: usize,
        policy: &Policy,
    ) -> Result<Forgetting, Damaged> {
        let oldest = self.requests.oldest_number(self.header());
        let kept = self
            .open
            .durable_in(oldest)
            .take(most_moved.saturating_add(1));
        let kept: Vec<_> = kept.collect();
        for attempt in kept.iter().take(most_moved) {
            if !self.keep_on(*attempt, now, policy)? {
                self.postponed = now.plus(POSTPONED_FOR);
                return Ok(Forgetting::NoRoom);
            }
        }
        if kept.len() > most_moved {
            return Ok(Forgetting::HasMore);
        }
        self.forget_oldest()?;
        Ok(Forgetting::Done)
    }

    /// Brings a request that has not ended out of a partition that is to be forgotten, for another window; whether there is room for it.
    pub(super) fn keep_on(
        &mut self,
        attempt: Attempt,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<bool, Damaged> {
        let open = self.open.get(attempt).ok_or(Damaged)?;
        let (head, pending) = self.pending(&open)?;
        let (entries, journal_bytes) = self.entries(open.journal)?;
        // A segment for the record, and one for the journal's first row.
        let segments = segments_of_end(journal_bytes) + 1;
        if !self.table.segments.reserve(segments) {
            return Ok(false);
        }
        let partition = self.partition_for(now.plus(policy.window), policy);
        let mut open = Open {
            record: self.move_record(&head, pending, partition)?,
            journal: 0,
            journal_bytes: 0,
            partition,
            ..open
        };
        for (class, entry) in &entries {
            self.append_entry(&mut open, *class, entry)?;
        }
        let counted = self.count_again(&entries, partition, now, policy)?;
        if let Some(running) = self.running.get_mut(&attempt.0) {
            running.partition = partition;
            if let (Some((_, counted_until)), Some(counted)) = (&mut running.charge, counted) {
                *counted_until = (*counted_until).max(counted);
            }
        }
        self.keep_open(attempt, open)?;
        Ok(true)
    }

    /// A request that is kept for longer counts against its quota for as long; until when, ns.
    fn count_again(
        &mut self,
        entries: &[Entry],
        partition: u16,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<Option<u64>, Damaged> {
        let known = match entries.first() {
            Some((Class::Origin, entry)) if policy.quota.is_some() => Known::read(entry)?,
            _ => return Ok(None),
        };
        let Some(scope) = known.scope else {
            return Ok(None);
        };
        let until = self.until(partition).ok_or(Damaged)?;
        self.count_until(&scope, until, now, policy).map(Some)
    }
}
