//! One run: clients that send numbers in order, again, ahead and out of order, an operator, and faults.

use std::collections::BTreeSet;

use candid::utils::{ArgumentDecoder, ArgumentEncoder};
use candid::{Principal, encode_args};
use integration_tests::user;
use local_replica::errors::Reject;
use local_replica::faults::{Fault, MessageFault, Plan};
use local_replica::in_process::{CanisterInstallMode, Error, InProcess, MessageId};

use super::lane::{COUNTED, Kind, Lane, Said, Sent};
use super::types::{Answer, Failure as AnswerFailure, FreedLane, Refusal};
use crate::calls::{Answered, answers, is_by_fault, unless_explained};
use crate::seeds::{Counts, DELIVERIES, Failure};

/// Enough for any run.
const CYCLES: u128 = 1_000_000_000_000_000_000;
/// Of heaps that took an answer to another heap's call.
const RENEWED: &str = "heaps renewed";
/// Requests sent between two rounds.
const REQUESTS_PER_ROUND: usize = 16;
/// Rounds between two looks at the canister's own books.
const AUDIT_ROUNDS: u64 = 100;
/// Without faults all calls are answered so many rounds later.
const QUIET_ROUNDS: u64 = 10;
/// How long a round takes: replies are remembered for 90 rounds.
const ROUND_NS: u64 = 40_000_000_000;
/// Of each lane in the end: all that is remembered, and some that are forgotten.
const LAST_NUMBERS: u64 = 100;
/// Users with lanes of each kind.
const USERS: u8 = 3;
/// Lanes of a user where there may be several.
const LANES: u64 = 2;

struct Run {
    host: InProcess,
    random: fastrand::Rng,
    canister: Principal,
    lanes: Vec<Lane>,
    sent: Vec<Sent>,
    /// Of its operator: a lane, a number, and what came of it.
    freeing: Vec<(usize, u64, MessageId)>,
    upgrades: u64,
    /// Faults that are counted already.
    counted: usize,
    round: u64,
    counts: Counts,
}

/// Runs a plan until so many messages were executed.
pub(super) fn run(wasm: &[u8], seed: u64, deliveries: u64, plan: Plan) -> Result<Counts, Failure> {
    let mut run = Run::new(wasm, seed).expect("a canister can be installed");
    run.host
        .replica
        .faults
        .install(plan)
        .expect("the plan is possible");
    let what = run.play(deliveries);
    Failure::unless_kept(what, &run.host)?;
    Ok(run.counts)
}

impl Run {
    fn new(wasm: &[u8], seed: u64) -> Result<Self, Error> {
        let mut host = InProcess::new();
        // What an answer to a call from before an upgrade may do to a heap is no promise of the library's.
        host.replica.renews_heaps = true;
        let canister = host.create_canister(operator(), CYCLES)?;
        let mode = CanisterInstallMode::Install;
        host.install(operator(), canister, mode, wasm.to_vec(), encoded(()))?;
        let mut lanes = vec![];
        for user in 1..=USERS {
            lanes.extend((0..LANES).map(|lane| Lane::new(Kind::Strict, user, lane)));
            lanes.push(Lane::new(Kind::Brief, user, 0));
            lanes.push(Lane::new(Kind::Pipelined, user, 0));
            lanes.push(Lane::new(Kind::Async, user, 0));
        }
        Ok(Self {
            host,
            random: fastrand::Rng::with_seed(!seed),
            canister,
            lanes,
            sent: Vec::new(),
            freeing: Vec::new(),
            upgrades: 0,
            counted: 0,
            round: 0,
            counts: Counts::default(),
        })
    }

    fn play(&mut self, deliveries: u64) -> Result<(), String> {
        while self.host.replica.faults.report().messages < deliveries {
            for _ in 0..self.random.usize(1..=REQUESTS_PER_ROUND) {
                self.choose();
            }
            self.step(ROUND_NS)?;
            if self.round.is_multiple_of(AUDIT_ROUNDS) {
                self.audit()?;
            }
        }
        self.settle()?;
        let deliveries = self.host.replica.faults.report().messages;
        for (what, number) in [
            (DELIVERIES, deliveries),
            ("faults", self.counted as u64),
            ("upgrades", self.upgrades),
        ] {
            self.counts.add(what, number);
        }
        Ok(())
    }

