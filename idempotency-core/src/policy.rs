//! For how long a store remembers requests, and how much room they may take.

use crate::time::{Timestamp, nanos};
use std::time::Duration;

/// For how long a [`Store`](crate::Store) remembers requests, and how much it may hold. Build it with [`Policy::new`] and
/// the methods below.
///
/// An upgrade may change it. A larger capacity applies at once. A longer window applies to requests that are created after the upgrade,
/// a shorter one or a smaller capacity to new requests: the store keeps every record for as long as it promised when it made the record,
/// and refuses a `created_at` whose record may be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(crate) window: Duration,
    pub(crate) drift: Duration,
    pub(crate) capacity: u64,
    pub(crate) capacity_bytes: u64,
    pub(crate) max_reply_bytes: u32,
    pub(crate) max_journal_bytes: u32,
    pub(crate) retention: Duration,
    pub(crate) drops_replies: bool,
    pub(crate) max_counters: u64,
    pub(crate) counter_idle: Duration,
    pub(crate) evicts_idle_counters: bool,
    pub(crate) quota: Option<Quota>,
    pub(crate) is_preallocated: bool,
    pub(crate) certify: Option<Duration>,
    #[cfg(feature = "archive")]
    pub(crate) archive: Option<Keep>,
}

/// What one scope may take of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) entries: u64,
    pub(crate) reply_bytes: u64,
}

/// What an archive keeps of a request that it remembers for ever: always its id, the time of its execution, and something of its fingerprint.
#[cfg(feature = "archive")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// Nothing more: 23 bytes. A late retry gets [`ReplyDropped`](crate::IdempotencyError::ReplyDropped), with the time at which the request
    /// ran; once in 17 million times also one that is no retry, and should be told that its key was used for another request.
    Ids,
    /// The digest of the reply, too: 81 bytes in all. A late retry gets the same as with [`Keep::Ids`], and whoever has kept the reply can show
    /// that it was this one.
    Digests,
    /// The reply, too: 49 bytes, and the reply. A late retry gets the first reply.
    Replies,
}

impl Policy {
    /// The defaults: a window of 24 hours, a drift of 60 seconds, 1,000,000 requests in 1 GiB, replies of up to 64 KiB.
    pub const fn new() -> Self {
        Self {
            window: Duration::from_secs(24 * 60 * 60),
            drift: Duration::from_secs(60),
            capacity: 1_000_000,
            capacity_bytes: 1 << 30,
            max_reply_bytes: 64 << 10,
            max_journal_bytes: 64 << 10,
            retention: Duration::ZERO,
            drops_replies: false,
            max_counters: 1_000_000,
            counter_idle: Duration::from_secs(30 * 24 * 60 * 60),
            evicts_idle_counters: false,
            quota: None,
            is_preallocated: false,
            certify: None,
            #[cfg(feature = "archive")]
            archive: None,
        }
    }

    /// The time for which the store remembers a request, counted from its `created_at`, or from its execution if it has none.
    /// Choose more than 5 minutes: within that time the IC itself drops repeated messages. Default: 24 hours.
    #[must_use]
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// How far a client's clock may differ from the canister's (`PERMITTED_DRIFT` in ICRC-1). A request may have a
    /// `created_at` that is ahead by this much, and the store keeps a record with a `created_at` longer by this much.
    /// Default: 60 seconds.
    #[must_use]
    pub const fn drift(mut self, drift: Duration) -> Self {
        self.drift = drift;
        self
    }

    /// The greatest number of requests that the store remembers at a time. When it is reached and none of them has expired,
    /// new requests are refused with [`Full`](crate::IdempotencyError::Full); retries are still answered. A record that lies [in its
    /// lane](crate::sequence#a-record-that-lies-in-its-lane) does not count. Default: 1,000,000.
    #[must_use]
    pub const fn capacity(mut self, entries: u64) -> Self {
        self.capacity = entries;
        self
    }

    /// The greatest number of bytes that the records and replies may take, counted as in [`Stats::bytes`](crate::Stats::bytes).
    /// Before a function runs, room for a reply of [`max_reply_bytes`](Self::max_reply_bytes) must be free. Default: 1 GiB.
    #[must_use]
    pub const fn capacity_bytes(mut self, bytes: u64) -> Self {
        self.capacity_bytes = bytes;
        self
    }

