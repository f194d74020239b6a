//! What a request writes besides its record: to its lane, and to what its scope takes.

use super::{
    contents::Contents,
    counter::Kept,
    counters::Keeping,
    record::Attempt,
    ticket::{Counted, Ticket},
};
use crate::{
    identity::Identity,
    policy::Policy,
    quota::Usage,
    sequence::{Lane, Sequence},
    table::{Damaged, Entry},
    time::Timestamp,
};
use ic_stable_structures::Memory;

/// Replies that are let go when a request with `first_incomplete` is recorded: more than it adds.
const LET_GO_AT_A_TIME: u32 = 2;

impl<M: Memory> Contents<M> {
    /// What is known of a lane; one that is not known begins at the floor.
    pub(super) fn lane(&mut self, identity: &Identity) -> Result<Counted<Lane>, Damaged> {
        let floor = self.sequence_floor();
        let entry = self.find_counter(identity, Lane::from_bytes)?;
        Ok(Counted::of(entry, || Lane::new(floor)))
    }

    /// What a scope takes.
    pub(super) fn usage(
        &mut self,
        scope: &Identity,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<Counted<Usage>, Damaged> {
        let mut usage = self.counted_usage(scope, now)?;
        let running = self.running.values().filter(|running| {
            let is_counted = running.charge.is_some_and(|(of, _)| of == *scope);
            is_counted
                && self
                    .until(running.partition)
                    .is_some_and(|until| until >= now)
        });
        let running = running.count() as u64;
        usage.counter = usage.counter.with_running(running, policy);
        Ok(usage)
    }

    fn counted_usage(
        &mut self,
        scope: &Identity,
        now: Timestamp,
    ) -> Result<Counted<Usage>, Damaged> {
        let entry = self.find_counter(scope, |body| Usage::from_bytes(body, now))?;
        Ok(Counted::of(entry, || Usage::new(now)))
    }

    /// Writes what goes with a request that is about to be recorded. The scope, and until when the request is counted there, ns.
    pub(super) fn count(
        &mut self,
        ticket: &Ticket,
        reply_bytes: u64,
        has_ended: bool,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<Option<(Identity, u64)>, Damaged> {
        let Some(counters) = &ticket.counters else {
            return Ok(None);
        };
        if let Some((sequence, counted)) = &counters.lane {
            self.begin_in_lane(sequence, counted, has_ended, now, policy)?;
        }
        let Some((scope, Counted { counter, entry })) = &counters.usage else {
            return Ok(None);
        };
        let partition = self.partition_for(ticket.expires_at, policy);
        let mut usage = counter.clone();
        let end = usage.add(self.until(partition).ok_or(Damaged)?, reply_bytes, policy);
        self.keep_usage(scope, &usage, entry, now, policy)?;
        Ok(Some((*scope, end)))
    }

    /// Counts a request once more that is kept until a later time; until when it is counted, ns.
    pub(super) fn count_until(
        &mut self,
        scope: &Identity,
        until: Timestamp,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<u64, Damaged> {
        let mut found = self.counted_usage(scope, now)?;
        let counted_until = found.counter.add(until, 0, policy);
        self.keep_usage(scope, &found.counter, &found.entry, now, policy)?;
        Ok(counted_until)
    }

    fn begin_in_lane(
        &mut self,
        sequence: &Sequence,
        Counted { counter, entry }: &Counted<Lane>,
        has_ended: bool,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        let mut lane = counter.clone();
        lane.begin(sequence.number, now);
        if has_ended {
            lane.end(sequence.number);
        }
        // Nobody has received a reply that is yet to be made.
        let received = (sequence.first_incomplete).map(|first| first.min(sequence.number));
        for _ in 0..LET_GO_AT_A_TIME {
            let number = received.and_then(|received| lane.let_go(received));
            if let Some(number) = number {
                self.let_go(&Identity::of_number(&sequence.lane, number))?;
            }
        }
        self.keep_lane(&sequence.lane, &lane, entry, now, policy)
    }

    /// As [`count`](Self::count), when a request that has begun ends: its lane goes on.
    pub(super) fn end_in_lane(
        &mut self,
        ticket: &Ticket,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        self.change_lane(ticket, now, policy, Lane::end)
    }

    /// As [`count`](Self::count), when a request did nothing: its number can be used. It still counts against the quota, as
    /// its record takes room until its partition goes.
    pub(super) fn release_in_lane(
        &mut self,
        ticket: &Ticket,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        self.change_lane(ticket, ticket.head.since, policy, Lane::release)
    }

    fn change_lane(
        &mut self,
        ticket: &Ticket,
        now: Timestamp,
        policy: &Policy,
        change: impl FnOnce(&mut Lane, u64),
    ) -> Result<(), Damaged> {
        let Some(sequence) = ticket.sequence() else {
            return Ok(());
        };
        let mut found = self.lane(&sequence.lane)?;
        if found.is_new() {
            return Ok(());
        }
        change(&mut found.counter, sequence.number);
        self.keep_lane(&sequence.lane, &found.counter, &found.entry, now, policy)
    }

    /// Until when an attempt that has not ended counts against a quota, ns. What runs on when its record has gone counts no
    /// more; what an earlier heap began is counted.
    pub(super) fn counted_until(&self, attempt: Attempt) -> u64 {
        if !self.is_of_this_heap(attempt) {
            return u64::MAX;
        }
        let running = self.running.get(&attempt.0);
        let charge = running.and_then(|running| running.charge);
        charge.map_or(0, |(_, counted_until)| counted_until)
    }

    /// As [`count`](Self::count), when a request that has begun ends: what it is remembered with counts against its quota.
    pub(super) fn end_in_quota(
        &mut self,
        ticket: &Ticket,
        counted_until: u64,
        partition: u16,
        reply_bytes: u64,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        let Some(scope) = ticket.scope() else {
            return Ok(());
        };
        let until = self.until(partition).ok_or(Damaged)?;
        let has_more = reply_bytes > 0 || counted_until < until.as_nanos();
        if !has_more || until < now {
            return Ok(());
        }
        let mut found = self.counted_usage(scope, now)?;
        (found.counter).end(counted_until, until, reply_bytes, policy);
        self.keep_usage(scope, &found.counter, &found.entry, now, policy)
    }

    fn keep_lane(
        &mut self,
        identity: &Identity,
        lane: &Lane,
        entry: &Entry<Kept>,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        let keeping = Keeping {
            identity,
            body: &lane.to_bytes(),
            unused_from: lane.unused_from(),
            counts_until: now.as_nanos().saturating_add(policy.reach()),
        };
        self.keep(&keeping, entry, now, policy)
    }

    fn keep_usage(
        &mut self,
        scope: &Identity,
        usage: &Usage,
        entry: &Entry<Kept>,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        let keeping = Keeping {
            identity: scope,
            body: &usage.to_bytes(),
            unused_from: 0,
            counts_until: usage.counts_until(),
        };
        self.keep(&keeping, entry, now, policy)
    }
}
