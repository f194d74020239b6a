//! Faults between and inside of messages, by schedule or by seed.
//!
//! Everything that happens here can happen on the Internet Computer, and what can't is refused:
//!
//! | fault | when the IC does it |
//! |---|---|
//! | trap at any system call or instruction | a bug, a limit, a bound that differs on mainnet |
//! | another message first | it gives no order between calls of different pairs of canisters, nor between ingress messages, nor to answers |
//! | upgrade, stop and start, out of cycles | between any two messages, calls in flight or not |
//! | an upgrade that fails and changes nothing | `pre_upgrade` or `post_upgrade` traps, or a start function |
//! | the clock jumps | a subnet stalls |
//! | an answer lost: `SYS_UNKNOWN` though the callee ran | best-effort calls only: an answer to a guaranteed one always arrives |
//! | an answer late | other subnets, load |
//! | a reject with code 4 or 5 though the callee ran | it trapped after an await, or was upgraded or uninstalled meanwhile |
//! | an ingress message's answer lost | the network, a boundary node, a status that is gone before it is read |
//!
//! Refused: losing an answer to a guaranteed call; rejects with another code after the callee ran; calls of one
//! canister in another order; anything but a trap between a callback and its cleanup; a stop of what isn't running; a trap in a hook
//! that the module doesn't have.
//! A schedule that asks for the impossible in every run is refused when installed; where it depends on the run, the
//! fault is left out and reported with the reason.
//!
//! Runs are reproducible: the same seed, or the schedule that a seeded run reports, gives the same run, as long as the
//! canisters and the calls from outside are the same.
//!
//! ```
//! use local_replica::faults::{Plan, Rates};
//! use local_replica::in_process::InProcess;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut host = InProcess::new();
//! host.replica.faults.install(Plan::Seeded { seed: 7, rates: Rates::all(10_000) })?;
//! // … create canisters, send messages, run rounds …
//! println!("{}", host.replica.faults.report().applied);
//! # Ok(())
//! # }
//! ```

mod inject;
mod schedule;
mod seeded;

pub use schedule::{AnswerFault, Fault, Hook, MessageFault, Schedule};
pub use seeded::Rates;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use candid::Principal;
use serde::{Deserialize, Serialize};

use crate::call_context::Response;
use crate::engine::TrapAt;
use crate::errors::ApiError;
use seeded::Dice;

/// Where faults come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Plan {
    /// These, and no others.
    Schedule(Schedule),
    /// Drawn.
    Seeded {
        /// The same seed gives the same faults in the same run.
        seed: u64,
        /// How often.
        #[serde(default)]
        rates: Rates,
    },
}

/// What has happened since the faults were installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Of a seeded plan.
    pub seed: Option<u64>,
    /// Messages taken from queues, and cleanups, of all canisters.
    pub messages: u64,
    /// The faults that took place: as a [`Plan::Schedule`] they give the same run again.
    pub applied: Schedule,
    /// The faults that couldn't take place, each with the reason.
    pub refused: Vec<(Fault, String)>,
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(seed) = self.seed {
            write!(f, "seed {seed}, ")?;
        }
        writeln!(
            f,
            "{} messages, {} faults:",
            self.messages,
            self.applied.0.len()
        )?;
        write!(f, "{}", self.applied)?;
        for (fault, reason) in &self.refused {
            writeln!(f, "not possible: {fault}: {reason}")?;
        }
        Ok(())
    }
}

/// A plan with a fault that the IC could never have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("impossible fault: {fault}: {reason}")]
pub struct Impossible {
    fault: Fault,
    reason: &'static str,
}

impl From<Impossible> for ApiError {
    fn from(impossible: Impossible) -> Self {
        ApiError::bad_request(impossible.to_string())
    }
}

/// The faults of an instance; none unless installed.
#[derive(Debug, Default)]
pub struct Faults {
    source: Source,
    counts: BTreeMap<Principal, Counts>,
    report: Report,
    /// The trap of the message that is about to execute, and the message's number.
    armed: Option<(u64, MessageFault)>,
    /// What earlier faults have left to be undone; new plans don't change that.
    pending: Vec<(u64, Ending)>,
    /// Rounds since the instance was created.
    round: u64,
}

#[derive(Debug, Default)]
enum Source {
    #[default]
    Nothing,
    Schedule(Planned),
    Dice(Dice),
    /// The next message traps at once, and the next cleanup.
    Next {
        message: bool,
        cleanup: bool,
    },
}

/// A schedule, for look-up.
#[derive(Debug, Default)]
struct Planned {
    messages: BTreeMap<(Principal, u64), Vec<MessageFault>>,
    answers: BTreeMap<(Principal, u64), AnswerFault>,
    ingress: Vec<(Principal, u64)>,
}

/// The numbers given so far.
#[derive(Debug, Default)]
struct Counts {
    messages: u64,
    answers: u64,
    ingress_answers: u64,
}

/// The end of a fault that lasts.
#[derive(Debug)]
enum Ending {
    Start(Principal),
    Refill(Principal, u128),
    Deliver(Principal, Response),
}

impl Faults {
    /// Starts a plan, with all numbers from 1 and an empty report; an earlier plan ends.
    pub fn install(&mut self, plan: Plan) -> Result<(), Impossible> {
        let (source, seed) = match plan {
            Plan::Schedule(schedule) => (Source::Schedule(Planned::new(schedule)?), None),
            Plan::Seeded { seed, rates } => (Source::Dice(Dice::new(seed, rates)), Some(seed)),
        };
        *self = Self {
            source,
            report: Report {
                seed,
                ..Report::default()
            },
            pending: std::mem::take(&mut self.pending),
            round: self.round,
            ..Self::default()
        };
        Ok(())
    }

