//! Sequence numbers: which numbers of a lane were used, and which may run next.
//!
//! Each scope (by default each caller) has one *lane* at an endpoint; with `lane = EXPR` it has several. The store keeps a
//! counter for each lane: the first number that was not used, and which of the numbers after it were. That takes about 70 bytes,
//! and one bit for each number that may be in flight. The replies are records like any other, found by lane and number.
//!
//! - *Strict*, `max_in_flight = 1`: only the next number runs, and only after the one before has ended. A number whose outcome
//!   is unknown holds up its lane. It stays [`OutcomeUnknown`](IdempotencyError::OutcomeUnknown), even when its record has
//!   expired, until an operator settles it with [`Store::free_lane`](crate::Store::free_lane) or the lane is forgotten.
//! - *Pipelined*, `max_in_flight = N`: each number from the first unused one on that is less than N beyond it may run, in any
//!   order. A number that never arrives holds up its lane only when the N − 1 numbers after it are used. A number whose outcome is
//!   unknown does not hold up its lane; when its record has expired it counts as used, like any other.
//!
//! # Forgetting a lane
//! If a forgotten lane began at 0 again, every old request could run again (this happened to accounts that were deleted and
//! made again on a well-known chain). So the store keeps one *floor* for all lanes: it is above every number that a forgotten
//! lane has used, and a lane without a counter begins there. A client asks
//! [`Store::next_number`](crate::Store::next_number) where its lane goes on.

use crate::{error::IdempotencyError, identity::Identity, time::Timestamp};
use candid::CandidType;
use serde::Deserialize;

/// The greatest number of numbers of a lane that may be in flight at a time.
pub const MOST_IN_FLIGHT: u16 = 1_024;

/// A request's place in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// The lane, as [`Identity::of_lane`] gives it.
    pub lane: Identity,
    /// The request's number.
    pub number: u64,
    /// How many numbers may be under way at a time: 1 is strict.
    pub max_in_flight: u16,
    /// The client has the replies to all numbers below this one, and will not send those requests again.
    pub first_incomplete: Option<u64>,
}

/// The result of [`Store::free_lane`](crate::Store::free_lane).
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub enum FreedLane {
    /// The number counts as used now and never runs again. The lane goes on with the next number.
    Freed {
        /// The time at which the request with this number began.
        since: Timestamp,
    },
    /// The request with this number is running. The lane goes on when it has ended. Nothing has changed.
    Running {
        /// The time at which it began.
        since: Timestamp,
    },
    /// The lane does not wait for this number. Nothing has changed.
    NotStuck {
        /// The number with which the lane goes on, or for whose request it waits.
        next: u64,
    },
}

/// What is known of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    max_in_flight: u16,
    /// Every number below was used.
    first: u64,
    /// The replies to all numbers below were let go.
    first_incomplete: u64,
    /// When the number that began last did so, ns. A strict lane that is stuck outlives the record that says so.
    begun: u64,
    /// A bit for each number from `first` on: whether it was used.
    used: Vec<u64>,
}

impl Lane {
    /// A lane that is not known, where the floor is `floor`.
    pub(crate) fn new(floor: u64) -> Self {
        Self {
            max_in_flight: 1,
            first: floor,
            first_incomplete: floor,
            begun: 0,
            used: vec![],
        }
    }

