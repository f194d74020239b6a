//! One run: clients, most of whom never ask again, the canister under test, its callee, and faults.

use std::time::Duration;

use candid::utils::ArgumentEncoder;
use candid::{Principal, encode_args};
use integration_tests::user;
use local_replica::errors::Reject;
use local_replica::faults::{Fault, MessageFault, Plan};
use local_replica::in_process::{CanisterInstallMode, Error, InProcess};
use serde_bytes::ByteBuf;

use super::clients::{Known, Said, Sent, Told};
use super::requests::{Id, LANES, Request};
use super::types::{Act, Answer};
use crate::calls::{Answered, answers, is_by_fault, unless_explained};
use crate::seeds::{Counts, DELIVERIES, Failure};

/// Enough for any run.
const CYCLES: u128 = 1_000_000_000_000_000_000;
/// Of heaps that took an answer to another heap's call.
const RENEWED: &str = "heaps renewed";
/// Requests sent between two rounds.
const REQUESTS_PER_ROUND: usize = 4;
/// Rounds between two looks at what the canisters have counted.
const AUDIT_ROUNDS: u64 = 100;
/// Without faults all calls are answered so many rounds later.
const QUIET_ROUNDS: u64 = 10;
/// How long a round takes.
const ROUND: Duration = Duration::from_secs(1);
/// What is older may be forgotten soon: nobody asks for it. The store remembers for an hour.
const REMEMBERED: Duration = Duration::from_secs(40 * 60);
/// What was accepted has ended by itself so many rounds later, the first as long as any, and those after it ten times as long.
const ENDS_WITHIN: (u64, u64) = (60, 60);

/// One run, but for its faults.
#[derive(Clone, Copy)]
pub(super) struct Scenario<'a> {
    /// Decides on the clients' choices.
    pub(super) seed: u64,
    pub(super) deliveries: u64,
    /// Nobody retries, nothing parks, and faults go on until all has ended.
    pub(super) is_left_alone: bool,
    pub(super) wasm: &'a [u8],
}

pub(super) struct Run<'a> {
    pub(super) scenario: Scenario<'a>,
    pub(super) host: InProcess,
    random: fastrand::Rng,
    /// Under test, and whom it calls.
    pub(super) canister: Principal,
    pub(super) callee: Principal,
    pub(super) told: Told,
    /// Keys so far.
    keys: u64,
    sent: Vec<Sent>,
    /// Of the canister under test, and of both.
    pub(super) upgrades: (u64, u64),
    /// Faults that are counted already.
    counted: usize,
    round: u64,
    pub(super) counts: Counts,
}

/// Runs a plan until so many messages were executed.
pub(super) fn run(scenario: Scenario<'_>, plan: Plan) -> Result<Counts, Failure> {
    let mut run = Run::new(scenario).expect("two canisters can be installed");
    run.host
        .replica
        .faults
        .install(plan)
        .expect("the plan is possible");
    let what = run.play();
    Failure::unless_kept(what, &run.host)?;
    Ok(run.counts)
}

impl<'a> Run<'a> {
    fn new(scenario: Scenario<'a>) -> Result<Self, Error> {
        let mut host = InProcess::new();
        // What an answer to a call from before an upgrade may do to a heap is no promise of the library's.
        host.replica.renews_heaps = true;
        let controller = user(255);
        let mut install = || {
            let id = host.create_canister(controller, CYCLES)?;
            let mode = CanisterInstallMode::Install;
            host.install(controller, id, mode, scenario.wasm.to_vec(), encoded(()))?;
            Ok::<_, Error>(id)
        };
        let (canister, callee) = (install()?, install()?);
        host.update(controller, canister, "configure", encoded((callee, 0u64)))?;
        Ok(Self {
            scenario,
            host,
            random: fastrand::Rng::with_seed(!scenario.seed),
            canister,
            callee,
            told: Told::default(),
            keys: 0,
            sent: Vec::new(),
            upgrades: (0, 0),
            counted: 0,
            round: 0,
            counts: Counts::default(),
        })
    }

