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

use super::record::Attempt;
use crate::{
    policy::Policy,
    table::{CellBytes, Damaged, field},
    time::Timestamp,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    time::Duration,
};

/// How many attempts in a row may trap, without an entry in the journal, before a durable request is parked.
pub(crate) const MOST_TRIES: u8 = 10;

/// Room for the reason for which a request is parked is kept in each journal.
pub(super) const NOTE_BYTES: u64 = 1_280;

/// How long a request waits after so many attempts without progress.
pub(super) fn pause(tries: u8) -> Duration {
    Duration::from_secs(1 << tries.min(MOST_TRIES))
}

pub(super) const NO_NAME: u16 = u16::MAX;
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

/// What becomes of an attempt that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It runs in this heap.
    Running,
    /// Its request is durable and goes on by itself, or runs.
    GoesOn,
    /// Nobody knows.
    Unknown,
}

/// Why an entry of a journal was not recorded. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRecorded {
    /// The journal would be longer than the policy's `max_journal_bytes`.
    Full,
    Damaged,
}

impl From<Damaged> for NotRecorded {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
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
    /// What the journal is charged with; 0 if this heap has not read it yet.
    pub(super) journal_bytes: u64,
}

impl Open {
    /// How it is found by its partition.
    fn place(&self, number: u64) -> Option<(u64, u64)> {
        let is_found = self.is_durable || self.phase != Phase::Running;
        is_found.then_some((group(self.partition, self.is_durable), number))
    }

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

    /// Whether its outcome is unknown: it waits for whoever finds out.
    pub(super) fn is_unknown(&self) -> bool {
        match self.phase {
            Phase::Parked => true,
            Phase::CutOff => !self.is_durable,
            Phase::Running | Phase::Asleep => false,
        }
    }

    pub(super) fn bytes(&self, attempt: Attempt) -> CellBytes {
        let phase = match self.phase {
            Phase::Running => 1,
            Phase::CutOff => 2,
            Phase::Asleep => 3,
            Phase::Parked => 4,
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&attempt.0.to_le_bytes());
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
    pub(super) fn from_bytes(cell: u32, bytes: &CellBytes) -> Result<(Attempt, Self), Damaged> {
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
        Ok((Attempt(number), open))
    }
}

/// Those in one partition that are durable, and after them those that are not. A number, so that there is one type of sets: each
/// type is 7 KB of a canister's module.
fn group(partition: u16, is_durable: bool) -> u64 {
    u64::from(partition) << 1 | u64::from(!is_durable)
}

/// All requests that have begun and have not ended, by the number of the last attempt at each.
#[derive(Default)]
pub(super) struct OpenRequests {
    by_number: BTreeMap<u64, Open>,
    /// [`group`] and number of each that is durable or does not run: few, while all goes well.
    by_partition: BTreeSet<(u64, u64)>,
    /// When those go on that do so by themselves, ns, and their numbers.
    due: BTreeSet<(u64, u64)>,
    /// How many are durable.
    pub(super) durable: u64,
    /// How many are durable, and do not run.
    pub(super) waiting: u64,
    /// Of how many the outcome is unknown.
    pub(super) unknown: u64,
}

impl OpenRequests {
    pub(super) fn get(&self, attempt: Attempt) -> Option<Open> {
        self.by_number.get(&attempt.0).copied()
    }

    /// The greatest number.
    pub(super) fn last(&self) -> Option<u64> {
        self.by_number.last_key_value().map(|(number, _)| *number)
    }

    /// How many run, or go on by themselves.
    pub(super) fn in_progress(&self) -> u64 {
        self.by_number.len() as u64 - self.unknown
    }

    /// Notes what is known of one now.
    pub(super) fn insert(&mut self, attempt: Attempt, open: Open) {
        let number = attempt.0;
        let before = self.by_number.insert(number, open);
        // Most changes leave it where it is.
        let (place_before, place) = (before.and_then(|it| it.place(number)), open.place(number));
        if place_before != place {
            place_before.map(|place| self.by_partition.remove(&place));
            place.map(|place| self.by_partition.insert(place));
        }
        let due = |open: &Open| open.goes_on().then_some((open.until, number));
        let (due_before, due_now) = (before.as_ref().and_then(due), due(&open));
        if due_before != due_now {
            due_before.map(|due| self.due.remove(&due));
            due_now.map(|due| self.due.insert(due));
        }
        self.count(&open);
        if let Some(before) = before {
            self.discount(&before);
        }
    }

    pub(super) fn remove(&mut self, attempt: Attempt) -> Option<Open> {
        let number = attempt.0;
        let open = self.by_number.remove(&number)?;
        if let Some(place) = open.place(number) {
            self.by_partition.remove(&place);
        }
        if open.goes_on() {
            self.due.remove(&(open.until, number));
        }
        self.discount(&open);
        Some(open)
    }

    fn count(&mut self, open: &Open) {
        self.durable += u64::from(open.is_durable);
        self.waiting += u64::from(open.is_waiting());
        self.unknown += u64::from(open.is_unknown());
    }

    fn discount(&mut self, open: &Open) {
        self.durable -= u64::from(open.is_durable);
        self.waiting -= u64::from(open.is_waiting());
        self.unknown -= u64::from(open.is_unknown());
    }

    /// Notes what the journal of one of them is charged with.
    pub(super) fn note_journal_bytes(&mut self, attempt: Attempt, bytes: u64) {
        if let Some(open) = self.by_number.get_mut(&attempt.0) {
            open.journal_bytes = bytes;
        }
    }

    /// Those of which the outcome is unknown, with numbers above one.
    pub(super) fn unknown_after(&self, number: u64) -> impl Iterator<Item = (u64, Open)> {
        let later = (self.by_number).range((Bound::Excluded(number), Bound::Unbounded));
        later
            .filter(|(_, open)| open.is_unknown())
            .map(|(number, open)| (*number, *open))
    }

    /// Those with records in a partition, but for those that run and are not durable.
    pub(super) fn in_partition(&self, partition: u16) -> impl Iterator<Item = Attempt> {
        let all = (group(partition, true), 0)..=(group(partition, false), u64::MAX);
        let all = self.by_partition.range(all);
        all.map(|(_, number)| Attempt(*number))
    }

    /// Those of them that are durable.
    pub(super) fn durable_in(&self, partition: u16) -> impl Iterator<Item = Attempt> {
        let durable = group(partition, true);
        let durable = self.by_partition.range((durable, 0)..=(durable, u64::MAX));
        durable.map(|(_, number)| Attempt(*number))
    }

    /// Those that go on by now, the first one first.
    #[cfg(any(test, feature = "timers"))]
    pub(super) fn due(&self, now: Timestamp) -> impl Iterator<Item = Attempt> {
        let due = self.due.range(..=(now.as_nanos(), u64::MAX));
        due.map(|(_, number)| Attempt(*number))
    }

    /// The first time at which one of them goes on by itself.
    #[cfg(feature = "timers")]
    pub(super) fn first_due(&self) -> Option<Timestamp> {
        let (until, _) = self.due.first()?;
        Some(Timestamp::from_nanos(*until))
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Open)> {
        self.by_number.iter().map(|(number, open)| (*number, *open))
    }
}
