//! Lanes of sequence numbers, and what scopes take.

use super::{
    Store,
    contents::Contents,
    counter::Body,
    open::Progress,
    record::{Head, Record, Reply, State},
    records::Lookup,
    ticket::Counted,
};
use crate::{
    error::IdempotencyError,
    identity::Identity,
    policy::Policy,
    quota::Usage,
    sequence::{FreedLane, Lane, Sequence},
    table::{Damaged, Entry, Link, Vacant},
    time::Timestamp,
};
use ic_stable_structures::Memory;

impl<M: Memory> Store<M> {
    /// What is known of a lane; one that is not known begins at the floor.
    pub(crate) fn lane(&self, identity: &Identity) -> Result<Counted<Lane>, Damaged> {
        self.inner()?.lane(identity)
    }

    /// Reads the lane of a number, as its endpoint wants it now, and the number's record if it lies there and not elsewhere.
    pub(crate) fn read_lane(
        &self,
        sequence: &Sequence,
        (lane, record): (&mut Counted<Lane>, &mut Option<Record>),
    ) -> Result<(), Damaged> {
        let number = Some(sequence.number);
        (self.inner()?).read_lane(&sequence.lane, number, (&mut *lane, record))?;
        lane.counter.set_max_in_flight(sequence.max_in_flight);
        Ok(())
    }

    /// Gives the record that lies in a lane a place of its own, as those have whose lane is not strict. There is room for it.
    pub(crate) fn move_record_out(&self, lane: &Identity, now: Timestamp) -> Result<(), Damaged> {
        self.inner()?.move_record_out(lane, now, &self.policy)
    }

    /// As [`guaranteed_until`](Self::guaranteed_until), of a number. If its record lies in its lane: as long as no other number begins.
    pub(crate) fn number_guaranteed_until(
        &self,
        identity: &Identity,
        sequence: &Sequence,
    ) -> Result<Option<Timestamp>, Damaged> {
        let mut inner = self.inner()?;
        let lane = inner.lane(&sequence.lane)?;
        match lane.counter.last() == Some(sequence.number) {
            true => Ok(inner.lane_kept_until(&lane)),
            false => inner.kept_until(identity),
        }
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
        let body = Body::Lane(&known, None);
        self.inner()?.amend(lane, &entry, body)?;
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

impl<M: Memory> Contents<M> {
    /// The last instant at which what a lane says is certain to be known.
    fn lane_kept_until(&self, lane: &Counted<Lane>) -> Option<Timestamp> {
        let Entry::Occupied(occupied, _) = lane.entry else {
            return None;
        };
        let partition = self.counters.get(self.header(), occupied.slot.partition);
        partition.map(|partition| Timestamp::from_nanos(partition.own.counts_until))
    }

    fn move_record_out(
        &mut self,
        identity: &Identity,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        let mut lane = self.lane(identity)?;
        let last = lane.counter.last();
        let mut record = None;
        self.read_lane(identity, last, (&mut lane, &mut record))?;
        let (Some(number), Some(record)) = (last, record) else {
            return Ok(());
        };
        let kept_until = self.lane_kept_until(&lane).ok_or(Damaged)?;
        lane.counter.give_up_last();
        self.amend(identity, &lane.entry, Body::Lane(&lane.counter, None))?;
        let State::Done(reply) = &record.state else {
            return Err(Damaged);
        };
        let reply = Reply {
            bytes: reply.bytes.as_slice(),
            is_for_retries: reply.is_for_retries,
        };
        if kept_until < now {
            return Ok(());
        }
        let head = Head {
            identity: Identity::of_number(identity, number),
            fingerprint: record.fingerprint,
            since: record.since,
        };
        let partition = self.partition_for(kept_until, policy);
        let place = Link::Insert(Vacant::SOMEWHERE);
        self.add_record(&head, place, partition, State::Done(reply))?;
        Ok(())
    }
}
