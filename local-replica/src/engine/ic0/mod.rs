//! The system calls.
//!
//! Each one charges its instructions first and then looks whether it may be called in this kind of message.

mod call;
mod cost;
mod cycles;
mod environment;
mod message;
mod stable;
mod system;

use super::instrument::{HOST, MARK, OUT_OF_INSTRUCTIONS};
use super::state::{State, charge, mark};
use super::{Entry, Message, Trap, TrapAt};
use wasmtime::{Caller, Linker, Result};

/// Kinds of messages, as a set. The names are those of the interface specification.
type Modes = u16;

const I: Modes = 1;
const G: Modes = 1 << 1;
const U: Modes = 1 << 2;
const RQ: Modes = 1 << 3;
const NRQ: Modes = 1 << 4;
const RY: Modes = 1 << 5;
const RT: Modes = 1 << 6;
const C: Modes = 1 << 7;
const T: Modes = 1 << 8;
const F: Modes = 1 << 9;
const S: Modes = 1 << 10;
const CQ: Modes = 1 << 11;
const CRY: Modes = 1 << 12;
const CRT: Modes = 1 << 13;
const CC: Modes = 1 << 14;
/// Everything but `start`.
const ANY: Modes = I | G | U | RQ | NRQ | RY | RT | C | T | F | COMPOSITE;
/// Composite queries and their callbacks.
const COMPOSITE: Modes = CQ | CRY | CRT | CC;

/// What most calls cost.
const BASIC: u64 = 500;
/// What a byte costs that leaves or enters the canister.
const TRANSMISSION: u64 = 50;
/// The IC's limit for requests and replies.
const MAX_PAYLOAD: usize = 2 << 20;

/// Defines everything a module may import.
pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        HOST,
        MARK,
        |mut caller: Caller<'_, State>, address: u32, length: u32| {
            mark(&mut caller, address, length)
        },
    )?;
    linker.func_wrap(HOST, OUT_OF_INSTRUCTIONS, || -> Result<()> {
        Err(Trap::OutOfInstructions.into())
    })?;
    message::link(linker)?;
    call::link(linker)?;
    cycles::link(linker)?;
    cost::link(linker)?;
    environment::link(linker)?;
    stable::link(linker)?;
    system::link(linker)
}

/// The mode of a message, and its name in error texts.
fn mode(message: &Message) -> (Modes, &'static str) {
    match message.entry {
        Entry::Query { .. } if message.composite => (CQ, "composite query"),
        Entry::Reply(_) if message.composite => (CRY, "composite reply callback"),
        Entry::Reject(_) if message.composite => (CRT, "composite reject callback"),
        Entry::Cleanup(_) if message.composite => (CC, "composite cleanup"),
        Entry::Start => (S, "start"),
        Entry::Init | Entry::PostUpgrade => (I, "init"),
        Entry::PreUpgrade => (G, "pre upgrade"),
        Entry::Update(_) => (U, "update"),
        Entry::Query {
            replicated: true, ..
        } => (RQ, "replicated query"),
        Entry::Query {
            replicated: false, ..
        } => (NRQ, "non replicated query"),
        Entry::InspectMessage => (F, "inspect message"),
        Entry::Heartbeat => (T, "heartbeat"),
        Entry::GlobalTimer => (T, "global timer"),
        Entry::Reply(_) => (RY, "reply callback"),
        Entry::Reject(_) => (RT, "reject callback"),
        Entry::Cleanup(_) => (C, "cleanup"),
    }
}

/// Counts a system call, and traps if it is the one to be hit.
fn count(caller: &mut Caller<'_, State>) -> Result<()> {
    let state = caller.data_mut();
    state.calls += 1;
    match state.message.trap_at {
        Some(at @ TrapAt::Call(number)) if number == state.calls => Err(Trap::Injected(at).into()),
        _ => Ok(()),
    }
}

/// Counts and charges a call and checks that it's allowed here.
fn enter(
    caller: &mut Caller<'_, State>,
    name: &str,
    modes: Modes,
    instructions: u64,
) -> Result<()> {
    count(caller)?;
    charge(caller, instructions)?;
    let (mode, mode_name) = mode(&caller.data().message);
    if modes & mode == 0 {
        return violation(format!(
            "\"ic0_{name}\" cannot be executed in {mode_name} mode"
        ));
    }
    Ok(())
}

fn violation<R>(text: String) -> Result<R> {
    Err(Trap::Contract(text).into())
}

/// For calls whose answer can't be right here.
fn unsupported<R>(name: &str) -> Result<R> {
    Err(Trap::Explicit(format!("not supported by local-replica: ic0.{name}")).into())
}

/// The piece of `bytes` that a call asks for.
fn slice<'a>(context: &str, bytes: &'a [u8], offset: u32, size: u32) -> Result<&'a [u8]> {
    let end = offset as usize + size as usize;
    match bytes.get(offset as usize..end) {
        Some(piece) => Ok(piece),
        None => violation(format!(
            "{context}: src={offset} + length={size} exceeds the slice size={}",
            bytes.len()
        )),
    }
}

/// Reads from the heap.
fn read<'a>(
    caller: &'a mut Caller<'_, State>,
    context: &str,
    source: u32,
    size: u32,
) -> Result<&'a [u8]> {
    let heap = caller.data().handles()?.heap;
    slice(context, heap.data(caller), source, size)
}

/// Writes to the heap.
fn write(caller: &mut Caller<'_, State>, name: &str, target: u32, bytes: &[u8]) -> Result<()> {
    mark(caller, target, bytes.len() as u32)?;
    let memory = caller.data().handles()?.heap;
    let heap = memory.data_mut(caller);
    slice(
        &format!("ic0.{name} heap"),
        heap,
        target,
        bytes.len() as u32,
    )?;
    heap[target as usize..][..bytes.len()].copy_from_slice(bytes);
    Ok(())
}

/// Copies a piece of what `source` chooses from the state to the heap.
fn copy(
    caller: &mut Caller<'_, State>,
    name: &str,
    target: u32,
    offset: u32,
    size: u32,
    source: impl FnOnce(&State) -> &[u8],
) -> Result<()> {
    mark(caller, target, size)?;
    let memory = caller.data().handles()?.heap;
    let (heap, state) = memory.data_and_store_mut(caller);
    slice(&format!("ic0.{name} heap"), heap, target, size)?;
    let piece = slice(&format!("ic0.{name} payload"), source(state), offset, size)?;
    heap[target as usize..][..size as usize].copy_from_slice(piece);
    Ok(())
}

/// Defines `THING_size` and `THING_copy`.
fn link_bytes(
    linker: &mut Linker<State>,
    thing: &'static str,
    modes: Modes,
    bytes: fn(&State) -> &[u8],
) -> Result<()> {
    let name = format!("{thing}_size");
    linker.func_wrap(
        "ic0",
        &name.clone(),
        move |mut caller: Caller<'_, State>| -> Result<u32> {
            enter(&mut caller, &name, modes, BASIC)?;
            Ok(bytes(caller.data()).len() as u32)
        },
    )?;
    let name = format!("{thing}_copy");
    linker.func_wrap(
        "ic0",
        &name.clone(),
        move |mut caller: Caller<'_, State>, target: u32, offset: u32, size: u32| -> Result<()> {
            enter(&mut caller, &name, modes, BASIC + u64::from(size))?;
            copy(&mut caller, &name, target, offset, size, bytes)
        },
    )?;
    Ok(())
}

/// Two halves of a 128-bit amount.
fn amount(high: u64, low: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}
