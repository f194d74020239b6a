//! One call of an idempotent method. This is what `#[idempotent]` calls.
//!
//! ```text
//! serve, durable, going_on
//!       ──► begin, asking, second_look, watch, guard, resolution, answer  what a call goes through: begin, run, complete
//! handle, import, inspection, outcomes
//!                   ──► attribute        `endpoint!`, `import!`, `inspect!` and `outcomes!`
//!       all of them ──► endpoint         what the attribute says, as values and functions
//! ```
//!
//! Everything takes the runtime as an argument; only the functions that the attribute calls choose the canister's.
//!
//! # When a call is cut off
//! - *A trap before the first await, or in a sync method:* the IC undoes the whole message, record and effects alike. A retry runs.
//! - *A trap after an await:* what was done up to that await stands. The cleanup callback drops the guard, which marks the record
//!   as interrupted: a retry is told that the outcome is unknown.
//! - *An upgrade while the method awaits an answer:* no destructor runs. The record stays pending, of an incarnation that is gone;
//!   that is unknown, too.
//! - *A trap after an await, and another one in the cleanup callback* (in a destructor of the method's own, say): the future stays in
//!   the heap, and nothing wakes it. Its record stays pending. It looks like an attempt that waits for a callee, so a retry is
//!   told that it is in progress, and once it has run for longer than the window that its outcome is unknown. An attempt that
//!   ends later than that still records its end.
//!
//! Nothing runs again by itself, unless it is durable: see `durable.rs`. What is unknown may be settled by `on_unknown`.
//!
//! # Answers that arrive after an upgrade
//! ic-cdk finds the future that awaits an answer by its address in the heap. If an upgrade comes between a call and its answer,
//! the address is one of the old heap, and in the new heap another future may stand there that awaits another answer.
//!
//! So an async method with the attribute checks whose message it is, each time that it goes on after an await and each time that it
//! is dropped in a cleanup. The message belongs to another call if its caller is another, or if that call has used fewer
//! instructions than this one had. Then callback and cleanup both trap, and the IC undoes both. The method that was
//! woken stays as it was, and gets its own answer when that arrives. The client of the old call is told `CutOff`, and its
//! record is unknown.
//!
//! The attempts of durable methods run in calls of their own that carry as many cycles as the attempt's number says. That is something
//! that only one call has, so there nobody else's answer is ever taken. Of other calls the IC tells a callback nothing of the kind, and
//! the check can't see everything:
//! - *An old call of the same caller that has used as many instructions or more.* Its answer is taken for that of the later call.
//!   The later call's record then holds a reply that was made with the wrong answer, and the old call's client gets that reply.
//!   Between canisters the deadlines of bounded-wait calls are compared as well. Where only those differ, the wrong reply is not
//!   recorded; but a cleanup can't ask for the deadline, so the later call is dropped and its record becomes unknown.
//! - *Awaits without the attribute:* in methods without it, in timers, and in tasks that a method spawns. Nobody checks those.
//! - *An address where no future stands.* ic-cdk takes what is there for one. Mostly that traps, and the IC undoes it. It may also
//!   write there, and so damage the heap until the next upgrade. In a new module the callback itself may be another function.
//!
//! A canister that was stopped has no call in flight: the IC stops it when all its calls are answered. So stop a canister
//! before you upgrade it, and start it afterwards.

mod answer;
mod asking;
mod attribute;
mod begin;
mod durable;
mod endpoint;
mod going_on;
mod guard;
mod handle;
mod import;
mod inspection;
mod outcomes;
mod request;
mod resolution;
#[cfg(feature = "archive")]
mod second_look;
mod serve;
mod watch;

#[doc(hidden)]
pub use crate::access::AnyStore;
pub use crate::codec::{both_all, both_one, decode, encode_all, encode_one, map_all, map_one};
pub use crate::identity::{Compared, LaneKey, RequestKey, Scope};
pub use attribute::Attribute;
#[doc(hidden)]
pub use candid::candid_method;
pub use durable::{call_durable, go_on};
pub use endpoint::{
    Compare, CreatedAt, Description, Endpoint, Errors, MaxInFlight, Number, OnReplay, PlainReply,
    Recognise, ReplyType, RequestId, max_in_flight,
};
pub use handle::{
    Handle, Identifies, InScope, Keyed, KeyedByArguments, KnownLane, KnownScope, Numbered,
    NumberedInLane, NumberedInLanes, PerCaller, PerValue, Shared,
};
#[doc(hidden)]
pub use idempotency_macros::{attribute_of, handle_of, inspect_methods, outcomes_of};
pub use import::{HasKeys, import_calls};
pub use inspection::{Inspect, Message, first_inspected};
#[cfg(feature = "archive")]
#[doc(hidden)]
pub use outcomes::outcomes_ever;
#[doc(hidden)]
pub use outcomes::{Ask, outcomes, proof};
pub use resolution::{Asks, Nobody, OnUnknown, Resolution, Resolves, Unknown};
pub use serve::{call, call_async};

#[cfg(test)]
mod tests;
