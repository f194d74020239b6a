//! What the host knows while a message runs.

use super::{
    Entry, Execution, Message, OutgoingCall, Response, StableMemory, Trap, journal::Journal,
    stable::PAGE,
};
use candid::Principal;
use wasmtime::{Caller, Global, Memory, Result, Val, format_err};

/// Bytes of log that a message can fill.
const LOG_CAPACITY: u64 = 4_096;

/// The instance's parts that the host works on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handles {
    pub(super) heap: Memory,
    pub(super) dirty: Memory,
    pub(super) counter: Global,
}

/// What a message asks for, to be applied once it has succeeded.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) reply: Vec<u8>,
    pub(super) response: Option<Response>,
    /// The call between `call_new` and `call_perform`.
    pub(super) staged: Option<OutgoingCall>,
    pub(super) calls: Vec<OutgoingCall>,
    /// Attached to performed calls, and their fees.
    pub(super) cycles_sent: u128,
    pub(super) cycles_accepted: u128,
    pub(super) cycles_burned: u128,
    pub(super) certified_data: Option<Vec<u8>>,
    pub(super) global_timer: Option<u64>,
    pub(super) accepted: bool,
}

/// Data of the Wasm store.
#[derive(Debug)]
pub(super) struct State {
    pub(super) message: Message,
    pub(super) stable: StableMemory,
    pub(super) effects: Effects,
    /// System calls made by the message.
    pub(super) calls: u64,
    pub(super) log: Vec<String>,
    /// Bytes of `log`.
    logged: u64,
    pub(super) journal: Journal,
    handles: Option<Handles>,
}

impl State {
    /// The state of an instance before its first message.
    pub(super) fn idle() -> Self {
        let nobody = Principal::management_canister();
        Self {
            message: Message {
                entry: Entry::Start,
                canister_id: nobody,
                subnet_id: nobody,
                caller: nobody,
                method_name: String::new(),
                payload: Vec::new(),
                reject: None,
                deadline_ns: 0,
                time_ns: 0,
                cycles_balance: 0,
                cycles_frozen: 0,
                cycles_available: 0,
                cycles_refunded: 0,
                global_timer_ns: 0,
                canister_version: 0,
                canister_status: 0,
                controllers: Vec::new(),
                instruction_limit: 0,
                call_context_instructions: 0,
                already_replied: false,
                composite: false,
                data_certificate: None,
                trap_at: None,
            },
            stable: StableMemory::default(),
            effects: Effects::default(),
            calls: 0,
            log: Vec::new(),
            logged: 0,
            journal: Journal::default(),
            handles: None,
        }
    }

    pub(super) fn set_handles(&mut self, handles: Handles) {
        self.handles = Some(handles);
    }

    pub(super) fn start(&mut self, message: &Message, heap_bytes: usize) {
        self.message = message.clone();
        self.effects = Effects::default();
        self.calls = 0;
        self.logged = 0;
        self.journal.start(heap_bytes);
    }

    /// Moves a message's results out; after a trap there are none but the log.
    pub(super) fn finish(
        &mut self,
        result: Result<(), Trap>,
        instructions: u64,
        dirty_heap_pages: u64,
    ) -> Execution {
        let effects = std::mem::take(&mut self.effects);
        let effects = if result.is_ok() {
            effects
        } else {
            Effects::default()
        };
        Execution {
            result,
            response: effects.response,
            calls: effects.calls,
            cycles_accepted: effects.cycles_accepted,
            cycles_burned: effects.cycles_burned,
            certified_data: effects.certified_data,
            global_timer: effects.global_timer,
            accepted: effects.accepted,
            instructions,
            dirty_heap_pages,
            log: std::mem::take(&mut self.log),
        }
    }

    /// The instruction cost of logging so many bytes.
    pub(super) fn log_cost(&self, bytes: u64) -> u64 {
        2 * bytes.min(LOG_CAPACITY) + 50 * bytes.min(LOG_CAPACITY.saturating_sub(self.logged))
    }

    pub(super) fn append_log(&mut self, line: String) {
        self.logged += line.len() as u64;
        self.log.push(line);
    }

    /// Cycles the canister has at this point of the message.
    pub(super) fn balance(&self) -> u128 {
        let staged = self.effects.staged.as_ref().map_or(0, |call| call.cycles);
        self.message
            .cycles_balance
            .saturating_add(self.effects.cycles_accepted)
            .saturating_sub(self.effects.cycles_burned)
            .saturating_sub(self.effects.cycles_sent)
            .saturating_sub(staged)
    }

    /// The part of the balance that may be spent.
    pub(super) fn liquid_balance(&self) -> u128 {
        self.balance().saturating_sub(self.message.cycles_frozen)
    }

    pub(super) fn handles(&self) -> Result<Handles> {
        self.handles
            .ok_or_else(|| format_err!("the instance isn't ready"))
    }
}

/// Instructions left.
pub(super) fn instructions_left(caller: &mut Caller<'_, State>) -> Result<i64> {
    let counter = caller.data().handles()?.counter;
    counter
        .get(caller)
        .i64()
        .ok_or_else(|| format_err!("the counter isn't an i64"))
}

/// Takes instructions off the counter.
pub(super) fn charge(caller: &mut Caller<'_, State>, instructions: u64) -> Result<()> {
    let left = instructions_left(caller)?.saturating_sub_unsigned(instructions);
    let counter = caller.data().handles()?.counter;
    counter.set(&mut *caller, Val::I64(left))?;
    if left < 0 {
        Err(Trap::OutOfInstructions.into())
    } else {
        Ok(())
    }
}

/// Keeps the content of the range's clean pages and marks them dirty; what is out of bounds is left out.
pub(super) fn mark(caller: &mut Caller<'_, State>, address: u32, length: u32) -> Result<()> {
    let Handles { heap, dirty, .. } = caller.data().handles()?;
    let Some(end) = u64::from(address).checked_add(u64::from(length)) else {
        return Ok(());
    };
    let first = address as usize / PAGE;
    let end = (end.div_ceil(PAGE as u64) as usize).min(heap.data_size(&*caller) / PAGE);
    for page in first..end {
        let mark = &mut dirty.data_mut(&mut *caller)[page];
        if std::mem::replace(mark, 1) == 0 {
            let (bytes, state) = heap.data_and_store_mut(&mut *caller);
            state.journal.keep(page, &bytes[page * PAGE..][..PAGE]);
        }
    }
    Ok(())
}
