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
    pub(crate) retention: Duration,
    pub(crate) drops_replies: bool,
    pub(crate) max_counters: u64,
    pub(crate) counter_idle: Duration,
    pub(crate) evicts_idle_counters: bool,
    pub(crate) quota: Option<Quota>,
    pub(crate) is_preallocated: bool,
}

/// What one scope may take of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) entries: u64,
    pub(crate) reply_bytes: u64,
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
            retention: Duration::ZERO,
            drops_replies: false,
            max_counters: 1_000_000,
            counter_idle: Duration::from_secs(30 * 24 * 60 * 60),
            evicts_idle_counters: false,
            quota: None,
            is_preallocated: false,
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

    /// Largest reply that is remembered, in bytes of candid, at most 16 MiB. A sync function with a larger one traps and nothing has
    /// happened; an async one has had its effects, so it is remembered without its reply. Default: 64 KiB.
    #[must_use]
    pub const fn max_reply_bytes(mut self, bytes: u32) -> Self {
        self.max_reply_bytes = bytes;
        self
    }

    /// For how much longer records are kept past their window while there is room: a late retry is then answered, and a
    /// request without `created_at` does not run again. Not a promise: a full store gives them up, and none is kept for longer than
    /// some sixty windows. Default: none.
    #[must_use]
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// When `capacity_bytes` is reached, gives up the replies of the oldest requests instead of refusing new ones. The
    /// requests stay remembered: a retry is told [`ReplyDropped`](crate::IdempotencyError::ReplyDropped). Replies of up
    /// to 64 bytes are kept in any case. Default: refuses.
    #[must_use]
    pub const fn drop_replies(mut self) -> Self {
        self.drops_replies = true;
        self
    }

    /// Most lanes of sequence numbers, and scopes with a quota, that are known at a time. Besides `capacity_bytes`, a lane takes
    /// some 80 bytes (and an eighth of its window) and a scope some 180, and as much again for each quarter of
    /// [`counter_idle`](Self::counter_idle) in which it is used. When it is reached, requests of others are refused with [`Full`](crate::IdempotencyError::Full)
    /// until one has been idle for [`counter_idle`](Self::counter_idle). Default: 1,000,000.
    #[must_use]
    pub const fn max_counters(mut self, counters: u64) -> Self {
        self.max_counters = counters;
        self
    }

    /// For how long a lane is known after its last request, at least; never less than requests are remembered for, which goes
    /// for scopes with a quota as well. A lane that
    /// is not known begins above every number that a forgotten one has used. Default: 30 days.
    #[must_use]
    pub const fn counter_idle(mut self, idle: Duration) -> Self {
        self.counter_idle = idle;
        self
    }

    /// When as many lanes and scopes are known as may be, gives up the idlest before their time to make room for new ones:
    /// never a lane that was used within the time that requests are remembered for, or a scope of which something counts against
    /// its quota. Default: refuses new ones.
    #[must_use]
    pub const fn evict_idle_counters(mut self) -> Self {
        self.evicts_idle_counters = true;
        self
    }

    /// Most requests of one scope that are remembered at a time, and most bytes of their replies, each rounded up to 64. More
    /// are refused with [`QuotaExceeded`](crate::IdempotencyError::QuotaExceeded), so no caller can fill the store alone. A
    /// caller's requests count together over all endpoints of the store, those of another scope at each endpoint.
    ///
    /// - A request counts for up to a sixth of window and drift longer than its record is certain to be held. After an upgrade
    ///   that changed the window it may be a sixth of the longer one, and more after several.
    /// - While it runs it counts with the largest reply, until its record expires. One that ended without a reply, was
    ///   interrupted or cut off by an upgrade counts with none.
    /// - An `Err` that a sync method forgets does not count. One that an async method forgets counts as a request without a
    ///   reply; what a lane's client has acknowledged counts with its reply. Both take room until they expire.
    /// - A quota that an upgrade sets counts requests from then on. Whose requests are held already is not known, so a scope may
    ///   hold its quota beside those, until they expire.
    ///
    /// Each new request reads and writes what its scope takes. Default: none.
    #[must_use]
    pub const fn quota(mut self, entries: u64, reply_bytes: u64) -> Self {
        self.quota = Some(Quota {
            entries,
            reply_bytes,
        });
        self
    }

    /// Takes all memory when the store is opened that it can ever need for `capacity`, `capacity_bytes` and [`max_counters`](Self::max_counters)
    /// (set that to 2 where there are neither lanes nor quotas), and never grows it later. If the memory can't grow that far,
    /// install or upgrade is undone.
    ///
    /// Without it a store grows by a megabyte or more at a time. A `VirtualMemory` of a `MemoryManager` traps where the IC
    /// grants no more, so in a canister that runs out of stable memory each new request traps: nothing has happened then, and
    /// retries are answered and what is running is completed as ever, but clients are told `grow failed` rather than
    /// [`Full`](crate::IdempotencyError::Full), nothing that is only retained is given up, and
    /// [`drop_replies`](Self::drop_replies) counts for `capacity_bytes` alone.
    ///
    /// The price is storage that is not used yet: the IC charges some 11 billion cycles a day for each GiB, and the default
    /// policy takes over 2 GiB. Default: grows as requests come.
    #[must_use]
    pub const fn preallocate(mut self) -> Self {
        self.is_preallocated = true;
        self
    }

    /// The longest time, in ns, for which a request can be remembered from now on.
    pub(crate) fn reach(&self) -> u64 {
        nanos(self.window).saturating_add(2 * nanos(self.drift))
    }

    /// The time in ns for which a tally is kept after its last use: longer than any request that it counts.
    pub(crate) fn keep(&self) -> u64 {
        nanos(self.counter_idle).max(2 * self.reach())
    }

    /// Whether an attempt has run for longer than requests are remembered for.
    pub(crate) fn is_overdue(&self, since: Timestamp, now: Timestamp) -> bool {
        since.plus(self.window) < now
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
        let longest = (self.window.max(self.drift))
            .max(self.retention)
            .max(self.counter_idle);
        if nanos(longest) > u64::MAX / 8 {
            return Err("window, drift, retention or counter_idle exceeds 73 years");
        }
        if self.capacity == 0 {
            return Err("the capacity is zero: every request would be refused");
        }
        if self.max_counters < 2 {
            return Err(
                "max_counters is under 2: a request may need one for its lane and one for its quota",
            );
        }
        if (self.quota).is_some_and(|quota| {
            quota.entries == 0 || quota.reply_bytes < u64::from(self.max_reply_bytes)
        }) {
            return Err(
                "the quota has no room for one reply of max_reply_bytes: every request would be refused",
            );
        }
        Ok(())
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}
