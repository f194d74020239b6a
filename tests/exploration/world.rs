//! What every cell of the matrix has: canisters in process, clients, bounds, and a report.

use std::time::{Duration, Instant};

use candid::{CandidType, Principal, decode_one, encode_args, utils::ArgumentEncoder};
use integration_tests::{DURABLE_CANISTER, Wasm, user};
use local_replica::{
    errors::Reject,
    explore::{Bounds, Explored, FaultKind, Message, Step, System, View, When},
    in_process::{CanisterInstallMode, InProcess},
};
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;

use crate::types::{Act, Answer, Failure, Refusal, Stats};

/// More than any schedule takes.
const CYCLES: u128 = 1_000_000_000_000_000;
/// Whose requests they are.
pub(crate) const CLIENT: u8 = 1;
/// All that can go wrong without a canister's memory being gone for good. A jump of the clock adds nothing: time passes by itself
/// whenever nothing else is left to do.
pub(crate) const ALL: [FaultKind; 10] = [
    FaultKind::Trap,
    FaultKind::TimerTrap,
    FaultKind::CleanupTrap,
    FaultKind::Refuse,
    FaultKind::LoseRequest,
    FaultKind::LoseAnswer,
    FaultKind::Upgrade,
    FaultKind::UpgradeTrap,
    FaultKind::Stop,
    FaultKind::OutOfCycles,
];
/// Without those that, with a second fault, may leave nobody who goes on: a cleanup or a global timer that traps.
pub(crate) const RECOVERABLE: [FaultKind; 8] = [
    FaultKind::Trap,
    FaultKind::Refuse,
    FaultKind::LoseRequest,
    FaultKind::LoseAnswer,
    FaultKind::Upgrade,
    FaultKind::UpgradeTrap,
    FaultKind::Stop,
    FaultKind::OutOfCycles,
];

/// What happens to a message, not to a canister: with these there is far less to search.
pub(crate) const OF_MESSAGES: [FaultKind; 4] = [
    FaultKind::Trap,
    FaultKind::Refuse,
    FaultKind::LoseRequest,
    FaultKind::LoseAnswer,
];

/// Each two of these kinds. Whatever two faults a schedule has, it is searched with one of these pairs, and a pair at a time fits into a memory
/// where all kinds at a time do not.
pub(crate) fn pairs(kinds: &[FaultKind]) -> impl Iterator<Item = [FaultKind; 2]> {
    let with_later = |(place, one): (usize, &FaultKind)| {
        let one = *one;
        let later = kinds.iter().skip(place + 1);
        later.map(move |other| [one, *other])
    };
    kinds.iter().enumerate().flat_map(with_later)
}

/// Who sends the request, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clients {
    /// Once, whatever becomes of it.
    NobodyRetries,
    /// Again as soon as it is answered, rejected or lost, or at any time after, until time passes.
    RetriedAtOnce,
    /// Again when nothing is left to do but to wait: before that, or after it, however long it takes.
    RetriedLater,
    /// Two at any time, in any order.
    TwiceAtATime,
}

impl Clients {
    pub(crate) const ALL: [Self; 4] = [
        Self::NobodyRetries,
        Self::RetriedAtOnce,
        Self::RetriedLater,
        Self::TwiceAtATime,
    ];

    /// The messages that they send, if it was this one at first.
    pub(crate) fn messages(self, first: &Message) -> Vec<Message> {
        let again = match self {
            Self::NobodyRetries => None,
            Self::RetriedAtOnce => Some(first.clone().when(When::Over(0))),
            Self::RetriedLater => Some(first.clone().when(When::Later(0))),
            Self::TwiceAtATime => Some(first.clone()),
        };
        std::iter::once(first.clone()).chain(again).collect()
    }
}

/// How long a search lets time pass, in all: less than the window, after which the requests are new.
pub(crate) fn bounds(time: Duration) -> Bounds {
    Bounds {
        states: 3_000_000,
        times: 60,
        time_ns: time.as_nanos() as u64,
        ..Bounds::default()
    }
}

/// A new canister without code. Everybody controls it.
pub(crate) fn create(host: &mut InProcess) -> Principal {
    let created = host.create_canister(Principal::anonymous(), CYCLES);
    created.expect("there is room")
}

pub(crate) fn install(
    host: &mut InProcess,
    canister: Principal,
    wasm: Wasm,
    args: impl ArgumentEncoder,
) {
    let (module, args) = (wasm.read(), encode_args(args).expect("it encodes"));
    let mode = CanisterInstallMode::Install;
    let installed = host.install(Principal::anonymous(), canister, mode, module, args);
    installed.expect("the module is sound");
}

/// A canister with durable methods, and the one that it calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) canister: Principal,
    pub(crate) callee: Principal,
}

impl Pair {
    pub(crate) fn new(host: &mut InProcess) -> Self {
        let [canister, callee] = [(); 2].map(|()| {
            let id = create(host);
            install(host, id, DURABLE_CANISTER, ());
            id
        });
        let args = encode_args((callee, 0u64)).expect("it encodes");
        let configured = host.update(user(0), canister, "configure", args);
        configured.expect("it is configured");
        Self { canister, callee }
    }

