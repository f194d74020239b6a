//! Messages to servers outside the IC, over HTTPS outcalls: committed with the effect that causes them, and sent until their outcome is
//! known.
//!
//! A canister that sends an e-mail or creates an order calls a server outside the IC. The request may time out after the server
//! has acted; a trap or an upgrade forgets that it was sent; and 13 replicas send it at once. An [`Outbox`] takes the message in the same
//! message as the change of state that it tells of: both are committed, or neither is. It lies in stable memory. A timer sends it, and
//! again with the same key, until an answer is certain or its limits are reached.
//!
//! ```
//! use ic_stable_structures::DefaultMemoryImpl;
//! use idempotency_core::{
//!     IdempotencyError,
//!     outbox::{self, Ended, MessageId, Outbox, Outcome, Policy, Request, SendError, Sends as _},
//! };
//!
//! outbox::export_transform!(TRANSFORM);
//!
//! thread_local! {
//!     static OUTBOX: Outbox<DefaultMemoryImpl> =
//!         Outbox::new(DefaultMemoryImpl::default(), Policy::new(), TRANSFORM).on_end(ended);
//! }
//!
//! #[ic_cdk::update]
//! fn order(number: u64) -> Result<MessageId, SendError> {
//!     // The change of state goes here, in the same message.
//!     OUTBOX.send(
//!         Request::post("https://shop.example/orders")
//!             .header("Content-Type", "application/json")
//!             .body(format!(r#"{{"order":{number}}}"#))
//!             .max_response_bytes(2_000)
//!             .about(number.to_le_bytes()),
//!     )
//! }
//!
//! /// Called once for each message, in a message of its own.
//! fn ended(message: &Ended) {
//!     match &message.outcome {
//!         Outcome::Acknowledged(_) => { /* the order is placed */ }
//!         Outcome::Dead { .. } => { /* it is not, and won't be */ }
//!         _ => { /* nobody knows: somebody must look */ }
//!     }
//! }
//!
//! #[ic_cdk::post_upgrade]
//! fn post_upgrade() {
//!     outbox::install(&OUTBOX);
//! }
//! # fn main() {}
//! ```
//!
//! # What it promises
//! - A message is committed with what causes it, or not at all; and it ends: as [`Acknowledged`](Outcome::Acknowledged),
//!   [`Dead`](Outcome::Dead) with the answer that refused it, or [`Unknown`](Outcome::Unknown) with the reason. None is dropped in silence: what ends as Dead or Unknown stays as a *dead letter*.
//! - All attempts, from all replicas and after every upgrade, have the same idempotency key. It follows from the message's identity.
//! - A message whose repetition may have a second effect is not repeated after an attempt that may have been executed.
//! - Exactly once is the receiver's half: one effect per key. The crate `idempotency-receiver` is that half for servers of one's own.
//! - Messages of one lane are sent in order: one begins when the one before it has ended, in whichever way.
//!
//! # Where each rule lives
//!
//! | rule | module |
//! |---|---|
//! | what can be sent, and what the IC's limits are | [`Request`] |
//! | how much is held, for how long, how hard it tries | [`Policy`] |
//! | the key | `key` |
//! | what an answer proves | `answer` |
//! | what follows from it | `next` |
//! | whose turn it is | `schedule` |
//! | what is kept, and for how long | `contents`, `message`, `keep_on` |
//! | what becomes of a message | `transitions` |
//! | timers and outcalls | `drive` |
//!
//! # Costs
//! [`send`](Sends::send) takes about as many instructions as an idempotent call's record, and a few for each byte: see the book's page on
//! costs. An outcall costs cycles by the size of the request and by `max_response_bytes`, whatever comes back. While nothing is to be done no timer
//! is set.

mod answer;
mod any_bytes;
mod characters;
mod contents;
mod drive;
mod error;
mod handle;
mod json;
mod keep;
mod keep_on;
mod key;
mod limits;
mod message;
mod method;
mod next;
mod outcall;
mod outcome;
mod policy;
mod request;
mod response;
mod schedule;
mod send;
mod status;
mod stored;
mod transform;
mod transitions;
mod url;

#[doc(inline)]
pub use crate::__export_outbox_transform as export_transform;
#[doc(hidden)]
pub use any_bytes::__reads_any_bytes;
pub use error::RequestError;
pub use handle::Outbox;
pub use next::Verification;
pub use outcome::{Ended, Limit, MessageId, Outcome, Reason};
pub use policy::Policy;
pub use request::Request;
pub use response::Response;
pub use send::{Sends, install};
pub use status::{Overview, Parked, SendError, Status};
pub use transform::{Transform, answer_transform};

#[cfg(test)]
mod tests;
