//! Every order of messages, and every place for a few faults, searched for a state that breaks an invariant.
//!
//! A [`System`] is a host with installed canisters, the messages that users send, and invariants. [`System::explore`] runs
//! the real modules in every order in which the Internet Computer may deliver what is on its way, and with up to so many
//! faults wherever they can happen. The result is a proof within these bounds, or the shortest [`Schedule`] to a state in
//! which an invariant is broken; [`System::replay`] takes it again.
//!
//! ```
//! use candid::Principal;
//! use local_replica::explore::{FaultKind, Message, System};
//! use local_replica::in_process::{CanisterInstallMode, InProcess};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A canister that answers 1 the first time it is asked, and 0 from then on.
//! let module = wat::parse_str(
//!     r#"(module
//!         (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
//!         (import "ic0" "msg_reply" (func $reply))
//!         (memory 1)
//!         (data (i32.const 0) "\01")
//!         (func (export "canister_update claim")
//!             (call $append (i32.const 0) (i32.const 1))
//!             (call $reply)
//!             (i32.store8 (i32.const 0) (i32.const 0))))"#,
//! )?;
//! let user = Principal::anonymous();
//! let mut host = InProcess::new();
//! let prize = host.create_canister(user, 10_000_000_000_000)?;
//! host.install(user, prize, CanisterInstallMode::Install, module, vec![])?;
//!
//! let claim = Message::new(user, prize, "claim", vec![]);
//! let mut system = System::new(host)
//!     .name(prize, "prize")
//!     .message(claim.clone())
//!     .message(claim)
//!     .faults(1, [FaultKind::Trap, FaultKind::Upgrade])
//!     .always("one claim", |view| {
//!         let claimed = |message| matches!(view.answer(message), Some(Ok(reply)) if reply == &[1]);
//!         match claimed(0) && claimed(1) {
//!             true => Err("claimed twice".to_owned()),
//!             false => Ok(()),
//!         }
//!     });
//! let found = system.explore()?;
//! // The upgrade starts with a new heap.
//! let violation = found.violation.expect("the heap doesn't survive an upgrade");
//! assert_eq!(
//!     violation.to_string(),
//!     "one claim: claimed twice\n\
//!      after 3 steps, 1 of them faults:\n  \
//!      1. message 0, `claim`, reaches prize\n  \
//!      2. prize is upgraded to its own module\n  \
//!      3. message 1, `claim`, reaches prize\n"
//! );
//! # Ok(())
//! # }
//! ```
//!
//! # What may happen
//!
//! Calls from one canister to another arrive in the order in which they were made; everything else, users' messages,
//! answers and due timers, in any order. A message is executed as a whole, so a step is one message on one canister, and
//! what it sends is on its way from then on. Faults are listed at [`FaultKind`]; what the IC can't do isn't searched:
//! losing an answer to a guaranteed-response call, for one. Because all that a message does is undone when it traps, where it
//! traps makes no difference to anyone, and it is tried once.
//!
//! Time stands still until nothing else is left to do; then it passes until the next timer is due or the next bounded wait
//! ends, at most [`Bounds::times`] times in a schedule.
//!
//! # What is left out
//!
//! States that differ in what the modules have no system call for are taken for equal: cycles, `canister_version`, the
//! instructions of a call context, logs. Canisters need enough cycles, [`FaultKind::OutOfCycles`] aside, and an invariant
//! must not look at what is left out. Nor are explored: the moment in which a timer fires against messages that take time,
//! heartbeats, HTTPS outcalls, trap texts, `inspect_message` at another time than the message it lets in, messages larger
//! than the IC's queues, and calls that fail when they are made.

/// The page of the book: its examples have to compile.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/src/explore.md")]
mod book {}

mod apply;
mod enabled;
mod report;
mod schedule;
mod search;
mod spares;
mod spec;
mod state;
mod story;
#[cfg(test)]
mod tests;
mod view;
mod world;

pub use crate::faults::Hook;
pub use report::{Counts, Explored, Violation};
pub use schedule::{FaultKind, Schedule, Step};
pub use spec::{Bounds, Message, When};
pub use view::View;

use candid::Principal;

use crate::engine::{InvalidModule, Module, Trap};
use crate::errors::Reject;
use crate::in_process::InProcess;
use search::{Search, check, follow};
use spec::{Spec, Upgrade};
use state::State;
use world::World;