    /// The system of these two and their clients.
    pub(crate) fn system(self, host: InProcess, messages: Vec<Message>) -> System {
        let system = System::new(host)
            .name(self.canister, "canister")
            .name(self.callee, "callee")
            .bounds(bounds(Duration::from_secs(50 * 60)));
        messages.into_iter().fold(system, System::message)
    }

    /// A call of a method with a key, or a number, and what it is to do.
    pub(crate) fn message(self, method: &str, args: impl ArgumentEncoder) -> Message {
        let args = encode_args(args).expect("it encodes");
        Message::new(user(CLIENT), self.canister, method, args)
    }

    pub(crate) fn work(self, acts: &[Act]) -> Message {
        self.message("work", (ByteBuf::from([1]), acts))
    }

    pub(crate) fn stats(self, view: &mut View<'_>) -> Result<Stats, String> {
        ask(view, self.canister, "stats", ())
    }
}

/// Leaves out a canister's second upgrade while answers to it are on their way or will be.
///
/// The heap after the second upgrade is laid out as the one before it, as both began with the same recovery. So a call to the new heap waits
/// at the address of one of the old heap's: ic-cdk, or ic-cdk-timers, takes the second of the two answers for one to what the first
/// has freed, and damages the heap. Upgrades of a canister that was stopped are in, as are a first one and any other fault.
///
/// The store's incarnation tells a state before the first upgrade from one after it, so it is the state that this goes by.
pub(crate) fn but_second_upgrades_in_flight(system: System) -> System {
    let upgraded = |step: &Step| match step {
        Step::Upgrade {
            canister,
            trap: None,
            ..
        } => Some(*canister),
        _ => None,
    };
    system.except(move |view, step| {
        upgraded(step).is_some_and(|canister| {
            let before = view.faults().iter().filter_map(upgraded);
            before.into_iter().any(|it| it == canister) && view.calls(canister).next().is_some()
        })
    })
}

/// Effects by their names.
pub(crate) type Effects = std::collections::BTreeMap<String, u64>;

/// What a canister has counted. An uninstalled one has nothing to say.
pub(crate) fn effects(view: &mut View<'_>, canister: Principal) -> Result<Effects, String> {
    ask(view, canister, "effects", ())
}

pub(crate) fn ask<T: CandidType + DeserializeOwned>(
    view: &mut View<'_>,
    canister: Principal,
    query: &str,
    args: impl ArgumentEncoder,
) -> Result<T, String> {
    let args = encode_args(args).map_err(|error| error.to_string())?;
    let reply = view.query(canister, query, args);
    let reply = reply.map_err(|reject| format!("{query}: {}", reject.message))?;
    decode_one(&reply).map_err(|error| format!("{query}: {error}"))
}

/// The answer to a message: the reply, decoded, or the reject. `None` if there is none.
pub(crate) fn answer<T: CandidType + DeserializeOwned>(
    view: &View<'_>,
    message: usize,
) -> Result<Option<Result<T, Reject>>, String> {
    match view.answer(message) {
        None => Ok(None),
        Some(Err(reject)) => Ok(Some(Err(reject.clone()))),
        Some(Ok(reply)) => match decode_one(reply) {
            Ok(reply) => Ok(Some(Ok(reply))),
            Err(error) => Err(format!("answer {message}: {error}")),
        },
    }
}

/// No client is told anything but what is fine. A reject says nothing.
pub(crate) fn told_only(
    view: &View<'_>,
    clients: Clients,
    is_fine: impl Fn(&Answer) -> bool,
) -> Result<(), String> {
    let messages = 1 + usize::from(clients != Clients::NobodyRetries);
    for message in 0..messages {
        match answer::<Answer>(view, message)? {
            Some(Ok(answer)) if !is_fine(&answer) => {
                return Err(format!("message {message} is told {answer:?}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What a client is told of a request that comes to its end: what was done, or to wait for that.
pub(crate) fn is_end_or_wait(answer: &Answer, said: &str) -> bool {
    match answer {
        Ok(answer) => answer == said,
        Err(Failure::Idempotency(Refusal::InProgress { .. })) => true,
        Err(_) => false,
    }
}

/// Explores, prints the bounds and what was counted, and fails with the shortest way to what is wrong.
pub(crate) fn explore(shape: &str, clients: Clients, system: System) -> Explored {
    explored(&format!("{shape}, {clients:?}"), system)
}

/// As [`explore`], with clients that the shape tells of.
pub(crate) fn explored(shape: &str, mut system: System) -> Explored {
    let start = Instant::now();
    let found = system.explore().expect("the system can be explored");
    let took = start.elapsed();
    println!("{shape}, in {took:.1?}:\n{found}");
    assert!(found.holds(), "{shape}: {found}");
    found
}
