//! What is known of a lane, and the record that may lie in it.
//!
//! ```text
//! offset  bytes  body of a lane's counter
//!      0      2  max in flight
//!      2      1  1: the record of the number before the first one lies here; +2: with a digest of what was chosen; +4: the digest of
//!                its argument is its alias; +8: an alias that is not compared; +16: its reply is that for retries
//!      3      1  length of its reply
//!      4      4  zeros
//!      8      8  first: every number below was used
//!     16      8  first incomplete
//!     24      8  when the number that began last did so, ns
//!     32      …  a bit for each number from the first on that may be used: whether it was; or, where a record lies here, as none was:
//!     32     16  digest of its argument, or zeros if nothing of it is compared
//!     48  0, 16  digest of what was chosen
//!      …      …  its reply
//!      …      …  zeros, up to a multiple of 8 or more
//! ```

use super::used::Used;
use crate::{
    error::IdempotencyError,
    identity::{ArgumentIs, Digest, Fingerprint},
    time::Timestamp,
};

const FIXED_BYTES: usize = 32;
const DIGEST_BYTES: usize = 16;
const HAS_LAST: u8 = 1;
const HAS_CHOSEN: u8 = 2;
const IS_ALIAS: u8 = 4;
const IS_ALIAS_ONLY: u8 = IS_ALIAS | 8;
const IS_FOR_RETRIES: u8 = 16;

/// Longest reply that lies in a lane, with the digest of what was chosen.
const REPLY_BYTES: usize = 64;

/// Bytes of a lane with the longest record.
pub(crate) const LONGEST_LAST: usize = FIXED_BYTES + DIGEST_BYTES + REPLY_BYTES;

/// What is known of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    max_in_flight: u16,
    /// Whether the record of the number that began last lies in it: that of the number before the first one. The lane was strict then, and
    /// no number has begun since.
    has_last: bool,
    /// Every number below was used.
    first: u64,
    /// The replies to all numbers below were let go.
    first_incomplete: u64,
    /// When the number that began last did so, ns. A strict lane that is stuck outlives the record that says so.
    begun: u64,
    /// From `first` on.
    used: Used,
}

/// The record of a lane's last number, as it lies in the lane. What else there is to it, the lane knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Last<'a> {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) reply: &'a [u8],
    /// Whether that is what a retry is sent, and not what that follows from.
    pub(crate) is_for_retries: bool,
}

impl<'a> Last<'a> {
    /// If it is short enough.
    pub(crate) fn new(
        fingerprint: Fingerprint,
        reply: &'a [u8],
        is_for_retries: bool,
    ) -> Option<Self> {
        let last = Self {
            fingerprint,
            reply,
            is_for_retries,
        };
        (last.bytes() <= DIGEST_BYTES + REPLY_BYTES).then_some(last)
    }

    fn read(flags: u8, length: u8, bytes: &'a [u8]) -> Option<Self> {
        let (argument, mut rest) = bytes.split_first_chunk()?;
        let mut chosen = None;
        if flags & HAS_CHOSEN != 0 {
            let (digest, after) = rest.split_first_chunk()?;
            (chosen, rest) = (Digest::from_bytes(*digest), after);
        }
        let fingerprint = Fingerprint {
            argument: Digest::from_bytes(*argument),
            argument_is: match flags & IS_ALIAS_ONLY {
                IS_ALIAS => ArgumentIs::Alias,
                IS_ALIAS_ONLY => ArgumentIs::AliasOnly,
                _ => ArgumentIs::Itself,
            },
            chosen,
        };
        let reply = rest.get(..length.into())?;
        Some(Self {
            fingerprint,
            reply,
            is_for_retries: flags & IS_FOR_RETRIES != 0,
        })
    }

    fn bytes(&self) -> usize {
        let digests = 1 + usize::from(self.fingerprint.chosen.is_some());
        digests * DIGEST_BYTES + self.reply.len()
    }

    fn flags(&self) -> u8 {
        let chosen = match self.fingerprint.chosen {
            Some(_) => HAS_CHOSEN,
            None => 0,
        };
        let argument = match self.fingerprint.argument_is {
            ArgumentIs::Itself => 0,
            ArgumentIs::Alias => IS_ALIAS,
            ArgumentIs::AliasOnly => IS_ALIAS_ONLY,
        };
        let reply = match self.is_for_retries {
            true => IS_FOR_RETRIES,
            false => 0,
        };
        HAS_LAST | chosen | argument | reply
    }

    fn write(&self, bytes: &mut [u8]) {
        let Fingerprint {
            argument, chosen, ..
        } = self.fingerprint;
        let (place, mut rest) = bytes.split_at_mut(DIGEST_BYTES);
        place.copy_from_slice(&argument.map_or([0; DIGEST_BYTES], Digest::bytes));
        if let Some(chosen) = chosen {
            let (place, after) = rest.split_at_mut(DIGEST_BYTES);
            place.copy_from_slice(&chosen.bytes());
            rest = after;
        }
        let (place, rest) = rest.split_at_mut(self.reply.len());
        place.copy_from_slice(self.reply);
        rest.fill(0);
    }
}

impl Lane {
    /// A lane that is not known, where the floor is `floor`.
    pub(crate) fn new(floor: u64) -> Self {
        Self {
            max_in_flight: 1,
            has_last: false,
            first: floor,
            first_incomplete: floor,
            begun: 0,
            used: Used::default(),
        }
    }

    /// Sets another limit. What was used beyond a limit that is lower now stays known, and a lane that becomes strict
    /// does not wait for numbers that blocked nobody. A record that lies in it stays there until a number begins.
    pub(crate) fn set_max_in_flight(&mut self, max_in_flight: u16) {
        if max_in_flight == 1 && !self.is_strict() {
            self.slide();
        }
        self.used.fit(max_in_flight);
        self.max_in_flight = max_in_flight;
    }

