#![doc = include_str!("../README.md")]
//!
//! # Where each rule lives
//!
//! | rule | module |
//! |---|---|
//! | window, drift, capacity | [`Policy`] |
//! | what makes two requests the same; hashing and its threat model | [`identity`] |
//! | replay, refuse or execute: the whole decision, in order | [`admission`] |
//! | what a canister remembered before: known, expired, added | [`import`](mod@import) |
//! | begin, run, complete; what happens on a trap | [`attempt`] |
//! | steps of durable methods: record, replay, compensate | [`steps`] |
//! | sequence numbers: which may run next; the floor | [`sequence`] |
//! | how much of the store one scope may take | `quota` |
//! | records and counters: their states, capacity | [`store`] |
//! | stable memory: rows, partitions, the index, the layout and its versions | `table` |
//! | forgetting what has expired, by timer and with new requests | [`eviction`] |
//! | going on with durable requests that were cut off | `recovery` |
//! | what a client is told | [`error`](mod@error) |
//! | what became of a request, proved by a query | [`certified`] |
//! | calls to other canisters that end in what is known | [`safe_call`] |
//! | counters of what happens | [`Stats`] |
//! | metrics and the status page | `http`, with the feature of that name |
//! | what the window forgets: archive canisters | `archive`, with the feature of that name |
//! | messages to servers outside the IC | `outbox`, with the feature of that name |
//!
//! Everything but `runtime` is plain Rust over [`ic_stable_structures::Memory`] and takes the time as an argument.
#![cfg_attr(not(any(feature = "archive", feature = "outbox")), forbid(unsafe_code))]
// `runtime` makes outcalls by itself, in one place.
#![cfg_attr(any(feature = "archive", feature = "outbox"), deny(unsafe_code))]

mod access;
pub mod admission;
#[cfg(feature = "timers")]
mod alarm;
#[cfg(feature = "archive")]
pub mod archive;
pub mod attempt;
pub mod certified;
mod codec;
mod documented;
pub mod error;
pub mod eviction;
#[cfg(feature = "http")]
pub mod http;
pub mod identity;
pub mod import;
#[cfg(feature = "outbox")]
pub mod outbox;
pub mod outcome;
mod policy;
mod quota;
mod recovery;
mod runtime;
pub mod safe_call;
pub mod sequence;
pub mod steps;
pub mod store;
mod table;
mod time;

pub use attempt::{Resolution, Unknown};
pub use error::IdempotencyError;
pub use eviction::install;
#[doc = include_str!("idempotent.md")]
pub use idempotency_macros::idempotent;
pub use identity::{Key, KeyWriter};
pub use policy::Policy;
pub use safe_call::SafeCall;
pub use steps::Steps;
pub use store::{Damaged, Events, OpenError, Stats, Store};
pub use time::Timestamp;

/// Checks, in `canister_inspect_message`, whether a message can succeed: `inspect!(transfer, approve)` takes functions that
/// have the attribute. It is `Ok(())`, or the error with which the message's method would answer.
///
/// ```
/// use ic_stable_structures::DefaultMemoryImpl;
/// use idempotency_core::{Policy, Store, idempotent, inspect};
///
/// thread_local! {
///     static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
/// }
///
/// #[idempotent(store = STORE, key = request_id, required)]
/// #[ic_cdk::update]
/// fn transfer(request_id: Option<Vec<u8>>, amount: u64) -> u64 {
///     amount
/// }
///
/// #[ic_cdk::inspect_message]
/// fn inspect_message() {
///     match inspect!(transfer) {
///         Ok(()) => ic_cdk::api::accept_message(),
///         // A client whose message is merely not accepted is not told why.
///         Err(error) => ic_cdk::trap(format!("idempotency: {error}")),
///     }
/// }
/// # fn main() {}
/// ```
///
/// It refuses
/// - a request key of the anonymous caller,
/// - a request without a key where the method requires one,
/// - a key that is empty, or has a part that is too long,
/// - a `created_at` before the window, or too far in the future,
/// - a sequence number that is too old.
///
/// It lets through every retry of a request that the store remembers, every message to another method, and every message
/// whose argument is longer than 16 KiB or does not decode.
///
/// # What it saves, and what it hides
///
/// The canister pays nothing for a message that is refused here. That is all it does: a single replica inspects, it inspects
/// only messages from outside of the IC, and the method checks everything again.
///
/// The price is the answer. The client gets a reject with the text above instead of the method's own `Err`, and a reject of
/// `inspect_message` is not certified. A replica or a boundary node can make one up and deliver the message all the same. A
/// client that believes it, and sends the request again with another key or another `created_at`, may have it run twice.
///
/// So inspect methods whose refusals a client can check by itself: that it is anonymous, or that its key is missing, empty or
/// too long. Do not inspect methods whose clients act upon `TooOld`, `CreatedInFuture` or `SequenceTooOld`, as those of ICRC-1
/// do. Only the method's own answer is certified.
#[macro_export]
macro_rules! inspect {
    ($($functions:tt)*) => {
        $crate::attempt::inspect_methods!($crate; $($functions)*)
    };
}

