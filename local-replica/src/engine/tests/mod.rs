//! The engine on canisters of a few lines.

mod contract;
mod injection;
mod metering;
mod rollback;
mod snapshots;
mod validation;

use super::{
    Entry, Execution, Instance, InvalidModule, Message, Module, Response, StableMemory, Trap,
    TrapAt,
};
use candid::Principal;

const IMPORTS: &str = r#"
    (import "ic0" "msg_reply" (func $msg_reply))
    (import "ic0" "msg_reject" (func $msg_reject (param i32 i32)))
    (import "ic0" "msg_reply_data_append" (func $reply_data (param i32 i32)))
    (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
    (import "ic0" "time" (func $time (result i64)))
    (import "ic0" "trap" (func $trap (param i32 i32)))
    (import "ic0" "debug_print" (func $print (param i32 i32)))
    (import "ic0" "accept_message" (func $accept))
    (import "ic0" "performance_counter" (func $counter (param i32) (result i64)))
    (import "ic0" "stable64_grow" (func $stable_grow (param i64) (result i64)))
    (import "ic0" "stable64_write" (func $stable_write (param i64 i64 i64)))
    (import "ic0" "stable64_read" (func $stable_read (param i64 i64 i64)))
    (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_data_append" (func $call_data (param i32 i32)))
    (import "ic0" "call_on_cleanup" (func $call_on_cleanup (param i32 i32)))
    (import "ic0" "call_cycles_add128" (func $call_cycles (param i64 i64)))
    (import "ic0" "call_perform" (func $call_perform (result i32)))
    (import "ic0" "mint_cycles128" (func $mint (param i64 i64 i32)))
    (import "ic0" "global_timer_set" (func $timer (param i64) (result i64)))"#;

/// A canister without a replica around it.
struct Canister {
    instance: Instance,
    stable: StableMemory,
}

impl Canister {
    /// A module with all imports, and `fields` after them.
    fn new(fields: &str) -> Self {
        let module = compile(&format!("(module {IMPORTS} {fields})")).unwrap();
        Self {
            instance: Instance::new(&module).unwrap(),
            stable: StableMemory::default(),
        }
    }

    /// One update method `f` with this body, and a page of memory.
    fn with_method(body: &str) -> Self {
        Self::new(&format!(
            r#"(memory 1) (func (export "canister_update f") {body})"#
        ))
    }

    fn run(&mut self, message: &Message) -> Execution {
        self.instance.execute(&mut self.stable, message)
    }

    fn update(&mut self, name: &str) -> Execution {
        self.run(&message(Entry::Update(name.to_owned())))
    }

    /// The reply of an update that must succeed.
    fn reply(&mut self, name: &str) -> Vec<u8> {
        let execution = self.update(name);
        match execution.response {
            Some(Response::Reply(bytes)) => bytes,
            other => panic!("{other:?}, {:?}", execution.result),
        }
    }
}

fn compile(wat: &str) -> Result<Module, InvalidModule> {
    Module::compile(&wat::parse_str(wat).unwrap())
}

fn message(entry: Entry) -> Message {
    Message {
        entry,
        canister_id: Principal::from_slice(&[1; 10]),
        subnet_id: Principal::from_slice(&[2; 29]),
        caller: Principal::anonymous(),
        method_name: String::new(),
        payload: b"argument".to_vec(),
        reject: None,
        deadline_ns: 0,
        time_ns: 7,
        cycles_balance: 100_000_000_000_000,
        cycles_frozen: 0,
        cycles_available: 0,
        cycles_refunded: 0,
        global_timer_ns: 5,
        canister_version: 1,
        canister_status: 1,
        controllers: Vec::new(),
        instruction_limit: 1_000_000,
        call_context_instructions: 100,
        already_replied: false,
        composite: false,
        data_certificate: None,
        trap_at: None,
    }
}

fn query(name: &str) -> Message {
    message(Entry::Query {
        name: name.to_owned(),
        replicated: false,
    })
}

fn wasm_trap(text: &str) -> Result<(), Trap> {
    Err(Trap::Wasm(text.to_owned()))
}

fn contract(text: &str) -> Result<(), Trap> {
    Err(Trap::Contract(text.to_owned()))
}
