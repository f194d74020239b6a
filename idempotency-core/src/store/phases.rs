//! How requests that have begun and have not ended change: which attempt is theirs, and whether it runs.
//!
//! ```text
//! absent ──► running ──► ended
//!             ▲  │
//!   take over │  ▼
//!         cut off, asleep, parked ──► ended: resolved
//! ```

use super::{
    contents::{Contents, Running},
    journal::{self, Class},
    open::{MOST_TRIES, NO_NAME, Open, Phase, pause},
    origin::{Known, Origin, Resumed},
    record::{Attempt, Head, Pending, RecordBytes, State},
    ticket::Ticket,
};
use crate::{policy::Policy, table::Damaged, time::Timestamp};
use ic_stable_structures::Memory;

const BEGUN_ANEW: &[u8] = b"it began anew, as on_unknown said that it had done nothing";

const TOO_MANY_TRIES: &[u8] =
    b"10 attempts in a row ended without an entry in the journal: they trapped";

impl<M: Memory> Contents<M> {
    /// A request begins: it gets a cell, and a journal if it needs one.
    pub(super) fn open_request(
        &mut self,
        ticket: &Ticket,
        attempt: Attempt,
        origin: &Origin<'_>,
        (partition, record): (u16, u64),
        phase: Phase,
    ) -> Result<(), Damaged> {
        let segments = &mut self.table.segments;
        let endpoint = self.texts.number(segments, origin.endpoint);
        let mut open = Open {
            cell: self.cells.take(segments)?,
            record,
            journal: 0,
            partition,
            endpoint: endpoint.unwrap_or(NO_NAME),
            phase,
            is_durable: origin.kept.is_some(),
            tries: 0,
            until: 0,
            journal_bytes: 0,
        };
        if let Some(entry) = origin.entry(ticket) {
            self.append_entry(&mut open, Class::Origin, &entry)?;
        }
        self.keep_open(attempt, open)
    }

    /// Notes what has become of a request that has not ended.
    pub(super) fn keep_open(&mut self, attempt: Attempt, open: Open) -> Result<(), Damaged> {
        (self.cells).write(&self.table.segments, open.cell, &open.bytes(attempt))?;
        self.open.insert(attempt, open);
        Ok(())
    }

    /// A request has ended: its cell is another's.
    pub(super) fn close_request(&mut self, attempt: Attempt) -> Result<(), Damaged> {
        self.running.remove(&attempt.0);
        if let Some(open) = self.open.remove(attempt) {
            self.cells.free(&self.table.segments, open.cell)?;
        }
        Ok(())
    }

    /// The name of the endpoint of a request.
    pub(super) fn endpoint(&self, open: &Open) -> &str {
        self.texts.text(open.endpoint).unwrap_or_default()
    }

    /// What is known of a request that has not ended besides its cell; `None` if there is none with this attempt.
    pub(super) fn resumed(&mut self, attempt: Attempt) -> Result<Option<Resumed>, Damaged> {
        let Some(open) = self.open.get(attempt) else {
            return Ok(None);
        };
        let (head, pending) = self.pending(&open)?;
        if pending.attempt != attempt {
            return Err(Damaged);
        }
        let (entries, journal_bytes) = self.entries(open.journal)?;
        self.open.note_journal_bytes(attempt, journal_bytes);
        let (mut known, mut note) = (Known::default(), None);
        let mut steps = Vec::with_capacity(entries.len());
        for (class, entry) in entries {
            match class {
                Class::Origin => known = Known::read(&entry)?,
                Class::Step => steps.push(entry),
                Class::Note => note = Some(entry),
            }
        }
        let until = self.until(open.partition).ok_or(Damaged)?;
        Ok(Some(Resumed {
            ticket: Ticket::again(head, until, known.lane, known.scope),
            kept: known.kept,
            steps,
            note,
        }))
    }

    /// The record of a request that has not ended.
    pub(super) fn pending(&mut self, open: &Open) -> Result<(Head, Pending), Damaged> {
        self.table
            .read_unnamed(open.record, super::record::MOST_BYTES, |bytes| {
                let record = RecordBytes::new(bytes);
                // One that did not end yet is as long as any.
                if bytes.len() < super::record::MOST_BYTES {
                    return Err(Damaged);
                }
                let identity = record.pending_identity().ok_or(Damaged)?;
                let read = record.record(|_, _| Err(Damaged))?;
                let State::Pending(pending) = read.state else {
                    return Err(Damaged);
                };
                let head = Head {
                    identity,
                    fingerprint: read.fingerprint,
                    since: read.since,
                };
                Ok((head, pending))
            })
    }

