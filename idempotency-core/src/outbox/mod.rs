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
pub use next::Verification;
pub use outcome::{Ended, Limit, MessageId, Outcome, Reason};
pub use policy::Policy;
pub use request::Request;
pub use response::Response;
pub use send::{Sends, install};
pub use status::{Overview, Parked, SendError, Status};
pub use transform::{Transform, answer_transform};

use crate::{
    alarm::Alarm,
    runtime::{Canister, Egress},
    table::{Damaged, OpenError},
    time::Timestamp,
};
use contents::{Birth, Contents};
use ic_stable_structures::Memory;
use std::{
    cell::{Cell, RefCell, RefMut},
    fmt,
    thread::LocalKey,
};

/// Messages on their way to servers outside the IC. It lives in a `thread_local!`, as a [`Store`](crate::Store) does, and owns its
/// [`Memory`] for good: give it a `MemoryId` that nothing else uses.
///
/// The heap that it takes grows with the messages that have not ended, and with dead letters, by some 500 bytes each.
pub struct Outbox<M: Memory> {
    policy: Policy,
    transform: Transform,
    contents: RefCell<Contents<M>>,
    on_end: Option<fn(&Ended)>,
    verify: Option<Verifier>,
    /// The time for which the timer of this heap is set.
    alarm: Alarm,
    parked: RefCell<Option<Parked>>,
    /// Answers to its outcalls come to it.
    is_enlisted: Cell<bool>,
    /// Nothing is sent before.
    rests_until: Cell<Timestamp>,
}

/// Says what a server's answer means: see [`Outbox::verify`].
type Verifier = fn(MessageId, &[u8], &Response) -> Verification;

impl<M: Memory> Outbox<M> {
    /// Opens the outbox in `memory`, or makes a new one if the memory was never used. `transform` is what
    /// [`export_transform!`] has exported: replicas read a server's answers with it.
    ///
    /// # Panics
    /// Traps with the [`OpenError`] if the memory can't be opened, so that an upgrade which would lose the outbox is undone.
    /// Panics outside of a canister.
    pub fn new(memory: M, policy: Policy, transform: Transform) -> Self {
        if cfg!(not(target_family = "wasm")) {
            panic!(
                "idempotency: an outbox sends with the clock and the timers of a canister, and this is not one"
            );
        }
        Self::open(memory, policy, transform, &Canister)
            .unwrap_or_else(|error| panic!("idempotency: {error}"))
    }

    fn open(
        memory: M,
        policy: Policy,
        transform: Transform,
        runtime: &impl Egress,
    ) -> Result<Self, OpenError> {
        policy.check().map_err(OpenError::InvalidPolicy)?;
        Ok(Self {
            contents: RefCell::new(Contents::open(memory, birth(runtime))?),
            policy,
            transform,
            on_end: None,
            verify: None,
            alarm: Alarm::default(),
            parked: RefCell::default(),
            is_enlisted: Cell::default(),
            rests_until: Cell::default(),
        })
    }

    /// What is called once for each message, when it has ended: in a message of its own, which commits what the function does together with
    /// the note that it was called. If it traps, that is undone, and it is called again later: after two seconds, and up to ten minutes.
    ///
    /// Without such a function an end is found by [`status`](Sends::status) and [`dead_letters`](Sends::dead_letters) only.
    pub fn on_end(mut self, ended: fn(&Ended)) -> Self {
        self.on_end = Some(ended);
        self
    }

    /// What says, for messages with a [`Request::verify`], what the server's answer means. It gets the message, what it is
    /// [`about`](Request::about), and the answer to the question: any that is not a failure of the server or of the network, so a 404, too.
    ///
    /// It says [`NotDone`](Verification::NotDone) only where the effect is not there and can't come any more: the message is sent again then. If
    /// it traps, the server is asked again some minutes later.
    pub fn verify(mut self, verify: fn(MessageId, &[u8], &Response) -> Verification) -> Self {
        self.verify = Some(verify);
        self
    }

    /// The policy it was opened with.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What it holds, unless another outbox has opened its memory since.
    fn contents(&self) -> Result<RefMut<'_, Contents<M>>, Damaged> {
        let contents = self.contents.borrow_mut();
        match contents.is_superseded() {
            true => Err(Damaged),
            false => Ok(contents),
        }
    }
}

/// No other outbox is made like this: by the time, the canister's version, and how many this heap has opened before.
fn birth(runtime: &impl Egress) -> Birth {
    thread_local! {
        static OPENED: Cell<u64> = const { Cell::new(0) };
    }
    let opened = OPENED.get();
    OPENED.set(opened + 1);
    [
        runtime.time().as_nanos(),
        runtime.canister_version(),
        opened,
    ]
}

impl<M: Memory> fmt::Debug for Outbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// A way to an outbox. An attempt outlives messages, and so it keeps the way to its outbox and not the outbox.
trait Access: Clone + 'static {
    /// Where the outbox lives.
    type Memory: Memory;

    /// Works on the outbox.
    fn with<T>(&self, work: impl FnOnce(&Outbox<Self::Memory>) -> T) -> T;
}

impl<M: Memory> Access for &'static LocalKey<Outbox<M>> {
    type Memory = M;

    fn with<T>(&self, work: impl FnOnce(&Outbox<M>) -> T) -> T {
        LocalKey::with(self, work)
    }
}

#[cfg(test)]
mod tests;
