//! Calls to other canisters that end in what is known: [`SafeCall`].
//!
//! ```text
//! call ──► drive ──► verdict, limit     what an answer proves, how long a repeat is recognised
//!    └──► callee, ledger                the kinds of callee
//!             └──► transfer, search     what goes to a ledger; its blocks
//! drive ──► transport                   time, calls and pauses; a trait, so that tests and durable methods have their own
//! ```
//!
//! # What an answer proves
//! A reject says something about one attempt. Whether the *call* was executed depends on all of its attempts, so the driver keeps
//! one bit beside them, the doubt: an earlier attempt may have been executed.
//!
//! | answer | this attempt | then |
//! |---|---|---|
//! | reply | executed | `Replied` |
//! | not sent (code 0), `SYS_TRANSIENT` (2) | not executed | sent again |
//! | `SYS_FATAL` (1), `DESTINATION_INVALID` (3) | not executed | ends |
//! | `CANISTER_REJECT` (4), `CANISTER_ERROR` (5), `SYS_UNKNOWN` (6), any other code | may have been executed: doubt | sent again, if the callee recognises repeats |
//! | refusal of an idempotent endpoint that follows its look-up | not executed, nor any before it: no doubt any more | depends on the refusal |
//! | any other refusal | not executed | depends on the refusal |
//!
//! `Rejected` and `NotExecuted` need that no doubt is left.
//!
//! The fifth row rests on an order that the IC guarantees: of the calls of one canister to another, none overtakes an earlier one.
//! When the callee answers an attempt, the attempts before it have been executed or never will be.

mod call;
mod callee;
mod drive;
mod ledger;
mod limit;
mod outcome;
#[doc(hidden)]
pub mod search;
mod transfer;
pub(crate) mod transport;
mod verdict;

pub use call::SafeCall;
pub use callee::{Callee, Endpoint, Plain, Repeatable};
pub use ledger::Ledger;
pub use outcome::{Outcome, Reason};
pub use transfer::{Account, Subaccount, Transfer, TransferError, TransferFrom};

#[cfg(test)]
mod tests;