/// What became of the caller's calls: `outcomes!(calls; transfer, approve)` takes what a client asks, a `Vec` of
/// [`Asked`](outcome::Asked), and functions that have the attribute. For each of the calls it gives an
/// [`Outcome`](outcome::Outcome), or the error with which the method would answer whatever had become of it.
///
/// A client asks with the method and the argument that it sent, so whatever names the request does so here, too: key or number, scope,
/// lane and `created_at`.
///
/// ```
/// use ic_stable_structures::DefaultMemoryImpl;
/// use idempotency_core::{
///     IdempotencyError, Policy, Store, idempotent,
///     outcome::{Asked, Outcome},
///     outcomes,
/// };
///
/// thread_local! {
///     static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
/// }
///
/// #[idempotent(store = STORE, key = request_id, required)]
/// #[ic_cdk::update]
/// fn transfer(request_id: Option<Vec<u8>>, amount: u64) -> u64 {
///     amount
/// }
///
/// #[ic_cdk::query]
/// fn idempotency_outcomes(calls: Vec<Asked>) -> Vec<Result<Outcome, IdempotencyError>> {
///     outcomes!(calls; transfer)
/// }
/// # fn main() {}
/// ```
///
/// # Who may ask what
/// The caller asks about requests that are made in the caller's own name. With `scope = caller`, the default, nobody else's requests are
/// visible. A request with `scope = global`, or with a scope that follows from the argument, is visible to whoever knows its argument: a
/// method that has a `guard` needs the same `guard` on the query.
///
/// # Errors
/// For each call, `MissingKey` if it runs without deduplication; `InvalidKey`, `AnonymousRefused` and `StoreDamaged` as from the method;
/// `KeyReused` if its key belongs to a request with other arguments; [`Other`](IdempotencyError::Other) with code 3 if its argument, or the
/// first reply, does not decode, 4 if none of the functions is exported by that name, and 10 if an archive may hold the request, which
/// is not asked here.
#[macro_export]
macro_rules! outcomes {
    ($calls:expr; $($functions:tt)*) => {
        $crate::attempt::outcomes(&$calls, $crate::attempt::outcomes_of!($crate; $($functions)*))
    };
}

/// As [`outcomes!`], and asks archives: `outcomes_ever!(calls; transfer, approve).await`, in an update, or in a composite query if the archives
/// are on the canister's subnet.
///
/// Of a request that an archive holds it says `Done` with the first reply, or `ReplyDropped` with the time of the execution, however long
/// ago that was. The calls are answered one after the other. Archives are asked only about those that one of them may hold, and that the
/// canister itself does not know. Each of these takes a call to an archive, for which the canister pays: so an update that asks takes the
/// first few of what its caller sends, say 10, as the example does.
///
/// ```
/// use ic_stable_structures::DefaultMemoryImpl;
/// use idempotency_core::{
///     IdempotencyError, Policy, Store, idempotent,
///     outcome::{Asked, Outcome},
///     outcomes_ever,
/// };
///
/// thread_local! {
///     static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
/// }
///
/// #[idempotent(store = STORE, key = request_id, required)]
/// #[ic_cdk::update]
/// fn transfer(request_id: Option<Vec<u8>>, amount: u64) -> u64 {
///     amount
/// }
///
/// #[ic_cdk::update]
/// async fn idempotency_outcomes_ever(mut calls: Vec<Asked>) -> Vec<Result<Outcome, IdempotencyError>> {
///     calls.truncate(10);
///     outcomes_ever!(calls; transfer).await
/// }
/// # fn main() {}
/// ```
///
/// # Errors
/// For each call, as [`outcomes!`]; [`Other`](IdempotencyError::Other) with code 8 if an archive that may hold it can't be asked, and 9 if
/// the archives were not opened in this heap.
#[cfg(feature = "archive")]
#[macro_export]
macro_rules! outcomes_ever {
    ($calls:expr; $($functions:tt)*) => {
        $crate::attempt::outcomes_ever(&$calls, $crate::attempt::outcomes_of!($crate; $($functions)*))
    };
}

/// What proves to a client what became of one of the caller's calls: `prove!(call; transfer, approve)` takes an
/// [`Asked`](outcome::Asked), and functions that have the attribute. It gives a [`Proof`](certified::Proof), which the client checks by
/// itself. See [`certified`] for an example, and for what the canister has to do besides.
///
/// Who may ask what is as with [`outcomes!`].
///
/// # Errors
/// `MissingKey` if the call runs without deduplication; `InvalidKey`, `AnonymousRefused` and `StoreDamaged` as from the method;
/// [`Other`](IdempotencyError::Other) with code 3 if its argument does not decode, 4 if none of the functions is exported by that name,
/// 6 if there is no certificate, as the query was called as an update or by another canister, and 7 if parts of the tree are being
/// made anew: ask again in some seconds. `KeyReused` if its key belongs to a request with other arguments; that is the word of one
/// replica, as a proof is one of the key.
#[macro_export]
macro_rules! prove {
    ($call:expr; $($functions:tt)*) => {
        $crate::attempt::proof(&$call, $crate::attempt::outcomes_of!($crate; $($functions)*))
    };
}
