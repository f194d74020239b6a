//! A canister under test.

use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal, encode_args};
use pocket_ic::common::rest::RawMessageId;
use pocket_ic::{PocketIc, RejectResponse};
use serde::de::DeserializeOwned;

use crate::target;

/// Enough for any test, and far from where a canister freezes.
const CYCLES: u128 = 1_000_000_000_000_000;

/// A canister module of this workspace, as `cargo xtask wasm` builds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wasm(&'static str);

/// The archive canister.
pub const ARCHIVE: Wasm = Wasm("archive");
/// The example ledger.
pub const LEDGER: Wasm = Wasm("ledger");
/// The canister that sends mail through a gateway.
pub const MAIL: Wasm = Wasm("mail");
/// The canister that pays out through a ledger.
pub const PAYOUT: Wasm = Wasm("payout");
/// The canister with an endpoint for each case the tests need.
pub const TEST_CANISTER: Wasm = Wasm("test_canister");
/// The canister with durable methods, and methods that `on_unknown` settles.
pub const DURABLE_CANISTER: Wasm = Wasm("durable_canister");
/// The canister that makes safe calls.
pub const CALLER: Wasm = Wasm("caller");
/// The canister that sends what tests want through an outbox.
pub const OUTBOX_CANISTER: Wasm = Wasm("outbox_canister");
/// What the benchmarks measure.
pub const BENCH_CANISTER: Wasm = Wasm("bench_canister");
/// A method with the attribute, which the benchmarks weigh.
pub const GUARDED_CANISTER: Wasm = Wasm("guarded_canister");
/// The same without it.
pub const PLAIN_CANISTER: Wasm = Wasm("plain_canister");
/// What the benchmarks measure of archives.
pub const BENCH_ARCHIVE: Wasm = Wasm("bench_archive");
/// Filters that the benchmarks compare.
pub const BENCH_FILTERS: Wasm = Wasm("bench_filters");
/// What the benchmarks measure of the outbox.
pub const BENCH_OUTBOX: Wasm = Wasm("bench_outbox");
/// The method with the attribute, which sends a message, too.
pub const SENDING_CANISTER: Wasm = Wasm("sending_canister");