    fn play(&mut self) -> Result<(), String> {
        while self.host.replica.faults.report().messages < self.scenario.deliveries {
            for _ in 0..self.random.usize(1..=REQUESTS_PER_ROUND) {
                self.choose();
            }
            self.step(ROUND)?;
            if self.round.is_multiple_of(AUDIT_ROUNDS) {
                self.audit()?;
            }
        }
        self.settle()?;
        let deliveries = self.host.replica.faults.report().messages;
        for (what, number) in [
            (DELIVERIES, deliveries),
            ("faults", self.counted as u64),
            ("upgrades", self.upgrades.0),
            ("keys", self.keys),
        ] {
            self.counts.add(what, number);
        }
        Ok(())
    }

    /// Sends some request: new, once more, or out of order.
    fn choose(&mut self) {
        let is_retry = !self.scenario.is_left_alone && self.random.u8(..3) == 0;
        if self.random.u8(..3) == 0 {
            let lane = self.random.u8(..LANES);
            let (least, most) = (self.told.least(lane), self.told.most(lane));
            let number = match self.random.u8(..8) {
                // What is ahead runs when its turn comes, if somebody sends it again then.
                0 => most + self.random.u64(..3),
                1 if is_retry => self.random.u64(..=least),
                2.. if self.random.u8(..4) > 0 => least,
                _ => most,
            };
            self.send(Id::Number { lane, number }, false);
        } else if is_retry && self.keys > 0 {
            let id = Id::Key(self.random.u64(self.keys.saturating_sub(100)..self.keys));
            // Two thirds are sent once, and never again.
            if matches!(id, Id::Key(key) if key % 3 == 0) && self.is_recent(id) {
                let is_known = self.told.known(id) != Known::Nothing;
                let is_other = is_known && self.random.u8(..8) == 0;
                self.send(id, is_other);
            }
        } else {
            self.send(Id::Key(self.keys), false);
            self.keys += 1;
        }
    }

    pub(super) fn is_recent(&self, id: Id) -> bool {
        let age = self.host.replica.time_ns - self.told.since(id);
        Duration::from_nanos(age) < REMEMBERED
    }

    fn request(&self, id: Id) -> Request {
        // What is parked in a lane would hold it up for ever.
        let always_ends = self.scenario.is_left_alone || matches!(id, Id::Number { .. });
        Request::new(self.scenario.seed, id, always_ends)
    }

    pub(super) fn send(&mut self, id: Id, is_other: bool) {
        let request = self.request(id);
        let mut acts = request.acts.clone();
        if is_other {
            acts.push(Act::Fail);
        }
        let (method, arg) = match id {
            Id::Key(key) => ("work", encoded((ByteBuf::from(key.to_le_bytes()), acts))),
            Id::Number { number, .. } => ("work_in_order", encoded((number, acts))),
        };
        match self.host.send(id.client(), self.canister, method, arg) {
            Ok(message) => {
                let certain = self.told.send(request, self.host.replica.time_ns);
                let patience = self.round + self.random.u64(1..40);
                let what = (id, is_other);
                let sent = Told::sent(certain, what, message, patience, self.upgrades.1);
                self.sent.push(sent);
            }
            // Stopped, or out of cycles.
            Err(_) => self.counts.count("refused at once"),
        }
    }

    /// A round, and the answers that came in it.
    pub(super) fn step(&mut self, time: Duration) -> Result<(), String> {
        self.host.replica.time_ns += time.as_nanos() as u64;
        self.host.replica.round();
        self.round += 1;
        self.count_faults();
        let (answers, given_up) = answers(&mut self.host, self.round, &mut self.sent);
        self.counts.add("given up", given_up);
        for (sent, answer) in answers {
            self.hear(&sent, answer)?;
        }
        Ok(())
    }

