//! One run: users, a canister that calls for users, the canister under test, and faults.

use candid::{Principal, encode_args};
use integration_tests::user;
use local_replica::errors::Reject;
use local_replica::faults::{Fault, MessageFault, Plan, Rates};
use local_replica::in_process::{CanisterInstallMode, Error, InProcess};

use super::clients::{KEYS, Request, Said, Sent, Told};
use super::outcome::Outcome;
use crate::calls::{Answered, answers, is_by_fault, unless_explained};
use crate::seeds::Failure;

/// Enough for any run.
const CYCLES: u128 = 1_000_000_000_000_000_000;
/// Requests sent between two rounds.
const REQUESTS_PER_ROUND: usize = 12;
/// Rounds between two looks at the canister's own books.
const AUDIT_ROUNDS: u64 = 200;
/// For how long after an upgrade answers to calls from before may come, and do harm.
const STRAY_ROUNDS: u64 = 10;
const SECOND_NS: u64 = 1_000_000_000;

/// The faults of a seed. They happen to the caller as well as to the canister under test.
pub(crate) fn plan_of(seed: u64) -> Plan {
    let rates = Rates {
        overtake: 50_000,
        upgrade: 6_000,
        upgrade_trap: 2_000,
        stop: 600,
        out_of_cycles: 400,
        clock: 2_000,
        trap_at_call: 15_000,
        trap_at_instruction: 15_000,
        lose_answer: 100_000,
        delay_answer: 50_000,
        reject_answer: 20_000,
        lose_ingress_answer: 50_000,
        max_call: 80,
        max_instruction: 400_000,
        clock_jumps_ns: [1, 600, 1_800, 3_600, 7_300]
            .map(|seconds| seconds * SECOND_NS)
            .to_vec(),
        ..Rates::default()
    };
    Plan::Seeded { seed, rates }
}

/// One run, but for its faults.
#[derive(Clone, Copy)]
pub(crate) struct Scenario<'a> {
    /// Decides on the users' choices.
    pub(crate) seed: u64,
    pub(crate) deliveries: u64,
    /// Users call the endpoint without the library.
    pub(crate) unprotected: bool,
    pub(crate) wasm: &'a [u8],
}

struct Run {
    unprotected: bool,
    host: InProcess,
    random: fastrand::Rng,
    /// Calls for users.
    caller: Principal,
    /// Under test.
    canister: Principal,
    told: Told,
    sent: Vec<Sent>,
    /// Of the canister under test, and of both.
    upgrades: (u64, u64),
    /// The round of the last one.
    upgraded: u64,
    /// Faults that are counted already.
    counted: usize,
    round: u64,
    outcome: Outcome,
}

/// Runs a plan until so many messages were executed.
pub(crate) fn run(scenario: Scenario<'_>, plan: Plan) -> Result<Outcome, Failure> {
    let mut run = Run::new(scenario).expect("two canisters can be installed");
    run.host
        .replica
        .faults
        .install(plan)
        .expect("the plan is possible");
    let what = run.play(scenario.deliveries);
    Failure::unless_kept(what, &run.host)?;
    Ok(run.outcome)
}

impl Run {
    fn new(scenario: Scenario<'_>) -> Result<Self, Error> {
        let mut host = InProcess::new();
        let controller = user(255);
        let mut install = || {
            let id = host.create_canister(controller, CYCLES)?;
            let mode = CanisterInstallMode::Install;
            let arg = encode_args(()).expect("nothing can be encoded");
            host.install(controller, id, mode, scenario.wasm.to_vec(), arg)?;
            Ok::<_, Error>(id)
        };
        let (caller, canister) = (install()?, install()?);
        Ok(Self {
            unprotected: scenario.unprotected,
            host,
            random: fastrand::Rng::with_seed(!scenario.seed),
            caller,
            canister,
            told: Told::default(),
            sent: Vec::new(),
            upgrades: (0, 0),
            upgraded: 0,
            counted: 0,
            round: 0,
            outcome: Outcome::default(),
        })
    }