impl Wasm {
    /// The bytes of the module.
    pub fn read(self) -> Vec<u8> {
        let path = target::canister_wasm(self.0);
        std::fs::read(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask wasm`", path.display()))
    }
}

/// The principal of the `number`th user: anyone but the anonymous one, who may not be deduplicated.
pub fn user(number: u8) -> Principal {
    Principal::self_authenticating([number; 32])
}

/// What an ingress message costs before it executes an instruction, in cycles: the base fee of an execution, and that of
/// an ingress message by the bytes of its CBOR envelope, at the prices of a 13-node subnet.
pub fn fixed_fees(sender: Principal, canister: Principal, method: &str, arg: &[u8]) -> u128 {
    const EXECUTION: u128 = 5_000_000;
    const INGRESS: u128 = 1_200_000;
    const INGRESS_BYTE: u128 = 2_000;
    /// Field names, expiry and nonce, as measured on PocketIC.
    const ENVELOPE: usize = 106;
    let header = |length: usize| match length {
        0..24 => 1,
        24..0x100 => 2,
        0x100..0x10000 => 3,
        _ => 5,
    };
    let fields = [
        sender.as_slice().len(),
        canister.as_slice().len(),
        method.len(),
        arg.len(),
    ];
    let bytes: usize = fields
        .into_iter()
        .map(|length| length + header(length))
        .sum();
    EXECUTION + INGRESS + INGRESS_BYTE * (ENVELOPE + bytes) as u128
}

/// What a canister is charged at least for a call to another and its answer, in cycles: for the two messages, at the prices
/// of a 13-node subnet.
pub fn call_fees(method: &str, arg: &[u8], reply: &[u8]) -> u128 {
    const CALL: u128 = 260_000;
    const BYTE: u128 = 1_000;
    CALL + BYTE * (method.len() + arg.len() + reply.len()) as u128
}

/// An update call that was accepted, and perhaps not executed yet.
#[derive(Clone, Debug)]
pub struct Sent(RawMessageId);

/// A canister on a replica.
#[derive(Clone, Copy)]
pub struct Canister<'a> {
    replica: &'a PocketIc,
    id: Principal,
}

impl std::fmt::Debug for Canister<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Canister({})", self.id)
    }
}

impl<'a> Canister<'a> {
    /// A new canister with that module, rich in cycles.
    pub fn install(replica: &'a PocketIc, wasm: Wasm, args: impl ArgumentEncoder) -> Self {
        let id = replica.create_canister();
        replica.add_cycles(id, CYCLES);
        replica.install_canister(id, wasm.read(), encode(args), None);
        Self { replica, id }
    }

    /// The replica that it is on.
    pub fn replica(&self) -> &'a PocketIc {
        self.replica
    }

    /// Its principal.
    pub fn id(&self) -> Principal {
        self.id
    }

    /// Replaces the module and keeps the stable memory.
    pub fn upgrade(&self, wasm: Wasm, args: impl ArgumentEncoder) -> Result<(), RejectResponse> {
        self.replica
            .upgrade_canister(self.id, wasm.read(), encode(args), None)
    }

    /// Replaces the module and forgets everything.
    pub fn reinstall(&self, wasm: Wasm, args: impl ArgumentEncoder) -> Result<(), RejectResponse> {
        self.replica
            .reinstall_canister(self.id, wasm.read(), encode(args), None)
    }

    /// Makes an update call and decodes its answer.
    pub fn update<T: CandidType + DeserializeOwned>(
        &self,
        sender: Principal,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Result<T, RejectResponse> {
        self.update_raw(sender, method, encode(args))
            .map(|reply| decode(method, &reply))
    }

    /// Makes an update call with an encoded argument; the answer's bytes as they came.
    pub fn update_raw(
        &self,
        sender: Principal,
        method: &str,
        arg: Vec<u8>,
    ) -> Result<Vec<u8>, RejectResponse> {
        self.replica.update_call(self.id, sender, method, arg)
    }

    /// Makes a query call and decodes its answer.
    pub fn query<T: CandidType + DeserializeOwned>(
        &self,
        sender: Principal,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Result<T, RejectResponse> {
        self.query_raw(sender, method, args)
            .map(|reply| decode(method, &reply))
    }

    /// Makes a query call; the answer's bytes as they came.
    pub fn query_raw(
        &self,
        sender: Principal,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Result<Vec<u8>, RejectResponse> {
        self.replica
            .query_call(self.id, sender, method, encode(args))
    }

    /// Sends an update call without executing it; later rounds do. Refused where `inspect_message` refuses.
    pub fn send(
        &self,
        sender: Principal,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Result<Sent, RejectResponse> {
        self.replica
            .submit_call(self.id, sender, method, encode(args))
            .map(Sent)
    }

    /// The answer of a call sent before, once there is one.
    pub fn answer_so_far<T: CandidType + DeserializeOwned>(
        &self,
        sent: &Sent,
    ) -> Option<Result<T, RejectResponse>> {
        self.replica
            .ingress_status(sent.0.clone())
            .map(|status| status.map(|reply| decode("a call sent before", &reply)))
    }

    /// Runs a call sent before to its end, and decodes its answer.
    pub fn answer<T: CandidType + DeserializeOwned>(
        &self,
        sent: Sent,
    ) -> Result<T, RejectResponse> {
        self.replica
            .await_call(sent.0)
            .map(|reply| decode("a call sent before", &reply))
    }

    /// Makes an update call whose answer never reaches the client: executed to its end, with whatever result.
    pub fn lose_answer(&self, sender: Principal, method: &str, args: impl ArgumentEncoder) {
        let sent = self
            .send(sender, method, args)
            .expect("the call is accepted for execution");
        drop(self.replica.await_call(sent.0));
    }

    /// Has this canister, a test canister, make a call with cycles: the reply, or why there is none, and the cycles that
    /// came back.
    pub fn forward(
        &self,
        to: Principal,
        method: &str,
        arg: Vec<u8>,
        cycles: u128,
    ) -> (Result<Vec<u8>, String>, u128) {
        let arg = encode((to, method, arg, cycles));
        let reply = self
            .update_raw(user(0), "forward", arg)
            .expect("forward answers");
        candid::decode_args(&reply).expect("forward answers with a result and cycles")
    }

    /// What the canister has, in cycles.
    pub fn cycles(&self) -> u128 {
        self.replica.cycle_balance(self.id)
    }

    /// The result of `work`, and the cycles the canister was charged meanwhile: fees, instructions, and what PocketIC
    /// charges for storage when it ran a round in which that falls due.
    pub fn cycles_charged<T>(&self, work: impl FnOnce() -> T) -> (T, u128) {
        let before = self.cycles();
        let result = work();
        (result, before.saturating_sub(self.cycles()))
    }
}

fn encode(args: impl ArgumentEncoder) -> Vec<u8> {
    encode_args(args).expect("the arguments can be encoded")
}

fn decode<T: CandidType + DeserializeOwned>(what: &str, reply: &[u8]) -> T {
    candid::decode_one(reply)
        .unwrap_or_else(|error| panic!("the answer of {what} isn't of the expected type: {error}"))
}
