//! The second look: a request that an archive may hold runs only when the archive has said that it does not have it, however many calls wait for
//! that, and whatever goes wrong.
//!
//! Natively, `attempt/tests/archives/interleavings.rs` has the same with shipments between, quotas and full stores.

use std::time::Duration;

use candid::{CandidType, Principal, decode_one, encode_args, encode_one};
use idempotency_core::{
    IdempotencyError,
    archive::{Overview, wire::Install},
};
use integration_tests::{
    ARCHIVE, ARCHIVED_CANISTER,
    archived::{Answer, Failure, REPLIES, Settings},
    user,
};
use local_replica::{
    explore::{FaultKind, Message, System, View},
    in_process::{CanisterInstallMode, InProcess},
};
use serde::Deserialize;
use serde_bytes::ByteBuf;

use crate::world::{ALL, CLIENT, OF_MESSAGES, answer, ask, bounds, create, explored, install};

#[derive(CandidType)]
struct Uninstalled {
    canister_id: Principal,
}

/// What its store says.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
struct Stats {
    entries: u64,
    bytes: u64,
    counters: u64,
    in_progress: u64,
    unknown: u64,
}

const DAY: u64 = 86_400;
const KEY: u64 = 1;
const ELSEWHERE: u64 = 2;

/// The method that is called, and with which arguments besides the key: a number of another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Pay,
    /// Nobody but users is let in by its guard.
    PayTogether,
    /// It is async, and makes so many calls.
    PayLater,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Pay => "pay",
            Self::PayTogether => "pay_together",
            Self::PayLater => "pay_later",
        }
    }

    fn arguments(self, key: u64, number: u8) -> Vec<u8> {
        let arguments = match self {
            Self::Pay | Self::PayTogether => encode_args((key, u64::from(number))),
            Self::PayLater => encode_args((key, number)),
        };
        arguments.expect("they encode")
    }
}

/// Its only request was executed long ago, and shipped to its archive: the filter takes it for known.
#[derive(Clone, Copy, Debug)]
struct Archived {
    canister: Principal,
    archive: Principal,
    method: Method,
    /// Those that its request counted for.
    bytes: u64,
}

fn installed_by(owner: Principal) -> Install {
    Install {
        owner,
        keeps_replies: true,
        capacity: 1_000_000,
        capacity_bytes: 1 << 30,
        cycles: 0u8.into(),
    }
}

/// A canister with an archive.
fn with_archive(host: &mut InProcess, archive: Principal) -> Principal {
    let canister = create(host);
    let settings = Settings {
        keep: REPLIES,
        window: DAY,
        capacity: 1_000,
        one_in: 1_024,
        archives: vec![archive],
        module: ByteBuf::new(),
        archive_capacity: 1_000_000,
        is_forgotten: false,
    };
    install(host, canister, ARCHIVED_CANISTER, (settings,));
    canister
}

/// A canister executes a request, and ships it. For how many bytes it counted.
fn archive(host: &mut InProcess, canister: Principal, method: Method, key: u64) -> u64 {
    let arguments = method.arguments(key, 1);
    let paid = host.update(user(CLIENT), canister, method.name(), arguments);
    let paid: Answer = decode_one(&paid.expect("it answers")).expect("an answer");
    assert_eq!(paid, Ok(1));
    let none = encode_args(()).expect("it encodes");
    let stats = host.query(user(CLIENT), canister, "stats", none.clone());
    let stats: Stats = decode_one(&stats.expect("it answers")).expect("statistics");
    // Until no timer is set any more.
    for _ in 0..4 {
        let later = host.replica.time_ns + 2 * DAY * 1_000_000_000;
        host.replica.set_time(later).expect("it is later");
        for _ in 0..20 {
            host.replica.round();
        }
    }
    let overview = host.query(user(CLIENT), canister, "overview", none);
    let overview: Option<Overview> = decode_one(&overview.expect("it answers")).expect("it is one");
    let overview = overview.expect("the archives' memory is sound");
    assert_eq!((overview.waiting, overview.archives[0].requests), (0, 1));
    stats.bytes
}

impl Archived {
    fn new(host: &mut InProcess, method: Method) -> Self {
        let its = create(host);
        let canister = with_archive(host, its);
        install(host, its, ARCHIVE, (installed_by(canister),));
        let bytes = archive(host, canister, method, KEY);
        Self {
            canister,
            archive: its,
            method,
            bytes,
        }
    }