    /// Some request of some lane: the next one, one again, one ahead of its turn, or another with a number that was used.
    fn choose(&mut self) {
        let at = self.random.usize(..self.lanes.len());
        let lane = &self.lanes[at];
        let (least, most, kind) = (lane.least(), lane.most(), lane.kind);
        if let Some(stuck) = lane.stuck()
            && self.random.u8(..4) == 0
        {
            return self.free(at, stuck);
        }
        let ahead = match kind {
            Kind::Pipelined => 80,
            Kind::Strict | Kind::Brief | Kind::Async => 4,
        };
        let number = match self.random.u8(..8) {
            0 | 1 => least + self.random.u64(..ahead),
            // What may still be remembered, or was just forgotten.
            2 => self.random.u64(least.saturating_sub(80)..=least),
            3 => self.random.u64(..=least),
            4 => most,
            _ => least,
        };
        let is_other = kind != Kind::Brief && lane.is_done(number) && self.random.u8(..8) == 0;
        self.send(at, number, is_other);
    }

    fn send(&mut self, at: usize, number: u64, is_other: bool) {
        let now = self.host.replica.time_ns;
        let lane = &mut self.lanes[at];
        let (certain, arg) = lane.send(number, is_other, now);
        let (client, endpoint) = (lane.client(), lane.endpoint());
        match self.host.send(client, self.canister, endpoint, arg) {
            Ok(message) => self.sent.push(Sent {
                lane: at,
                number,
                is_other,
                message,
                patience: self.round + self.random.u64(1..40),
                upgrades: self.upgrades,
                certain,
            }),
            // Stopped, or out of cycles.
            Err(_) => self.counts.count("refused at once"),
        }
    }

    fn free(&mut self, at: usize, number: u64) {
        let lane = &self.lanes[at];
        let arg = encoded((lane.endpoint(), lane.client(), number));
        if let Ok(message) = self.host.send(operator(), self.canister, "free_lane", arg) {
            self.freeing.push((at, number, message));
        }
    }

    /// A round, and the answers that came in it.
    fn step(&mut self, time_ns: u64) -> Result<(), String> {
        self.host.replica.time_ns += time_ns;
        self.host.replica.round();
        self.round += 1;
        self.count_faults();
        for (at, number, message) in std::mem::take(&mut self.freeing) {
            // It may have been done, too, if the answer does not come.
            if let Some(Ok(answer)) = self.host.take_answer(&message) {
                let freed = candid::decode_one(&answer).map_err(|error| error.to_string())?;
                if let FreedLane::Freed { .. } = freed {
                    self.counts.count("lanes freed");
                }
            }
            self.host.forget(&message);
            self.lanes[at].is_perhaps_freed(number);
        }
        let (answers, given_up) = answers(&mut self.host, self.round, &mut self.sent);
        self.counts.add("given up", given_up);
        for (sent, answer) in answers {
            self.hear(&sent, answer)?;
        }
        Ok(())
    }

    fn hear(&mut self, sent: &Sent, answer: Answered) -> Result<(), String> {
        let is_brief = self.lanes[sent.lane].kind == Kind::Brief;
        let answer = match answer {
            Ok(bytes) if is_brief => candid::decode_one::<u64>(&bytes)
                .map(|execution| Ok(format!("{execution}: {COUNTED}"))),
            Ok(bytes) => candid::decode_one::<Answer>(&bytes),
            Err(reject) => match Refusal::in_text(&reject.message).filter(|_| is_brief) {
                Some(refusal) => Ok(Err(AnswerFailure::Idempotency(refusal))),
                None => {
                    self.counts.count("rejected");
                    return self.explain(sent, &reject);
                }
            },
        };
        let answer =
            answer.map_err(|error| format!("{sent:?} is told what nobody understands: {error}"))?;
        let now = self.host.replica.time_ns;
        let is_cut_off = sent.upgrades < self.upgrades;
        let said = self.lanes[sent.lane].hear(sent, &answer, now, is_cut_off)?;
        self.counts.count(match said {
            Said::Executed => "executed",
            Said::Replayed => "replays",
            Said::InProgress => "in progress",
            Said::Unknown => "unknown",
            Said::Gap => "gaps",
            Said::TooOld => "too old",
            Said::Reused => "keys reused",
            Said::Doubtful => "doubtful",
            // As the docs of the library's `attempt` say: to a request of the same caller that came after an upgrade.
            Said::Misrouted(_) if is_cut_off => "given the answer to another request of theirs",
            Said::Misrouted(whose) => {
                return Err(format!("{sent:?} has the answer to number {whose}"));
            }
        });
        Ok(())
    }

    /// A reject that no fault explains is a bug of someone's.
    fn explain(&self, sent: &Sent, reject: &Reject) -> Result<(), String> {
        let by_fault = is_by_fault(reject)
            || sent.upgrades < self.upgrades
            // The endpoint's own call was rejected.
            || reject.message.contains("a call to oneself");
        unless_explained(by_fault, sent, reject)
    }

