//! Who keeps what a store forgets: it is above the store, which knows it by this trait.

use super::record::Record;
use crate::{alarm::Due, error::IdempotencyError, table::Damaged, time::Timestamp};
use std::{future::Future, pin::Pin};

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

    /// What the store forgot when it had no archives, nobody knows: records that expired up to this instant may be such.
    fn forgot_until(&self) -> Timestamp;
}

/// The policy has an archive, and `archive::install` was not called in this heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotInstalled;

/// What archives must know of a store when they are installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct History {
    /// How many heaps have opened it.
    pub(crate) incarnation: u64,
    /// Records that expired up to this instant may have been forgotten, as far as this heap can know.
    pub(crate) forgotten_until: Timestamp,
    /// It had archives before.
    pub(crate) is_archived: bool,
}

/// The oldest partition, which has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expired {
    pub(crate) number: u16,
    /// Numbers come round, times do not.
    pub(crate) until: u64,
}

/// What became of the requests of a partition that have not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// None is in it any more.
    All,
    /// There are more.
    Some,
    /// The memory has no room for the next.
    NoRoom,
}