    /// With another limit.
    #[cfg(test)]
    pub(crate) fn with_max_in_flight(mut self, max_in_flight: u16) -> Self {
        self.set_max_in_flight(max_in_flight);
        self
    }

    /// Becomes what the body of a counter says; `None` if that contradicts itself.
    #[inline]
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Option<()> {
        let (fixed, rest) = bytes.split_first_chunk::<FIXED_BYTES>()?;
        let word = |at: usize| {
            let bytes = fixed[at..].first_chunk();
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        self.max_in_flight = u16::from_le_bytes([fixed[0], fixed[1]]);
        self.has_last = fixed[2] & HAS_LAST != 0;
        (self.first, self.first_incomplete, self.begun) = (word(8), word(16), word(24));
        if self.has_last {
            self.used = Used::default();
            return (self.is_strict() && self.first > 0).then_some(());
        }
        let words = rest.chunks_exact(8).filter_map(<[u8]>::first_chunk);
        self.used = Used::of(words.map(|word| u64::from_le_bytes(*word)));
        Some(())
    }

    /// The record that lies in a lane that was [`read`](Self::read) of these bytes.
    pub(crate) fn read_last<'a>(&self, bytes: &'a [u8]) -> Option<Last<'a>> {
        let (fixed, rest) = bytes.split_first_chunk::<FIXED_BYTES>()?;
        match self.has_last {
            true => Last::read(fixed[2], fixed[3], rest),
            false => None,
        }
    }

    /// How many bytes it takes, with the record of its last number or without.
    pub(crate) fn bytes(&self, last: Option<&Last<'_>>) -> usize {
        match last {
            Some(last) => (FIXED_BYTES + last.bytes()).next_multiple_of(8),
            None => FIXED_BYTES + 8 * self.used.len(),
        }
    }

    /// Writes it to as many bytes, or more. A record is one that it [`may_hold`](Self::may_hold).
    pub(crate) fn write(&self, last: Option<&Last<'_>>, bytes: &mut [u8]) {
        let (fixed, rest) = bytes.split_at_mut(FIXED_BYTES);
        let (flags, length) = last.map_or((0, 0), |last| (last.flags(), last.reply.len() as u8));
        let kind = u64::from(self.max_in_flight) | u64::from(flags) << 16 | u64::from(length) << 24;
        let fields = [kind, self.first, self.first_incomplete, self.begun];
        for (place, field) in fixed.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        match last {
            Some(last) => last.write(rest),
            None => {
                rest.fill(0);
                for (place, word) in rest.chunks_exact_mut(8).zip(self.used.words()) {
                    place.copy_from_slice(&word.to_le_bytes());
                }
            }
        }
    }

    /// The first number that was not used; in a strict lane, that has not ended.
    pub(crate) fn next(&self) -> u64 {
        if self.is_strict() {
            self.first
        } else {
            self.first.saturating_add(self.used.leading())
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
        match number.checked_sub(self.first) {
            Some(offset) => self.used.contains(offset),
            None => true,
        }
    }

    /// The number whose record lies in it.
    pub(crate) fn last(&self) -> Option<u64> {
        self.has_last.then(|| self.first.saturating_sub(1))
    }

    /// When the number began whose record lies in it.
    pub(crate) fn last_since(&self) -> Timestamp {
        Timestamp::from_nanos(self.begun)
    }

    /// Since when a strict lane waits for this number: it has begun, and has not ended.
    pub(crate) fn stuck_since(&self, number: u64) -> Option<Timestamp> {
        let is_stuck = self.is_strict() && number == self.first && self.has_used(number);
        is_stuck.then(|| Timestamp::from_nanos(self.begun))
    }

    /// A number begins. In a strict lane its client has the replies to those before: no record stays.
    pub(crate) fn begin(&mut self, number: u64, now: Timestamp) {
        if !self.is_strict() {
            self.slide();
        }
        self.has_last = false;
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

    /// A number begins and ends.
    pub(crate) fn pass(&mut self, number: u64, now: Timestamp) {
        // As it is with most, and costs less.
        if self.is_strict() && number == self.first && self.used.is_empty() {
            (self.has_last, self.begun) = (false, now.as_nanos());
            self.first = self.first.saturating_add(1);
            return;
        }
        self.begin(number, now);
        self.end(number);
    }

    /// Whether the record of a number that has just ended may lie in it: it is the last one of a strict lane.
    pub(crate) fn may_hold(&self, number: u64) -> bool {
        self.is_strict() && number.checked_add(1) == Some(self.first) && self.used.is_empty()
    }

    /// The record that lay in it has one of its own now.
    pub(crate) fn give_up_last(&mut self) {
        self.has_last = false;
    }

    /// No number from this one on was used.
    pub(crate) fn unused_from(&self) -> u64 {
        self.first.saturating_add(self.used.end())
    }

    /// The next number whose reply the client does not need any more, `received` being the first that it may need.
    pub(crate) fn let_go(&mut self, received: u64) -> Option<u64> {
        let number = self.first_incomplete;
        (number < received.min(self.first)).then(|| {
            self.first_incomplete += 1;
            number
        })
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.max_in_flight == 1
    }

    fn set(&mut self, number: u64, is_used: bool) {
        if let Some(offset) = number.checked_sub(self.first) {
            self.used.set(offset, is_used);
        }
    }

    /// Brings `first` behind the numbers that were used without a gap.
    fn slide(&mut self) {
        // At the very end of the numbers there is nowhere to slide to.
        let by = self.used.leading().min(u64::MAX - self.first);
        self.used.forget(by);
        self.first += by;
    }
}