    /// The length of the longest reply that the store remembers, in bytes of candid; at most 16 MiB. A sync method whose reply
    /// is longer traps, which undoes all it did. The effects of an async method stand: its first caller gets the reply, and a
    /// retry gets [`ReplyDropped`](crate::IdempotencyError::ReplyDropped). With `on_replay` the reply for retries is the one that is
    /// remembered, and measured. Default: 64 KiB.
    #[must_use]
    pub const fn max_reply_bytes(mut self, bytes: u32) -> Self {
        self.max_reply_bytes = bytes;
        self
    }

    /// The greatest number of bytes that the journal of one durable request may take: its argument, the results of its steps, and about
    /// 20 bytes and the name for each step, all rounded up to a multiple of 64. A request whose argument does not fit is refused; one
    /// whose steps do not fit is parked. So many bytes must be free for each durable request that has not ended, besides what it has
    /// recorded. At most 16 MiB. Default: 64 KiB.
    #[must_use]
    pub const fn max_journal_bytes(mut self, bytes: u32) -> Self {
        self.max_journal_bytes = bytes;
        self
    }

    /// The time for which the store keeps a record beyond its window while there is room, so that it can still answer a late
    /// retry of a request without `created_at`. This is no promise: a full store drops these records first, and the store
    /// keeps none for longer than about 60 windows. Default: zero.
    #[must_use]
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// When [`capacity_bytes`](Self::capacity_bytes) is reached, the store drops the replies of the oldest requests instead of
    /// refusing new requests. It still remembers those requests: a retry gets
    /// [`ReplyDropped`](crate::IdempotencyError::ReplyDropped). The store always keeps replies of up to 64 bytes.
    /// Default: it refuses new requests.
    #[must_use]
    pub const fn drop_replies(mut self) -> Self {
        self.drops_replies = true;
        self
    }

    /// The greatest number of counters that the store holds at a time: one for each lane of sequence numbers, and one for each
    /// scope with a [`quota`](Self::quota). When it is reached, requests that need another counter are refused with
    /// [`Full`](crate::IdempotencyError::Full) until one has been idle for [`counter_idle`](Self::counter_idle). At least 2.
    ///
    /// A counter takes memory beyond [`capacity_bytes`](Self::capacity_bytes): that of a lane about 80 bytes and 1 byte for
    /// each 8 numbers of its `max_in_flight`, that of a scope about 180 bytes. It takes as much again in each quarter of
    /// `counter_idle` in which it is used. The record of a strict lane's last number may lie [in the
    /// lane](crate::sequence#a-record-that-lies-in-its-lane): the lane takes about 90 bytes and its reply then, of up to 64 bytes, and
    /// 140 bytes more in a quarter in which a longer reply follows. Default: 1,000,000.
    #[must_use]
    pub const fn max_counters(mut self, counters: u64) -> Self {
        self.max_counters = counters;
        self
    }

    /// The shortest time for which the store keeps the counter of a lane after the lane's last request. It is never shorter
    /// than requests are remembered for. When a lane whose counter was forgotten comes back, it begins above every number that
    /// any forgotten lane has used. Default: 30 days.
    #[must_use]
    pub const fn counter_idle(mut self, idle: Duration) -> Self {
        self.counter_idle = idle;
        self
    }

    /// When [`max_counters`](Self::max_counters) is reached, the store forgets the counters that have been idle for longest to
    /// make room for new ones. It never forgets the counter of a lane that was used within the time for which requests are
    /// remembered, nor that of a scope while requests count against its quota. Default: it refuses requests that need another
    /// counter.
    #[must_use]
    pub const fn evict_idle_counters(mut self) -> Self {
        self.evicts_idle_counters = true;
        self
    }

    /// The greatest number of requests that the store remembers for one scope at a time, and of bytes that their replies take,
    /// each reply rounded up to a multiple of 64. More requests are refused with
    /// [`QuotaExceeded`](crate::IdempotencyError::QuotaExceeded), so that no caller can fill the store alone. With
    /// `scope = caller` a caller's requests to all endpoints of the store count together; with any other scope each endpoint
    /// counts by itself.
    ///
    /// - A request counts from its beginning until its record expires, and up to 1/6 of window and drift longer. After an
    ///   upgrade that shortens the window, that is up to 1/6 of the longer one, and after several such upgrades more.
    /// - While a request runs, it counts with a reply of [`max_reply_bytes`](Self::max_reply_bytes), at most until its record
    ///   expires. If it ends without a reply, or a trap or an upgrade interrupts it, it counts with no reply.
    /// - A request of a sync method whose `Err` is forgotten does not count. One of an async method counts with no reply until
    ///   it would have expired. A reply that the client has acknowledged with `first_incomplete` counts until then, too.
    /// - When an upgrade sets a quota, requests that the store holds already do not count: it does not know whose they are.
    ///
    /// With a quota each new request reads and writes one counter more. Default: none.
    #[must_use]
    pub const fn quota(mut self, entries: u64, reply_bytes: u64) -> Self {
        self.quota = Some(Quota {
            entries,
            reply_bytes,
        });
        self
    }

