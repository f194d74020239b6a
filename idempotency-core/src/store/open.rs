//! What has begun and has not ended: on the heap, and in a cell of its own, where a later heap finds it.
//!
//! ```text
//! offset  bytes  cell
//!      0      8  number of the last attempt
//!      8      5  address of the record
//!     13      5  address of the journal's last row, 0 if it has none
//!     18      2  partition of both
//!     20      1  phase: 1 running, 2 cut off, 3 asleep, 4 parked; +128: it is durable
//!     21      1  attempts since the last entry of the journal that ended in a trap
//!     22      2  number of the endpoint's name, 0xFFFF if it has none
//!     24      8  it goes on at this time, ns
//! ```
//!
//! What a cell says is running belongs to a heap that is gone as soon as another heap reads it: it was cut off.

use super::{
    contents::{Contents, Running},
    counter::Kept,
    journal::{self, Class},
    record::{Attempt, Head, Pending, RecordBytes, ScopeDigest, State},
    ticket::{Counted, Ticket, TicketCounters},
};
use crate::{
    identity::Identity,
    policy::Policy,
    quota::Usage,
    sequence::{Lane, Sequence},
    table::{CellBytes, Damaged, Entry, Vacant, field},
    time::Timestamp,
};
use candid::Principal;
use ic_stable_structures::Memory;
use std::time::Duration;

/// How many attempts in a row may trap, without an entry in the journal, before a durable request is parked.
pub(crate) const MOST_TRIES: u8 = 10;

/// Room for the reason for which a request is parked is kept in each journal.
pub(super) const NOTE_BYTES: u64 = 1_280;

const BEGUN_ANEW: &[u8] = b"it began anew, as on_unknown said that it had done nothing";

const TOO_MANY_TRIES: &[u8] =
    b"10 attempts in a row ended without an entry in the journal: they trapped";

/// How long a request waits after so many attempts without progress.
pub(super) fn pause(tries: u8) -> Duration {
    Duration::from_secs(1 << tries.min(MOST_TRIES))
}

/// So many durable requests are moved to another partition in one message.
const MOST_MOVED: usize = 8;

const NO_NAME: u16 = u16::MAX;
const IS_DURABLE: u8 = 128;

/// How far a request is that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// In this heap.
    Running,
    /// By a trap or an upgrade.
    CutOff,
    /// It goes on at a time of its choice.
    Asleep,
    /// It does not go on by itself.
    Parked,
}

/// A request that has not ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) cell: u32,
    pub(super) record: u64,
    pub(super) journal: u64,
    pub(super) partition: u16,
    pub(super) endpoint: u16,
    pub(super) phase: Phase,
    pub(super) is_durable: bool,
    pub(super) tries: u8,
    pub(super) until: u64,
    /// What the journal is charged with, as far as this heap has read or written it.
    pub(super) journal_bytes: u64,
}