    fn hear(&mut self, sent: &Sent, answer: Answered) -> Result<(), String> {
        let bytes = match answer {
            Ok(bytes) => bytes,
            Err(reject) => {
                self.counts.count("rejected");
                return self.explain(sent, &reject);
            }
        };
        let answer: Answer = candid::decode_one(&bytes)
            .map_err(|error| format!("{sent:?} is told what nobody understands: {error}"))?;
        self.counts.count(match self.told.hear(sent, &answer)? {
            Said::Done => "done",
            Said::InProgress => "in progress",
            Said::Parked => "parked",
            Said::Gap => "gaps",
            Said::Reused => "keys reused",
            // As the docs of the library's `attempt` say: to a request of the same caller that came after an upgrade.
            Said::Misrouted(_) if self.is_cut_off(sent) => {
                "given the answer to another request of theirs"
            }
            Said::Misrouted(whose) => {
                return Err(format!("{sent:?} has the answer to {whose:?}"));
            }
        });
        Ok(())
    }

    /// A reject that no fault explains is a bug of someone's. One says nothing of a request.
    fn explain(&self, sent: &Sent, reject: &Reject) -> Result<(), String> {
        let is_explained = is_by_fault(reject) || self.is_cut_off(sent);
        unless_explained(is_explained, sent, reject)
    }

    /// Whether an upgrade forgot the call.
    fn is_cut_off(&self, sent: &Sent) -> bool {
        sent.upgrades < self.upgrades.1
    }

    /// Nobody sends anything. What was accepted comes to its end; then a retry gets the recorded reply, and that is all that happens.
    fn settle(&mut self) -> Result<(), String> {
        if !self.scenario.is_left_alone {
            self.host.replica.faults.stop();
            // An attempt that trapped in its cleanup, too, waits for an upgrade; calls that are in flight may harm what comes after.
            for _ in 0..QUIET_ROUNDS {
                self.step(ROUND)?;
            }
            self.upgrade()?;
        }
        for round in 0..ENDS_WITHIN.0 + ENDS_WITHIN.1 {
            let times = if round < ENDS_WITHIN.0 { 1 } else { 10 };
            self.step(ROUND * times)?;
        }
        self.host.replica.faults.stop();
        for sent in std::mem::take(&mut self.sent) {
            self.host.forget(&sent.message);
        }
        // Stopped, or out of cycles.
        self.step(ROUND)?;
        let open = self.check_ends()?;
        self.audit()?;
        self.ask_again(&open)
    }

    fn upgrade(&mut self) -> Result<(), String> {
        let upgraded = self.host.replica.upgrade_to_same_code(self.canister);
        upgraded.map_err(|reject| reject.message)?;
        self.upgrades.0 += 1;
        self.upgrades.1 += 1;
        Ok(())
    }

    fn count_faults(&mut self) {
        let faults = &self.host.replica.faults.report().applied.0;
        for fault in &faults[self.counted..] {
            match fault {
                Fault::Message { canister, what, .. } => match what {
                    MessageFault::Upgrade => {
                        self.upgrades.0 += u64::from(*canister == self.canister);
                        self.upgrades.1 += 1;
                    }
                    MessageFault::UpgradeTrap { .. } => self.counts.count("upgrades that failed"),
                    MessageFault::TrapAtCall(_) | MessageFault::TrapAtInstruction(_) => {
                        self.counts.count("traps");
                    }
                    MessageFault::Overtake => self.counts.count("overtaken"),
                    MessageFault::Stop { .. } => self.counts.count("stops"),
                    MessageFault::OutOfCycles { .. } | MessageFault::Clock { .. } => {}
                },
                Fault::Answer { .. } => self.counts.count("answers lost, late or wrong"),
                Fault::LoseIngressAnswer { .. } => self.counts.count("answers lost to clients"),
            }
        }
        self.counted = faults.len();
        let renewed = |id| self.host.replica.renewed.get(&id).copied().unwrap_or(0);
        let (own, callees) = (renewed(self.canister), renewed(self.callee));
        let more = own - self.counts.get(RENEWED);
        self.counts.add(RENEWED, more);
        self.upgrades.0 += more;
        self.upgrades.1 += more;
        assert_eq!(callees, 0, "it makes no calls");
    }
}

pub(super) fn encoded(args: impl ArgumentEncoder) -> Vec<u8> {
    encode_args(args).expect("the arguments can be encoded")
}
