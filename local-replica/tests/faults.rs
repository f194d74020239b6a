//! Each kind of fault on a small canister, in process and over HTTP.
#![forbid(unsafe_code)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::LazyLock;

use candid::Principal;
use ic_management_canister_types::CanisterInstallMode;
use local_replica::errors::Reject;
use local_replica::faults::{AnswerFault, Fault, MessageFault, Plan, Rates, Report, Schedule};
use local_replica::in_process::{InProcess, MessageId};
use pocket_ic::{ErrorCode, PocketIcBuilder};

static PUPPET: LazyLock<Vec<u8>> =
    LazyLock::new(|| wat::parse_str(include_str!("conformance/puppet.wat")).expect("valid WAT"));

const USER: Principal = Principal::anonymous();
const CYCLES: u128 = 100_000_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// Two puppets: `a` calls `b`.
struct World {
    host: InProcess,
    a: Principal,
    b: Principal,
}

impl World {
    fn new() -> Self {
        let mut host = InProcess::new();
        let mut puppet = || {
            let id = host.create_canister(USER, CYCLES).unwrap();
            let mode = CanisterInstallMode::Install;
            host.install(USER, id, mode, PUPPET.clone(), Vec::new())
                .unwrap();
            id
        };
        let (a, b) = (puppet(), puppet());
        Self { host, a, b }
    }

    fn with(faults: impl FnOnce(&Self) -> Vec<Fault>) -> Self {
        let mut world = Self::new();
        let schedule = Schedule(faults(&world));
        world
            .host
            .replica
            .faults
            .install(Plan::Schedule(schedule))
            .unwrap();
        world
    }

    fn send(&mut self, id: Principal, method: &str, payload: Vec<u8>) -> MessageId {
        self.host.send(USER, id, method, payload).unwrap()
    }

    /// Calls `inc` of `b` through `a`: the answer that the user gets.
    fn relay(&mut self, how: &str) -> Result<Vec<u8>, Reject> {
        let arg = relay_arg(self.b, "inc");
        let message = self.send(self.a, how, arg);
        for _ in 0..20 {
            self.host.replica.round();
            if let Some(answer) = self.host.take_answer(&message) {
                return answer;
            }
        }
        panic!("no answer");
    }

    fn inc(&mut self, id: Principal) -> Result<Vec<u8>, local_replica::in_process::Error> {
        self.host.update(USER, id, "inc", Vec::new())
    }

    fn counter(&mut self, id: Principal) -> u32 {
        number(&self.host.query(USER, id, "get", Vec::new()).unwrap())
    }

    fn counters(&mut self) -> (u32, u32) {
        (self.counter(self.a), self.counter(self.b))
    }

    fn report(&self) -> &Report {
        self.host.replica.faults.report()
    }

    /// Everything that a difference between two runs would show in.
    fn fingerprint(&mut self) -> String {
        let counters = self.counters();
        let replica = &self.host.replica;
        let canisters: Vec<_> = replica
            .canisters
            .values()
            .map(|it| {
                let mut hash = DefaultHasher::new();
                it.stable.read_all().hash(&mut hash);
                format!("{:?}", it.log).hash(&mut hash);
                (it.cycles, it.version, hash.finish())
            })
            .collect();
        format!(
            "{counters:?} {} {canisters:?}\n{}",
            replica.time_ns,
            self.report().applied
        )
    }
}

fn relay_arg(callee: Principal, method: &str) -> Vec<u8> {
    let callee = callee.as_slice();
    let mut arg = vec![callee.len() as u8];
    arg.extend_from_slice(callee);
    arg.push(method.len() as u8);
    arg.extend_from_slice(method.as_bytes());
    arg
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().unwrap())
}

/// Code and text of the reject that the puppet's callback saw.
fn seen(answer: Result<Vec<u8>, Reject>) -> (u32, String) {
    let bytes = answer.unwrap();
    let (code, text) = bytes.split_first_chunk::<4>().unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    (u32::from_le_bytes(*code), text)
}

fn message(canister: Principal, number: u64, what: MessageFault) -> Fault {
    Fault::Message {
        canister,
        number,
        what,
    }
}

fn answer(canister: Principal, what: AnswerFault) -> Fault {
    let number = 1;
    Fault::Answer {
        canister,
        number,
        what,
    }
}

/// A trap at the nth system call of a message of `a`, for all n until the message makes no more calls.
fn at_every_call(number: u64, check: impl Fn(&mut World)) {
    for call in 1.. {
        let what = MessageFault::TrapAtCall(call);
        let mut world = World::with(|world| vec![message(world.a, number, what)]);
        let result = world.relay("relay");
        let Report {
            applied, refused, ..
        } = world.report().clone();
        if applied.0.is_empty() {
            assert!(call > 2, "a puppet makes a few calls");
            assert_eq!(refused[0].1, "the message didn't get there");
            assert_eq!(number_of(result), 1);
            assert_eq!(world.counters(), (1, 1), "as without a fault");
            return;
        }
        let reject = result.unwrap_err();
        assert_eq!(reject.error, ErrorCode::CanisterTrapped);
        let text = format!("injected by local-replica at system call {call}");
        assert!(reject.message.contains(&text), "{}", reject.message);
        check(&mut world);
    }
}

