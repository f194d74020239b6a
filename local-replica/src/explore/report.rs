//! What came of a search.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use super::schedule::{FaultKind, Schedule};

/// How much was searched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ways that were followed until nothing was left to do, or until they reached a state that was known. Those that differ
    /// in the order of steps that commute count once.
    pub schedules: u64,
    /// Steps taken.
    pub steps: u64,
    /// Messages, calls, answers and timers delivered in them.
    pub deliveries: u64,
    /// Different states reached; the invariants were checked in each.
    pub states: u64,
    /// States in which nothing was left to do; the final invariants were checked in each.
    pub finals: u64,
    /// Steps that led to a known state.
    pub known: u64,
    /// Steps not taken because another order of the same ones was.
    pub commuted: u64,
    /// States that were not gone on from, because of [`super::Bounds`].
    pub cut: u64,
    /// Steps of the longest way to a state.
    pub longest: u32,
    /// Faults injected, by kind.
    pub faults: BTreeMap<FaultKind, u64>,
}

/// What a search has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explored {
    /// How much it searched.
    pub counts: Counts,
    /// The first violation found: no other has fewer faults, and none with as many faults has fewer steps.
    pub violation: Option<Violation>,
}

impl Explored {
    /// Whether everything within the bound on faults was searched, and no invariant violated.
    pub fn holds(&self) -> bool {
        self.violation.is_none() && self.counts.cut == 0
    }
}

/// An invariant that doesn't hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name.
    pub invariant: String,
    /// What it says is wrong.
    pub reason: String,
    /// How to get there from the start.
    pub schedule: Schedule,
    /// The steps in words.
    pub story: Vec<String>,
}

impl Display for Violation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.invariant, self.reason)?;
        let (steps, faults) = (self.schedule.0.len(), self.schedule.faults());
        writeln!(f, "after {steps} steps, {faults} of them faults:")?;
        for (number, line) in self.story.iter().enumerate() {
            writeln!(f, "{:>3}. {line}", number + 1)?;
        }
        Ok(())
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            schedules,
            steps,
            deliveries,
            states,
            finals,
            known,
            commuted,
            cut,
            longest,
            faults,
        } = self;
        writeln!(
            f,
            "{schedules} schedules of up to {longest} steps; {steps} steps, {deliveries} of them deliveries"
        )?;
        writeln!(
            f,
            "{states} states, {finals} of them final; pruned: {known} steps into known states, {commuted} other orders; cut off: {cut}"
        )?;
        let faults: Vec<String> = faults
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        writeln!(f, "faults: {}", faults.join(", "))
    }
}

impl Display for Explored {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.counts)?;
        match &self.violation {
            Some(violation) => write!(f, "{violation}"),
            None => Ok(()),
        }
    }
}
