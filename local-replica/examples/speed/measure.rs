//! Wall time of messages that do next to nothing, on canisters with much memory.

use std::time::{Duration, Instant};

use candid::Principal;
use local_replica::engine::Module;
use local_replica::in_process::{CanisterInstallMode, Error, InProcess};

const USER: Principal = Principal::anonymous();
const CYCLES: u128 = 1_000_000_000_000_000_000;
/// Messages in a measurement.
const MESSAGES: u32 = 2_000;
/// Measurements, of which the fastest counts: whatever else the machine does only makes them slower.
const TRIES: usize = 7;
/// Bytes of stable memory filled by one message.
const STEP: u64 = 32 << 20;

/// `nothing` replies; `touch` writes to heap and stable memory first; `fill` writes all of the heap, and as much stable
/// memory as its argument says, from its first page on.
fn module(heap_bytes: u64) -> Vec<u8> {
    let pages = heap_bytes.div_ceil(65_536).max(1);
    let text = format!(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
            (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
            (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
            (memory {pages})
            (func (export "canister_update nothing") (call $reply))
            (func (export "canister_update touch")
                (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
                (call $write (i64.const 0) (i64.const 0) (i64.const 8))
                (call $reply))
            (func (export "canister_update heap")
                (memory.fill (i32.const 0) (i32.const 7) (i32.const {heap}))
                (call $reply))
            (func (export "canister_update stable") (local $at i64) (local $end i64)
                (call $arg (i32.const 0) (i32.const 0) (i32.const 8))
                (local.set $at (i64.mul (call $grow (i64.load (i32.const 0))) (i64.const 65536)))
                (local.set $end
                    (i64.add (local.get $at) (i64.mul (i64.load (i32.const 0)) (i64.const 65536))))
                (loop $next
                    (call $write (local.get $at) (i64.const 0) (i64.const 8))
                    (local.set $at (i64.add (local.get $at) (i64.const 4096)))
                    (br_if $next (i64.lt_u (local.get $at) (local.get $end))))
                (call $reply)))"#,
        heap = pages * 65_536,
    );
    wat::parse_str(text).expect("valid WAT")
}

/// A canister with that much memory, all of it written.
pub(crate) struct Subject {
    host: InProcess,
    canister: Principal,
}

impl Subject {
    pub(crate) fn new(heap_bytes: u64, stable_bytes: u64) -> Result<Self, Error> {
        let mut host = InProcess::new();
        let canister = host.create_canister(USER, CYCLES)?;
        let mode = CanisterInstallMode::Install;
        host.install(USER, canister, mode, module(heap_bytes), Vec::new())?;
        if heap_bytes > 0 {
            host.update(USER, canister, "heap", Vec::new())?;
        }
        let mut rest = stable_bytes.max(65_536);
        while rest > 0 {
            let step = rest.min(STEP);
            let pages = (step / 65_536).to_le_bytes().to_vec();
            host.update(USER, canister, "stable", pages)?;
            rest -= step;
        }
        Ok(Self { host, canister })
    }

    /// The time of one message, without what it takes to submit it.
    pub(crate) fn message(&mut self, method: &str) -> Result<Duration, Error> {
        let mut fastest = Duration::MAX;
        for _ in 0..TRIES {
            let mut sent = Vec::new();
            for _ in 0..MESSAGES {
                sent.push(self.host.send(USER, self.canister, method, Vec::new())?);
            }
            let start = Instant::now();
            self.host.replica.round();
            fastest = fastest.min(start.elapsed() / MESSAGES);
            for message in &sent {
                self.host
                    .take_answer(message)
                    .ok_or(Error::NoAnswer)?
                    .map_err(Error::Rejected)?;
            }
        }
        Ok(fastest)
    }
}

/// How long a module takes to compile, the first time and the second.
pub(crate) fn compilations(wasm: &[u8]) -> (Duration, Duration) {
    let compile = || {
        let start = Instant::now();
        Module::compile(wasm).expect("a valid module");
        start.elapsed()
    };
    (compile(), compile())
}

/// A module that takes a while to compile.
pub(crate) fn large_module() -> Vec<u8> {
    let body =
        "(i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))".repeat(50);
    let functions = format!("(func {body})").repeat(500);
    wat::parse_str(format!("(module (memory 1) {functions})")).expect("valid WAT")
}