    fn play(&mut self, deliveries: u64) -> Result<(), String> {
        while self.host.replica.faults.report().messages < deliveries {
            for _ in 0..self.random.usize(1..=REQUESTS_PER_ROUND) {
                let key = self.random.u64(..KEYS);
                self.send(Request { key });
            }
            self.step()?;
            if self.round.is_multiple_of(AUDIT_ROUNDS) {
                self.audit()?;
            }
        }
        self.outcome.deliveries = self.host.replica.faults.report().messages;
        self.settle()?;
        self.audit()?;
        self.outcome.faults = self.counted as u64;
        self.outcome.upgrades = self.upgrades.0;
        Ok(())
    }

    fn send(&mut self, request: Request) {
        let raw = [&request.key.to_le_bytes()[..], &[request.awaits()]].concat();
        let (to, payload) = if request.is_relayed() {
            let args = (self.canister, request.key, request.awaits(), None::<u64>);
            (
                self.caller,
                encode_args(args).expect("four values can be encoded"),
            )
        } else {
            (self.canister, raw)
        };
        let sender = user(request.user());
        let method = if self.unprotected && !request.is_relayed() {
            "act_unprotected"
        } else {
            request.method()
        };
        match self.host.send(sender, to, method, payload) {
            Ok(message) => {
                let patience = self.round + self.random.u64(1..40);
                let sent = self
                    .told
                    .sent(request, message, patience, self.round, self.upgrades.1);
                self.sent.push(sent);
            }
            // Stopped, or out of cycles.
            Err(_) => self.outcome.refused += 1,
        }
    }

    /// A round, and the answers that came in it.
    fn step(&mut self) -> Result<(), String> {
        self.host.replica.round();
        self.round += 1;
        self.count_faults();
        let (answers, given_up) = answers(&mut self.host, self.round, &mut self.sent);
        self.outcome.given_up += given_up;
        for (sent, answer) in answers {
            self.hear(&sent, answer)?;
        }
        Ok(())
    }

    fn hear(&mut self, sent: &Sent, answer: Answered) -> Result<(), String> {
        let now = self.host.replica.time_ns;
        let bytes = match answer {
            Ok(bytes) => bytes,
            Err(reject) => {
                self.outcome.rejected += 1;
                return self.explain(sent, &reject);
            }
        };
        let bytes = if sent.request.is_relayed() {
            candid::decode_one(&bytes).map_err(|error| error.to_string())?
        } else {
            bytes
        };
        match self.told.hear(sent, &bytes, now)? {
            Said::Done => self.outcome.done += 1,
            Said::InProgress => self.outcome.in_progress += 1,
            Said::OutcomeUnknown => self.outcome.unknown += 1,
            Said::Nothing => {}
            Said::Misrouted(whose) if self.may_be_mixed_up(sent, whose) => {
                self.outcome.misrouted += 1;
            }
            Said::Misrouted(whose) => {
                return Err(format!("{sent:?} has the answer to {whose:?}"));
            }
        }
        Ok(())
    }

    /// A reject that no fault explains is a bug of someone's.
    fn explain(&self, sent: &Sent, reject: &Reject) -> Result<(), String> {
        let is_explained = is_by_fault(reject) || self.is_cut_off(sent) || self.may_be_harmed(sent);
        unless_explained(is_explained, sent, reject)
    }

    /// Whether an upgrade forgot the call: what answers it was waiting for come as a surprise to the new heap.
    fn is_cut_off(&self, sent: &Sent) -> bool {
        sent.upgrades < self.upgrades.1
    }

    /// Whether an answer to a call from before an upgrade may have hit memory that the request needs, as the docs of the library's
    /// `attempt` say: ic-cdk writes to it, mostly but not always in a message that traps.
    fn may_be_harmed(&self, sent: &Sent) -> bool {
        self.upgrades.1 > 0 && sent.round < self.upgraded + STRAY_ROUNDS
    }

