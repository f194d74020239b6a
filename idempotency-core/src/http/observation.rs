//! What is shown of a store.

use crate::{
    store::{Damaged, Sample, Stats, Store, UnknownRequest},
    time::nanos,
};
use ic_stable_structures::Memory;
use std::thread::LocalKey;

/// So many requests of which the outcome is unknown are listed.
pub(super) const MOST_LISTED: usize = 20;

/// What a store says of itself at one time.
#[derive(Clone, Debug)]
pub struct Observation {
    pub(super) stats: Stats,
    /// Of the policy, ns.
    pub(super) window: u64,
    pub(super) drift: u64,
    /// The first ones of which the outcome is unknown.
    pub(super) unresolved: Result<Vec<UnknownRequest>, Damaged>,
    pub(super) samples: Vec<Sample>,
}

impl Observation {
    /// Asks a store. Costs some 3,000 instructions for each request whose outcome is unknown, 9,000 for one that was parked, and more for a
    /// long journal; it lists at most 20.
    pub fn of<M: Memory>(store: &Store<M>) -> Self {
        let policy = store.policy();
        Self {
            stats: store.stats(),
            window: nanos(policy.window),
            drift: nanos(policy.drift),
            unresolved: store.unknown(0, MOST_LISTED),
            samples: store.samples(),
        }
    }

    /// Whether the store was found to be damaged: today, or when it refused a call for that.
    pub(super) fn is_damaged(&self) -> bool {
        let refused = self.stats.events.refused.get("StoreDamaged");
        self.unresolved.is_err() || refused.is_some_and(|count| *count > 0)
    }
}

/// A store that can be shown: `&TRANSFERS`, of a thread-local `TRANSFERS`.
pub trait Observed {
    /// [`Observation::of`]
    fn observe(&'static self) -> Observation;
}

impl<M: Memory> Observed for LocalKey<Store<M>> {
    fn observe(&'static self) -> Observation {
        self.with(Observation::of)
    }
}
