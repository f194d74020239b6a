//! Two puppets on an instance in process.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use candid::Principal;
use local_replica::errors::Reject;
use local_replica::faults::{AnswerFault, Fault, MessageFault, Plan, Report, Schedule};
use local_replica::in_process::{CanisterInstallMode, Error, InProcess, MessageId};

pub(crate) static PUPPET: LazyLock<Vec<u8>> =
    LazyLock::new(|| wat::parse_str(include_str!("../conformance/puppet.wat")).expect("valid WAT"));

pub(crate) const USER: Principal = Principal::anonymous();

pub(crate) const CYCLES: u128 = 100_000_000_000_000;

pub(crate) const SECOND: u64 = 1_000_000_000;

/// Two puppets: `a` calls `b`.
pub(crate) struct World {
    pub(crate) host: InProcess,
    pub(crate) a: Principal,
    pub(crate) b: Principal,
}

impl World {
    pub(crate) fn new() -> Self {
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

    pub(crate) fn with(faults: impl FnOnce(&Self) -> Vec<Fault>) -> Self {
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

    pub(crate) fn send(&mut self, id: Principal, method: &str, payload: Vec<u8>) -> MessageId {
        self.host.send(USER, id, method, payload).unwrap()
    }

    /// Calls `inc` of `b` through `a`: the answer that the user gets.
    pub(crate) fn relay(&mut self, how: &str) -> Result<Vec<u8>, Reject> {
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

    pub(crate) fn inc(&mut self, id: Principal) -> Result<Vec<u8>, Error> {
        self.host.update(USER, id, "inc", Vec::new())
    }

    pub(crate) fn counter(&mut self, id: Principal) -> u32 {
        number(&self.host.query(USER, id, "get", Vec::new()).unwrap())
    }

    pub(crate) fn counters(&mut self) -> (u32, u32) {
        (self.counter(self.a), self.counter(self.b))
    }

    pub(crate) fn report(&self) -> &Report {
        self.host.replica.faults.report()
    }

    /// Everything that a difference between two runs would show in.
    pub(crate) fn fingerprint(&mut self) -> String {
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

pub(crate) fn relay_arg(callee: Principal, method: &str) -> Vec<u8> {
    let callee = callee.as_slice();
    let mut arg = vec![callee.len() as u8];
    arg.extend_from_slice(callee);
    arg.push(method.len() as u8);
    arg.extend_from_slice(method.as_bytes());
    arg
}

pub(crate) fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().unwrap())
}

/// Code and text of the reject that the puppet's callback saw.
pub(crate) fn seen(answer: Result<Vec<u8>, Reject>) -> (u32, String) {
    let bytes = answer.unwrap();
    let (code, text) = bytes.split_first_chunk::<4>().unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    (u32::from_le_bytes(*code), text)
}

pub(crate) fn message(canister: Principal, number: u64, what: MessageFault) -> Fault {
    Fault::Message {
        canister,
        number,
        what,
    }
}

pub(crate) fn answer(canister: Principal, what: AnswerFault) -> Fault {
    let number = 1;
    Fault::Answer {
        canister,
        number,
        what,
    }
}

pub(crate) fn number_of(answer: Result<Vec<u8>, Reject>) -> u32 {
    number(&answer.unwrap())
}
