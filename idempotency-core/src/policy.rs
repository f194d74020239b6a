//! How long requests are remembered, and how much room they may take.

use crate::time::{Timestamp, nanos};
use std::time::Duration;

/// What a [`Store`](crate::Store) promises and how much it may hold. Build it with [`Policy::new`] and the setters.
///
/// It may change with an upgrade: a longer window or a larger capacity counts at once, a shorter or smaller one takes
/// nothing back that a record was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(crate) window: Duration,
    pub(crate) drift: Duration,
    pub(crate) capacity: u64,
    pub(crate) capacity_bytes: u64,
    pub(crate) max_reply_bytes: u32,
    pub(crate) inline_evictions: u32,
    pub(crate) timer_instructions: u64,
}

impl Policy {
    /// 24 hours, 1 minute of drift, 1,000,000 requests in 1 GiB, replies up to 64 KiB.
    pub const fn new() -> Self {
        Self {
            window: Duration::from_secs(24 * 60 * 60),
            drift: Duration::from_secs(60),
            capacity: 1_000_000,
            capacity_bytes: 1 << 30,
            max_reply_bytes: 64 << 10,
            inline_evictions: 2,
            timer_instructions: 1_000_000_000,
        }
    }

    /// For how long a request is remembered: from its `created_at`, or from its execution if it has none.
    /// Choose more than the five minutes in which the IC itself drops repeated messages. Default: 24 hours.
    #[must_use]
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// How far a client's clock may be off: a `created_at` up to this far in the future is taken, and the record is kept
    /// this much longer (ICRC-1 `PERMITTED_DRIFT`). Default: 60 seconds.
    #[must_use]
    pub const fn drift(mut self, drift: Duration) -> Self {
        self.drift = drift;
        self
    }

    /// Most requests remembered at a time. When it is reached and none has expired, new requests are refused with
    /// [`Full`](crate::IdempotencyError::Full); retries are still answered. Default: 1,000,000.
    #[must_use]
    pub const fn capacity(mut self, entries: u64) -> Self {
        self.capacity = entries;
        self
    }

    /// Most bytes that records may take, replies and keys together, counted as in [`Stats`](crate::Stats).
    /// Room for the largest reply is reserved before a function runs. Default: 1 GiB.
    #[must_use]
    pub const fn capacity_bytes(mut self, bytes: u64) -> Self {
        self.capacity_bytes = bytes;
        self
    }

    /// Largest reply that is remembered, in bytes of candid. A sync function with a larger one traps and nothing has
    /// happened; an async one has had its effects, so it is remembered without its reply. Default: 64 KiB.
    #[must_use]
    pub const fn max_reply_bytes(mut self, bytes: u32) -> Self {
        self.max_reply_bytes = bytes;
        self
    }

    /// How many expired records a new request may evict before it runs: the bound on the work that others' requests
    /// can put on it. At least 2 let eviction keep up with inserts even without a timer. Default: 2.
    #[must_use]
    pub const fn inline_evictions(mut self, records: u32) -> Self {
        self.inline_evictions = records;
        self
    }

    /// Instructions that one run of the eviction timer may use before it hands over to a next run. Default: 1 billion,
    /// a fortieth of what a message may use.
    #[must_use]
    pub const fn timer_instructions(mut self, instructions: u64) -> Self {
        self.timer_instructions = instructions;
        self
    }

    /// The last instant at which a request is remembered, that instant included.
    pub(crate) fn expires_at(&self, created_at: Option<Timestamp>, now: Timestamp) -> Timestamp {
        match created_at {
            Some(created_at) => created_at.plus(self.window).plus(self.drift),
            None => now.plus(self.window),
        }
    }

    /// What is wrong with it, if anything.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.window.is_zero() {
            return Err("the window is zero: nothing would be remembered");
        }
        if nanos(self.window).checked_add(nanos(self.drift)).is_none() {
            return Err("window and drift together exceed 584 years");
        }
        if self.capacity == 0 {
            return Err("the capacity is zero: every request would be refused");
        }
        if self.inline_evictions == 0 {
            return Err("inline_evictions is zero: a full store could not make room by itself");
        }
        Ok(())
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}