impl Open {
    /// Whether room is kept for it though it does not run.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_durable && self.phase != Phase::Running
    }

    /// Whether its journal has room for entries that are charged with so many bytes.
    pub(super) fn has_room(&self, charge: u64, policy: &Policy) -> bool {
        self.journal_bytes + charge + NOTE_BYTES <= u64::from(policy.max_journal_bytes)
    }

    /// Whether it goes on by itself.
    pub(super) fn goes_on(&self) -> bool {
        self.is_durable && matches!(self.phase, Phase::CutOff | Phase::Asleep)
    }

    /// Whether it goes on by now.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.goes_on() && self.until <= now.as_nanos()
    }

    fn bytes(&self, number: u64) -> CellBytes {
        let phase = match self.phase {
            Phase::Running => 1,
            Phase::CutOff => 2,
            Phase::Asleep => 3,
            Phase::Parked => 4,
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes[8..13].copy_from_slice(&self.record.to_le_bytes()[..5]);
        bytes[13..18].copy_from_slice(&self.journal.to_le_bytes()[..5]);
        bytes[18..20].copy_from_slice(&self.partition.to_le_bytes());
        bytes[20] = phase | if self.is_durable { IS_DURABLE } else { 0 };
        bytes[21] = self.tries;
        bytes[22..24].copy_from_slice(&self.endpoint.to_le_bytes());
        bytes[24..].copy_from_slice(&self.until.to_le_bytes());
        bytes
    }

    /// As another heap has left it.
    pub(super) fn from_bytes(cell: u32, bytes: &CellBytes) -> Result<(u64, Self), Damaged> {
        let rest = &mut bytes.as_slice();
        let number = u64::from_le_bytes(field(rest));
        let mut address = || {
            let [a, b, c, d, e] = field(rest);
            u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])
        };
        let (record, journal) = (address(), address());
        let partition = u16::from_le_bytes(field(rest));
        let [phase, tries] = field(rest);
        let was_running = phase & !IS_DURABLE == 1;
        let open = Self {
            cell,
            record,
            journal,
            partition,
            endpoint: u16::from_le_bytes(field(rest)),
            phase: match phase & !IS_DURABLE {
                1 | 2 => Phase::CutOff,
                3 => Phase::Asleep,
                4 => Phase::Parked,
                _ => return Err(Damaged),
            },
            is_durable: phase & IS_DURABLE != 0,
            // An upgrade is not the attempt's fault.
            tries: tries.saturating_sub(u8::from(was_running)),
            until: match (was_running, u64::from_le_bytes(field(rest))) {
                (true, _) => 0,
                (false, until) => until,
            },
            journal_bytes: 0,
        };
        Ok((number, open))
    }
}

/// Where a request comes from: what there must be to say whose it is, and to go on with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    /// The endpoint's name.
    pub(crate) endpoint: &'a str,
    pub(crate) scope: ScopeDigest,
    /// The caller and the argument of a durable request.
    pub(crate) kept: Option<(Principal, &'a [u8])>,
}

impl Origin<'_> {
    /// Of an attempt of which nobody asks.
    #[cfg(test)]
    pub(crate) const NOWHERE: Self = Self {
        endpoint: "",
        scope: [0; 8],
        kept: None,
    };

    /// The first entry of the journal, if there must be one.
    fn entry(&self, ticket: &Ticket) -> Option<Vec<u8>> {
        let (lane, scope) = (ticket.sequence(), ticket.scope());
        if lane.is_none() && scope.is_none() && self.kept.is_none() {
            return None;
        }
        let has = [lane.is_some(), scope.is_some(), self.kept.is_some()];
        let mut entry = vec![
            has.iter()
                .rev()
                .fold(0, |all, has| all << 1 | u8::from(*has)),
        ];
        if let Some(sequence) = lane {
            entry.extend_from_slice(sequence.lane.name());
            entry.extend_from_slice(&sequence.number.to_le_bytes());
        }
        if let Some(scope) = scope {
            entry.extend_from_slice(scope.name());
        }
        if let Some((caller, argument)) = self.kept {
            entry.push(caller.as_slice().len() as u8);
            entry.extend_from_slice(caller.as_slice());
            entry.extend_from_slice(argument);
        }
        Some(entry)
    }

    /// The bytes that its entry is charged with, at most.
    pub(super) fn most_charge(argument: &[u8]) -> u64 {
        journal::most_charge(1 + 32 + 24 + 30 + argument.len())
    }
}

/// What the first entry of a journal says.
#[derive(Default)]
struct Known {
    lane: Option<(Identity, u64)>,
    scope: Option<Identity>,
    kept: Option<(Principal, Vec<u8>)>,
}

