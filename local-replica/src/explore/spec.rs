//! What a system is made of, besides its start.

use std::collections::{BTreeMap, BTreeSet};

use candid::Principal;

use super::schedule::FaultKind;
use crate::engine::Module;

/// When a user sends a message. Numbers of messages count from 0, in the order of [`super::System::message`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// It may be delivered from the start on.
    #[default]
    AtOnce,
    /// Once a message has been answered or rejected.
    Answered(usize),
    /// Once a message has been rejected.
    Rejected(usize),
    /// Once a message, or its answer, is lost: the user sends it again.
    Lost(usize),
    /// Once a message has been answered, rejected or lost.
    Over(usize),
    /// Once a message has been answered, rejected or lost, and nothing else is left to do but to let time pass: before that, or
    /// after it, however often.
    Later(usize),
}

impl When {
    /// The message that has to come first.
    pub(super) fn message(self) -> Option<usize> {
        match self {
            When::AtOnce => None,
            When::Answered(number)
            | When::Rejected(number)
            | When::Lost(number)
            | When::Over(number)
            | When::Later(number) => Some(number),
        }
    }
}

/// A message that a user sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub(super) sender: Principal,
    pub(super) canister: Principal,
    pub(super) method: String,
    pub(super) payload: Vec<u8>,
    pub(super) when: When,
}

impl Message {
    /// An update call that may be delivered from the start on.
    pub fn new(sender: Principal, canister: Principal, method: &str, payload: Vec<u8>) -> Self {
        Self {
            sender,
            canister,
            method: method.to_owned(),
            payload,
            when: When::AtOnce,
        }
    }

    /// The message is sent later.
    #[must_use]
    pub fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }
}

/// How far a search goes. What lies beyond is counted in [`super::Counts::cut`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Steps of a schedule.
    pub steps: u32,
    /// Different states.
    pub states: u64,
    /// Times that time passes in a schedule ([`super::Step::Time`]). A schedule that has used them up is at its end when
    /// nothing is queued.
    pub times: u32,
    /// Nanoseconds that pass in this way from the start on: no timer that is due later fires.
    pub time_ns: u64,
    /// Bytes of states that are kept to go on from; those beyond are computed anew when they are needed.
    pub memory: usize,
}

impl Default for Bounds {
    /// 200 steps, a million states, 10 times, any time, 1 GiB.
    fn default() -> Self {
        Self {
            steps: 200,
            states: 1_000_000,
            times: 10,
            time_ns: u64::MAX,
            memory: 1 << 30,
        }
    }
}

/// What a canister can be upgraded to.
#[derive(Clone, Debug)]
pub(super) struct Upgrade {
    pub(super) module: Module,
    pub(super) wasm_len: usize,
    pub(super) arg: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Spec {
    pub(super) names: BTreeMap<Principal, String>,
    pub(super) messages: Vec<Message>,
    pub(super) upgrades: BTreeMap<Principal, Vec<Upgrade>>,
    pub(super) clock_jumps: Vec<u64>,
    pub(super) most_faults: u32,
    pub(super) kinds: BTreeSet<FaultKind>,
    /// Whom faults happen to; empty for all.
    pub(super) targets: BTreeSet<Principal>,
    pub(super) bounds: Bounds,
    /// Time doesn't pass beyond this, in nanoseconds since the epoch.
    pub(super) until_ns: u64,
    /// Steps that commute are taken in every order.
    pub(super) every_order: bool,
    /// What was searched before is searched again.
    pub(super) every_path: bool,
}

impl Spec {
    pub(super) fn allows(&self, kind: FaultKind) -> bool {
        self.kinds.contains(&kind)
    }

    pub(super) fn concerns(&self, canister: Principal) -> bool {
        self.targets.is_empty() || self.targets.contains(&canister)
    }

    pub(super) fn upgrades(&self, canister: Principal) -> &[Upgrade] {
        self.upgrades.get(&canister).map_or(&[], Vec::as_slice)
    }

    /// The module with this number; `None` for the canister's own.
    pub(super) fn upgrade(&self, canister: Principal, module: usize) -> Option<&Upgrade> {
        self.upgrades(canister).get(module.checked_sub(1)?)
    }

    pub(super) fn name(&self, canister: Principal) -> String {
        match self.names.get(&canister) {
            Some(name) => name.clone(),
            None if canister == Principal::management_canister() => {
                "the management canister".to_owned()
            }
            None => canister.to_text(),
        }
    }
}