/// Why a system can't be explored, or a schedule not replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The host has messages under way, or a plan of faults.
    #[error("the host isn't idle: run rounds until every message is answered, and end its faults")]
    Busy,
    /// A message, a fault or an upgrade is for a canister that the host doesn't have.
    #[error("there is no canister {0}")]
    NoCanister(Principal),
    /// A message waits for itself, or for one that doesn't exist.
    #[error("message {0} waits for one that isn't before it")]
    NoMessage(usize),
    /// The module of an upgrade is invalid.
    #[error(transparent)]
    Module(#[from] InvalidModule),
    /// A canister does what can't be explored.
    #[error("{0}: not supported by local-replica's exploration")]
    Unsupported(String),
    /// The schedule has a step that isn't possible where it stands.
    #[error("impossible: {0}")]
    Impossible(String),
    /// The state of a canister can't be kept.
    #[error(transparent)]
    Snapshot(#[from] Trap),
    /// The host refused a step.
    #[error("{}", .0.message)]
    Rejected(Reject),
}

impl From<Reject> for Error {
    fn from(reject: Reject) -> Self {
        Error::Rejected(reject)
    }
}

type Check = Box<dyn FnMut(&mut View<'_>) -> Result<(), String>>;

type Exception = Box<dyn FnMut(&mut View<'_>, &Step) -> bool>;

struct Invariant {
    name: String,
    at_the_end: bool,
    holds: Check,
}

/// Canisters, what users send to them, and what must hold.
pub struct System {
    host: Option<InProcess>,
    world: Option<(World, State)>,
    spec: Spec,
    modules: Vec<(Principal, Vec<u8>, Vec<u8>)>,
    invariants: Vec<Invariant>,
    exceptions: Vec<Exception>,
}

impl std::fmt::Debug for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("System")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

/// What a replay led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The steps in words.
    pub story: Vec<String>,
    /// The first invariant that doesn't hold at the end, and why.
    pub violated: Option<(String, String)>,
}

impl System {
    /// Starts from the host as it is: nothing may be under way.
    pub fn new(host: InProcess) -> Self {
        Self {
            host: Some(host),
            world: None,
            spec: Spec::default(),
            modules: Vec::new(),
            invariants: Vec::new(),
            exceptions: Vec::new(),
        }
    }

    /// What a canister is called in stories.
    #[must_use]
    pub fn name(mut self, canister: Principal, name: &str) -> Self {
        self.spec.names.insert(canister, name.to_owned());
        self
    }

    /// A message that a user sends. The first has number 0.
    #[must_use]
    pub fn message(mut self, message: Message) -> Self {
        self.spec.messages.push(message);
        self
    }

    /// At most so many faults in a schedule, of these kinds.
    #[must_use]
    pub fn faults(mut self, most: u32, kinds: impl IntoIterator<Item = FaultKind>) -> Self {
        self.spec.most_faults = most;
        self.spec.kinds = kinds.into_iter().collect();
        self
    }

    /// Faults happen to these canisters only; to all if nothing is said. A call that is refused or lost, and a lost answer,
    /// happen to the callee.
    #[must_use]
    pub fn faults_of(mut self, canisters: impl IntoIterator<Item = Principal>) -> Self {
        self.spec.targets = canisters.into_iter().collect();
        self
    }

    /// Leaves a fault out where this says so, as what goes wrong there is known. It must go by the step and by the state of the canister
    /// that the fault happens to, not by other canisters: what is left out in one order of steps has to be left out in each. Nor by
    /// [`View::faults`], unless the canister's state tells by itself whether they have happened.
    #[must_use]
    pub fn except(
        mut self,
        leaves_out: impl FnMut(&mut View<'_>, &Step) -> bool + 'static,
    ) -> Self {
        self.exceptions.push(Box::new(leaves_out));
        self
    }

    /// [`FaultKind::Upgrade`] may also install this module, with this argument.
    #[must_use]
    pub fn upgrade_to(mut self, canister: Principal, wasm: Vec<u8>, arg: Vec<u8>) -> Self {
        self.modules.push((canister, wasm, arg));
        self
    }

    /// [`FaultKind::Clock`] may let so many nanoseconds pass.
    #[must_use]
    pub fn clock_jump(mut self, ns: u64) -> Self {
        self.spec.clock_jumps.push(ns);
        self
    }

    /// What must hold between any two messages; the error says what is wrong. Called once for each different state.
    #[must_use]
    pub fn always(
        self,
        name: &str,
        holds: impl FnMut(&mut View<'_>) -> Result<(), String> + 'static,
    ) -> Self {
        self.invariant(name, false, holds)
    }

    /// What must hold when nothing is queued any more, and no timer is to come.
    #[must_use]
    pub fn finally(
        self,
        name: &str,
        holds: impl FnMut(&mut View<'_>) -> Result<(), String> + 'static,
    ) -> Self {
        self.invariant(name, true, holds)
    }

    /// How far the search goes.
    #[must_use]
    pub fn bounds(mut self, bounds: Bounds) -> Self {
        self.spec.bounds = bounds;
        self
    }

    /// Takes steps that commute in every order, too: slower, with the same states. For comparison.
    #[must_use]
    pub fn every_order(mut self) -> Self {
        self.spec.every_order = true;
        self
    }

    /// Follows every way to a state separately, as if no two ways led to the same one: as slow as can be. For comparison.
    #[must_use]
    pub fn every_path(mut self) -> Self {
        self.spec.every_path = true;
        self.every_order()
    }

    /// Searches until an invariant is violated or nothing is left. Takes the same steps in each run.
    pub fn explore(&mut self) -> Result<Explored, Error> {
        self.rewind()?;
        let (world, _) = self.world.as_mut().ok_or(Error::Busy)?;
        let (invariants, exceptions) = (&mut self.invariants, &mut self.exceptions);
        Search::new(world, &self.spec, invariants, exceptions).run()
    }

    /// Takes the steps of a schedule from the start, and looks at the invariants at the end: the final ones, too, if nothing
    /// is left to do. [`System::view`] has the state that it led to.
    pub fn replay(&mut self, schedule: &Schedule) -> Result<Replayed, Error> {
        self.rewind()?;
        let (world, _) = self.world.as_mut().ok_or(Error::Busy)?;
        let story = follow(world, &self.spec, &mut self.exceptions, schedule)?;
        let is_final = world.state.steps(&self.spec).is_empty();
        let violated = check(world, &mut self.invariants, is_final);
        let name = |number: usize| self.invariants[number].name.clone();
        Ok(Replayed {
            story,
            violated: violated.map(|(number, reason)| (name(number), reason)),
        })
    }

    /// The state after the last replay; the start if there was none.
    pub fn view(&mut self) -> Result<View<'_>, Error> {
        self.prepare()?;
        let (world, _) = self.world.as_mut().ok_or(Error::Busy)?;
        Ok(View { world })
    }

    fn invariant(
        mut self,
        name: &str,
        at_the_end: bool,
        holds: impl FnMut(&mut View<'_>) -> Result<(), String> + 'static,
    ) -> Self {
        self.invariants.push(Invariant {
            name: name.to_owned(),
            at_the_end,
            holds: Box::new(holds),
        });
        self
    }

    /// Back to the start.
    fn rewind(&mut self) -> Result<(), Error> {
        self.prepare()?;
        if let Some((world, start)) = &mut self.world {
            world.go_to(start, &self.spec)?;
            world.faults.clear();
        }
        Ok(())
    }

    fn prepare(&mut self) -> Result<(), Error> {
        let Some(host) = &self.host else {
            return Ok(());
        };
        let exists = |id: &Principal| match host.replica.canisters.contains_key(id) {
            true => Ok(()),
            false => Err(Error::NoCanister(*id)),
        };
        for (number, message) in self.spec.messages.iter().enumerate() {
            exists(&message.canister)?;
            if message.when.message().is_some_and(|other| other >= number) {
                return Err(Error::NoMessage(number));
            }
        }
        self.spec.targets.iter().try_for_each(exists)?;
        self.spec.upgrades.clear();
        for (canister, wasm, arg) in &self.modules {
            exists(canister)?;
            let upgrade = Upgrade {
                module: Module::compile(wasm)?,
                wasm_len: wasm.len(),
                arg: arg.clone(),
            };
            let upgrades = self.spec.upgrades.entry(*canister).or_default();
            upgrades.push(upgrade);
        }
        World::check(host)?;
        self.spec.until_ns = host
            .replica
            .time_ns
            .saturating_add(self.spec.bounds.time_ns);
        if let Some(host) = self.host.take() {
            let world = World::new(host, &self.spec)?;
            let start = world.state.clone();
            self.world = Some((world, start));
        }
        Ok(())
    }
}
