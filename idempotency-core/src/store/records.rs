//! The records of a store: found, changed and forgotten.

use super::{
    contents::Contents,
    forest::Gone,
    open::Phase,
    origin::{ORIGIN_BYTES, Origin},
    record::{Attempt, Pending, Record, RecordBytes, Reply, Requests, State},
    room::{partition_length, segments_of_one},
    ticket::Ticket,
};
use crate::{
    identity::{EarlyName, Identity},
    policy::Policy,
    table::{Damaged, Family, Link, Occupied, Partitions, RowAt, Segments, Vacant, read_blob},
    time::Timestamp,
};
use ic_stable_structures::Memory;

/// A request that has ended, and whose reply is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub(crate) reply: Reply,
    /// When its execution began.
    pub(crate) since: Timestamp,
    /// The last instant for which it is kept.
    pub(crate) until: Timestamp,
}

/// What became of the record of an attempt that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is in this partition.
    Recorded(u16),
    /// The attempt took longer than its window, and there was no room for another record.
    Forgotten,
    /// It was another attempt's, or is not known: nothing has changed.
    NotItsOwn,
}

/// What a store knows of a request.
pub(crate) enum Lookup {
    Known(Record),
    /// Nothing; where its record would be found.
    Unknown(Vacant),
}

/// Reads a record, with a reply that lies outside of it if that is still held.
#[inline(always)]
fn record<M: Memory>(
    requests: &Partitions<Requests>,
    segments: &Segments<M>,
    place: Occupied,
    bytes: &[u8],
) -> Result<Record, Damaged> {
    RecordBytes::new(bytes).record(|blob, length| {
        let partition = requests.get(&segments.header, place.slot.partition);
        if partition.is_none_or(|partition| partition.own.drops != blob.drops) {
            return Ok(None);
        }
        read_blob(segments, blob.address, length).map(Some)
    })
}

impl<M: Memory> Contents<M> {
    /// What is known of a request.
    pub(super) fn lookup(&mut self, identity: &Identity) -> Result<Lookup, Damaged> {
        let overdue = &self.overdue;
        let vacant = |vacant| match overdue.get(identity) {
            Some(record) => Lookup::Known(record.clone()),
            None => Lookup::Unknown(vacant),
        };
        let (table, requests) = (&mut self.table, &self.requests);
        table.find(
            requests,
            identity.name(),
            |segments, place, bytes| record(requests, segments, place, bytes).map(Lookup::Known),
            vacant,
        )
    }

    /// A request that has ended, and whose reply is held.
    pub(super) fn ended(&mut self, name: &EarlyName) -> Result<Option<Ended>, Damaged> {
        let (table, requests) = (&mut self.table, &self.requests);
        let ended = |segments: &Segments<M>, place: Occupied, bytes: &[u8]| {
            let record = record(requests, segments, place, bytes)?;
            let partition = requests.get(&segments.header, place.slot.partition);
            let until = partition.ok_or(Damaged)?.until;
            Ok(match record.state {
                State::Done(reply) => Some(Ended {
                    reply,
                    since: record.since,
                    until: Timestamp::from_nanos(until),
                }),
                State::Pending(_) | State::ReplyDropped => None,
            })
        };
        match name {
            EarlyName::Alias(alias) => table.find_alias(requests, &alias.name(), ended, |_| None),
            EarlyName::Identity(identity) => table.find(requests, identity.name(), ended, |_| None),
        }
    }

    /// The record of a request, and where it stands.
    pub(super) fn find(
        &mut self,
        identity: &Identity,
    ) -> Result<Option<(Occupied, Record)>, Damaged> {
        let (table, requests) = (&mut self.table, &self.requests);
        table.find(
            requests,
            identity.name(),
            |segments, place, bytes| {
                let record = record(requests, segments, place, bytes)?;
                Ok(Some((place, record)))
            },
            |_| None,
        )
    }

    /// The last instant, that one included, for which the record of a request is kept.
    pub(super) fn kept_until(&mut self, identity: &Identity) -> Result<Option<Timestamp>, Damaged> {
        let (table, requests) = (&mut self.table, &self.requests);
        let number = table.find(
            requests,
            identity.name(),
            |_, place, _| Ok(Some(place.slot.partition)),
            |_| None,
        )?;
        Ok(number.and_then(|number| self.until(number)))
    }

    /// Records a request that was admitted; the number of its partition, and where its record lies.
    pub(super) fn insert(
        &mut self,
        ticket: &Ticket,
        state: State<&[u8]>,
        policy: &Policy,
    ) -> Result<(u16, u64), Damaged> {
        let number = self.partition_for(ticket.expires_at, policy);
        let link = Link::Insert(ticket.place);
        let address = self.add_record(&ticket.head, link, number, state)?;
        Ok((number, address))
    }

    /// Where the record of a request stands.
    pub(super) fn place(&mut self, identity: &Identity) -> Result<Option<Occupied>, Damaged> {
        let (table, requests) = (&mut self.table, &self.requests);
        table.find(
            requests,
            identity.name(),
            |_, place, _| Ok(Some(place)),
            |_| None,
        )
    }

