//! Lanes of sequence numbers, and what scopes take.

use super::{Store, open::Progress, record::State, records::Lookup, ticket::Counted};
use crate::{
    error::IdempotencyError,
    identity::Identity,
    quota::Usage,
    sequence::{FreedLane, Lane},
    table::Damaged,
    time::Timestamp,
};
use ic_stable_structures::Memory;

impl<M: Memory> Store<M> {
    /// What is known of a lane; one that is not known begins at the floor.
    pub(crate) fn lane(&self, identity: &Identity) -> Result<Counted<Lane>, Damaged> {
        self.inner()?.lane(identity)
    }

    /// What a scope takes.
    pub(crate) fn usage(
        &self,
        scope: &Identity,
        now: Timestamp,
    ) -> Result<Counted<Usage>, Damaged> {
        self.inner()?.usage(scope, now, &self.policy)
    }

    /// The number with which a lane goes on: every number below was used, or never can be. Where a strict lane's last number
    /// has not ended, or its outcome is unknown, that one. [`endpoint!`](crate::endpoint) calls it for an endpoint's lane.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn next_number(&self, lane: &Identity) -> Result<u64, Damaged> {
        Ok(self.lane(lane)?.counter.next())
    }

    /// Frees a strict lane that waits for `number` because its outcome is unknown: the number is settled as used, never runs
    /// again, and the lane goes on with the next one. For an operator who has found out what the number did. Says what it
    /// found, and does nothing to a lane that waits for another number: to repeat the call is safe. What began in this heap
    /// and has not ended may still be running, however long ago that was, and is left alone: upgrade the canister first.
    ///
    /// `endpoint!(order).of(client).free_lane(number)` calls it for an endpoint's lane: see [`endpoint!`](crate::endpoint).
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn free_lane(&self, lane: &Identity, number: u64) -> Result<FreedLane, Damaged> {
        let Counted {
            counter: mut known,
            entry,
        } = self.lane(lane)?;
        let Some(since) = known.stuck_since(number) else {
            let next = known.next();
            return Ok(FreedLane::NotStuck { next });
        };
        if let Lookup::Known(record) = self.lookup(&Identity::of_number(lane, number))?
            && let State::Pending(pending) = record.state
            && self.progress(pending.attempt) != Progress::Unknown
        {
            return Ok(FreedLane::Running { since });
        }
        known.end(number);
        self.inner()?.amend(lane, &entry, &known.to_bytes())?;
        Ok(FreedLane::Freed { since })
    }

    /// Makes sure that these counters can be kept.
    ///
    /// # Errors
    /// `Full`, with the time at which to try again, or `StoreDamaged`.
    pub(crate) fn make_room_for_counters(
        &self,
        identities: impl Iterator<Item = Identity> + Clone,
        now: Timestamp,
    ) -> Result<(), IdempotencyError> {
        let mut inner = self.inner()?;
        inner.make_room_for_counters(identities, now, &self.policy)
    }
}