    /// No more faults: everything ends, each lane goes on where it must, and what was answered is answered so again.
    fn settle(&mut self) -> Result<(), String> {
        self.host.replica.faults.stop();
        for _ in 0..QUIET_ROUNDS {
            self.step(ROUND_NS)?;
        }
        let upgraded = self.host.replica.upgrade_to_same_code(self.canister);
        upgraded.map_err(|reject| reject.message)?;
        self.upgrades += 1;
        self.audit()?;
        for at in 0..self.lanes.len() {
            let most = self.lanes[at].most();
            for number in most.saturating_sub(LAST_NUMBERS)..most {
                self.send(at, number, false);
                // A lane that nobody uses for hours is forgotten.
                self.step(0)?;
            }
        }
        if !self.sent.is_empty() {
            return Err(format!("no answer without faults: {:?}", self.sent));
        }
        self.audit()
    }

    /// The canister's own books: each number ran once, and its lane is behind it.
    fn audit(&mut self) -> Result<(), String> {
        for kind in [Kind::Strict, Kind::Brief, Kind::Pipelined, Kind::Async] {
            let (mut next, mut answered) = (0, BTreeSet::<u64>::new());
            let mut lanes = 0;
            for at in 0..self.lanes.len() {
                let lane = &self.lanes[at];
                if lane.kind != kind {
                    continue;
                }
                lanes += 1;
                let (least, most) = (lane.least(), lane.most());
                let (client, place) = (lane.client(), lane.place());
                let expected = answered.len() + lane.executions().len();
                answered.extend(lane.executions().keys().copied());
                if answered.len() < expected {
                    return Err(format!(
                        "two lanes have an execution of {place:?} in common"
                    ));
                }
                let Ok((goes_on,)) = self.query::<(u64,)>(client, "next_sequence", place) else {
                    // Stopped, or out of cycles: the next audit sees it.
                    return Ok(());
                };
                if !(least..=most).contains(&goes_on) {
                    return Err(format!(
                        "lane {at} goes on with {goes_on}, not {least} to {most}"
                    ));
                }
                next += goes_on;
            }
            let endpoint = match kind {
                Kind::Strict => "step_in_lane",
                Kind::Brief => "count_in_order",
                Kind::Pipelined => "stream",
                Kind::Async => "work_in_order",
            };
            let (executions,) = self.query::<(u64,)>(user(1), "executions", (endpoint,))?;
            // How many numbers may have run beyond that with which the lane goes on.
            let beyond = match kind {
                Kind::Strict | Kind::Brief => 0,
                Kind::Pipelined => 63 * lanes,
                Kind::Async => lanes,
            };
            if !(next..=next + beyond).contains(&executions) {
                return Err(format!(
                    "{endpoint}: {executions} executions, and {next} numbers of all lanes"
                ));
            }
            if answered.last().is_some_and(|last| *last > executions) {
                return Err(format!(
                    "{endpoint}: {executions} executions, and {answered:?}"
                ));
            }
        }
        self.counts.count("audits");
        Ok(())
    }

    fn query<T: for<'a> ArgumentDecoder<'a>>(
        &mut self,
        sender: Principal,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Result<T, String> {
        let reply = self
            .host
            .query(sender, self.canister, method, encoded(args));
        let reply = reply.map_err(|error| error.to_string())?;
        candid::decode_args(&reply).map_err(|error| error.to_string())
    }

    fn count_faults(&mut self) {
        let faults = &self.host.replica.faults.report().applied.0;
        for fault in &faults[self.counted..] {
            if let Fault::Message { what, .. } = fault {
                match what {
                    MessageFault::Upgrade => self.upgrades += 1,
                    MessageFault::UpgradeTrap { .. } => self.counts.count("upgrades that failed"),
                    MessageFault::TrapAtCall(_) | MessageFault::TrapAtInstruction(_) => {
                        self.counts.count("traps");
                    }
                    MessageFault::Overtake => self.counts.count("overtaken"),
                    _ => {}
                }
            }
        }
        self.counted = faults.len();
        let renewed = self.host.replica.renewed.get(&self.canister);
        let more = renewed.copied().unwrap_or(0) - self.counts.get(RENEWED);
        self.counts.add(RENEWED, more);
        self.upgrades += more;
    }
}

/// Who installed the canister.
fn operator() -> Principal {
    user(255)
}

fn encoded(args: impl ArgumentEncoder) -> Vec<u8> {
    encode_args(args).expect("the arguments can be encoded")
}