    /// With another limit. What was used beyond a limit that is lower now stays known, and a lane that becomes strict
    /// does not wait for numbers that blocked nobody.
    pub(crate) fn with_max_in_flight(mut self, max_in_flight: u16) -> Self {
        if max_in_flight == 1 && !self.is_strict() {
            self.slide();
        }
        let last = self.used.iter().rposition(|word| *word != 0);
        let in_use = last.map_or(0, |last| last + 1);
        self.used.resize(in_use.max(words(max_in_flight)), 0);
        self.max_in_flight = max_in_flight;
        self
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut fields = bytes.chunks_exact(8).map(|field| {
            field
                .iter()
                .rev()
                .fold(0, |all, byte| all << 8 | u64::from(*byte))
        });
        let mut field = || fields.next().unwrap_or(0);
        Self {
            max_in_flight: field() as u16,
            first: field(),
            first_incomplete: field(),
            begun: field(),
            used: fields.collect(),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let fields = [
            self.max_in_flight.into(),
            self.first,
            self.first_incomplete,
            self.begun,
        ];
        let fields = fields.iter().chain(&self.used);
        fields.flat_map(|field| field.to_le_bytes()).collect()
    }

    /// The first number that was not used; in a strict lane, that has not ended.
    pub(crate) fn next(&self) -> u64 {
        if self.is_strict() {
            self.first
        } else {
            self.first.saturating_add(self.leading())
        }
    }

    /// Whether a number that has no record may run.
    pub(crate) fn admit(&self, number: u64) -> Result<(), IdempotencyError> {
        let expected = self.next();
        if self.has_used(number) {
            return Err(IdempotencyError::SequenceTooOld { expected });
        }
        // No floor could be above the very last number.
        if number.saturating_sub(expected) >= u64::from(self.max_in_flight) || number == u64::MAX {
            return Err(IdempotencyError::SequenceGap { expected });
        }
        Ok(())
    }

    /// Whether a number was used, or never can be.
    pub(crate) fn has_used(&self, number: u64) -> bool {
        let place = self.place(number);
        number < self.first || place.is_some_and(|(word, bit)| self.used[word] & bit != 0)
    }

    /// Since when a strict lane waits for this number: it has begun, and has not ended.
    pub(crate) fn stuck_since(&self, number: u64) -> Option<Timestamp> {
        let is_stuck = self.is_strict() && number == self.first && self.has_used(number);
        is_stuck.then(|| Timestamp::from_nanos(self.begun))
    }

    /// A number begins.
    pub(crate) fn begin(&mut self, number: u64, now: Timestamp) {
        if !self.is_strict() {
            self.slide();
        }
        self.begun = now.as_nanos();
        self.set(number, true);
    }

    /// A number that was begun in this very message did nothing.
    pub(crate) fn release(&mut self, number: u64) {
        self.set(number, false);
    }

    /// A number that was begun has ended. A strict lane goes on only then; one that was forgotten meanwhile and begins anew
    /// waits for another.
    pub(crate) fn end(&mut self, number: u64) {
        if !self.is_strict() || number == self.first {
            self.slide();
        }
    }

    /// No number from this one on was used.
    pub(crate) fn unused_from(&self) -> u64 {
        let last = self.used.iter().rposition(|word| *word != 0);
        let used = last.map_or(0, |last| {
            64 * (last as u64 + 1) - u64::from(self.used[last].leading_zeros())
        });
        self.first.saturating_add(used)
    }

    /// The next number whose reply the client does not need any more, `received` being the first that it may need.
    pub(crate) fn let_go(&mut self, received: u64) -> Option<u64> {
        let number = self.first_incomplete;
        (number < received.min(self.first)).then(|| {
            self.first_incomplete += 1;
            number
        })
    }

    fn is_strict(&self) -> bool {
        self.max_in_flight == 1
    }

    fn set(&mut self, number: u64, is_used: bool) {
        if let Some((word, bit)) = self.place(number) {
            if is_used {
                self.used[word] |= bit;
            } else {
                self.used[word] &= !bit;
            }
        }
    }

    fn place(&self, number: u64) -> Option<(usize, u64)> {
        let offset = number.checked_sub(self.first)?;
        let word = usize::try_from(offset / 64).ok()?;
        (word < self.used.len()).then_some((word, 1 << (offset % 64)))
    }

    /// How many numbers from `first` on were used without a gap.
    fn leading(&self) -> u64 {
        let mut leading = 0;
        for word in &self.used {
            leading += u64::from(word.trailing_ones());
            if *word != u64::MAX {
                break;
            }
        }
        leading
    }

    /// Brings `first` behind the numbers that were used without a gap.
    fn slide(&mut self) {
        // At the very end of the numbers there is nowhere to slide to.
        let by = self.leading().min(u64::MAX - self.first);
        let (words, bits) = ((by / 64) as usize, by % 64);
        let word = |used: &[u64], at: usize| used.get(at).copied().unwrap_or(0);
        for at in 0..self.used.len() {
            let (low, high) = (
                word(&self.used, at + words),
                word(&self.used, at + words + 1),
            );
            self.used[at] = if bits == 0 {
                low
            } else {
                low >> bits | high << (64 - bits)
            };
        }
        self.first += by;
    }
}

fn words(max_in_flight: u16) -> usize {
    usize::from(max_in_flight).div_ceil(64)
}

#[cfg(test)]
mod tests;
