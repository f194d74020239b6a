//! Who keeps what a store forgets: it is above the store, which knows it by this trait.

use super::{Damaged, Store, record::Record};
use crate::{alarm::Due, error::IdempotencyError};
use ic_stable_structures::Memory;
use std::{future::Future, pin::Pin, rc::Rc};

/// What an archive knows of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Archived {
    /// As it was when it was archived: it had ended.
    pub(crate) record: Record,
    /// The SHA-256 of its reply, where that alone is kept.
    pub(crate) digest: Option<[u8; 32]>,
}

/// What a look-up in archives gives, later.
pub(crate) type LookingUp =
    Pin<Box<dyn Future<Output = Result<Option<Archived>, IdempotencyError>>>>;

/// Keeps what a store forgets. A request's id is the last 16 bytes of its identity.
pub(crate) trait Keeper {
    /// Whether an archive may hold a request. If not, the store has never forgotten it.
    fn may_hold(&self, id: &[u8; 16]) -> Result<bool, Damaged>;

    /// Asks the archives that may hold a request. What they say holds when the future is ready: no request was forgotten meanwhile of which
    /// they did not know. It must be awaited in the message that uses it.
    ///
    /// # Errors
    /// [`IdempotencyError::Other`] with code 8: an archive that may hold it can't be asked. `StoreDamaged`.
    fn look_up(&self, id: [u8; 16]) -> LookingUp;

    /// Has the timer set that ships what expires next.
    fn wake(&self, due: Due);
}

/// The policy has an archive, and `archive::install` was not called in this heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotInstalled;

impl<M: Memory> Store<M> {
    /// Has `keeper` keep what is forgotten, for as long as this heap lives.
    pub(crate) fn keep_with(&self, keeper: Rc<dyn Keeper>) {
        let _ = self.keeper.set(keeper);
    }

    /// Who keeps what is forgotten, if the policy says that somebody does.
    pub(crate) fn keeper(&self) -> Result<Option<Rc<dyn Keeper>>, NotInstalled> {
        match (self.policy.archive, self.keeper.get()) {
            (None, _) => Ok(None),
            (Some(_), Some(keeper)) => Ok(Some(Rc::clone(keeper))),
            (Some(_), None) => Err(NotInstalled),
        }
    }
}
