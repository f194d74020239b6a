//! What happened, in numbers.

use crate::seeds::{Counts, DELIVERIES};

/// What happened in a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) deliveries: u64,
    pub(crate) faults: u64,
    pub(crate) upgrades: u64,
    pub(crate) executions: u64,
    pub(crate) finished: u64,
    pub(crate) done: u64,
    pub(crate) in_progress: u64,
    pub(crate) unknown: u64,
    pub(crate) rejected: u64,
    pub(crate) misrouted: u64,
    pub(crate) mixed_up: u64,
    pub(crate) refused: u64,
    pub(crate) given_up: u64,
}

impl Outcome {
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (what, number) in [
            (DELIVERIES, self.deliveries),
            ("faults", self.faults),
            ("upgrades", self.upgrades),
            ("executions", self.executions),
            ("executions to the end", self.finished),
            ("done", self.done),
            ("in progress", self.in_progress),
            ("unknown", self.unknown),
            ("rejected", self.rejected),
            (
                "given the answer to another request of theirs",
                self.misrouted,
            ),
            ("given another callee's answer", self.mixed_up),
            ("refused at once", self.refused),
            ("given up", self.given_up),
        ] {
            counts.add(what, number);
        }
        counts
    }
}
