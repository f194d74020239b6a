//! Replays calls whose replies and cycles were measured on the real PocketIC server.

use candid::Principal;
use local_replica::engine::{Entry, Execution, Instance, Message, Module, Response, StableMemory};
use serde::Deserialize;

const PROBE: &[u8] = include_bytes!("data/probe.wasm.gz");
const EXPECTED: &str = include_str!("data/expected.json");

#[derive(Deserialize)]
struct Expected {
    calls: Vec<Call>,
    install_cycles_charged: u64,
}

#[derive(Deserialize)]
struct Call {
    method: String,
    /// The argument, readable.
    note: String,
    arg_hex: String,
    reply_hex: String,
    cycles_charged: u64,
}

struct Canister {
    instance: Instance,
    stable: StableMemory,
}

impl Canister {
    fn install() -> Self {
        let module = Module::compile(PROBE).expect("the probe is valid");
        Self {
            instance: Instance::new(&module).expect("the probe starts"),
            stable: StableMemory::default(),
        }
    }

    fn update(&mut self, method: &str, payload: Vec<u8>) -> Execution {
        let canister_id = Principal::from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 1, 1]);
        let message = Message {
            entry: Entry::Update(method.to_owned()),
            canister_id,
            subnet_id: Principal::from_slice(&[1; 29]),
            caller: Principal::anonymous(),
            method_name: method.to_owned(),
            payload,
            reject: None,
            deadline_ns: 0,
            time_ns: 1_620_328_630_000_000_000,
            cycles_balance: 100_000_000_000_000,
            cycles_frozen: 0,
            cycles_available: 0,
            cycles_refunded: 0,
            global_timer_ns: 0,
            canister_version: 1,
            canister_status: 1,
            controllers: Vec::new(),
            instruction_limit: 40_000_000_000,
            call_context_instructions: 0,
            already_replied: false,
            composite: false,
            data_certificate: None,
            trap_at: None,
        };
        self.instance.execute(&mut self.stable, &message)
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect()
}

fn expected() -> Expected {
    serde_json::from_str(EXPECTED).expect("the calibration file")
}

/// Bytes of a request to a canister besides method name and argument: the CBOR map around them. The header of the
/// argument grows with it.
fn ingress(method: &str, arg: &[u8], canister_id: usize) -> u64 {
    let header = match arg.len() {
        0..24 => 1,
        24..256 => 2,
        256..65_536 => 3,
        _ => 5,
    };
    1_200_000 + 2_000 * (110 + canister_id + header + method.len() + arg.len()) as u64
}

#[test]
fn replies_and_cycles_are_exact() {
    let mut canister = Canister::install();
    for call in expected().calls {
        let arg = unhex(&call.arg_hex);
        let ingress = ingress(&call.method, &arg, 10);
        let execution = canister.update(&call.method, arg);
        let name = format!("{}{}", call.method, call.note);
        let Some(Response::Reply(reply)) = &execution.response else {
            panic!("{name}: {:?}", execution.result)
        };
        assert_eq!(*reply, unhex(&call.reply_hex), "{name}");
        let cycles =
            5_000_000 + execution.instructions + 1_000 * execution.dirty_heap_pages + ingress;
        assert_eq!(cycles, call.cycles_charged, "{name}");
    }
}

#[test]
fn installation_is_exact() {
    use ic_management_canister_types::{CanisterInstallMode, InstallCodeArgs};
    let arg = InstallCodeArgs {
        mode: CanisterInstallMode::Install,
        canister_id: Principal::from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 1, 1]),
        wasm_module: vec![0; 996_345],
        arg: Vec::new(),
        sender_canister_version: None,
    };
    let arg = candid::encode_one(arg).expect("the argument encodes");
    let module = Module::compile(PROBE).expect("the probe is valid");
    let cycles = 5_000_000 + module.compilation_instructions() + ingress("install_code", &arg, 0);
    assert_eq!(cycles, expected().install_cycles_charged);
}

/// Figures for the eye, and a bound that only a copy of the heap for each message would break.
#[test]
fn messages_are_cheap() {
    use std::time::{Duration, Instant};
    let start = Instant::now();
    let mut canister = Canister::install();
    println!("compile and instantiate: {:?}", start.elapsed());
    let nothing = expected().calls.remove(0);
    let batch = || {
        let start = Instant::now();
        for _ in 0..100 {
            canister.update("nothing", unhex(&nothing.arg_hex));
        }
        start.elapsed() / 100
    };
    let best = std::iter::repeat_with(batch)
        .take(20)
        .min()
        .unwrap_or_default();
    println!("an update that does nothing: {best:?}");
    assert!(best < Duration::from_micros(100), "{best:?}");
    let heavy = expected().calls.remove(9);
    let start = Instant::now();
    let execution = canister.update(&heavy.method, unhex(&heavy.arg_hex));
    let millions = execution.instructions as f64 / 1e6;
    println!(
        "{:.0} million instructions/s",
        millions / start.elapsed().as_secs_f64()
    );
}
