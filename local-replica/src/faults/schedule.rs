//! Faults one by one: what, where, and how they are written down.

use std::fmt::{self, Display, Formatter};

use candid::Principal;
use serde::{Deserialize, Serialize};

use crate::engine::{Entry, TrapAt};

/// One fault at one place.
///
/// Places are numbered for each canister from 1, starting when the faults are installed, so that a schedule means the
/// same whatever the other canisters do in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// At a message that the canister takes from its queue: ingress, call, answer, timer or heartbeat. A cleanup has a
    /// number of its own.
    Message {
        /// Whose message.
        canister: Principal,
        /// The how-manyth.
        number: u64,
        /// What happens.
        what: MessageFault,
    },
    /// To the answer of a call that the canister made, before it gets to the canister's queue.
    Answer {
        /// The canister that waits for the answer.
        canister: Principal,
        /// The how-manyth answer.
        number: u64,
        /// What happens.
        what: AnswerFault,
    },
    /// The answer of an ingress message to the canister is never to be had: its status stays "processing".
    LoseIngressAnswer {
        /// The canister that answered.
        canister: Principal,
        /// The how-manyth of its answers to ingress messages.
        number: u64,
    },
}

/// A function that an upgrade calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// `canister_pre_upgrade` of the old module.
    PreUpgrade,
    /// The start function of the new module.
    Start,
    /// `canister_post_upgrade` of the new module.
    PostUpgrade,
}

/// What can happen at a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MessageFault {
    /// Another message goes first: the next one in the queue that has no order with those before it. Calls of one canister keep their
    /// order; messages of users and answers have none.
    Overtake,
    /// Before the message, an upgrade to the same module.
    Upgrade,
    /// Before the message, an upgrade to the same module in which a hook traps: everything stays as it was.
    UpgradeTrap {
        /// Which hook.
        hook: Hook,
        /// Once it has used so many instructions; at its end, if it takes fewer.
        instruction: u64,
    },
    /// Before the message, a stop; so many rounds later the canister is started again.
    Stop {
        /// Rounds until the start.
        rounds: u64,
    },
    /// Before the message, all cycles but those that keep the canister alive are taken; so many rounds later it gets
    /// them back.
    OutOfCycles {
        /// Rounds until the cycles come back.
        rounds: u64,
    },
    /// Before the message, time passes.
    Clock {
        /// Nanoseconds.
        ns: u64,
    },
    /// The message traps instead of making the system call with this number; the first is 1.
    TrapAtCall(u64),
    /// The message traps once it has used so many instructions.
    TrapAtInstruction(u64),
}

impl MessageFault {
    /// The trap that the message itself is to run into.
    pub(super) fn trap(self) -> Option<TrapAt> {
        match self {
            MessageFault::TrapAtCall(number) => Some(TrapAt::Call(number)),
            MessageFault::TrapAtInstruction(number) => Some(TrapAt::Instruction(number)),
            _ => None,
        }
    }
}

/// What can happen to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AnswerFault {
    /// It is dropped, with the cycles in it, and the caller told `SYS_UNKNOWN`. Best-effort calls only.
    Lose,
    /// It takes longer.
    Delay {
        /// Rounds.
        rounds: u64,
    },
    /// The caller sees a reject although the callee ran and its effects stand, as after a callee's trap behind an await.
    Reject {
        /// 4 (`CANISTER_REJECT`) or 5 (`CANISTER_ERROR`): the other codes promise that nothing ran, or are for
        /// best-effort calls ([`AnswerFault::Lose`]).
        code: u8,
    },
}

impl Fault {
    /// Why no schedule may have this, if so.
    pub(super) fn impossible(&self) -> Option<&'static str> {
        let number = match self {
            Fault::Message { number, .. }
            | Fault::Answer { number, .. }
            | Fault::LoseIngressAnswer { number, .. } => *number,
        };
        if number == 0 {
            return Some("numbers start at 1");
        }
        match self {
            Fault::Message {
                what: MessageFault::TrapAtCall(0),
                ..
            } => Some("system calls are numbered from 1"),
            Fault::Answer {
                what: AnswerFault::Reject { code },
                ..
            } if !matches!(code, 4 | 5) => {
                Some("after the callee ran, the IC rejects with code 4 or 5 only")
            }
            _ => None,
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Message {
                canister,
                number,
                what,
            } => write!(f, "{canister}, message {number}: {what}"),
            Fault::Answer {
                canister,
                number,
                what,
            } => write!(f, "{canister}, answer {number} to its calls: {what}"),
            Fault::LoseIngressAnswer { canister, number } => {
                write!(f, "{canister}, answer {number} to a user: lost")
            }
        }
    }
}

impl Display for MessageFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            MessageFault::Overtake => f.write_str("another message goes first"),
            MessageFault::Upgrade => f.write_str("upgrade before it"),
            MessageFault::UpgradeTrap { hook, instruction } => write!(
                f,
                "upgrade before it, but {hook} traps at instruction {instruction}"
            ),
            MessageFault::Stop { rounds } => {
                write!(f, "stop before it, start {rounds} rounds later")
            }
            MessageFault::OutOfCycles { rounds } => {
                write!(f, "no cycles from here on, until {rounds} rounds later")
            }
            MessageFault::Clock { ns } => {
                let time = std::time::Duration::from_nanos(*ns);
                write!(f, "{time:?} pass before it")
            }
            MessageFault::TrapAtCall(number) => write!(f, "trap at system call {number}"),
            MessageFault::TrapAtInstruction(number) => write!(f, "trap at instruction {number}"),
        }
    }
}

impl Display for Hook {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hook::PreUpgrade => "pre_upgrade",
            Hook::Start => "the start function",
            Hook::PostUpgrade => "post_upgrade",
        })
    }
}

impl From<Hook> for Entry {
    fn from(hook: Hook) -> Self {
        match hook {
            Hook::PreUpgrade => Entry::PreUpgrade,
            Hook::Start => Entry::Start,
            Hook::PostUpgrade => Entry::PostUpgrade,
        }
    }
}

impl Display for AnswerFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            AnswerFault::Lose => f.write_str("lost, SYS_UNKNOWN instead"),
            AnswerFault::Delay { rounds } => write!(f, "{rounds} rounds late"),
            AnswerFault::Reject { code } => write!(f, "reject with code {code} instead"),
        }
    }
}

/// Faults in the order in which they happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schedule(pub Vec<Fault>);

/// A line for each fault.
impl Display for Schedule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for fault in &self.0 {
            writeln!(f, "{fault}")?;
        }
        Ok(())
    }
}