    /// The archive has as many requests, but not this one: it says what it says of a request about which the filter is wrong.
    fn deny(self, host: &mut InProcess) {
        let other = with_archive(host, self.archive);
        self.change(host, CanisterInstallMode::Reinstall, other);
        archive(host, other, self.method, ELSEWHERE);
        let arg = encode_one(Uninstalled { canister_id: other }).expect("it encodes");
        let management = Principal::management_canister();
        let uninstalled = host.update(Principal::anonymous(), management, "uninstall_code", arg);
        uninstalled.expect("it is ours");
        self.change(host, CanisterInstallMode::Upgrade(None), self.canister);
    }

    /// Installs the archive, for an owner.
    fn change(self, host: &mut InProcess, mode: CanisterInstallMode, owner: Principal) {
        let arg = encode_one(installed_by(owner)).expect("it encodes");
        let controller = Principal::anonymous();
        let changed = host.install(controller, self.archive, mode, ARCHIVE.read(), arg);
        changed.expect("the module is sound");
    }

    fn message(self, number: u8) -> Message {
        let arguments = self.method.arguments(KEY, number);
        Message::new(user(CLIENT), self.canister, self.method.name(), arguments)
    }

    /// How often it has paid since it was archived.
    fn paid(self, view: &mut View<'_>) -> Result<u64, String> {
        let paid: Vec<(u64, u64)> = ask(view, self.canister, "paid", (0u64, 10u64))?;
        Ok(paid.iter().map(|(_, times)| times).sum::<u64>() - 1)
    }

    fn stats(self, view: &mut View<'_>) -> Result<Stats, String> {
        ask(view, self.canister, "stats", ())
    }
}

/// The numbers that the calls have besides the key, which are other arguments.
const CALLS: [u8; 3] = [1, 1, 0];

/// Whom it concerns: an archive that has it, or one that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    Archived,
    New,
}

/// What clients are told fits together: the answers of those that were told one.
fn check_told(
    told: &[(u8, Answer)],
    paid: u64,
    method: Method,
    truth: Truth,
) -> Result<(), String> {
    let mut replied = vec![];
    for (number, answer) in told {
        let is_fine = match (answer, truth) {
            (Ok(payment), Truth::Archived) => *payment == 1 && *number == 1,
            (Ok(payment), Truth::New) => *payment == 2 && paid == 1,
            // Its own call has failed, and so it has not paid.
            (Err(Failure::Own(_)), _) => {
                method == Method::PayLater && truth == Truth::New && paid == 0
            }
            (Err(Failure::Idempotency(error)), _) => match error {
                IdempotencyError::KeyReused => truth == Truth::New || *number != 1,
                IdempotencyError::Other { code, .. } => *code == 8,
                IdempotencyError::InProgress { .. } | IdempotencyError::OutcomeUnknown { .. } => {
                    method == Method::PayLater && truth == Truth::New
                }
                _ => false,
            },
        };
        if !is_fine {
            return Err(format!("{number} is told {answer:?} after {paid} payments"));
        }
        if let Ok(_) | Err(Failure::Own(_)) = answer {
            replied.push((number, answer));
        }
    }
    match replied.windows(2).all(|two| two[0] == two[1]) {
        true => Ok(()),
        false => Err(format!("two are told what differs: {told:?}")),
    }
}

fn told(view: &View<'_>, calls: &[u8]) -> Result<Vec<(u8, Answer)>, String> {
    let mut all = vec![];
    for (message, number) in calls.iter().enumerate() {
        if let Some(Ok(answer)) = answer::<Answer>(view, message)? {
            all.push((*number, answer));
        }
    }
    Ok(all)
}

