//! Idempotent endpoints, methods that are idempotent by nature, and plain ones.

use super::{
    limit::Repeats,
    outcome::Reason,
    search::Wanted,
    verdict::{Then, Verdict, of_error},
};
use crate::{codec::decode, error::IdempotencyError, time::Timestamp};
use candid::{CandidType, Nat};
use serde::de::DeserializeOwned;
use std::{fmt, marker::PhantomData, time::Duration};

/// A kind of callee: [`Endpoint`], [`Ledger`](super::Ledger), [`Repeatable`] or [`Plain`]. There are no others.
pub trait Callee {
    /// What the callee answers with.
    type Reply;

    /// What a reply says.
    #[doc(hidden)]
    fn judge(&self, reply: &[u8]) -> Verdict<Self::Reply>;

    /// Whether it recognises a repeat.
    #[doc(hidden)]
    fn repeats(&self) -> Repeats;

    /// Whether the text of a trap may be a refusal of this library.
    #[doc(hidden)]
    fn traps_with_refusals(&self) -> bool {
        false
    }

    /// What to look for in the callee's blocks, and in how many at most.
    #[doc(hidden)]
    fn wanted(&self) -> Option<(&Wanted, u64)> {
        None
    }

    /// The reply of a call whose block was found.
    #[doc(hidden)]
    fn found(_block: Nat) -> Option<Self::Reply> {
        None
    }
}

/// A method with `#[idempotent]` of this library, and with a key or a number in its arguments. Its answer is a `T`.
pub struct Endpoint<T> {
    /// See [`Policy::window`](crate::Policy::window): no store should remember for less.
    pub(super) window: Duration,
    pub(super) created_at: Option<Timestamp>,
    pub(super) refusal: Option<fn(&T) -> Option<&IdempotencyError>>,
}

impl<T> Endpoint<T> {
    /// The IC itself recognises a repeated message for 5 minutes. A store with a shorter window would be of no use.
    pub(super) const SHORTEST_WINDOW: Duration = Duration::from_secs(300);
}

impl<T: CandidType + DeserializeOwned> Callee for Endpoint<T> {
    type Reply = T;

    fn judge(&self, reply: &[u8]) -> Verdict<T> {
        match decode::<(T,)>(reply) {
            // It may be the refusal of a later version.
            Err(error) => Verdict::Unknown {
                why: Reason::Unreadable(error.to_string()),
                then: Then::Stop,
            },
            Ok((reply,)) => match self.refusal.and_then(|refusal| refusal(&reply)) {
                Some(error) => of_error(error.clone()),
                None => Verdict::Executed(reply),
            },
        }
    }

    fn repeats(&self) -> Repeats {
        match self.created_at {
            Some(created_at) => Repeats::Dated(created_at, self.window),
            None => Repeats::Within(self.window),
        }
    }

    fn traps_with_refusals(&self) -> bool {
        true
    }
}

/// Any other method. Its answer is a `T`.
pub struct Plain<T>(pub(super) PhantomData<fn() -> T>);

impl<T: CandidType + DeserializeOwned> Callee for Plain<T> {
    type Reply = T;

    fn judge(&self, reply: &[u8]) -> Verdict<T> {
        match decode::<(T,)>(reply) {
            Ok((reply,)) => Verdict::Executed(reply),
            // Whatever it says, the method came to its end.
            Err(error) => Verdict::ReplyLost {
                executed_at: None,
                message: format!("it does not decode: {error}"),
            },
        }
    }

    fn repeats(&self) -> Repeats {
        Repeats::Never
    }
}

/// A method that does the same when it is called again, whenever that is: it asks, or it says what is to be so. Its answer is a `T`.
pub struct Repeatable<T>(pub(super) PhantomData<fn() -> T>);

impl<T: CandidType + DeserializeOwned> Callee for Repeatable<T> {
    type Reply = T;

    fn judge(&self, reply: &[u8]) -> Verdict<T> {
        Plain(self.0).judge(reply)
    }

    fn repeats(&self) -> Repeats {
        Repeats::Always
    }
}

impl<T> Clone for Repeatable<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Repeatable<T> {}

impl<T> fmt::Debug for Repeatable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Repeatable")
    }
}

impl<T> Clone for Endpoint<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Endpoint<T> {}

impl<T> fmt::Debug for Endpoint<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("window", &self.window)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

impl<T> Clone for Plain<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Plain<T> {}

impl<T> fmt::Debug for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain")
    }
}
