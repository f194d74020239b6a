//! Replays calls whose replies and cycles were measured on the real PocketIC server.

use candid::Principal;
use local_replica::engine::{Entry, Execution, Instance, Message, Module, Response, StableMemory};
use serde::Deserialize;
use std::time::Instant;

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
        Self { instance: Instance::new(&module).expect("the probe starts"), stable: StableMemory::default() }
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
        };
        self.instance.execute(&mut self.stable, &message)
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn expected() -> Expected {
    serde_json::from_str(EXPECTED).expect("the calibration file")
}

#[test]
fn replies_and_cycles() {
    let expected = expected();
    let mut canister = Canister::install();
    for call in &expected.calls {
        let arg = unhex(&call.arg_hex);
        let ingress = 1_200_000 + 2_000 * (arg.len() + call.method.len()) as u64;
        let start = Instant::now();
        let execution = canister.update(&call.method, arg);
        let took = start.elapsed();
        let cycles = 5_000_000 + execution.instructions + 1_000 * execution.dirty_heap_pages + ingress;
        let speed = execution.instructions as f64 / took.as_secs_f64() / 1e6;
        println!(
            "{:12}{:14} cycles {:>13} expected {:>13} off {:>7} dirty {:>5} instr {:>11} {took:?} {speed:.0} M/s {:?}",
            call.method,
            call.note,
            cycles,
            call.cycles_charged,
            cycles as i64 - call.cycles_charged as i64,
            execution.dirty_heap_pages,
            execution.instructions,
            execution.result,
        );
        let Some(Response::Reply(reply)) = &execution.response else { panic!("no reply: {:?}", execution.result) };
        println!("{} {}", hex(reply) == call.reply_hex, hex(reply));
    }
    println!("{} {}", canister.instance.module().compilation_instructions(), expected.install_cycles_charged);
}