fn number_of(answer: Result<Vec<u8>, Reject>) -> u32 {
    number(&answer.unwrap())
}

#[test]
fn a_trap_at_any_system_call_of_a_first_message_leaves_nothing() {
    at_every_call(1, |world| assert_eq!(world.counters(), (0, 0)));
}

#[test]
fn a_trap_at_any_system_call_of_a_callback_leaves_what_the_cleanup_does() {
    at_every_call(2, |world| assert_eq!(world.counters(), (1001, 1)));
}

#[test]
fn a_trap_at_any_instruction_leaves_the_state_before_or_after() {
    let mut trapped = 0;
    for count in 0..200 {
        let what = MessageFault::TrapAtInstruction(count * 20);
        let mut world = World::with(|world| vec![message(world.a, 1, what)]);
        let answer = world.inc(world.a);
        let applied = world.report().applied.0.len();
        assert_eq!(answer.is_err(), applied == 1);
        assert_eq!(world.counter(world.a), 1 - applied as u32);
        trapped += applied;
    }
    assert!((1..200).contains(&trapped));
}

#[test]
fn a_cleanup_can_trap_too_and_has_a_number_of_its_own() {
    let mut world = World::with(|world| {
        vec![
            message(world.a, 2, MessageFault::TrapAtCall(1)),
            message(world.a, 3, MessageFault::TrapAtInstruction(1)),
        ]
    });
    let reject = world.relay("relay").unwrap_err();
    assert!(reject.message.contains("call_on_cleanup also failed"));
    assert_eq!(world.counters(), (1, 1));
    assert_eq!(world.report().applied.0.len(), 2);
}

#[test]
fn nothing_comes_between_a_callback_and_its_cleanup() {
    let world = World::with(|world| vec![message(world.a, 3, MessageFault::Upgrade)]);
    let mut world = world;
    world.relay("relay_trap_in_reply").unwrap_err();
    assert_eq!(world.counter(world.a), 1000);
    let refused = &world.report().refused;
    assert_eq!(refused[0].1, "a cleanup follows its callback at once");
}

#[test]
fn an_answer_to_a_best_effort_call_can_be_lost() {
    let mut world = World::with(|world| vec![answer(world.a, AnswerFault::Lose)]);
    let (code, text) = seen(world.relay("relay_bounded"));
    assert_eq!(code, 6);
    assert!(text.contains("injected by local-replica"));
    assert_eq!(world.counter(world.b), 1, "the callee ran");
}

#[test]
fn an_answer_to_a_guaranteed_call_is_never_lost() {
    let mut world = World::with(|world| vec![answer(world.a, AnswerFault::Lose)]);
    assert_eq!(number_of(world.relay("relay")), 1);
    let (_, reason) = &world.report().refused[0];
    assert_eq!(
        reason,
        "the answer to a guaranteed-response call always arrives"
    );
    assert!(world.report().applied.0.is_empty());
}

#[test]
fn an_answer_can_be_late() {
    let rounds = 5;
    let mut world = World::with(|world| vec![answer(world.a, AnswerFault::Delay { rounds })]);
    let before = world.host.replica.time_ns;
    assert_eq!(number_of(world.relay("relay")), 1);
    assert_eq!(world.host.replica.time_ns - before, rounds + 1);
}

#[test]
fn an_answer_later_than_the_deadline_finds_no_one_waiting() {
    let delay = AnswerFault::Delay { rounds: 3 };
    let mut world = World::with(|world| vec![answer(world.a, delay)]);
    let arg = relay_arg(world.b, "inc");
    let message = world.send(world.a, "relay_bounded", arg);
    world.host.replica.round();
    world.host.replica.time_ns += 60 * SECOND;
    for _ in 0..5 {
        world.host.replica.round();
    }
    let answer = world.host.take_answer(&message).expect("answered");
    assert_eq!(seen(answer), (6, "Call deadline has expired.".to_owned()));
    assert_eq!(world.counter(world.b), 1);
}

#[test]
fn a_reject_can_come_although_the_callee_ran() {
    for code in [4, 5] {
        let mut world = World::with(|world| vec![answer(world.a, AnswerFault::Reject { code })]);
        assert_eq!(seen(world.relay("relay")).0, u32::from(code));
        assert_eq!(world.counter(world.b), 1);
    }
}