    /// Forgets everything, and decides on the next message and the cleanup after it: whether they trap.
    pub(crate) fn trap_next(&mut self, message: bool, cleanup: bool) {
        *self = Self {
            source: Source::Next { message, cleanup },
            ..Self::default()
        };
    }

    /// Neither a plan nor anything left of one.
    pub(crate) fn is_off(&self) -> bool {
        matches!(self.source, Source::Nothing | Source::Next { .. }) && self.pending.is_empty()
    }

    /// No faults from here on. What was stopped is started again, and what was delayed arrives.
    pub fn stop(&mut self) {
        self.source = Source::Nothing;
        for (round, _) in &mut self.pending {
            *round = 0;
        }
    }

    /// What happened so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    fn message(&mut self, canister: Principal, cleanup: bool) -> (u64, Vec<MessageFault>) {
        self.report.messages += 1;
        let counts = self.counts.entry(canister).or_default();
        counts.messages += 1;
        let number = counts.messages;
        let faults = match &mut self.source {
            Source::Nothing => Vec::new(),
            Source::Schedule(planned) => planned
                .messages
                .remove(&(canister, number))
                .unwrap_or_default(),
            Source::Dice(dice) => dice.message(canister, cleanup),
            Source::Next {
                message,
                cleanup: in_cleanup,
            } => {
                let trap = std::mem::take(if cleanup { in_cleanup } else { message });
                // What a message did until it trapped is undone, so the earliest trap is as good as any.
                let trap = trap.then_some(MessageFault::TrapAtInstruction(0));
                trap.into_iter().collect()
            }
        };
        (number, faults)
    }

    fn answer(
        &mut self,
        canister: Principal,
        best_effort: bool,
        ran: bool,
    ) -> Option<(u64, AnswerFault)> {
        let counts = self.counts.entry(canister).or_default();
        counts.answers += 1;
        let number = counts.answers;
        let fault = match &mut self.source {
            Source::Nothing | Source::Next { .. } => None,
            Source::Schedule(planned) => planned.answers.remove(&(canister, number)),
            Source::Dice(dice) => dice.answer(canister, best_effort, ran),
        };
        fault.map(|fault| (number, fault))
    }

    /// Whether the answer that a canister gives to a user now is lost.
    pub(crate) fn loses_ingress_answer(&mut self, canister: Principal) -> bool {
        let counts = self.counts.entry(canister).or_default();
        counts.ingress_answers += 1;
        let number = counts.ingress_answers;
        let lost = match &mut self.source {
            Source::Nothing | Source::Next { .. } => false,
            Source::Schedule(planned) => planned.ingress.contains(&(canister, number)),
            Source::Dice(dice) => dice.loses_ingress_answer(canister),
        };
        if lost {
            self.apply(Fault::LoseIngressAnswer { canister, number });
        }
        lost
    }

    /// Where the message that starts to execute is to trap.
    pub(crate) fn trap_at(&self) -> Option<TrapAt> {
        self.armed.and_then(|(_, fault)| fault.trap())
    }

    /// The message has run into the trap.
    pub(crate) fn trapped(&mut self, canister: Principal) {
        if let Some((number, what)) = self.armed.take() {
            self.apply(Fault::Message {
                canister,
                number,
                what,
            });
        }
    }

    /// The message has ended, or never ran; a planned trap that it didn't reach is reported.
    pub(crate) fn message_over(&mut self, canister: Principal) {
        if let Some((number, what)) = self.armed.take() {
            let fault = Fault::Message {
                canister,
                number,
                what,
            };
            self.refuse(fault, "the message didn't get there");
        }
    }

    fn apply(&mut self, fault: Fault) {
        self.report.applied.0.push(fault);
    }

    /// Only what someone asked for is worth a report: dice fall on impossible faults all the time.
    fn refuse(&mut self, fault: Fault, reason: &str) {
        if matches!(self.source, Source::Schedule(_)) {
            self.report.refused.push((fault, reason.to_owned()));
        }
    }

    fn later(&mut self, rounds: u64, ending: Ending) {
        self.pending
            .push((self.round.saturating_add(rounds), ending));
    }
}

impl Planned {
    fn new(schedule: Schedule) -> Result<Self, Impossible> {
        let mut planned = Self::default();
        for fault in schedule.0 {
            if let Some(reason) = fault.impossible() {
                return Err(Impossible { fault, reason });
            }
            let twice = match fault.clone() {
                Fault::Message {
                    canister,
                    number,
                    what,
                } => {
                    let faults = planned.messages.entry((canister, number)).or_default();
                    let twice =
                        what.trap().is_some() && faults.iter().any(|fault| fault.trap().is_some());
                    faults.push(what);
                    twice
                }
                Fault::Answer {
                    canister,
                    number,
                    what,
                } => planned.answers.insert((canister, number), what).is_some(),
                Fault::LoseIngressAnswer { canister, number } => {
                    planned.ingress.push((canister, number));
                    false
                }
            };
            if twice {
                let reason = "a message traps, and an answer suffers, but once";
                return Err(Impossible { fault, reason });
            }
        }
        Ok(planned)
    }
}
