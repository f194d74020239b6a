//! How much of the store one scope takes. A request counts from the moment it begins, and a little longer than it is remembered.
//!
//! The store forgets many requests at a time without looking at them. So the counter of a scope adds up what its requests take by
//! the time at which they expire, in eight shares of 1/6 of the reach each. A share whose end is past no longer counts. A scope
//! is charged for at least what the store holds of the requests that were admitted under a quota:
//!
//! | request | counts as |
//! |---|---|
//! | running | one request, and room for the largest reply for as long as it is remembered |
//! | ended with a reply | one request and its reply, also where its record lies in its lane: what the next number takes its place from counts until then, too |
//! | ended without one, interrupted, or cut off by an upgrade | one request |
//! | released because it did nothing | one request: its record takes memory until its partition is forgotten, so a caller could fill the memory with such records |
//!
//! The counter never subtracts. It adds a request when the request begins, and its reply when it ends. Only the heap knows what is
//! reserved for a running request, so nothing of that is left after an upgrade.
//!
//! A request that runs on after its record has expired does not count. When it ends, the store remembers it for another window, and
//! it counts again, if its scope is within its quota then.
//!
//! A record that leaves its lane, as an upgrade made that a pipelined one, is not counted once more: it may be held for a little longer than it
//! counts. A scope is charged for more than the store holds in two cases. A request that counts again because it ran on may count twice
//! for up to 1/6 of the reach. And after an upgrade that changed the window there may be more ends than shares: then the two
//! closest shares become one, which counts until the later end.

use crate::{
    error::IdempotencyError,
    policy::{Policy, Quota},
    time::Timestamp,
};

const SHARES: usize = 8;
const SHARES_IN_REACH: u64 = 6;
const SHARE_BYTES: usize = 16;

/// Reply bytes are counted in units of this, rounded up.
const REPLY_UNIT_BYTES: u64 = 64;

/// What a scope takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    now: u64,
    /// By their ends.
    shares: Vec<Share>,
    /// Attempts that are running: room is kept for their replies.
    running: u64,
    /// Units of the largest reply, with which what is running counts.
    largest: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    /// It counts up to and including this time, ns.
    end: u64,
    entries: u32,
    units: u32,
}

impl Usage {
    /// Nothing.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            now: now.as_nanos(),
            shares: vec![],
            running: 0,
            largest: 0,
        }
    }

    /// From the body of a counter, without what has expired.
    pub(crate) fn from_bytes(bytes: &[u8], now: Timestamp) -> Self {
        let number = |bytes: &[u8]| {
            let digits = bytes.iter().rev();
            digits.fold(0, |all, byte| all << 8 | u64::from(*byte))
        };
        let shares = bytes.chunks_exact(SHARE_BYTES).map(|bytes| Share {
            end: number(&bytes[..8]),
            entries: number(&bytes[8..12]) as u32,
            units: number(&bytes[12..]) as u32,
        });
        let shares = shares.filter(|share| share.end >= now.as_nanos());
        Self {
            shares: shares.collect(),
            ..Self::new(now)
        }
    }

    /// With so many attempts of the scope that are running.
    pub(crate) fn with_running(mut self, running: u64, policy: &Policy) -> Self {
        (self.running, self.largest) = (running, units(policy.max_reply_bytes.into()));
        self
    }

    /// As many as it always takes, so that it can be overwritten where it lies.
    pub(crate) const BYTES: usize = SHARES * SHARE_BYTES;

    /// Writes it to [`BYTES`](Self::BYTES), or more.
    pub(crate) fn write(&self, bytes: &mut [u8]) {
        bytes.fill(0);
        for (place, share) in bytes.chunks_exact_mut(SHARE_BYTES).zip(&self.shares) {
            place[..8].copy_from_slice(&share.end.to_le_bytes());
            place[8..12].copy_from_slice(&share.entries.to_le_bytes());
            place[12..].copy_from_slice(&share.units.to_le_bytes());
        }
    }

    /// The requests and the bytes of replies that it is charged for at a time, if nothing happens until then.
    pub(crate) fn taken(&self, at: u64) -> (u64, u64) {
        let shares = self.shares.iter().filter(|share| share.end >= at);
        let (mut entries, mut units) = (0, 0);
        for share in shares {
            entries += u64::from(share.entries);
            units += u64::from(share.units);
        }
        let reserved = self.running * u64::from(self.largest);
        (entries, (units + reserved) * REPLY_UNIT_BYTES)
    }

    /// The last time at which any of it counts that is not running.
    pub(crate) fn counts_until(&self) -> u64 {
        self.shares.last().map_or(0, |share| share.end)
    }

    /// Whether one more request with the largest reply is within the quota.
    pub(crate) fn admit(&self, quota: &Quota, policy: &Policy) -> Result<(), IdempotencyError> {
        let has_room = |at: &u64| {
            let (entries, bytes) = self.taken(*at);
            let bytes = bytes + u64::from(policy.max_reply_bytes);
            entries < quota.entries && bytes <= quota.reply_bytes
        };
        if has_room(&self.now) {
            return Ok(());
        }
        let mut later = (self.shares.iter()).map(|share| share.end.saturating_add(1));
        // When room for replies to come is in the way, nobody knows until when.
        let soon = Timestamp::from_nanos(self.now.saturating_add(1));
        let retry_after = later.find(has_room).map_or(soon, Timestamp::from_nanos);
        Err(IdempotencyError::QuotaExceeded { retry_after })
    }

    /// Counts a request that is remembered until `until`, with its reply if it has one; until when it counts, ns.
    pub(crate) fn add(&mut self, until: Timestamp, reply_bytes: u64, policy: &Policy) -> u64 {
        self.count(until, 1, reply_bytes, policy)
    }

    /// Counts the reply of a request that was [`add`](Self::add)ed, until `counted_until`, and has ended. If it is remembered
    /// for longer than it counts, as it ran on and its record was moved, it is counted anew.
    pub(crate) fn end(
        &mut self,
        counted_until: u64,
        until: Timestamp,
        reply_bytes: u64,
        policy: &Policy,
    ) {
        let entries = u32::from(counted_until < until.as_nanos());
        self.count(until, entries, reply_bytes, policy);
    }

    fn count(&mut self, until: Timestamp, entries: u32, reply_bytes: u64, policy: &Policy) -> u64 {
        let length = (policy.reach() / SHARES_IN_REACH).max(1);
        let end = until.as_nanos().div_ceil(length).saturating_mul(length);
        let place = self.shares.partition_point(|share| share.end < end);
        if self.shares.get(place).is_none_or(|found| found.end != end) {
            let share = Share {
                end,
                entries: 0,
                units: 0,
            };
            self.shares.insert(place, share);
        }
        self.shares[place].add(entries, units(reply_bytes));
        if self.shares.len() > SHARES {
            self.join_closest();
        }
        let place = self.shares.partition_point(|share| share.end < end);
        self.shares.get(place).map_or(end, |share| share.end)
    }

    /// Makes one of the two shares that are closest.
    fn join_closest(&mut self) {
        let pairs = self.shares.windows(2).enumerate();
        let gaps = pairs.map(|(place, pair)| (pair[1].end.saturating_sub(pair[0].end), place));
        if let Some((_, place)) = gaps.min() {
            let Share { entries, units, .. } = self.shares.remove(place);
            self.shares[place].add(entries, units);
        }
    }
}

impl Share {
    fn add(&mut self, entries: u32, units: u32) {
        self.entries = self.entries.saturating_add(entries);
        self.units = self.units.saturating_add(units);
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(REPLY_UNIT_BYTES)).unwrap_or(u32::MAX)
}
