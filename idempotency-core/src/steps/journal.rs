//! What steps need of the attempt that they belong to.

use crate::{
    identity::Identity,
    runtime::{Outgoing, Rejected},
    time::Timestamp,
};
use candid::Principal;
use std::{future::Future, pin::Pin};

/// The answer to a call, when it comes.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Vec<u8>, Rejected>>>>;

/// The attempt of a durable request, with the request's journal.
pub(crate) trait Journal {
    /// The request's.
    fn identity(&self) -> Identity;

    /// Whose request it is, as recorded.
    fn caller(&self) -> Principal;

    /// This canister.
    fn canister(&self) -> Principal;

    /// The time of the present message.
    fn now(&self) -> Timestamp;

    /// Whether entries of these lengths, in bytes, can be appended, one after the other. If so, and nothing else is appended in
    /// between, none of them finds the journal full. What a step did can't be undone where its record doesn't fit, so steps ask
    /// before they begin.
    fn has_room(&self, lengths: &[usize]) -> bool;

    /// Appends an entry, which is committed with the message. After an error nothing was appended.
    fn append(&self, entry: &[u8]) -> Result<(), AppendError>;

    /// Calls a canister.
    fn call(&self, call: Outgoing) -> Answer;
}

/// Why an entry is not in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppendError {
    /// The request's journal has no room for it.
    Full { max_journal_bytes: u32 },
    /// The store is damaged.
    Damaged,
}