    /// Ends an attempt in a state, or as cut off if there is none, if the record is still the attempt's.
    pub(super) fn end(
        &mut self,
        ticket: &Ticket,
        attempt: Attempt,
        state: Option<State<&[u8]>>,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<End, Damaged> {
        let Some(row) = self.own(&ticket.head.identity, attempt)? else {
            return self.end_overdue(ticket, attempt, state, now, policy);
        };
        match state {
            Some(state) => {
                self.close_request(attempt)?;
                self.settle_record(&ticket.head, row, state)?;
            }
            None => self.cut_off(attempt, now, policy)?,
        }
        Ok(End::Recorded(row.partition))
    }

    /// As [`end`](Self::end), of an attempt whose record has gone: it gets a new one, for another window, where there is room.
    fn end_overdue(
        &mut self,
        ticket: &Ticket,
        attempt: Attempt,
        state: Option<State<&[u8]>>,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<End, Damaged> {
        let identity = &ticket.head.identity;
        let own = self
            .overdue
            .get(identity)
            .and_then(|record| record.pending());
        let Some(pending) = own.filter(|pending| pending.attempt == attempt) else {
            return Ok(End::NotItsOwn);
        };
        self.overdue.remove(identity);
        let is_within_quota = match policy.quota.zip(ticket.scope()) {
            Some((quota, scope)) => {
                let usage = self.usage(scope, now, policy)?.counter;
                usage.admit(&quota, policy).is_ok()
            }
            None => true,
        };
        let segments = &self.table.segments;
        let journal = if state.is_none() { ORIGIN_BYTES } else { 0 };
        let has_room = self.has_room(policy, self.reserved(policy), journal)
            && segments.has(segments_of_one(policy));
        if !is_within_quota || !has_room {
            return Ok(End::Forgotten);
        }
        let again = Ticket {
            head: ticket.head,
            expires_at: now.plus(policy.window),
            place: Vacant::SOMEWHERE,
            counters: None,
        };
        let pending = State::Pending(pending);
        let place = self.insert(&again, state.unwrap_or(pending), policy)?;
        if let (None, State::Pending(Pending { scope, .. })) = (state, pending) {
            let origin = Origin {
                endpoint: "",
                scope,
                kept: None,
            };
            self.open_request(ticket, attempt, &origin, place, Phase::CutOff)?;
        }
        Ok(End::Recorded(place.0))
    }

    /// The record of an attempt that is still its own.
    fn own(&mut self, identity: &Identity, attempt: Attempt) -> Result<Option<RowAt>, Damaged> {
        // What was cut off has ended, too.
        let open = self.open.get(attempt);
        let Some(open) = open.filter(|open| open.phase == Phase::Running) else {
            return Ok(None);
        };
        let (head, pending) = self.pending(&open)?;
        let is_own = head.identity == *identity && pending.attempt == attempt;
        Ok(is_own.then_some(RowAt {
            address: open.record,
            partition: open.partition,
        }))
    }

    /// Forgets a request that has ended, if it is known: its record goes with its partition.
    pub(super) fn let_go(&mut self, identity: &Identity) -> Result<(), Damaged> {
        let Some((occupied, record)) = self.find(identity)? else {
            return Ok(());
        };
        match record.state {
            State::Done(_) | State::ReplyDropped => self.release_record(
                identity,
                (occupied, &record.fingerprint),
                Gone::Acknowledged,
            ),
            State::Pending(_) => Ok(()),
        }
    }

    /// Forgets a request that did nothing, if its record is still the attempt's; whether it was.
    pub(super) fn release(
        &mut self,
        identity: &Identity,
        attempt: Attempt,
    ) -> Result<bool, Damaged> {
        if self.own(identity, attempt)?.is_none() {
            return Ok(false);
        }
        let (occupied, record) = self.find(identity)?.ok_or(Damaged)?;
        self.close_request(attempt)?;
        self.release_record(identity, (occupied, &record.fingerprint), Gone::DidNothing)?;
        Ok(true)
    }

    /// The number of the partition for what expires at a time: the first that lives as long, or else a new one.
    pub(super) fn partition_for(&mut self, expires_at: Timestamp, policy: &Policy) -> u16 {
        let expires_at = expires_at.as_nanos();
        if let Some(number) = self.requests.kept_until(self.header(), expires_at) {
            return number;
        }
        let length = partition_length(policy);
        let until = expires_at.div_ceil(length).saturating_mul(length);
        // If the table is full and nothing in it has expired, after the window was made longer again and again, the last
        // partition lives as long as it must.
        self.begin_partition(until)
    }

    /// Begins a partition that is kept until a time, ns, after those that there are; its number.
    pub(super) fn begin_partition(&mut self, until: u64) -> u16 {
        self.requests.begin(&mut self.table.segments, until)
    }

    /// When the first records expire.
    pub(super) fn first_expiry(&self) -> Option<Timestamp> {
        let oldest = self.requests.oldest();
        oldest.map(|partition| Timestamp::from_nanos(partition.until))
    }

    /// The last instant for which a partition is kept.
    pub(super) fn until(&self, number: u16) -> Option<Timestamp> {
        let partition = self.requests.get(self.header(), number);
        partition.map(|partition| Timestamp::from_nanos(partition.until))
    }

    /// Whether there is a place for one more partition in the table.
    pub(super) fn has_place_for_partition(&self) -> bool {
        self.requests.len() < usize::from(Requests::MOST_PARTITIONS)
    }
}