#[test]
fn what_the_ic_never_does_is_refused_when_installed() {
    let mut world = World::new();
    let id = world.a;
    let mut install = |fault: Fault| {
        let faults = &mut world.host.replica.faults;
        faults
            .install(Plan::Schedule(Schedule(vec![fault.clone(), fault])))
            .unwrap_err()
            .to_string()
    };
    let text = install(answer(id, AnswerFault::Reject { code: 3 }));
    assert!(text.contains("code 4 or 5 only"), "{text}");
    let text = install(message(id, 0, MessageFault::Upgrade));
    assert!(text.contains("start at 1"), "{text}");
    let text = install(message(id, 1, MessageFault::TrapAtCall(2)));
    assert!(text.contains("but once"), "{text}");
}

#[test]
fn users_messages_overtake_each_other() {
    let mut world = World::with(|world| vec![message(world.a, 1, MessageFault::Overtake)]);
    let first = world.send(world.a, "inc", Vec::new());
    let second = world.send(world.a, "inc", Vec::new());
    world.host.replica.round();
    assert_eq!(number_of(world.host.take_answer(&first).unwrap()), 2);
    assert_eq!(number_of(world.host.take_answer(&second).unwrap()), 1);
}

#[test]
fn messages_of_one_canister_keep_their_order() {
    let mut world = World::with(|world| vec![message(world.b, 1, MessageFault::Overtake)]);
    let arg = relay_arg(world.b, "inc");
    world
        .host
        .update(USER, world.a, "two_calls", arg)
        .expect("answered");
    assert_eq!(
        world.report().refused[0].1,
        "no message of another sender is waiting"
    );
}

#[test]
fn an_upgrade_between_two_messages() {
    let mut world = World::with(|world| vec![message(world.a, 2, MessageFault::Upgrade)]);
    for _ in 0..3 {
        world.inc(world.a).unwrap();
    }
    assert_eq!(
        world.counter(world.a),
        4,
        "the puppet's pre_upgrade counts too"
    );
}

#[test]
fn an_upgrade_while_a_call_is_in_flight() {
    let mut world = World::with(|world| vec![message(world.a, 2, MessageFault::Upgrade)]);
    assert_eq!(number_of(world.relay("relay")), 1);
    assert_eq!(world.counters(), (2, 1));
}

#[test]
fn a_stop_and_a_start() {
    let mut world =
        World::with(|world| vec![message(world.a, 1, MessageFault::Stop { rounds: 3 })]);
    let reject = format!("{:?}", world.inc(world.a).unwrap_err());
    assert!(reject.contains("CanisterStop"), "{reject}");
    for _ in 0..2 {
        let refused = world.inc(world.a).unwrap_err();
        assert!(refused.to_string().contains("is stopp"), "{refused}");
        world.host.replica.round();
    }
    world.host.replica.round();
    assert_eq!(number(&world.inc(world.a).unwrap()), 1);
}

#[test]
fn a_stop_waits_for_calls_in_flight() {
    let mut world =
        World::with(|world| vec![message(world.a, 2, MessageFault::Stop { rounds: 2 })]);
    assert_eq!(
        number_of(world.relay("relay")),
        1,
        "a stopping canister gets its answers"
    );
    assert!(world.inc(world.a).is_err());
}

#[test]
fn out_of_cycles_for_a_while() {
    let rounds = 2;
    let mut world =
        World::with(|world| vec![message(world.a, 1, MessageFault::OutOfCycles { rounds })]);
    let before = world.host.replica.canisters[&world.a].cycles;
    let reject = world.inc(world.a).unwrap_err();
    assert!(reject.to_string().contains("out of cycles"), "{reject}");
    for _ in 0..rounds {
        world.host.replica.round();
    }
    let after = world.host.replica.canisters[&world.a].cycles;
    assert!(after > before - before / 1_000, "the cycles are back");
    assert_eq!(number(&world.inc(world.a).unwrap()), 1);
}

#[test]
fn the_clock_jumps_between_two_messages() {
    let ns = 3_600 * SECOND;
    let mut world = World::with(|world| vec![message(world.a, 2, MessageFault::Clock { ns })]);
    let mut now = || {
        let id = world.a;
        let reply = world
            .host
            .update(USER, id, "now_update", Vec::new())
            .unwrap();
        u64::from_le_bytes(reply.try_into().unwrap())
    };
    let (first, second) = (now(), now());
    assert_eq!(second - first, ns + 1);
}

#[test]
fn a_users_answer_can_be_lost() {
    let mut world = World::with(|world| {
        let (canister, number) = (world.a, 1);
        vec![Fault::LoseIngressAnswer { canister, number }]
    });
    let first = world.send(world.a, "inc", Vec::new());
    for _ in 0..5 {
        world.host.replica.round();
        assert_eq!(world.host.take_answer(&first), None);
    }
    assert_eq!(world.counter(world.a), 1, "executed all the same");
    assert_eq!(number(&world.inc(world.a).unwrap()), 2);
}