    /// Another attempt takes over from one that does not run.
    pub(super) fn take_over(
        &mut self,
        attempt: Attempt,
        policy: &Policy,
    ) -> Result<Attempt, Damaged> {
        let open = self.open.get(attempt).ok_or(Damaged)?;
        let (head, pending) = self.pending(&open)?;
        let scope = match policy.quota {
            Some(_) => self
                .resumed(attempt)?
                .and_then(|it| it.ticket.scope().copied()),
            None => None,
        };
        let next = self.next_attempt();
        self.renew_record(
            &head,
            Pending {
                attempt: next,
                ..pending
            },
            open.record,
        )?;
        let running = Running {
            head,
            partition: open.partition,
            scope: pending.scope,
            has_started: false,
            // What it takes was counted when it began.
            charge: scope.map(|scope| (scope, u64::MAX)),
        };
        self.running.insert(next.0, running);
        self.open.remove(attempt);
        let phase = Phase::Running;
        self.keep_open(next, Open { phase, ..open })?;
        Ok(next)
    }

    /// Changes what is known of a request whose attempt is over; nothing happens if it has ended.
    fn stop(
        &mut self,
        attempt: Attempt,
        change: impl FnOnce(&mut Self, &mut Open) -> Result<(), Damaged>,
    ) -> Result<(), Damaged> {
        self.running.remove(&attempt.0);
        let Some(mut open) = self.open.get(attempt) else {
            return Ok(());
        };
        change(self, &mut open)?;
        self.keep_open(attempt, open)
    }

    /// Notes in a journal why its request is parked: as often as there is room, but at least once.
    fn note(&mut self, open: &mut Open, reason: &[u8], policy: &Policy) -> Result<(), Damaged> {
        let (entries, charge) = self.entries(open.journal)?;
        open.journal_bytes = charge;
        if entries
            .last()
            .is_some_and(|last| *last == (Class::Note, reason.to_vec()))
        {
            return Ok(());
        }
        let is_first = !entries.iter().any(|(class, _)| *class == Class::Note);
        let charge = charge + journal::most_charge(reason.len());
        match is_first || charge <= u64::from(policy.max_journal_bytes) {
            true => self.append_entry(open, Class::Note, reason),
            false => Ok(()),
        }
    }

    /// A request that goes on by itself has been tried too often.
    pub(super) fn give_up(&mut self, open: &mut Open, policy: &Policy) -> Result<(), Damaged> {
        open.phase = Phase::Parked;
        self.note(open, TOO_MANY_TRIES, policy)
    }

    /// An attempt ended before its request did.
    pub(super) fn cut_off(
        &mut self,
        attempt: Attempt,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        self.stop(attempt, |contents, open| {
            open.phase = Phase::CutOff;
            open.until = now.plus(pause(open.tries)).as_nanos();
            match open.is_durable && open.tries >= MOST_TRIES {
                true => contents.give_up(open, policy),
                false => Ok(()),
            }
        })
    }

    /// An attempt ended, and its request goes on at a time.
    pub(super) fn put_to_sleep(
        &mut self,
        attempt: Attempt,
        until: Timestamp,
    ) -> Result<(), Damaged> {
        self.stop(attempt, |_, open| {
            // It ended as it wanted to, and in no trap.
            (open.phase, open.until, open.tries) = (Phase::Asleep, until.as_nanos(), 0);
            Ok(())
        })
    }

    /// An attempt ended, and its request does not go on by itself.
    pub(super) fn park(
        &mut self,
        attempt: Attempt,
        reason: &str,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        self.stop(attempt, |contents, open| {
            open.phase = Phase::Parked;
            contents.note(open, reason.as_bytes(), policy)
        })
    }

    /// A request that did nothing begins anew at a time: what its steps recorded counts no more.
    pub(super) fn restart(&mut self, attempt: Attempt, now: Timestamp) -> Result<(), Damaged> {
        self.stop(attempt, |contents, open| {
            (open.journal, open.journal_bytes) = contents.end_of_origin(open.journal)?;
            (open.phase, open.until, open.tries) = (Phase::Asleep, now.as_nanos(), 0);
            contents.append_entry(open, Class::Note, BEGUN_ANEW)
        })
    }

    /// What is known of a request that has not ended, with what its journal is charged with.
    pub(super) fn measured(&mut self, attempt: Attempt) -> Result<Option<Open>, Damaged> {
        let Some(mut open) = self.open.get(attempt) else {
            return Ok(None);
        };
        if open.journal_bytes == 0 {
            (_, open.journal_bytes) = self.entries(open.journal)?;
            self.open.note_journal_bytes(attempt, open.journal_bytes);
        }
        Ok(Some(open))
    }

    /// Records an entry of a durable request's steps: its attempt made progress.
    pub(super) fn append_step(
        &mut self,
        attempt: Attempt,
        mut open: Open,
        entry: &[u8],
    ) -> Result<(), Damaged> {
        self.append_entry(&mut open, Class::Step, entry)?;
        open.tries = 0;
        self.keep_open(attempt, open)
    }
}
