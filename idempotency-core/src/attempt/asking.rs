//! A call that waits for archives, and what they say.

#[cfg(feature = "archive")]
use crate::store::{LookingUp, Record};
#[cfg(feature = "archive")]
use candid::Principal;

/// Which kind of method is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sync,
    Async,
    Durable,
}

/// What archives have said of a request.
pub(super) enum Archives {
    /// They were not asked.
    NotAsked,
    /// None of them holds it.
    #[cfg(feature = "archive")]
    DontKnow,
    /// One of them holds it.
    #[cfg(feature = "archive")]
    Hold(Record),
}

/// A call, and the archives' answer that it waits for. The IC has the argument of a call for its first message only.
#[cfg(feature = "archive")]
pub(super) struct Asking {
    pub(super) call: (Kind, Principal, Vec<u8>),
    pub(super) answer: LookingUp,
}

/// There is nobody to ask.
#[cfg(not(feature = "archive"))]
pub(super) type Asking = std::convert::Infallible;
