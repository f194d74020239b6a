//! The records of a store: found, changed and forgotten.

use super::{
    contents::Contents,
    record::{Attempt, Head, Record, RecordBytes, Requests, State, Totals},
    room::{partition_length, segments_of_one},
    ticket::Ticket,
};
use crate::{
    identity::Identity,
    policy::Policy,
    table::{
        BlobPlace, Composed, Damaged, Entry, Family, Link, MOST_DROPS, Occupied, RowBytes, Vacant,
        read_blob,
    },
    time::Timestamp,
};
use ic_stable_structures::Memory;

/// How a record changes.
#[derive(Clone, Copy)]
enum Change<'a> {
    /// It is added to a partition, pending or as what it ended as.
    Added(Vacant, u16, State<&'a [u8]>),
    /// A pending one has ended.
    Ended(Occupied, State<&'a [u8]>),
    /// It is forgotten before its time: it did nothing, or its client has the reply.
    Released(Occupied),
}

/// What became of the record of an attempt that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is in this partition.
    Recorded(u16),
    /// The attempt took longer than its window, and there was no room for another record.
    Forgotten,
    /// It was another attempt's, or is not known: nothing has changed.
    NotItsOwn,
}

/// A record as it is written, with the reply that has no place in it.
#[derive(Clone, Copy)]
struct Writing<'a> {
    head: &'a Head,
    state: State<&'a [u8]>,
    has_room: bool,
    blob: Option<&'a [u8]>,
}

impl<'a> Writing<'a> {
    fn new(head: &'a Head, state: State<&'a [u8]>, has_room: bool) -> Self {
        let blob = match state {
            State::Done(reply) if !head.holds(reply.len()) => Some(reply),
            _ => None,
        };
        Self {
            head,
            state,
            has_room,
            blob,
        }
    }

    fn blob_bytes(&self) -> u64 {
        self.blob.map_or(0, <[u8]>::len) as u64
    }

    /// Puts the record together, given the address of the blob, and counts the blob in its partition; the record's length.
    fn compose(&self, bytes: &mut RowBytes, totals: &mut Totals, address: Option<u64>) -> usize {
        totals.reply_bytes += self.blob_bytes();
        let drops = totals.drops;
        let place = address.map(|address| BlobPlace { address, drops });
        self.head.write(bytes, self.state, self.has_room, place)
    }
}

impl<M: Memory> Contents<M> {
    /// The record of a request.
    pub(super) fn find(&mut self, identity: &Identity) -> Result<Entry<Record>, Damaged> {
        let (table, requests) = (&mut self.table, &self.requests);
        table.find(requests, identity.name(), |segments, occupied, bytes| {
            RecordBytes::parse(bytes)?.record(|place, length| {
                let partition = requests.get(&segments.header, occupied.slot.partition);
                if partition.is_none_or(|partition| partition.own.drops != place.drops) {
                    return Ok(State::ReplyDropped);
                }
                read_blob(segments, place.address, length).map(State::Done)
            })
        })
    }

    /// The last instant, that one included, for which the record of a request is kept.
    pub(super) fn kept_until(&mut self, identity: &Identity) -> Result<Option<Timestamp>, Damaged> {
        let (table, requests) = (&mut self.table, &self.requests);
        let entry = table.find(requests, identity.name(), |_, _, _| Ok(()))?;
        let occupied = entry.occupied().map(|(occupied, ())| occupied);
        Ok(occupied.and_then(|occupied| self.until(occupied.slot.partition)))
    }

    /// Records a request that was admitted; the number of its partition.
    pub(super) fn insert(
        &mut self,
        ticket: &Ticket,
        state: State<&[u8]>,
        policy: &Policy,
    ) -> Result<u16, Damaged> {
        let number = self.partition_for(ticket.expires_at, policy);
        let vacant = match ticket.place {
            Some(vacant) => vacant,
            None => self.table.vacant(ticket.head.identity.name())?,
        };
        self.change(&ticket.head, Change::Added(vacant, number, state))?;
        Ok(number)
    }

