//! How records change: here and nowhere else, one by one or with their partition.
//!
//! ```text
//! absent ──► pending ──► done │ done, reply dropped ──► absent, with its partition
//!    │        ▲  │         │              ▲                  ▲
//!    │        └──┘ again   └─ partition ──┘   released ──────┘
//!    └──────────────────► done
//! ```

use super::{
    contents::Contents,
    forest::Gone,
    record::{Attempt, Head, Pending, Record, Requests, State, Totals},
};
use crate::table::{
    BlobPlace, Composed, Damaged, Link, MOST_DROPS, Occupied, Partition, RowAt, RowBytes,
};
use crate::{
    identity::{Fingerprint, Identity},
    time::Timestamp,
};
use ic_stable_structures::Memory;

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
            State::Done(reply) if !head.holds(reply.bytes.len()) => Some(reply.bytes),
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
    #[inline]
    fn compose(&self, bytes: &mut RowBytes, totals: &mut Totals, address: Option<u64>) -> usize {
        totals.reply_bytes += self.blob_bytes();
        let drops = totals.drops;
        let place = address.map(|address| BlobPlace { address, drops });
        self.head.write(bytes, self.state, self.has_room, place)
    }
}

impl<M: Memory> Contents<M> {
    /// A request begins, or has been executed: its record is added to a partition. Where it lies.
    pub(super) fn add_record(
        &mut self,
        head: &Head,
        link: Link,
        number: u16,
        state: State<&[u8]>,
    ) -> Result<u64, Damaged> {
        let writing = Writing::new(head, state, matches!(state, State::Pending(_)));
        let (name, row) = (head.identity.name(), (head.since.as_nanos(), writing.blob));
        let (table, requests) = (&mut self.table, &mut self.requests);
        let compose = |bytes: &mut _, partition: &mut Partition<Totals>, at| Composed {
            length: writing.compose(bytes, &mut partition.own, at),
            must_write: false,
        };
        let is_new = matches!(link, Link::Insert(_));
        let at = table.add(requests, number, name, row, link, compose)?;
        if let (true, Some(alias)) = (is_new, head.fingerprint.alias()) {
            let row = RowAt {
                address: at,
                partition: number,
            };
            table.link::<Requests>(&alias.name(), row)?;
        }
        self.reply_bytes += writing.blob_bytes();
        self.note_change(&head.identity, number, Gone::DidNothing);
        Ok(at)
    }

    /// Another attempt goes on with a pending request: its record, which lies at an address, is written over.
    pub(super) fn renew_record(
        &mut self,
        head: &Head,
        pending: Pending,
        address: u64,
    ) -> Result<(), Damaged> {
        let state = State::Pending(pending);
        (self.table).rewrite(address, |bytes| head.write(bytes, state, true, None))
    }

    /// The record of a pending request moves to another partition; where it lies now.
    pub(super) fn move_record(
        &mut self,
        head: &Head,
        pending: Pending,
        number: u16,
    ) -> Result<u64, Damaged> {
        let occupied = self.place(&head.identity)?.ok_or(Damaged)?;
        self.note_change(&head.identity, occupied.slot.partition, Gone::DidNothing);
        self.add_record(
            head,
            Link::Replace(occupied),
            number,
            State::Pending(pending),
        )
    }

    /// A pending request has ended: its record is written over.
    pub(super) fn settle_record(
        &mut self,
        head: &Head,
        row: RowAt,
        state: State<&[u8]>,
    ) -> Result<(), Damaged> {
        let writing = Writing::new(head, state, true);
        let (table, requests) = (&mut self.table, &mut self.requests);
        let compose =
            |bytes: &mut _, partition: &mut Partition<Totals>, at: Option<u64>| Composed {
                length: writing.compose(bytes, &mut partition.own, at),
                // Opening a store reads records on from the table's place, and this one may lie before it.
                must_write: at.is_some(),
            };
        table.overwrite(requests, row, writing.blob, compose)?;
        self.reply_bytes += writing.blob_bytes();
        self.note_change(&head.identity, row.partition, Gone::DidNothing);
        Ok(())
    }

    /// A request is forgotten before its time: it did nothing, or its client has the reply.
    pub(super) fn release_record(
        &mut self,
        identity: &Identity,
        (occupied, fingerprint): (Occupied, &Fingerprint),
        why: Gone,
    ) -> Result<(), Damaged> {
        self.note_change(identity, occupied.slot.partition, why);
        self.released += 1;
        self.forgotten.released += 1;
        self.table.remove(&mut self.requests, occupied, |totals| {
            totals.released = totals.released.saturating_add(1);
        });
        // Its identity's slot is free by now, if both have the same bits.
        if let Some(alias) = fingerprint.alias() {
            (self.table).remove_alias::<Requests>(&alias.name(), occupied.row())?;
        }
        Ok(())
    }

    /// Gives up the oldest partition. What of it is still running is remembered on the heap, until it ends: forgetting it would let
    /// it run twice. What is cut off, and is not durable, is forgotten.
    pub(super) fn forget_oldest(&mut self) -> Result<(), Damaged> {
        let oldest = self.requests.oldest_number(self.header());
        let overdue = (self.running).extract_if(.., |_, running| running.partition == oldest);
        let overdue: Vec<_> = overdue.collect();
        let running = overdue.iter().map(|(number, _)| Attempt(*number));
        let gone: Vec<_> = self.open.in_partition(oldest).chain(running).collect();
        for attempt in gone {
            if let Some(open) = self.open.remove(attempt) {
                self.cells.free(&self.table.segments, open.cell)?;
            }
        }
        self.overdue
            .extend(overdue.into_iter().map(|(number, running)| {
                let pending = Pending {
                    attempt: Attempt(number),
                    scope: running.scope,
                };
                let record = Record {
                    fingerprint: running.head.fingerprint,
                    since: running.head.since,
                    state: State::Pending(pending),
                };
                (running.head.identity, record)
            }));
        let held = self.requests.rows;
        let Some(partition) = self.table.forget_oldest(&mut self.requests) else {
            return Ok(());
        };
        self.forgotten.evicted += held - self.requests.rows;
        self.forget_tree(oldest)?;
        let until = Timestamp::from_nanos(partition.until);
        self.forgotten_until = self.forgotten_until.max(until);
        let totals = partition.own;
        self.released = self.released.saturating_sub(totals.released.into());
        self.reply_bytes = self.reply_bytes.saturating_sub(totals.reply_bytes);
        self.journal_bytes = self.journal_bytes.saturating_sub(totals.journal_bytes());
        self.table.segments.write_header();
        Ok(())
    }

    /// Gives up the replies of the oldest partition that has any outside of its records, but for the very oldest where it is spared; the ids
    /// stay.
    pub(super) fn drop_oldest_replies(&mut self, mut is_spared: bool) -> bool {
        let mut dropped = 0;
        let segments = &mut self.table.segments;
        let is_dropped = self.requests.drop_blobs(segments, |totals| {
            let is_spared = std::mem::take(&mut is_spared);
            let can_drop = !is_spared && totals.reply_bytes > 0 && totals.drops < MOST_DROPS;
            if can_drop {
                dropped = std::mem::take(&mut totals.reply_bytes);
                totals.drops += 1;
            }
            can_drop
        });
        self.reply_bytes = self.reply_bytes.saturating_sub(dropped);
        is_dropped
    }
}
