//! Exactly-once update calls for Internet Computer canisters.
//!
//! A client that loses the answer of an update call can't know whether the call ran. Put [`#[idempotent]`](idempotent)
//! above the method and give it a [`Store`]: a request that is sent again gets the first answer again, byte for byte,
//! and the function runs once.
//!
//! ```
//! use candid::{CandidType, Deserialize};
//! use ic_stable_structures::{DefaultMemoryImpl, memory_manager::{MemoryId, MemoryManager, VirtualMemory}};
//! use idempotency_core::{IdempotencyError, Policy, Store, idempotent};
//! use std::{cell::RefCell, time::Duration};
//!
//! type Memory = VirtualMemory<DefaultMemoryImpl>;
//!
//! thread_local! {
//!     static MEMORY: RefCell<MemoryManager<DefaultMemoryImpl>> =
//!         RefCell::new(MemoryManager::init(DefaultMemoryImpl::default()));
//!
//!     /// Deduplication state of the payment endpoints. It needs one memory of its own, for good.
//!     static PAYMENTS: Store<Memory> = Store::new(
//!         MEMORY.with_borrow(|memory| memory.get(MemoryId::new(10))),
//!         Policy::new().window(Duration::from_secs(24 * 60 * 60)).capacity(1_000_000),
//!     );
//! }
//!
//! #[derive(CandidType, Deserialize)]
//! struct PayArg {
//!     request_id: Vec<u8>,
//!     amount: u64,
//! }
//!
//! #[derive(CandidType)]
//! enum PayError {
//!     InsufficientFunds,
//!     Idempotency(IdempotencyError),
//! }
//!
//! impl From<IdempotencyError> for PayError {
//!     fn from(error: IdempotencyError) -> Self {
//!         PayError::Idempotency(error)
//!     }
//! }
//!
//! #[idempotent(store = PAYMENTS, key = arg.request_id, required)]
//! #[ic_cdk::update]
//! fn pay(arg: PayArg) -> Result<u64, PayError> {
//!     if arg.amount > 100 { Err(PayError::InsufficientFunds) } else { Ok(7) }
//! }
//!
//! #[ic_cdk::init]
//! fn init() {
//!     idempotency_core::install(&PAYMENTS);
//! }
//!
//! #[ic_cdk::post_upgrade]
//! fn post_upgrade() {
//!     idempotency_core::install(&PAYMENTS);
//! }
//! # fn main() {}
//! ```
//!
//! # Where each rule lives
//!
//! | rule | module |
//! |---|---|
//! | window, drift, capacity | [`policy`](Policy) |
//! | what makes two requests the same; hashing and its threat model | [`identity`] |
//! | replay, refuse or execute: the whole decision, in order | [`admission`] |
//! | begin, run, complete; what happens on a trap | [`attempt`] |
//! | sequence numbers: which may run next; the floor | [`sequence`] |
//! | what one caller may take | `quota` |
//! | stable memory: layout, states of a record, capacity | [`store`] |
//! | expiry by timer and inline | [`eviction`] |
//! | what a client is told | [`IdempotencyError`] |
//!
//! Everything but `runtime` is plain Rust over [`ic_stable_structures::Memory`] and takes the time as an argument.
#![forbid(unsafe_code)]

mod access;
pub mod admission;
pub mod attempt;
pub mod error;
pub mod eviction;
pub mod identity;
mod policy;
mod quota;
mod runtime;
pub mod sequence;
pub mod store;
mod table;
mod time;

pub use error::IdempotencyError;
pub use eviction::install;
/// Makes an update method safe to retry.
pub use idempotency_macros::idempotent;
pub use identity::{Key, KeyWriter};
pub use policy::Policy;
pub use store::{Damaged, OpenError, Stats, Store};
pub use time::Timestamp;

/// Whether a message can succeed, for `canister_inspect_message`: `inspect!(transfer, approve)`, with the functions that
/// have the attribute, is `Ok(())` or the error that the message's method would answer with.
///
/// ```text
/// #[ic_cdk::inspect_message]
/// fn inspect_message() {
///     match inspect!(transfer, approve) {
///         Ok(()) => ic_cdk::api::accept_message(),
///         // A message that is merely not accepted leaves its client without the reason.
///         Err(error) => ic_cdk::trap(format!("idempotency: {error}")),
///     }
/// }
/// ```
///
/// Refused are a key of the anonymous caller, a missing key that is required, a key that is none, a stale `created_at` or one in the
/// future, and a sequence number that is too old; every retry of a request that is remembered is let through, and so is every
/// other method. Arguments over 16 KiB are not read.
///
/// # What it is for, and what it hides
///
/// It saves cycles: the canister pays nothing for a message that is refused here. It protects nothing: one replica alone
/// inspects, only calls from outside, and the method checks everything again.
///
/// What it costs is the answer: the client gets a reject with the text above in place of the method's own `Err`. That
/// reject is not certified. A replica or a boundary node can make one up, and deliver the message all the same; a client
/// that believes it, and sends the request with another key or another `created_at`, may have it run twice.
///
/// So inspect methods whose refusals a client can check by itself: that it is anonymous, that its key is missing, empty or
/// too long. Leave out methods whose clients act upon `TooOld`, `CreatedInFuture` or `SequenceTooOld`, as those of ICRC-1
/// do: only the method's own answer is certified.
#[macro_export]
macro_rules! inspect {
    ($($functions:tt)*) => {
        $crate::attempt::inspect_methods!($crate; $($functions)*)
    };
}