    /// The store takes all the memory that it can ever need when it is opened, and never grows later: enough for
    /// [`capacity`](Self::capacity), [`capacity_bytes`](Self::capacity_bytes) and [`max_counters`](Self::max_counters) (set
    /// that to 2 if you use neither lanes nor quotas). If the memory can't grow that far, the install or upgrade is undone.
    ///
    /// Without this, a store grows by 1 MiB or more at a time, and a `VirtualMemory` of a `MemoryManager` traps where the IC
    /// grants no more. A canister that has no stable memory left then traps with `grow failed` on each new request instead of
    /// answering [`Full`](crate::IdempotencyError::Full), and drops neither retained records nor replies to make room. Nothing
    /// is lost in either case: the trap undoes the new request, retries are answered, and running calls are completed.
    ///
    /// The price is storage that is not used yet. The IC charges about 11 billion cycles a day for each GiB, and the default
    /// policy takes more than 2 GiB. Default: the store grows with its requests.
    #[must_use]
    pub const fn preallocate(mut self) -> Self {
        self.is_preallocated = true;
        self
    }

    /// The store keeps a hash tree over its requests, so that a query can prove what became of one: see
    /// [`certified`](crate::certified). What changes goes into the tree after `every`, and together: with more that waits, less is
    /// hashed for each. With `Duration::ZERO` it is done in the next round of messages.
    ///
    /// The tree takes up to 176 bytes for each request beyond [`capacity_bytes`](Self::capacity_bytes), and a page for each partition.
    /// An upgrade may add this to a store that has requests, or take it away: the tree says nothing of requests whose records are from a
    /// time when there was none. Default: no tree.
    #[must_use]
    pub const fn certify(mut self, every: Duration) -> Self {
        self.certify = Some(every);
        self
    }

    /// The store forgets nothing that it has not handed to an archive canister: see [`archive`](crate::archive). A request is then
    /// executed once for ever, and a retry is answered however late it comes: with the first reply, if `keep` says so. The store needs
    /// [`archive::install`](crate::archive::install) in `init` and in `post_upgrade`; without it, it refuses new requests.
    ///
    /// What has expired counts against the [`capacity`](Self::capacity) until an archive has confirmed it. Default: what has expired is
    /// forgotten.
    #[cfg(feature = "archive")]
    #[must_use]
    pub const fn archive(mut self, keep: Keep) -> Self {
        self.archive = Some(keep);
        self
    }

    /// Whether what has expired is forgotten only when an archive has it.
    #[cfg(feature = "archive")]
    pub(crate) const fn has_archive(&self) -> bool {
        self.archive.is_some()
    }

    /// Whether what has expired is forgotten only when an archive has it.
    #[cfg(not(feature = "archive"))]
    pub(crate) const fn has_archive(&self) -> bool {
        false
    }

    /// The longest time, in ns, for which the store can remember a request from now on.
    pub(crate) fn reach(&self) -> u64 {
        nanos(self.window).saturating_add(2 * nanos(self.drift))
    }

    /// The time in ns for which a counter is kept after its last use: longer than any request that it counts.
    pub(crate) fn keep(&self) -> u64 {
        nanos(self.counter_idle).max(2 * self.reach())
    }

    /// Whether an attempt has run for longer than the window.
    pub(crate) fn is_overdue(&self, since: Timestamp, now: Timestamp) -> bool {
        since.plus(self.window) < now
    }

    /// The last instant at which the store remembers a request.
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
            .max(self.certify.unwrap_or_default())
            .max(self.counter_idle);
        if nanos(longest) > u64::MAX / 8 {
            return Err("window, drift, retention, counter_idle or certify exceeds 73 years");
        }
        if self.capacity == 0 {
            return Err("the capacity is zero: every request would be refused");
        }
        if self.max_journal_bytes > 16 << 20 {
            return Err("max_journal_bytes is more than 16 MiB");
        }
        if self.max_counters < 2 {
            return Err(
                "max_counters is less than 2: a request may need one counter for its lane and one for its quota",
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