impl Known {
    fn read(entry: &[u8]) -> Result<Self, Damaged> {
        fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Damaged> {
            let (taken, after) = rest.split_at_checked(length).ok_or(Damaged)?;
            *rest = after;
            Ok(taken)
        }
        fn identity(rest: &mut &[u8]) -> Result<Identity, Damaged> {
            Ok(Identity(field(&mut take(rest, 24)?)))
        }
        let rest = &mut &*entry;
        let has = take(rest, 1)?[0];
        let mut known = Self::default();
        if has & 1 != 0 {
            let lane = identity(rest)?;
            let number = u64::from_le_bytes(field(&mut take(rest, 8)?));
            known.lane = Some((lane, number));
        }
        if has & 2 != 0 {
            known.scope = Some(identity(rest)?);
        }
        if has & 4 != 0 {
            let length = take(rest, 1)?[0];
            let caller = take(rest, length.into())?;
            let caller = Principal::try_from_slice(caller).map_err(|_| Damaged)?;
            known.kept = Some((caller, rest.to_vec()));
        }
        Ok(known)
    }
}

/// A request that has begun and has not ended, as it is known now.
#[derive(Debug)]
pub(crate) struct Resumed {
    /// It ends with this, as with the ticket with which it began.
    pub(crate) ticket: Ticket,
    /// The caller and the argument of a durable request.
    pub(crate) kept: Option<(Principal, Vec<u8>)>,
    /// The entries of its steps, in order.
    pub(crate) steps: Vec<Vec<u8>>,
    /// Why it was parked last.
    pub(crate) note: Option<Vec<u8>>,
}

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
        (self.cells).write(&self.table.segments, open.cell, &open.bytes(attempt.0))?;
        self.waiting += u64::from(open.is_waiting());
        self.durable += u64::from(open.is_durable);
        let before = self.open.insert(attempt.0, open);
        self.discount(before);
        Ok(())
    }

    /// What is known of an attempt is known no more.
    pub(super) fn forget_open(&mut self, number: u64) -> Option<Open> {
        let open = self.open.remove(&number);
        self.discount(open);
        open
    }

    fn discount(&mut self, open: Option<Open>) {
        self.waiting -= u64::from(open.is_some_and(|open| open.is_waiting()));
        self.durable -= u64::from(open.is_some_and(|open| open.is_durable));
    }

    /// A request has ended: its cell is another's.
    pub(super) fn close_request(&mut self, attempt: Attempt) -> Result<(), Damaged> {
        self.running.remove(&attempt.0);
        if let Some(open) = self.forget_open(attempt.0) {
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
        let Some(open) = self.open.get(&attempt.0).copied() else {
            return Ok(None);
        };
        let (head, pending) = self.pending(&open)?;
        if pending.attempt != attempt {
            return Err(Damaged);
        }
        let (entries, journal_bytes) = self.entries(open.journal)?;
        if let Some(open) = self.open.get_mut(&attempt.0) {
            open.journal_bytes = journal_bytes;
        }
        let (mut known, mut steps, mut note) = (Known::default(), vec![], None);
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
        let open = self.open.get(&attempt.0).copied().ok_or(Damaged)?;
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
        self.forget_open(attempt.0);
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
        let Some(mut open) = self.open.get(&attempt.0).copied() else {
            return Ok(());
        };
        change(self, &mut open)?;
        self.keep_open(attempt, open)
    }

    /// A request that goes on by itself has been tried too often.
    pub(super) fn give_up(&mut self, open: &mut Open) -> Result<(), Damaged> {
        open.phase = Phase::Parked;
        self.append_entry(open, Class::Note, TOO_MANY_TRIES)
    }

    /// An attempt ended before its request did.
    pub(super) fn cut_off(&mut self, attempt: Attempt, now: Timestamp) -> Result<(), Damaged> {
        self.stop(attempt, |contents, open| {
            open.phase = Phase::CutOff;
            open.until = now.plus(pause(open.tries)).as_nanos();
            match open.is_durable && open.tries >= MOST_TRIES {
                true => contents.give_up(open),
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
            open.phase = Phase::Asleep;
            open.until = until.as_nanos();
            Ok(())
        })
    }

    /// An attempt ended, and its request does not go on by itself.
    pub(super) fn park(&mut self, attempt: Attempt, reason: &str) -> Result<(), Damaged> {
        self.stop(attempt, |contents, open| {
            open.phase = Phase::Parked;
            contents.append_entry(open, Class::Note, reason.as_bytes())
        })
    }

    /// A request that did nothing begins anew at a time: what its steps recorded counts no more.
    pub(super) fn restart(&mut self, attempt: Attempt, now: Timestamp) -> Result<(), Damaged> {
        let (entries, _) = match self.open.get(&attempt.0).copied() {
            Some(open) => self.entries(open.journal)?,
            None => return Ok(()),
        };
        self.stop(attempt, |contents, open| {
            (open.journal, open.journal_bytes) = (0, 0);
            (open.phase, open.until, open.tries) = (Phase::Asleep, now.as_nanos(), 0);
            let origin = entries.iter().filter(|(class, _)| *class == Class::Origin);
            for (class, entry) in origin {
                contents.append_entry(open, *class, entry)?;
            }
            contents.append_entry(open, Class::Note, BEGUN_ANEW)
        })
    }

    /// Records an entry of a durable request's steps: its attempt made progress.
    pub(super) fn append_step(&mut self, attempt: Attempt, entry: &[u8]) -> Result<(), Damaged> {
        let mut open = self.open.get(&attempt.0).copied().ok_or(Damaged)?;
        self.append_entry(&mut open, Class::Step, entry)?;
        open.tries = 0;
        self.keep_open(attempt, open)
    }

    /// Forgets the oldest partition, which has expired. What of it is durable and has not ended is kept for another window; `false` if
    /// there is more of that than is moved at a time.
    pub(super) fn forget_expired(
        &mut self,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<bool, Damaged> {
        if self.durable > 0 {
            let oldest = self.requests.oldest_number(self.header());
            let kept = (self.open.iter())
                .filter(|(_, open)| open.is_durable && open.partition == oldest)
                .map(|(number, _)| Attempt(*number));
            let kept: Vec<_> = kept.take(MOST_MOVED + 1).collect();
            for attempt in kept.iter().take(MOST_MOVED) {
                self.keep_on(*attempt, now, policy)?;
            }
            if kept.len() > MOST_MOVED {
                return Ok(false);
            }
        }
        self.forget_oldest()?;
        Ok(true)
    }

    /// Brings a durable request out of a partition that is to be forgotten, for another window.
    pub(super) fn keep_on(
        &mut self,
        attempt: Attempt,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        let open = self.open.get(&attempt.0).copied().ok_or(Damaged)?;
        let (head, pending) = self.pending(&open)?;
        let (entries, _) = self.entries(open.journal)?;
        let partition = self.partition_for(now.plus(policy.window), policy);
        let mut open = Open {
            record: self.move_record(&head, pending, partition)?,
            journal: 0,
            journal_bytes: 0,
            partition,
            ..open
        };
        for (class, entry) in entries {
            self.append_entry(&mut open, class, &entry)?;
        }
        if let Some(running) = self.running.get_mut(&attempt.0) {
            running.partition = partition;
        }
        self.keep_open(attempt, open)
    }
}

impl Ticket {
    /// Of a request that began some time ago.
    fn again(
        head: Head,
        expires_at: Timestamp,
        lane: Option<(Identity, u64)>,
        scope: Option<Identity>,
    ) -> Self {
        fn unknown<T>(counter: T) -> Counted<T> {
            let entry: Entry<Kept> = Entry::Vacant(Vacant::SOMEWHERE);
            Counted { counter, entry }
        }
        let lane = lane.map(|(lane, number)| {
            let sequence = Sequence {
                lane,
                number,
                max_in_flight: 1,
                first_incomplete: None,
            };
            (sequence, unknown(Lane::new(0)))
        });
        let usage = scope.map(|scope| (scope, unknown(Usage::new(head.since))));
        let has_counters = lane.is_some() || usage.is_some();
        Self {
            head,
            expires_at,
            place: Vacant::SOMEWHERE,
            counters: has_counters.then(|| Box::new(TicketCounters { lane, usage })),
        }
    }
}
