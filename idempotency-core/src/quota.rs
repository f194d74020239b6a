//! What one scope takes of a store: counted exactly when it is added, and let go a little late.
//!
//! Requests are forgotten many at a time, and none is looked at then. So what they take is counted by the time at which they
//! expire, in eight buckets of a sixth of the reach each: a bucket that is over counts no more. A scope is charged for no
//! less than what the store holds of it.

use crate::{
    error::IdempotencyError,
    policy::{Policy, Quota},
    time::Timestamp,
};

const BUCKETS: usize = 8;
const BUCKETS_IN_REACH: u64 = 6;
const BUCKET_BYTES: usize = 16;

/// Reply bytes are counted in units of this, rounded up.
const UNIT_BYTES: u64 = 64;

/// What a scope takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    now: u64,
    buckets: Vec<Bucket>,
    /// For each attempt that is running, the end of the bucket in which it was counted. When that is over it counts by itself.
    running: Vec<u64>,
    /// Units of the largest reply, with which what is running counts.
    largest: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    /// It counts up to and including this time, ns.
    end: u64,
    entries: u32,
    units: u32,
}

impl Usage {
    /// From a tally, without what has expired.
    pub(crate) fn from_tally(tally: &[u8], now: Timestamp) -> Self {
        let number = |bytes: &[u8]| {
            let digits = bytes.iter().rev();
            digits.fold(0, |all, byte| all << 8 | u64::from(*byte))
        };
        let buckets = tally.chunks_exact(BUCKET_BYTES).map(|bytes| Bucket {
            end: number(&bytes[..8]),
            entries: number(&bytes[8..12]) as u32,
            units: number(&bytes[12..]) as u32,
        });
        Self {
            now: now.as_nanos(),
            buckets: buckets
                .filter(|bucket| bucket.end >= now.as_nanos())
                .collect(),
            ..Self::default()
        }
    }

    /// With what is running of the scope: the ends that [`add`](Self::add) gave.
    pub(crate) fn with_running(mut self, ends: Vec<u64>, policy: &Policy) -> Self {
        (self.running, self.largest) = (ends, units(policy.max_reply_bytes.into()));
        self
    }

    /// Always of the same length, so that it can be overwritten where it lies.
    pub(crate) fn to_tally(&self) -> Vec<u8> {
        let mut tally = Vec::with_capacity(BUCKETS * BUCKET_BYTES);
        for bucket in &self.buckets {
            tally.extend_from_slice(&bucket.end.to_le_bytes());
            tally.extend_from_slice(&bucket.entries.to_le_bytes());
            tally.extend_from_slice(&bucket.units.to_le_bytes());
        }
        tally.resize(BUCKETS * BUCKET_BYTES, 0);
        tally
    }

    /// The requests and the bytes of replies that it is charged for at a time, if nothing happens until then.
    pub(crate) fn taken(&self, at: u64) -> (u64, u64) {
        let buckets = self.buckets.iter().filter(|bucket| bucket.end >= at);
        let (mut entries, mut units) = (0, 0);
        for bucket in buckets {
            entries += u64::from(bucket.entries);
            units += u64::from(bucket.units);
        }
        let overdue = self.running.iter().filter(|end| **end < at).count() as u64;
        (
            entries + overdue,
            (units + overdue * u64::from(self.largest)) * UNIT_BYTES,
        )
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
        let ends = self.buckets.iter().map(|bucket| bucket.end);
        let mut later: Vec<u64> = ends.map(|end| end.saturating_add(1)).collect();
        later.sort_unstable();
        // When nothing but what is running is in the way, nobody knows until when.
        let soon = Timestamp::from_nanos(self.now.saturating_add(1));
        let retry_after = (later.into_iter().find(has_room)).map_or(soon, Timestamp::from_nanos);
        Err(IdempotencyError::QuotaExceeded { retry_after })
    }

    /// Counts a request that is remembered until `until`; until when, ns.
    pub(crate) fn add(&mut self, until: Timestamp, reply_bytes: u64, policy: &Policy) -> u64 {
        let bucket = self.bucket(until, policy);
        bucket.entries = bucket.entries.saturating_add(1);
        bucket.units = bucket.units.saturating_add(units(reply_bytes));
        bucket.end
    }

    /// The reply of a request that was counted with the largest takes this much.
    pub(crate) fn shrink(&mut self, until: Timestamp, reply_bytes: u64, policy: &Policy) {
        let bucket = self.bucket(until, policy);
        let largest = units(policy.max_reply_bytes.into());
        bucket.units = bucket
            .units
            .saturating_sub(largest - units(reply_bytes).min(largest));
    }

    fn bucket(&mut self, until: Timestamp, policy: &Policy) -> &mut Bucket {
        let length = (policy.reach() / BUCKETS_IN_REACH).max(1);
        let end = until.as_nanos().div_ceil(length).saturating_mul(length);
        let found = self.buckets.iter().position(|bucket| bucket.end == end);
        let index = found.unwrap_or_else(|| {
            let bucket = Bucket {
                end,
                entries: 0,
                units: 0,
            };
            if self.buckets.len() < BUCKETS {
                self.buckets.push(bucket);
                return self.buckets.len() - 1;
            }
            // More ends than buckets, after the window was changed: the latest takes it, and counts for as long as it must.
            let ends = self.buckets.iter().map(|bucket| bucket.end).enumerate();
            let latest = ends
                .max_by_key(|(_, end)| *end)
                .map_or(0, |(index, _)| index);
            self.buckets[latest].end = self.buckets[latest].end.max(end);
            latest
        });
        &mut self.buckets[index]
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}