fn system(world: Archived, host: InProcess, calls: &'static [u8], truth: Truth) -> System {
    let system = System::new(host)
        .name(world.canister, "canister")
        .name(world.archive, "archive")
        .faults_of([world.canister, world.archive])
        .bounds(bounds(Duration::from_secs(50 * 60)));
    let messages = calls.iter().map(|number| world.message(*number));
    messages
        .fold(system, System::message)
        .always("it pays once at most", move |view| {
            let most = u64::from(truth == Truth::New);
            match world.paid(view)? {
                paid if paid <= most => Ok(()),
                paid => Err(format!("{paid} payments")),
            }
        })
        .always("what is told fits together", move |view| {
            let paid = world.paid(view)?;
            check_told(&told(view, calls)?, paid, world.method, truth)
        })
        .finally(
            "nobody waits, and who was refused has left nothing",
            move |view| {
                let (paid, stats) = (world.paid(view)?, world.stats(view)?);
                let waits = view.calls(world.canister).count();
                let has_answer = |message| view.answer(message).is_some() || view.is_lost(message);
                let are_answered = (0..calls.len()).all(has_answer);
                // One that has not paid, has failed or is unknown, or counts as running as its cleanup has trapped, too.
                let is_open = world.method == Method::PayLater && paid == 0;
                let bytes = stats.entries * world.bytes;
                let is_fine = waits == 0
                    && are_answered
                    && (stats.in_progress == 0 || is_open)
                    && (stats.unknown == 0 || is_open)
                    && (stats.entries == paid || is_open && stats.entries == 1)
                    && (stats.bytes == bytes || is_open)
                    && stats.counters == 0;
                match is_fine {
                    true => Ok(()),
                    false => Err(format!("{waits} wait, {paid} payments, {stats:?}")),
                }
            },
        )
}

fn second_look(method: Method, truth: Truth, calls: &'static [u8], faults: (u32, &[FaultKind])) {
    let mut host = InProcess::new();
    let world = Archived::new(&mut host, method);
    if truth == Truth::New {
        world.deny(&mut host);
    }
    let (most, kinds) = faults;
    let system = system(world, host, calls, truth).faults(most, kinds.iter().copied());
    explored(
        &format!("{method:?}, {truth:?}, {calls:?}, {most} faults"),
        system,
    );
}

/// What may happen to two calls. A canister that is stopped, or has no cycles, can be so for ever, and each pause of each call is a step.
const SOME: [FaultKind; 7] = [
    FaultKind::Trap,
    FaultKind::CleanupTrap,
    FaultKind::Refuse,
    FaultKind::LoseRequest,
    FaultKind::LoseAnswer,
    FaultKind::Upgrade,
    FaultKind::UpgradeTrap,
];

/// Each kind of method, of a request that is archived, and of one about which the filter is wrong.
fn each(calls: &'static [u8], most: u32, kinds: &[FaultKind]) {
    for method in [Method::Pay, Method::PayLater] {
        for truth in [Truth::Archived, Truth::New] {
            second_look(method, truth, calls, (most, kinds));
        }
    }
}

#[test]
fn three_calls() {
    each(&CALLS, 0, &[]);
}

#[test]
fn two_calls_and_one_fault() {
    each(&CALLS[1..], 1, &SOME);
}

#[test]
fn one_call_and_one_fault() {
    each(&CALLS[..1], 1, &ALL);
}

#[test]
fn an_archive_that_is_uninstalled() {
    for truth in [Truth::Archived, Truth::New] {
        let mut host = InProcess::new();
        let world = Archived::new(&mut host, Method::Pay);
        if truth == Truth::New {
            world.deny(&mut host);
        }
        let system = system(world, host, &CALLS[..1], truth)
            .faults(1, [FaultKind::Uninstall])
            .faults_of([world.archive]);
        explored(&format!("{truth:?}, uninstalled"), system);
    }
}

/// G10: a guard runs before anything is asked.
#[test]
fn who_is_not_let_in_asks_nobody() {
    let mut host = InProcess::new();
    let world = Archived::new(&mut host, Method::PayTogether);
    world.deny(&mut host);
    let arguments = world.method.arguments(KEY, 1);
    let nobody = Principal::anonymous();
    let uninvited = Message::new(nobody, world.canister, world.method.name(), arguments);
    const ONE: &[u8] = &[1];
    let system = system(world, host, ONE, Truth::New)
        .message(uninvited)
        .faults(1, OF_MESSAGES)
        .always("it is not let in", |view| match view.answer(1) {
            Some(Ok(_)) => Err("it is".to_owned()),
            _ => Ok(()),
        })
        .always("nobody is asked for it", move |view| {
            let asked = view.calls(world.canister).count();
            match asked <= 1 {
                true => Ok(()),
                false => Err(format!("{asked} calls wait")),
            }
        });
    explored("a guard", system);
}
