//! What a store says of itself: how full it is, and what has happened to requests in this heap.
//!
//! What is held is read from the store, so it is exact and survives upgrades. Events are counted on the heap: a counter costs a few
//! instructions so, and an upgrade sets it back to zero.

use crate::{error::IdempotencyError, time::Timestamp};
use candid::CandidType;
use serde::Deserialize;
use std::{cell::Cell, collections::BTreeMap};

/// How full a store is, and what has happened to requests since the last upgrade.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The number of requests that the store holds, expired ones included until they are forgotten. Without those whose records lie [in
    /// their lanes](crate::sequence#a-record-that-lies-in-its-lane): at most one for each counter.
    pub entries: u64,
    /// The greatest number of requests that it may hold.
    pub capacity: u64,
    /// The number of bytes that count against `capacity_bytes`: for each request 128 bytes, and its reply if that is longer
    /// than 64 bytes; for each running request the longest reply instead. A request whose `Err` was forgotten counts with 128
    /// bytes until it would have expired. A durable request counts with its journal, too, and until it ends with the longest
    /// reply and `max_journal_bytes` besides. Any other request of an async method that has a place in a lane or counts against a quota
    /// counts with 64 bytes more, or 128 if both are so.
    pub bytes: u64,
    /// The greatest number of bytes that may count.
    pub capacity_bytes: u64,
    /// The time at which the oldest request began, of those that the store holds and of those released whose room is not free yet.
    pub oldest: Option<Timestamp>,
    /// The time at which the store can forget the oldest requests. It forgets those together that expire within the same 1/32
    /// of the window, or up to 1/8 with a [`Policy::retention`](crate::Policy::retention) of more than 14 windows.
    pub oldest_expiry: Option<Timestamp>,
    /// The number of counters that the store holds: one for each lane of sequence numbers and each scope with a quota.
    pub counters: u64,
    /// The number of requests that have begun and have not ended, and of which the outcome is not unknown: they run, or they are durable
    /// and go on by themselves.
    pub in_progress: u64,
    /// The number of requests whose outcome is unknown, parked ones included: [`Store::unknown`](crate::Store::unknown) lists them.
    pub unknown: u64,
    /// The number of installations and upgrades after which the store was opened.
    pub incarnation: u64,
    /// What has happened since the last upgrade.
    pub events: Events,
}

/// What has happened to requests since the last upgrade. A message that traps counts nothing: so no refusal counts that a method answers
/// with a trap, as its reply has no place for an [`IdempotencyError`].
#[derive(CandidType, Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct Events {
    /// When the count began: the store was opened then, for the first time since the last installation or upgrade.
    pub since: Timestamp,
    /// Requests that began, and were recorded. One whose `Err` a sync method forgets is not.
    pub executed: u64,
    /// Calls that were answered with the reply of an earlier one.
    pub replayed: u64,
    /// Calls that were answered with an error, by its name, as `TooOld`. Every name is there.
    pub refused: BTreeMap<String, u64>,
    /// Requests that the store forgot because they had expired.
    pub evicted: u64,
    /// Requests that the store forgot before they expired: they had done nothing, or their client had the reply.
    pub released: u64,
}

/// The names of the errors.
const REASONS: [&str; 16] = [
    "MissingKey",
    "InvalidKey",
    "AnonymousRefused",
    "KeyReused",
    "InProgress",
    "OutcomeUnknown",
    "ReplyDropped",
    "TooOld",
    "CreatedInFuture",
    "Full",
    "QuotaExceeded",
    "SequenceTooOld",
    "SequenceGap",
    "CyclesRequired",
    "StoreDamaged",
    "Other",
];

#[cfg(test)]
impl Events {
    /// The names of all errors.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        REASONS.into_iter()
    }
}

/// The place of an error among them.
fn reason(error: &IdempotencyError) -> usize {
    match error {
        IdempotencyError::MissingKey => 0,
        IdempotencyError::InvalidKey { .. } => 1,
        IdempotencyError::AnonymousRefused => 2,
        IdempotencyError::KeyReused => 3,
        IdempotencyError::InProgress { .. } => 4,
        IdempotencyError::OutcomeUnknown { .. } => 5,
        IdempotencyError::ReplyDropped { .. } => 6,
        IdempotencyError::TooOld => 7,
        IdempotencyError::CreatedInFuture { .. } => 8,
        IdempotencyError::Full { .. } => 9,
        IdempotencyError::QuotaExceeded { .. } => 10,
        IdempotencyError::SequenceTooOld { .. } => 11,
        IdempotencyError::SequenceGap { .. } => 12,
        IdempotencyError::CyclesRequired { .. } => 13,
        IdempotencyError::StoreDamaged => 14,
        IdempotencyError::Other { .. } => 15,
    }
}

/// What is counted of answers, in this heap.
pub(super) struct Counts {
    since: Timestamp,
    executed: Cell<u64>,
    replayed: Cell<u64>,
    refused: [Cell<u64>; REASONS.len()],
}

impl Counts {
    pub(super) fn new(since: Timestamp) -> Self {
        Self {
            since,
            executed: Cell::default(),
            replayed: Cell::default(),
            refused: Default::default(),
        }
    }

    #[inline]
    pub(super) fn execution(&self) {
        increment(&self.executed);
    }

    #[inline]
    pub(super) fn replay(&self) {
        increment(&self.replayed);
    }

    pub(super) fn refusal(&self, error: &IdempotencyError) {
        increment(&self.refused[reason(error)]);
    }

    pub(super) fn events(&self, forgotten: Forgotten) -> Events {
        let names = REASONS.into_iter().map(str::to_owned);
        Events {
            since: self.since,
            executed: self.executed.get(),
            replayed: self.replayed.get(),
            refused: names.zip(self.refused.iter().map(Cell::get)).collect(),
            evicted: forgotten.evicted,
            released: forgotten.released,
        }
    }
}

#[inline]
fn increment(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// How many requests were forgotten in this heap.
#[derive(Clone, Copy, Default)]
pub(super) struct Forgotten {
    pub(super) evicted: u64,
    pub(super) released: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every error, with its own counter.
    #[test]
    fn errors_are_counted_by_the_names_that_they_are_shown_with() {
        let (time, number) = (Timestamp::default(), 7);
        let errors = [
            IdempotencyError::MissingKey,
            IdempotencyError::InvalidKey {
                length: number,
                max: number,
            },
            IdempotencyError::AnonymousRefused,
            IdempotencyError::KeyReused,
            IdempotencyError::InProgress { since: time },
            IdempotencyError::OutcomeUnknown { since: time },
            IdempotencyError::ReplyDropped { executed_at: time },
            IdempotencyError::TooOld,
            IdempotencyError::CreatedInFuture { now: time },
            IdempotencyError::Full { retry_after: time },
            IdempotencyError::QuotaExceeded { retry_after: time },
            IdempotencyError::SequenceTooOld { expected: number },
            IdempotencyError::SequenceGap { expected: number },
            IdempotencyError::CyclesRequired { cycles: number },
            IdempotencyError::StoreDamaged,
            IdempotencyError::not_offered("m"),
        ];
        assert_eq!(errors.len(), REASONS.len());
        for (place, (error, name)) in errors.iter().zip(REASONS).enumerate() {
            assert_eq!(reason(error), place);
            assert!(error.to_string().starts_with(&format!("{name}: ")));
        }
    }
}
