//! What a request writes besides its record: to its lane, and to what its scope takes.

use super::{
    contents::Contents,
    counter::{self, Body, Kept},
    counters::Keeping,
    record::{Attempt, Record, Reply, State},
    ticket::{Counted, Ticket},
};
use crate::{
    identity::Identity,
    policy::Policy,
    quota::Usage,
    sequence::{Lane, Last, Sequence},
    table::{Damaged, Entry},
    time::Timestamp,
};
use ic_stable_structures::Memory;

/// Replies that are let go when a request with `first_incomplete` is recorded: more than it adds.
const LET_GO_AT_A_TIME: u32 = 2;

/// What goes with a request that is recorded.
pub(super) struct Charged {
    /// The scope whose quota it counts against, and until when it is counted there, ns.
    pub(super) charge: Option<(Identity, u64)>,
    /// Its record lies in its lane, and is no other.
    pub(super) is_in_lane: bool,
}

impl<M: Memory> Contents<M> {
    /// What is known of a lane; one that is not known begins at the floor.
    pub(super) fn lane(&mut self, identity: &Identity) -> Result<Counted<Lane>, Damaged> {
        let mut lane = Counted::unknown(Lane::new(0));
        self.read_lane(identity, None, (&mut lane, &mut None))?;
        Ok(lane)
    }

    /// As [`lane`](Self::lane), with the record of this number if it lies in the lane. Both are read to where they stay: to move them would
    /// cost as much as to read them.
    pub(super) fn read_lane(
        &mut self,
        identity: &Identity,
        number: Option<u64>,
        (lane, record): (&mut Counted<Lane>, &mut Option<Record>),
    ) -> Result<(), Damaged> {
        let (table, counters) = (&mut self.table, &self.counters);
        let vacant = table.find(
            counters,
            identity.name(),
            |_, place, bytes| {
                let (kept, body) = counter::read(bytes)?;
                lane.counter.read(body).ok_or(Damaged)?;
                lane.entry = Entry::Occupied(place, kept);
                if number.is_some() && number == lane.counter.last() {
                    let Last {
                        fingerprint,
                        reply,
                        is_for_retries,
                    } = lane.counter.read_last(body).ok_or(Damaged)?;
                    *record = Some(Record {
                        fingerprint,
                        since: lane.counter.last_since(),
                        state: State::Done(Reply {
                            bytes: reply.to_vec(),
                            is_for_retries,
                        }),
                    });
                }
                Ok(None)
            },
            Some,
        )?;
        if let Some(vacant) = vacant {
            lane.counter = Lane::new(self.sequence_floor());
            lane.entry = Entry::Vacant(vacant);
        }
        Ok(())
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
        let entry = self.find_counter(scope, |body| Some(Usage::from_bytes(body, now)))?;
        Ok(Counted::of(entry, || Usage::new(now)))
    }

    /// Writes what goes with a request that is about to be recorded, with its reply if it has ended.
    pub(super) fn count(
        &mut self,
        ticket: &Ticket,
        reply: Option<Reply<&[u8]>>,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<Charged, Damaged> {
        let mut charged = Charged {
            charge: None,
            is_in_lane: false,
        };
        let Some(counters) = &ticket.counters else {
            return Ok(charged);
        };
        if let Some((sequence, counted)) = &counters.lane {
            charged.is_in_lane =
                self.begin_in_lane(ticket, (sequence, counted), reply, now, policy)?;
        }
        if let Some((scope, Counted { counter, entry })) = &counters.usage {
            let until = match charged.is_in_lane {
                true => ticket.expires_at,
                false => {
                    let partition = self.partition_for(ticket.expires_at, policy);
                    self.until(partition).ok_or(Damaged)?
                }
            };
            let mut usage = counter.clone();
            let end = usage.add(
                until,
                reply.map_or(0, |reply| reply.bytes.len()) as u64,
                policy,
            );
            self.keep_usage(scope, &usage, entry, now, policy)?;
            charged.charge = Some((*scope, end));
        }
        Ok(charged)
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

    /// Whether the request's record lies in the lane from now on.
    fn begin_in_lane(
        &mut self,
        ticket: &Ticket,
        (sequence, Counted { counter, entry }): (&Sequence, &Counted<Lane>),
        reply: Option<Reply<&[u8]>>,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<bool, Damaged> {
        let head = &ticket.head;
        let mut lane = counter.clone();
        let last = match reply {
            None => {
                lane.begin(sequence.number, head.since);
                None
            }
            Some(reply) => {
                lane.pass(sequence.number, head.since);
                // A tree is over records, and an archive is sent records.
                let may_hold = !sequence.is_shared
                    && policy.certify.is_none()
                    && !policy.has_archive()
                    && lane.may_hold(sequence.number);
                let last = || Last::new(head.fingerprint, reply.bytes, reply.is_for_retries);
                may_hold.then(last).flatten()
            }
        };
        // Nobody has received a reply that is yet to be made.
        let received = (sequence.first_incomplete).map(|first| first.min(sequence.number));
        for _ in 0..LET_GO_AT_A_TIME {
            let number = received.and_then(|received| lane.let_go(received));
            // What lay in the lane has no other record.
            if let Some(number) = number.filter(|number| counter.last() != Some(*number)) {
                self.let_go(&Identity::of_number(&sequence.lane, number))?;
            }
        }
        self.keep_lane(&sequence.lane, (&lane, last), entry, now, policy)?;
        Ok(last.is_some())
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
        // A lane with the record of its last number does not wait for another.
        if found.is_new() || found.counter.last().is_some() {
            return Ok(());
        }
        change(&mut found.counter, sequence.number);
        let lane = (&found.counter, None);
        self.keep_lane(&sequence.lane, lane, &found.entry, now, policy)
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
        (lane, last): (&Lane, Option<Last<'_>>),
        entry: &Entry<Kept>,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        let keeping = Keeping {
            identity,
            body: Body::Lane(lane, last),
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
            body: Body::Usage(usage),
            unused_from: 0,
            counts_until: usage.counts_until(),
        };
        self.keep(&keeping, entry, now, policy)
    }
}