    /// Whether the answer may be that to another request, as the docs of the library's `attempt` say: to a request of the same
    /// caller that came after an upgrade.
    fn may_be_mixed_up(&self, sent: &Sent, whose: Request) -> bool {
        self.is_cut_off(sent) && whose.has_the_caller_of(sent.request)
    }

    /// No more faults: everything ends. Then, after an upgrade, what is remembered is answered as before, and nothing is
    /// taken to be running that isn't.
    fn settle(&mut self) -> Result<(), String> {
        self.host.replica.faults.stop();
        for _ in 0..50 {
            self.step()?;
        }
        self.host
            .replica
            .upgrade_to_same_code(self.canister)
            .map_err(|reject| reject.message)?;
        self.upgrades.0 += 1;
        let in_progress = self.outcome.in_progress;
        for key in 0..KEYS {
            self.send(Request { key });
            for _ in 0..5 {
                self.step()?;
            }
        }
        if self.outcome.in_progress > in_progress {
            return Err("in progress in a heap that is gone".to_owned());
        }
        if self.sent.is_empty() {
            Ok(())
        } else {
            Err(format!("no answer without faults: {:?}", self.sent))
        }
    }

    /// The canister's own books: nothing ran twice, and the store holds what it must.
    fn audit(&mut self) -> Result<(), String> {
        let Ok(effects) = self.query::<(u64, u64, u64, u64, u64)>("effects_of", (KEYS,)) else {
            // Stopped, or out of cycles: the next audit sees it.
            return Ok(());
        };
        let (repeated, strays, executions, finished, mixed_up) = effects;
        if repeated > 0 {
            return Err(format!(
                "{repeated} effects came twice within the window, of {executions}"
            ));
        }
        if strays > 0 {
            return Err(format!("{strays} executions were given others' answers"));
        }
        if finished > executions {
            return Err(format!("{finished} of {executions} executions ended"));
        }
        (self.outcome.executions, self.outcome.finished) = (executions, finished);
        self.outcome.mixed_up = mixed_up;
        let (AllStats { main },) = self.query("stats", ())?;
        let remembered = self.told.remembered(self.host.replica.time_ns).count() as u64;
        if main.entries < remembered || main.entries > main.capacity {
            return Err(format!(
                "{} entries, {remembered} must be there",
                main.entries
            ));
        }
        let incarnation = 1 + self.upgrades.0;
        if main.incarnation != incarnation {
            return Err(format!(
                "incarnation {}, after {incarnation} heaps",
                main.incarnation
            ));
        }
        Ok(())
    }

    fn query<T: for<'a> candid::utils::ArgumentDecoder<'a>>(
        &mut self,
        method: &str,
        args: impl candid::utils::ArgumentEncoder,
    ) -> Result<T, String> {
        let arg = encode_args(args).expect("the arguments can be encoded");
        let reply = self
            .host
            .query(user(1), self.canister, method, arg)
            .map_err(|error| error.to_string())?;
        candid::decode_args(&reply).map_err(|error| error.to_string())
    }

    fn count_faults(&mut self) {
        let faults = &self.host.replica.faults.report().applied.0;
        for fault in &faults[self.counted..] {
            if let Fault::Message {
                canister,
                what: MessageFault::Upgrade,
                ..
            } = fault
            {
                self.upgrades.0 += u64::from(*canister == self.canister);
                self.upgrades.1 += 1;
                self.upgraded = self.round;
            }
        }
        self.counted = faults.len();
    }
}

/// Of the test canister's stores, as far as they are looked at.
#[derive(candid::CandidType, serde::Deserialize)]
struct AllStats {
    main: Stats,
}

/// Of a store, as far as it is looked at.
#[derive(candid::CandidType, serde::Deserialize)]
struct Stats {
    entries: u64,
    capacity: u64,
    incarnation: u64,
}