/// Some traffic under the plan; what became of it.
fn run(plan: Plan) -> (String, Report) {
    let mut world = World::new();
    world.host.replica.faults.install(plan).unwrap();
    for round in 0..300 {
        for how in ["relay", "relay_bounded", "relay_trap_in_reply"] {
            for (from, to) in [(world.a, world.b), (world.b, world.a)] {
                // Refused while the canister is stopped or has no cycles.
                let _ = world.host.send(USER, from, how, relay_arg(to, "inc"));
            }
        }
        if round % 3 == 0 {
            world.host.replica.round();
        }
    }
    for _ in 0..20 {
        world.host.replica.round();
    }
    let report = world.report().clone();
    (world.fingerprint(), report)
}

#[test]
fn the_same_seed_gives_the_same_run_and_so_does_its_schedule() {
    let rates = Rates::all(20_000);
    for seed in 0..5 {
        let rates = rates.clone();
        let (fingerprint, report) = run(Plan::Seeded { seed, rates });
        assert!(report.applied.0.len() > 100, "{}", report.applied.0.len());
        let again = run(Plan::Seeded {
            seed,
            rates: Rates::all(20_000),
        });
        assert_eq!(fingerprint, again.0, "seed {seed}");
        let (replayed, _) = run(Plan::Schedule(report.applied.clone()));
        assert_eq!(fingerprint, replayed, "seed {seed}:\n{}", report.applied);
        let other = run(Plan::Seeded {
            seed: seed + 100,
            rates: Rates::all(20_000),
        });
        assert_ne!(fingerprint, other.0);
    }
}

#[test]
fn a_schedule_survives_json_and_reads_well() {
    let (_, report) = run(Plan::Seeded {
        seed: 1,
        rates: Rates::all(20_000),
    });
    let plan = Plan::Schedule(report.applied.clone());
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
    assert!(report.to_string().starts_with("seed 1, "));
    let text = report.applied.to_string();
    assert_eq!(text.lines().count(), report.applied.0.len());
    let id = World::new().a;
    let fault = message(id, 3, MessageFault::TrapAtCall(7));
    assert_eq!(
        fault.to_string(),
        format!("{id}, message 3: trap at system call 7")
    );
    let seeded: Plan =
        serde_json::from_str(r#"{"seeded":{"seed":7,"rates":{"upgrade":1000}}}"#).unwrap();
    let rates = Rates {
        upgrade: 1000,
        ..Rates::default()
    };
    assert_eq!(seeded, Plan::Seeded { seed: 7, rates });
}

#[test]
fn faults_end_when_told_to() {
    let mut world = World::with(|world| {
        vec![
            message(world.a, 1, MessageFault::Stop { rounds: 1_000 }),
            message(world.a, 2, MessageFault::Upgrade),
        ]
    });
    world.inc(world.a).unwrap_err();
    world.host.replica.faults.stop();
    world.host.replica.round();
    assert_eq!(number(&world.inc(world.a).unwrap()), 1);
    assert_eq!(world.report().applied.0.len(), 1);
}

#[test]
fn over_http_beside_the_unmodified_client() {
    let pic = PocketIcBuilder::new()
        .with_server_binary(PathBuf::from(env!("CARGO_BIN_EXE_local-replica")))
        .with_application_subnet()
        .build();
    let id = pic.create_canister();
    pic.install_canister(id, PUPPET.clone(), Vec::new(), None);
    let url = format!(
        "{}instances/{}/local-replica/faults",
        pic.get_server_url(),
        pic.instance_id()
    );
    let client = reqwest::blocking::Client::new();
    let fault = message(id, 2, MessageFault::TrapAtCall(1));
    let plan = Plan::Schedule(Schedule(vec![fault.clone()]));
    let body = serde_json::to_vec(&plan).unwrap();
    let response = client.post(&url).body(body).send().unwrap();
    assert!(response.status().is_success());
    let inc = || pic.update_call(id, USER, "inc", Vec::new());
    assert_eq!(number(&inc().unwrap()), 1);
    let reject = inc().unwrap_err();
    assert!(reject.reject_message.contains("injected by local-replica"));
    assert_eq!(number(&inc().unwrap()), 2);
    let report = client.get(&url).send().unwrap().bytes().unwrap();
    let report: Report = serde_json::from_slice(&report).unwrap();
    assert_eq!(report.applied, Schedule(vec![fault]));
    assert_eq!(report.messages, 3);
    assert!(client.delete(&url).send().unwrap().status().is_success());
    let bad = client.post(&url).body("{}").send().unwrap();
    assert_eq!(bad.status().as_u16(), 400);
}
