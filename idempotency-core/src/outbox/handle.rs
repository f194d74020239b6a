//! The outbox as a canister holds it.

use super::{
    contents::{Birth, Contents},
    next::Verification,
    outcome::{Ended, MessageId},
    policy::Policy,
    response::Response,
    status::Parked,
    transform::Transform,
};
use crate::{
    alarm::Alarm,
    runtime::{Canister, Egress},
    table::{Damaged, OpenError},
    time::Timestamp,
};
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
    pub(super) policy: Policy,
    pub(super) transform: Transform,
    contents: RefCell<Contents<M>>,
    pub(super) on_end: Option<fn(&Ended)>,
    pub(super) verify: Option<Verifier>,
    /// The time for which the timer of this heap is set.
    pub(super) alarm: Alarm,
    pub(super) parked: RefCell<Option<Parked>>,
    /// Answers to its outcalls come to it.
    pub(super) is_enlisted: Cell<bool>,
    /// Nothing is sent before.
    pub(super) rests_until: Cell<Timestamp>,
}

/// Says what a server's answer means: see [`Outbox::verify`].
pub(super) type Verifier = fn(MessageId, &[u8], &Response) -> Verification;

impl<M: Memory> Outbox<M> {
    /// Opens the outbox in `memory`, or makes a new one if the memory was never used. `transform` is what
    /// [`export_transform!`](super::export_transform) has exported: replicas read a server's answers with it.
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

    pub(super) fn open(
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
    /// Without such a function an end is found by [`status`](super::Sends::status) and [`dead_letters`](super::Sends::dead_letters) only.
    pub fn on_end(mut self, ended: fn(&Ended)) -> Self {
        self.on_end = Some(ended);
        self
    }

    /// What says, for messages with a [`Request::verify`](super::Request::verify), what the server's answer means. It gets the message, what it is
    /// [`about`](super::Request::about), and the answer to the question: any that is not a failure of the server or of the network, so a 404, too.
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
    pub(super) fn contents(&self) -> Result<RefMut<'_, Contents<M>>, Damaged> {
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

/// A way to an outbox: timers outlive messages, so they keep that and not the outbox.
pub(super) trait Access: Clone + 'static {
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
