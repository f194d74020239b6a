//! One message on one canister: real Wasm, the IC's instruction metering, and rollback.
//!
//! This module knows nothing of queues, rounds or HTTP. The rest of the replica gives it a [`Message`] and applies the
//! [`Execution`] that comes back; on a trap the engine has already undone heap, globals and stable memory.

mod body;
mod certificate;
mod compilation;
mod ic0;
mod instance;
mod instrument;
mod journal;
mod layout;
mod module;
mod page;
mod scratch;
mod snapshot;
mod stable;
mod state;
#[cfg(test)]
mod tests;
mod trap;
mod validate;
mod weights;

pub use certificate::DataCertificate;
pub use instance::Instance;

pub use module::{InvalidModule, Metadata, Module};
pub(crate) use snapshot::{HeapSnapshot, StableDigests};
pub use stable::StableMemory;

use candid::Principal;

/// What is executed: an exported function of the module, or a callback of a call made earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The module's start function (`canister_start`), run with its own instruction counter at install.
    Start,
    /// `canister_init`
    Init,
    /// `canister_pre_upgrade`
    PreUpgrade,
    /// `canister_post_upgrade`
    PostUpgrade,
    /// `canister_update NAME`
    Update(String),
    /// `canister_query NAME` or, in a composite query, `canister_composite_query NAME`; unless composite, heap, globals
    /// and stable memory are always rolled back.
    Query {
        /// Exported method name.
        name: String,
        /// An ingress or inter-canister call to a query method: it can accept cycles, and it's paid for.
        replicated: bool,
    },
    /// `canister_inspect_message`; state is always rolled back.
    InspectMessage,
    /// `canister_heartbeat`
    Heartbeat,
    /// `canister_global_timer`
    GlobalTimer,
    /// The reply callback of a call.
    Reply(Closure),
    /// The reject callback of a call.
    Reject(Closure),
    /// The cleanup callback of a call whose reply or reject callback trapped.
    Cleanup(Closure),
}

/// A function-table index and its environment, as given to `call_new` or `call_on_cleanup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Closure {
    /// Index into the module's function table.
    pub function: u32,
    /// The value passed to it.
    pub environment: u32,
}

/// Everything a message can see through ic0 that isn't the canister's own memory.
#[derive(Clone, Debug)]
pub struct Message {
    /// What to run.
    pub entry: Entry,
    /// The canister it runs on.
    pub canister_id: Principal,
    /// The subnet's principal (`subnet_self`).
    pub subnet_id: Principal,
    /// Who sent the original request of this call context.
    pub caller: Principal,
    /// Method name of an ingress message under inspection (`msg_method_name`).
    pub method_name: String,
    /// Candid argument; in a reply callback, the callee's reply.
    pub payload: Vec<u8>,
    /// Reject code and message in a reject callback; code 0 elsewhere.
    pub reject: Option<(u32, String)>,
    /// Deadline of the call being served in ns, 0 for a guaranteed-response call or ingress.
    pub deadline_ns: u64,
    /// `ic0.time` in ns, frozen for the message.
    pub time_ns: u64,
    /// The canister's cycles when the message starts.
    pub cycles_balance: u128,
    /// The part of the balance below the freezing threshold: not to be spent on calls.
    pub cycles_frozen: u128,
    /// Cycles attached to the call being served and not yet accepted.
    pub cycles_available: u128,
    /// Cycles refunded by the callee, in a callback.
    pub cycles_refunded: u128,
    /// The deadline of the global timer in ns, 0 if it's off (`global_timer_set` answers it).
    pub global_timer_ns: u64,
    /// `ic0.canister_version`
    pub canister_version: u64,
    /// `ic0.canister_status`: 1 running, 2 stopping, 3 stopped.
    pub canister_status: u32,
    /// The canister's controllers (`is_controller`).
    pub controllers: Vec<Principal>,
    /// Most instructions this message may use.
    pub instruction_limit: u64,
    /// Instructions used so far by the call context, without this message but with what the earlier ones paid for heap
    /// pages (`performance_counter(1)`).
    pub call_context_instructions: u64,
    /// The call context has been answered already: a second reply traps.
    pub already_replied: bool,
    /// Part of a composite query: its method or a callback. It may call other queries, and keeps what it changes, for the
    /// callbacks to come: such messages run on a copy of the canister's state ([`Instance::fork`]).
    pub composite: bool,
    /// What proves the certified data, in a query that a user asks for.
    pub data_certificate: Option<DataCertificate>,
    /// Where to trap although the canister does nothing wrong.
    pub trap_at: Option<TrapAt>,
}

