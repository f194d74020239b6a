//! Time with its unit in the type: a bare number of seconds or milliseconds can't be taken for nanoseconds.

use crate::documented::documented_natively;
use candid::CandidType;
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

documented_natively! {
/// An instant of the IC's clock. In candid it is a `nat64` of nanoseconds since the UNIX epoch, as ICRC-1's `Timestamp`.
///
/// Arithmetic saturates: an absurd timestamp from a client is merely very early or very late.
#[derive(CandidType, Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);
}

impl Timestamp {
    /// From nanoseconds since the UNIX epoch: ICRC-1's `created_at_time`, `ic_cdk::api::time()`.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From milliseconds since the UNIX epoch: JavaScript's `Date.now()`, the time in a UUIDv7.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// From seconds since the UNIX epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the UNIX epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    pub(crate) fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ns since the UNIX epoch", self.0)
    }
}

/// Nanoseconds of a duration, at most 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    const MOST_SECONDS: u64 = u64::MAX / 1_000_000_000;
    // Several times in each call: `as_nanos` is 128 bits wide, and dear.
    match duration.as_secs() {
        seconds if seconds < MOST_SECONDS => {
            seconds * 1_000_000_000 + u64::from(duration.subsec_nanos())
        }
        _ => u64::MAX,
    }
}