    /// Ends an attempt in a state, if the record is still the attempt's.
    pub(super) fn end(
        &mut self,
        ticket: &Ticket,
        attempt: Attempt,
        state: State<&[u8]>,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<Ended, Damaged> {
        let Some(occupied) = self.ending(&ticket.head.identity, attempt)? else {
            return self.end_overdue(ticket, attempt, state, now, policy);
        };
        self.change(&ticket.head, Change::Ended(occupied, state))?;
        Ok(Ended::Recorded(occupied.slot.partition))
    }

    /// As [`end`](Self::end), of an attempt whose record has gone: it gets a new one, for another window, where there is room.
    fn end_overdue(
        &mut self,
        ticket: &Ticket,
        attempt: Attempt,
        state: State<&[u8]>,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<Ended, Damaged> {
        let identity = &ticket.head.identity;
        let is_own = |record: &Record| record.state == State::Pending(attempt);
        if !self.overdue.get(identity).is_some_and(is_own) {
            return Ok(Ended::NotItsOwn);
        }
        self.overdue.remove(identity);
        let is_within_quota = match policy.quota.zip(ticket.scope()) {
            Some((quota, scope)) => {
                let usage = self.usage(scope, now, policy)?.counter;
                usage.admit(&quota, policy).is_ok()
            }
            None => true,
        };
        let segments = &self.table.segments;
        let has_room =
            self.has_room(policy, self.reserved()) && segments.has(segments_of_one(policy));
        if !is_within_quota || !has_room {
            return Ok(Ended::Forgotten);
        }
        let ticket = Ticket {
            head: ticket.head,
            expires_at: now.plus(policy.window),
            place: None,
            counters: None,
        };
        self.insert(&ticket, state, policy).map(Ended::Recorded)
    }

    /// The record of an attempt that is still its own, and ends.
    fn ending(
        &mut self,
        identity: &Identity,
        attempt: Attempt,
    ) -> Result<Option<Occupied>, Damaged> {
        let is_own = |record: &Record| record.state == State::Pending(attempt);
        let found = self.find(identity)?.occupied();
        let own = found.filter(|(_, record)| is_own(record));
        if own.is_some() && self.is_of_this_heap(attempt) {
            self.running.remove(&attempt.number);
        }
        Ok(own.map(|(occupied, _)| occupied))
    }

    /// Forgets a request that has ended, if it is known: its record goes with its partition.
    pub(super) fn let_go(&mut self, identity: &Identity) -> Result<(), Damaged> {
        let Some((occupied, record)) = self.find(identity)?.occupied() else {
            return Ok(());
        };
        match record.state {
            State::Done(_) | State::ReplyDropped => {
                self.change(&record.head(*identity), Change::Released(occupied))
            }
            State::Pending(_) | State::Interrupted => Ok(()),
        }
    }

    /// Forgets a request that did nothing, if its record is still the attempt's; whether it was.
    pub(super) fn release(&mut self, head: &Head, attempt: Attempt) -> Result<bool, Damaged> {
        let Some(occupied) = self.ending(&head.identity, attempt)? else {
            return Ok(false);
        };
        self.change(head, Change::Released(occupied))?;
        Ok(true)
    }

    /// The one place where a single record changes. Records that expire go with their partition, in
    /// [`forget_oldest`](Self::forget_oldest), and replies of a partition in [`drop_oldest_replies`](Self::drop_oldest_replies).
    fn change(&mut self, head: &Head, change: Change<'_>) -> Result<(), Damaged> {
        let (table, requests) = (&mut self.table, &mut self.requests);
        let reply_bytes = match change {
            Change::Added(vacant, number, state) => {
                let writing = Writing::new(head, state, matches!(state, State::Pending(_)));
                let row = (head.since.as_nanos(), writing.blob);
                let link = Link::Insert(vacant);
                table.add(requests, number, row, link, |bytes, partition, at| {
                    Composed {
                        length: writing.compose(bytes, &mut partition.own, at),
                        must_write: false,
                    }
                })?;
                writing.blob_bytes()
            }
            Change::Ended(occupied, state) => {
                let writing = Writing::new(head, state, true);
                let blob = writing.blob;
                table.overwrite(requests, occupied, blob, |bytes, partition, at| Composed {
                    length: writing.compose(bytes, &mut partition.own, at),
                    // Opening a store reads records on from the table's place, and this one may lie before it.
                    must_write: blob.is_some(),
                })?;
                writing.blob_bytes()
            }
            Change::Released(occupied) => {
                self.released += 1;
                table.remove(requests, occupied, |totals| {
                    totals.released = totals.released.saturating_add(1);
                });
                0
            }
        };
        self.reply_bytes += reply_bytes;
        Ok(())
    }

    /// The number of the partition for what expires at a time: the first that lives as long, or else a new one.
    pub(super) fn partition_for(&mut self, expires_at: Timestamp, policy: &Policy) -> u16 {
        let expires_at = expires_at.as_nanos();
        let segments = &mut self.table.segments;
        if let Some(number) = self.requests.kept_until(&segments.header, expires_at) {
            return number;
        }
        let length = partition_length(policy);
        let until = expires_at.div_ceil(length).saturating_mul(length);
        // If the table is full and nothing in it has expired, after the window was made longer again and again, the last
        // partition lives as long as it must.
        self.requests.begin(segments, until)
    }

    /// Gives up the oldest partition. What of it is still running is remembered on the heap, until it ends: forgetting it would let
    /// it run twice.
    pub(super) fn forget_oldest(&mut self) {
        let incarnation = self.header().incarnation;
        let oldest = self.requests.oldest_number(self.header());
        let overdue = self
            .running
            .extract_if(.., |_, running| running.partition == oldest);
        self.overdue.extend(overdue.map(|(number, running)| {
            let attempt = Attempt {
                incarnation,
                number,
            };
            let record = Record {
                fingerprint: running.head.fingerprint,
                since: running.head.since,
                state: State::Pending(attempt),
            };
            (running.head.identity, record)
        }));
        let Some(partition) = self.table.forget_oldest(&mut self.requests) else {
            return;
        };
        let totals = partition.own;
        self.released = self.released.saturating_sub(totals.released.into());
        self.reply_bytes = self.reply_bytes.saturating_sub(totals.reply_bytes);
        self.table.segments.write_header();
    }

    /// Gives up the replies of the oldest partition that has any outside of its records; the ids stay.
    pub(super) fn drop_oldest_replies(&mut self) -> bool {
        let mut dropped = 0;
        let segments = &mut self.table.segments;
        let is_dropped = self.requests.drop_blobs(segments, |totals| {
            let can_drop = totals.reply_bytes > 0 && totals.drops < MOST_DROPS;
            if can_drop {
                dropped = std::mem::take(&mut totals.reply_bytes);
                totals.drops += 1;
            }
            can_drop
        });
        self.reply_bytes = self.reply_bytes.saturating_sub(dropped);
        is_dropped
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
