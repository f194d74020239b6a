//! A tally: what is kept of a lane or of a scope from one request to the next. The log that tallies lie in.
//!
//! ```text
//! offset  bytes  field
//!      0      1  1
//!      1      3  length of the body
//!      4      8  last use, ns
//!     12     16  the identity's last 16 bytes; its first 8 choose the place in the index
//!     28      …  body, padded to a multiple of 4
//!      …      4  zeros, until the next tally overwrites them
//! ```
//!
//! A tally is overwritten where it lies while its slice is the newest, and otherwise written anew in the newest: so the
//! slices are in the order of last use, and the idlest tallies are forgotten by giving up the oldest slice.

use super::{chain::Chain, error::Damaged, header::take, segments::Segments, slice::TERMINATOR};
use crate::{identity::Identity, time::Timestamp};
use ic_stable_structures::Memory;

/// Longest body: the numbers of a lane of 1,024, and what goes with them.
pub(super) const MOST_BODY_BYTES: usize = 160;

/// Most bytes that a tally takes, the zeros after it included.
pub(super) const MOST_BYTES: usize = FIXED_BYTES + MOST_BODY_BYTES + TERMINATOR;

pub(super) const FIXED_BYTES: usize = 28;

const MARK: u8 = 1;

/// A tally as it lies in memory, with what follows it.
#[derive(Clone, Copy)]
pub(super) struct TallyBytes<'a>(&'a [u8]);

impl<'a> TallyBytes<'a> {
    /// The tally at the beginning of `bytes`, perhaps without the end of its body.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let tally = Self(bytes);
        let is_tally = bytes.len() >= FIXED_BYTES && bytes[0] == MARK;
        (is_tally && tally.body_bytes() <= MOST_BODY_BYTES).then_some(tally)
    }

    pub(super) fn body_bytes(&self) -> usize {
        u32::from_le_bytes([self.0[1], self.0[2], self.0[3], 0]) as usize
    }

    /// Its length without the zeros after it.
    fn length(&self) -> usize {
        (FIXED_BYTES + self.body_bytes()).next_multiple_of(4)
    }

    pub(super) fn last_use(&self) -> u64 {
        let mut rest = &self.0[4..];
        u64::from_le_bytes(take(&mut rest))
    }

    pub(super) fn has_tail(&self, tail: &[u8; 16]) -> bool {
        self.0[12..FIXED_BYTES] == *tail
    }
}

/// Puts a tally and the zeros after it together; its length without them. `body` is at most [`MOST_BODY_BYTES`] long.
pub(super) fn write(
    bytes: &mut [u8; MOST_BYTES],
    identity: &Identity,
    body: &[u8],
    last_use: Timestamp,
) -> usize {
    let length = (body.len() as u32) << 8 | u32::from(MARK);
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..12].copy_from_slice(&last_use.as_nanos().to_le_bytes());
    bytes[12..FIXED_BYTES].copy_from_slice(&identity.tail());
    let end = FIXED_BYTES + body.len();
    bytes[FIXED_BYTES..end].copy_from_slice(body);
    let length = end.next_multiple_of(4);
    for zeros in [end, length] {
        bytes[zeros..zeros + TERMINATOR].copy_from_slice(&[0; TERMINATOR]);
    }
    length
}

/// Tallies that were last used at about the same time, as they stand in the header's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TallySlice {
    /// It is kept up to and including this time, ns.
    pub(super) until: u64,
    /// None of its tallies was last used earlier: as with requests, numbers of slices come round.
    pub(super) oldest: u64,
    /// No lane in it has used this number or a higher one.
    pub(super) unused_from: u64,
    /// Nothing that its tallies count is remembered for longer, ns. Not told from when they were used: an upgrade may change
    /// for how long requests are remembered. `until` is no earlier.
    pub(super) counts_until: u64,
    pub(super) entries: u32,
    log: Chain,
}

impl TallySlice {
    /// Its size in the table.
    pub(super) const BYTES: usize = 56;

    pub(super) fn new(until: u64) -> Self {
        Self {
            until,
            oldest: u64::MAX,
            ..Self::default()
        }
    }

    pub(super) fn from_bytes(mut bytes: &[u8]) -> Self {
        let rest = &mut bytes;
        Self {
            until: u64::from_le_bytes(take(rest)),
            oldest: u64::from_le_bytes(take(rest)),
            unused_from: u64::from_le_bytes(take(rest)),
            counts_until: u64::from_le_bytes(take(rest)),
            entries: u32::from_le_bytes(take(rest)),
            log: Chain::from_bytes(rest),
        }
    }

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.until.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.oldest.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.unused_from.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.counts_until.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.entries.to_le_bytes());
        bytes[36..36 + Chain::BYTES].copy_from_slice(&self.log.to_bytes());
        bytes
    }

    /// Finds the end of the log, from the place that the table knows.
    pub(super) fn find_end<M: Memory>(&mut self, segments: &Segments<M>) -> Result<(), Damaged> {
        let mut log = self.log;
        log.find_end(segments, MOST_BYTES, |rest| {
            let Some(tally) = TallyBytes::parse(rest) else {
                return Ok(None);
            };
            if rest.len() < tally.length() {
                return Ok(None);
            }
            self.entries = self.entries.saturating_add(1);
            self.oldest = self.oldest.min(tally.last_use());
            Ok(Some(tally.length()))
        })?;
        self.log = log;
        Ok(())
    }

    /// Appends a tally of `length` bytes with zeros after it; its address, and whether the table must be written.
    pub(super) fn append<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        bytes: &[u8; MOST_BYTES],
        length: usize,
        last_use: Timestamp,
    ) -> Result<(u64, bool), Damaged> {
        let before = (self.log.tail, self.log.page(), self.oldest);
        // The zeros after it must fit, too.
        if self.log.room() < (length + TERMINATOR) as u64 {
            self.log.extend(segments)?;
        }
        let at = self.log.end();
        segments.memory.write(at, &bytes[..length + TERMINATOR]);
        self.log.used += length as u32;
        self.entries = self.entries.saturating_add(1);
        self.oldest = self.oldest.min(last_use.as_nanos());
        Ok((at, before != (self.log.tail, self.log.page(), self.oldest)))
    }

    /// Gives back everything; the caller writes the header.
    pub(super) fn give_back<M: Memory>(self, segments: &mut Segments<M>) {
        self.log.give_back(segments);
    }
}
