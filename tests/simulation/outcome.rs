//! What happened, in numbers.

use std::fmt::{self, Display, Formatter};

/// What happened in a run, or in several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    pub(crate) fn add(&mut self, other: &Self) {
        self.deliveries += other.deliveries;
        self.faults += other.faults;
        self.upgrades += other.upgrades;
        self.executions += other.executions;
        self.finished += other.finished;
        self.done += other.done;
        self.in_progress += other.in_progress;
        self.unknown += other.unknown;
        self.rejected += other.rejected;
        self.misrouted += other.misrouted;
        self.mixed_up += other.mixed_up;
        self.refused += other.refused;
        self.given_up += other.given_up;
    }

    /// A run in which nothing happens proves nothing.
    pub(crate) fn assert_varied(&self) {
        for number in [
            self.faults,
            self.upgrades,
            self.executions,
            self.finished,
            self.in_progress,
            self.unknown,
            self.rejected,
            self.refused,
            self.given_up,
        ] {
            assert!(number > 500, "{self}");
        }
        assert!(self.done > self.finished, "{self}");
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} deliveries, {} faults, {} of them upgrades; {} executions, {} to the end; answers: {} done, {} in \
             progress, {} unknown, {} rejected, {} refused at once, {} given up; upgrades gave {} clients the answer to another \
             request of theirs, and {} executions another callee's",
            self.deliveries,
            self.faults,
            self.upgrades,
            self.executions,
            self.finished,
            self.done,
            self.in_progress,
            self.unknown,
            self.rejected,
            self.refused,
            self.given_up,
            self.misrouted,
            self.mixed_up
        )
    }
}
