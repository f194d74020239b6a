//! Steps: what is delivered next, and what goes wrong with it.

use std::fmt::{self, Display, Formatter};

use crate::faults::Hook;
use candid::Principal;
use serde::{Deserialize, Serialize};

/// A kind of fault. Each one that a schedule has counts against [`super::System::faults`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A message traps: a call, an ingress message, or the callback of an answer, whose cleanup then runs.
    Trap,
    /// The global timer traps. It is not set again: with `ic-cdk-timers`, whose own code this is, no timer of the canister fires until
    /// something sets one.
    TimerTrap,
    /// A callback traps, and so does its cleanup.
    CleanupTrap,
    /// A canister's call is not executed, and the caller is told so: `SYS_TRANSIENT`.
    Refuse,
    /// A best-effort call is not executed, and the caller is told `SYS_UNKNOWN`; a user's message is not executed, and the
    /// user never learns of it.
    LoseRequest,
    /// The caller of a best-effort call is told `SYS_UNKNOWN` while the callee has executed, executes, or will; a user's
    /// message is executed, and the user doesn't get the answer.
    LoseAnswer,
    /// A canister is upgraded: to its own module, or one given by [`super::System::upgrade_to`].
    Upgrade,
    /// An upgrade is tried, and a hook of it traps: everything stays as it was.
    UpgradeTrap,
    /// A canister is stopped; starting it again is a step by itself and no fault.
    Stop,
    /// A canister loses code and memory.
    Uninstall,
    /// A canister has no more cycles than keep it alive; getting them back is a step by itself and no fault.
    OutOfCycles,
    /// A time given by [`super::System::clock_jump`] passes between two messages.
    Clock,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [FaultKind; 12] = [
        FaultKind::Trap,
        FaultKind::TimerTrap,
        FaultKind::CleanupTrap,
        FaultKind::Refuse,
        FaultKind::LoseRequest,
        FaultKind::LoseAnswer,
        FaultKind::Upgrade,
        FaultKind::UpgradeTrap,
        FaultKind::Stop,
        FaultKind::Uninstall,
        FaultKind::OutOfCycles,
        FaultKind::Clock,
    ];
}

impl Display for FaultKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FaultKind::Trap => "trap",
            FaultKind::TimerTrap => "timer that traps",
            FaultKind::CleanupTrap => "trap with its cleanup",
            FaultKind::Refuse => "refused",
            FaultKind::LoseRequest => "request lost",
            FaultKind::LoseAnswer => "answer lost",
            FaultKind::Upgrade => "upgrade",
            FaultKind::UpgradeTrap => "upgrade that traps",
            FaultKind::Stop => "stop",
            FaultKind::Uninstall => "uninstalled",
            FaultKind::OutOfCycles => "out of cycles",
            FaultKind::Clock => "clock jump",
        })
    }
}

/// One step of a schedule. Calls and answers are named by what doesn't depend on what other canisters do in between.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// A user's message is delivered.
    Message {
        /// Its number, in the order of [`super::System::message`] from 0.
        message: usize,
        /// What goes wrong: [`FaultKind::Trap`], [`FaultKind::LoseRequest`] or [`FaultKind::LoseAnswer`].
        fault: Option<FaultKind>,
    },
    /// A canister's call is delivered.
    Request {
        /// The caller.
        from: Principal,
        /// The callee.
        to: Principal,
        /// Its place among the calls on their way between the two, from 0. Another one than the first can't be delivered,
        /// but be refused or lost.
        place: usize,
        /// What goes wrong: [`FaultKind::Trap`], [`FaultKind::Refuse`] or [`FaultKind::LoseRequest`].
        fault: Option<FaultKind>,
    },
    /// The answer to a canister's call is delivered.
    Response {
        /// The canister that called.
        to: Principal,
        /// Which one of the calls that it waits for, from 0, the earliest first.
        call: usize,
        /// What goes wrong: [`FaultKind::Trap`] or [`FaultKind::CleanupTrap`].
        fault: Option<FaultKind>,
    },
    /// A global timer that is due fires.
    Timer {
        /// Whose.
        canister: Principal,
        /// What goes wrong: [`FaultKind::TimerTrap`].
        fault: Option<FaultKind>,
    },
    /// Nothing else is left to do: time passes until the next timer is due or the next bounded wait ends.
    Time,
    /// A stopped canister is started again.
    Start {
        /// Which.
        canister: Principal,
    },
    /// A canister without cycles gets them back.
    Refill {
        /// Which.
        canister: Principal,
    },
    /// [`FaultKind::LoseAnswer`] of a best-effort call: the `SYS_UNKNOWN` is on its way, and whatever the callee answers is
    /// dropped.
    LoseAnswer {
        /// The canister that called.
        caller: Principal,
        /// Which one of the calls that it waits for, from 0, the earliest first.
        call: usize,
    },
    /// [`FaultKind::Upgrade`]
    Upgrade {
        /// Which canister.
        canister: Principal,
        /// 0 for its own module, then those given by [`super::System::upgrade_to`] for it, in order.
        module: usize,
        /// [`FaultKind::UpgradeTrap`] in this one.
        trap: Option<Hook>,
    },
    /// [`FaultKind::Stop`]
    Stop {
        /// Which canister.
        canister: Principal,
    },
    /// [`FaultKind::Uninstall`]
    Uninstall {
        /// Which canister.
        canister: Principal,
    },
    /// [`FaultKind::OutOfCycles`]
    OutOfCycles {
        /// Which canister.
        canister: Principal,
    },
    /// [`FaultKind::Clock`]
    Clock {
        /// Nanoseconds.
        ns: u64,
    },
}

impl Step {
    /// What goes wrong in this step.
    pub fn fault(&self) -> Option<FaultKind> {
        match self {
            Step::Message { fault, .. }
            | Step::Request { fault, .. }
            | Step::Response { fault, .. }
            | Step::Timer { fault, .. } => *fault,
            Step::Time | Step::Start { .. } | Step::Refill { .. } => None,
            Step::LoseAnswer { .. } => Some(FaultKind::LoseAnswer),
            Step::Upgrade { trap: None, .. } => Some(FaultKind::Upgrade),
            Step::Upgrade { trap: Some(_), .. } => Some(FaultKind::UpgradeTrap),
            Step::Stop { .. } => Some(FaultKind::Stop),
            Step::Uninstall { .. } => Some(FaultKind::Uninstall),
            Step::OutOfCycles { .. } => Some(FaultKind::OutOfCycles),
            Step::Clock { .. } => Some(FaultKind::Clock),
        }
    }

    /// Whether a message, a call, an answer or a timer is delivered.
    pub fn is_delivery(&self) -> bool {
        matches!(
            self,
            Step::Message { .. }
                | Step::Request { .. }
                | Step::Response { .. }
                | Step::Timer { .. }
        )
    }
}

/// Steps from the start of a system on. [`super::System::replay`] takes them again, with the same result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schedule(pub Vec<Step>);

impl Schedule {
    /// How many of the steps are faults.
    pub fn faults(&self) -> usize {
        let faults = self.0.iter().filter_map(Step::fault);
        faults.count()
    }
}
