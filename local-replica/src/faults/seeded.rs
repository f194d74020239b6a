//! Faults drawn from a seed.

use candid::Principal;
use serde::{Deserialize, Serialize};

use super::schedule::{AnswerFault, Hook, MessageFault};

/// How often each fault happens, in a million messages or answers, and how large faults are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// The canisters that faults happen to; empty for all.
    pub canisters: Vec<Principal>,
    /// [`MessageFault::Overtake`]
    pub overtake: u32,
    /// [`MessageFault::Upgrade`]
    pub upgrade: u32,
    /// [`MessageFault::UpgradeTrap`], in `pre_upgrade` or in `post_upgrade`.
    pub upgrade_trap: u32,
    /// [`MessageFault::Stop`]
    pub stop: u32,
    /// [`MessageFault::OutOfCycles`]
    pub out_of_cycles: u32,
    /// [`MessageFault::Clock`]
    pub clock: u32,
    /// [`MessageFault::TrapAtCall`]
    pub trap_at_call: u32,
    /// [`MessageFault::TrapAtInstruction`]
    pub trap_at_instruction: u32,
    /// [`AnswerFault::Lose`], of the answers to best-effort calls.
    pub lose_answer: u32,
    /// [`AnswerFault::Delay`]
    pub delay_answer: u32,
    /// [`AnswerFault::Reject`]
    pub reject_answer: u32,
    /// [`super::Fault::LoseIngressAnswer`]
    pub lose_ingress_answer: u32,
    /// The highest system call to trap at. Low ones are likelier, because messages differ in length.
    pub max_call: u64,
    /// The highest instruction to trap at. Low ones are likelier.
    pub max_instruction: u64,
    /// The longest delay, stop and time without cycles.
    pub max_rounds: u64,
    /// By how much the clock can jump, in ns.
    pub clock_jumps_ns: Vec<u64>,
}

impl Default for Rates {
    /// Nothing happens; sizes that suit most canisters.
    fn default() -> Self {
        const SECOND: u64 = 1_000_000_000;
        Self {
            canisters: Vec::new(),
            overtake: 0,
            upgrade: 0,
            upgrade_trap: 0,
            stop: 0,
            out_of_cycles: 0,
            clock: 0,
            trap_at_call: 0,
            trap_at_instruction: 0,
            lose_answer: 0,
            delay_answer: 0,
            reject_answer: 0,
            lose_ingress_answer: 0,
            max_call: 64,
            max_instruction: 1_000_000,
            max_rounds: 4,
            clock_jumps_ns: vec![SECOND, 60 * SECOND, 3_600 * SECOND],
        }
    }
}

impl Rates {
    /// Every kind of fault at the same rate.
    pub fn all(per_million: u32) -> Self {
        Self {
            overtake: per_million,
            upgrade: per_million,
            upgrade_trap: per_million,
            stop: per_million,
            out_of_cycles: per_million,
            clock: per_million,
            trap_at_call: per_million,
            trap_at_instruction: per_million,
            lose_answer: per_million,
            delay_answer: per_million,
            reject_answer: per_million,
            lose_ingress_answer: per_million,
            ..Self::default()
        }
    }

    fn concern(&self, canister: Principal) -> bool {
        self.canisters.is_empty() || self.canisters.contains(&canister)
    }
}

/// The source of a seeded run's faults.
#[derive(Debug)]
pub(super) struct Dice {
    random: fastrand::Rng,
    rates: Rates,
}

impl Dice {
    pub(super) fn new(seed: u64, rates: Rates) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            rates,
        }
    }

    /// Faults at a message; at a cleanup only a trap is possible, because it follows its callback at once.
    pub(super) fn message(&mut self, canister: Principal, cleanup: bool) -> Vec<MessageFault> {
        if !self.rates.concern(canister) {
            return Vec::new();
        }
        let mut faults = Vec::new();
        if !cleanup {
            if self.falls(self.rates.overtake) {
                faults.push(MessageFault::Overtake);
            }
            if self.falls(self.rates.upgrade) {
                faults.push(MessageFault::Upgrade);
            }
            if self.falls(self.rates.upgrade_trap) {
                let hooks = [Hook::PreUpgrade, Hook::PostUpgrade];
                let hook = hooks[self.random.usize(..hooks.len())];
                let instruction = self.rather_low(self.rates.max_instruction);
                faults.push(MessageFault::UpgradeTrap { hook, instruction });
            }
            if self.falls(self.rates.stop) {
                let rounds = self.rounds();
                faults.push(MessageFault::Stop { rounds });
            }
            if self.falls(self.rates.out_of_cycles) {
                let rounds = self.rounds();
                faults.push(MessageFault::OutOfCycles { rounds });
            }
            if self.falls(self.rates.clock) && !self.rates.clock_jumps_ns.is_empty() {
                let choice = self.random.usize(..self.rates.clock_jumps_ns.len());
                let ns = self.rates.clock_jumps_ns[choice];
                faults.push(MessageFault::Clock { ns });
            }
        }
        if self.falls(self.rates.trap_at_call) {
            let number = 1 + self.rather_low(self.rates.max_call);
            faults.push(MessageFault::TrapAtCall(number));
        } else if self.falls(self.rates.trap_at_instruction) {
            let number = self.rather_low(self.rates.max_instruction);
            faults.push(MessageFault::TrapAtInstruction(number));
        }
        faults
    }

    /// A fault of an answer.
    pub(super) fn answer(
        &mut self,
        canister: Principal,
        best_effort: bool,
        ran: bool,
    ) -> Option<AnswerFault> {
        if !self.rates.concern(canister) {
            return None;
        }
        if self.falls(self.rates.lose_answer) && best_effort {
            return Some(AnswerFault::Lose);
        }
        if self.falls(self.rates.reject_answer) && ran {
            let code = self.random.u8(4..=5);
            return Some(AnswerFault::Reject { code });
        }
        self.falls(self.rates.delay_answer)
            .then(|| AnswerFault::Delay {
                rounds: self.rounds(),
            })
    }

    pub(super) fn loses_ingress_answer(&mut self, canister: Principal) -> bool {
        self.rates.concern(canister) && self.falls(self.rates.lose_ingress_answer)
    }

    fn falls(&mut self, per_million: u32) -> bool {
        per_million > 0 && self.random.u32(..1_000_000) < per_million
    }

    fn rounds(&mut self) -> u64 {
        1 + self.random.u64(..self.rates.max_rounds.max(1))
    }

    /// Below `max`, and as likely in any range `n..2n` that is small against it as in another.
    fn rather_low(&mut self, max: u64) -> u64 {
        let bits = max.max(1).ilog2() + 1;
        let top = 1u64 << self.random.u32(1..=bits).min(63);
        self.random.u64(..top.min(max.max(1)))
    }
}