/// The place of an injected trap in a message. A message that doesn't get there is as it would have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrapAt {
    /// Instead of the system call with this number; the first is 1.
    Call(u64),
    /// At the first check of the instruction counter after so many instructions: functions and loops start with one, and
    /// every system call makes one.
    Instruction(u64),
}

impl std::fmt::Display for TrapAt {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TrapAt::Call(number) => write!(formatter, "system call {number}"),
            TrapAt::Instruction(number) => write!(formatter, "instruction {number}"),
        }
    }
}

/// A call that the message made; the replica sends it once the message has committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingCall {
    /// Callee; `aaaaa-aa` is the management canister.
    pub callee: Principal,
    /// Method name.
    pub method: String,
    /// Candid argument.
    pub payload: Vec<u8>,
    /// Cycles attached.
    pub cycles: u128,
    /// Reply callback.
    pub on_reply: Closure,
    /// Reject callback.
    pub on_reject: Closure,
    /// Cleanup callback, where one was registered.
    pub on_cleanup: Option<Closure>,
    /// `Some(seconds)` for `call_with_best_effort_response`, not yet capped at 300.
    pub timeout_seconds: Option<u32>,
}

/// The message's answer to its call context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Reply with these bytes.
    Reply(Vec<u8>),
    /// `msg_reject` with this text.
    Reject(String),
}

/// Why a message was undone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trap {
    /// `ic0.trap` with this text.
    #[error("Canister called `ic0.trap` with message: '{0}'")]
    Explicit(String),
    /// The instruction limit was passed.
    #[error("Canister exceeded the instruction limit for single message execution.")]
    OutOfInstructions,
    /// A Wasm trap (`unreachable`, out of bounds, division by zero …), in the IC's words, e.g. `heap out of bounds`.
    #[error("Canister trapped: {0}")]
    Wasm(String),
    /// The trap that [`Message::trap_at`] asked for.
    #[error("Canister trapped: injected by local-replica at {0}")]
    Injected(TrapAt),
    /// A system call was used wrongly, e.g. a second reply or a call not allowed in this entry.
    #[error("Canister violated contract: {0}")]
    Contract(String),
    /// A call or an attachment that the liquid balance can't pay.
    #[error("Canister is out of cycles")]
    OutOfCycles,
    /// The module has no such export; state is untouched.
    #[error("Canister has no method '{0}'.")]
    MethodNotFound(String),
}

/// What a message did. After a trap only `result`, `instructions`, `dirty_heap_pages` and `log` mean anything:
/// everything else is empty because it was undone.
#[derive(Clone, Debug)]
pub struct Execution {
    /// Committed, or why not.
    pub result: Result<(), Trap>,
    /// The answer given in this message, if any.
    pub response: Option<Response>,
    /// Calls to send, in order.
    pub calls: Vec<OutgoingCall>,
    /// Cycles accepted from the caller.
    pub cycles_accepted: u128,
    /// Cycles burned with `cycles_burn128`.
    pub cycles_burned: u128,
    /// New certified data, if set.
    pub certified_data: Option<Vec<u8>>,
    /// New global timer deadline in ns (0 = off), if set.
    pub global_timer: Option<u64>,
    /// `inspect_message`: whether `accept_message` was called.
    pub accepted: bool,
    /// Instructions used, as `performance_counter(0)` counts them.
    pub instructions: u64,
    /// 4 KiB heap pages whose content has changed; charged 1,000 instructions each on top of `instructions`.
    pub dirty_heap_pages: u64,
    /// `debug_print` lines, and the text of an explicit or Wasm trap, in order.
    pub log: Vec<String>,
}
