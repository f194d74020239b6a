//! How full a store was: a sample now and then, on the heap, for the status page.

use crate::{
    policy::Policy,
    time::{Timestamp, nanos},
};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
};

/// So many samples are kept.
pub(crate) const MOST_SAMPLES: usize = 96;

/// So many samples are taken in a window, at the most.
const SAMPLES_IN_A_WINDOW: u64 = 48;

/// One is not taken sooner after another, ns.
const SHORTEST_INTERVAL: u64 = 1_000_000_000;

/// How full a store was at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) at: Timestamp,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// The last samples. They follow from the messages alone, so every replica has the same.
pub(super) struct Samples {
    /// No sample is taken before, ns.
    next: Cell<u64>,
    interval: u64,
    all: RefCell<VecDeque<Sample>>,
}

impl Samples {
    pub(super) fn new(policy: &Policy) -> Self {
        let interval = nanos(policy.window) / SAMPLES_IN_A_WINDOW;
        Self {
            next: Cell::default(),
            interval: interval.max(SHORTEST_INTERVAL),
            all: RefCell::default(),
        }
    }

    /// Whether the last one is old enough.
    #[inline]
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        now.as_nanos() >= self.next.get()
    }

    #[cold]
    pub(super) fn push(&self, sample: Sample) {
        let next = sample.at.as_nanos().saturating_add(self.interval);
        self.next.set(next);
        let mut all = self.all.borrow_mut();
        if all.len() == MOST_SAMPLES {
            all.pop_front();
        }
        all.push_back(sample);
    }

    /// The oldest one first.
    pub(super) fn all(&self) -> Vec<Sample> {
        self.all.borrow().iter().copied().collect()
    }
}
