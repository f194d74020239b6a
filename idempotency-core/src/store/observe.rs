//! A store says what it holds, and notes what happens.

use super::{Stats, Store};
#[cfg(feature = "http")]
use super::{contents::Contents, samples::Sample};
use crate::{error::IdempotencyError, time::Timestamp};
use ic_stable_structures::Memory;

impl<M: Memory> Store<M> {
    /// How full the store is, and what has happened since the last upgrade. Reads no record, and looks at each partition: there are at
    /// most 512.
    pub fn stats(&self) -> Stats {
        let inner = self.inner.borrow();
        let oldest = (inner.requests.iter()).map(|partition| partition.oldest);
        Stats {
            entries: inner.requests.rows,
            capacity: self.policy.capacity,
            bytes: inner.bytes(inner.reserved(&self.policy)),
            capacity_bytes: self.policy.capacity_bytes,
            // A partition without rows has the latest time of all.
            oldest: (oldest.min())
                .filter(|oldest| *oldest != u64::MAX)
                .map(Timestamp::from_nanos),
            oldest_expiry: inner.first_expiry(),
            counters: inner.counters.rows,
            in_progress: inner.open.in_progress() + inner.overdue.len() as u64,
            unknown: inner.open.unknown,
            incarnation: inner.header().incarnation,
            events: self.counts.events(inner.forgotten),
        }
    }

    /// A call is answered with the reply of an earlier one.
    #[inline]
    pub(crate) fn count_replay(&self) {
        self.counts.replay();
    }

    /// A call is answered with an error.
    pub(crate) fn count_refusal(&self, error: &IdempotencyError) {
        self.counts.refusal(error);
    }

    /// Something has changed: a sample is taken if the last one is old enough. The first change after that is sampled, whatever follows.
    #[cfg(feature = "http")]
    #[inline]
    pub(super) fn sample(&self, inner: &Contents<M>, now: Timestamp) {
        if self.samples.is_due(now) {
            self.samples.push(Sample {
                at: now,
                entries: inner.requests.rows,
                bytes: inner.bytes(inner.reserved(&self.policy)),
            });
        }
    }

    /// The last samples, the oldest one first. An upgrade forgets them.
    #[cfg(feature = "http")]
    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.samples.all()
    }
}
