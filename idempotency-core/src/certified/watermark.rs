//! How far the tree of a store can be trusted: what it may lack.

use crate::{table::field, time::Timestamp};
use std::time::Duration;

/// What the leaf `watermark` of a store says. All fields but the first take 8 bytes, little-endian, in ns.
///
/// ```text
/// offset  bytes  field
///      0      1  version, 1
///      1      8  open since; the greatest number if nothing has changed since the tree was made
///      9      8  valid until
///     17      8  covered after
///     25      8  window
///     33      8  drift
///     41      8  short until
///     49      8  short reach
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watermark {
    /// The tree has all that happened before this; of what happened then or later it may lack something.
    pub(crate) open_since: Option<Timestamp>,
    /// And all that happened until then, as far as it is not open: afterwards the canister may have stopped to keep the tree.
    pub(crate) valid_until: Timestamp,
    /// A request whose record is kept until after this is in the tree if it was ever executed. Others may be forgotten, or are from a time
    /// when there was no tree.
    pub(crate) covered_after: Timestamp,
    pub(crate) window: Duration,
    pub(crate) drift: Duration,
    /// Requests created before this are remembered for `short_reach` only: the window was made longer since.
    pub(crate) short_until: Timestamp,
    /// A shorter window and its drift.
    pub(crate) short_reach: Duration,
}

const VERSION: u8 = 1;
pub(crate) const WATERMARK_BYTES: usize = 57;
const NOT_OPEN: u64 = u64::MAX;

impl Watermark {
    pub(crate) fn bytes(&self) -> [u8; WATERMARK_BYTES] {
        let nanos = |duration: Duration| duration.as_nanos() as u64;
        let fields = [
            self.open_since.map_or(NOT_OPEN, Timestamp::as_nanos),
            self.valid_until.as_nanos(),
            self.covered_after.as_nanos(),
            nanos(self.window),
            nanos(self.drift),
            self.short_until.as_nanos(),
            nanos(self.short_reach),
        ];
        let mut bytes = [VERSION; WATERMARK_BYTES];
        for (place, field) in bytes[1..].chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; WATERMARK_BYTES] = bytes.try_into().ok()?;
        let rest = &mut bytes.as_slice();
        let [version] = field(rest);
        let [
            open,
            valid,
            covered,
            window,
            drift,
            short_until,
            short_reach,
        ] = [(); 7].map(|()| u64::from_le_bytes(field(rest)));
        (version == VERSION).then_some(Self {
            open_since: (open != NOT_OPEN).then_some(Timestamp::from_nanos(open)),
            valid_until: Timestamp::from_nanos(valid),
            covered_after: Timestamp::from_nanos(covered),
            window: Duration::from_nanos(window),
            drift: Duration::from_nanos(drift),
            short_until: Timestamp::from_nanos(short_until),
            short_reach: Duration::from_nanos(short_reach),
        })
    }

    /// The last instant that the tree says all about, if a certificate from this time certifies it. That is before each of the times that
    /// are known: other messages of the same time may come later.
    pub(crate) fn as_of(&self, certified_at: Timestamp) -> Timestamp {
        let end = certified_at.min(self.valid_until);
        let end = end.min(self.open_since.unwrap_or(end));
        Timestamp::from_nanos(end.as_nanos().saturating_sub(1))
    }

    /// The last instant at which a request with this `created_at` can be executed; its record is kept for as long at the least.
    pub(crate) fn expiry(&self, created_at: Timestamp) -> Timestamp {
        let expiry = created_at.plus(self.window).plus(self.drift);
        match created_at < self.short_until {
            // The window may have been made shorter again since.
            true => expiry.min(created_at.plus(self.short_reach)),
            false => expiry,
        }
    }

    /// The first instant of which the tree says all about requests without `created_at`: what began then or later is in it.
    pub(crate) fn complete_from(&self) -> Timestamp {
        let after = self.covered_after.as_nanos().saturating_add(1);
        let from = after.saturating_sub(self.window.as_nanos() as u64);
        // What began before the window was made longer was kept for a shorter time.
        let short_until = self.short_until.as_nanos();
        let from = match from < short_until {
            true => short_until.min(after),
            false => from,
        };
        Timestamp::from_nanos(from)
    }
}
