//! Where records are kept.

mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use memory::MemoryBackend;
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteBackend, TransactionError, Transactional};

use crate::{answer::Answer, digest::RequestId};
use http::Extensions;
use std::{
    error::Error,
    time::{Duration, SystemTime},
};

/// Where records are kept.
///
/// A record is *in flight* from [`begin`](Self::begin) to [`settle`](Self::settle). Between the two the backend must never give
/// the same identity to another attempt, not after any time: only when it knows that the attempt can't go on, since its process
/// has ended, may it call the outcome unknown.
pub trait Backend: Send + Sync + 'static {
    /// Looks a request up, and begins an attempt if the mode allows it. Of several at the same time one at most gets an attempt.
    ///
    /// # Errors
    /// If the records can't be reached. No attempt has begun then.
    fn begin(
        &self,
        id: RequestId,
        mode: Mode,
        now: SystemTime,
    ) -> impl Future<Output = Result<Begun, BackendError>> + Send;

    /// Ends an attempt. If the handler has recorded an answer before, in one transaction with its effect, then that answer
    /// stands, and is returned.
    ///
    /// # Errors
    /// If the records can't be reached. The attempt goes on being in flight then, and the layer tries again.
    fn settle(
        &self,
        attempt: &Attempt,
        settlement: Settlement,
        now: SystemTime,
    ) -> impl Future<Output = Result<Option<Answer>, BackendError>> + Send;

    /// Says that nobody will settle an attempt, as its task was dropped, with its runtime for instance: its outcome is unknown as
    /// soon as that can be recorded. Called from `drop`, so it must not block; it is no error if the attempt isn't in flight.
    fn abandon(&self, attempt: &Attempt, now: SystemTime);

    /// Gives the handler what it may need, such as a transaction, as extensions of its request.
    fn prepare(&self, attempt: &Attempt, now: SystemTime, extensions: &mut Extensions) {
        let _ = (attempt, now, extensions);
    }
}

/// What [`Backend::begin`] may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only look.
    Look,
    /// Begin an attempt if there is no record.
    New,
    /// Begin an attempt if there is no record, or one whose outcome is unknown.
    Repeat,
}

/// What [`Backend::begin`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// There is no record, and none was asked for.
    Absent,
    /// An attempt has begun.
    Acquired(Attempt),
    /// It was executed, and answered so.
    Done(Answer),
    /// The key was used with another fingerprint.
    KeyReused,
    /// An attempt is in flight.
    InFlight,
    /// An attempt has ended without its outcome being known.
    Unknown,
    /// There is no room for another record.
    Full {
        /// When some may be free.
        retry_after: Duration,
    },
}

/// The right to execute a request once, and to settle its record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// Which request.
    pub id: RequestId,
    /// Who has begun it, where several processes have the same records.
    pub owner: u64,
    /// How many there were before it, and itself.
    pub number: u64,
}

impl Attempt {
    /// The attempt with this number, 1 for the first.
    pub fn new(id: RequestId, owner: u64, number: u64) -> Self {
        Self { id, owner, number }
    }
}

/// How an attempt ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Executed, and answered so.
    Done(Answer),
    /// Certainly not executed: the record goes.
    NotExecuted,
    /// Nobody knows.
    Unknown,
}

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long after the end of its last attempt a request is remembered. Tell your clients: after that a copy is executed anew.
    /// At the beginning: 24 hours.
    pub window: Duration,
    /// How many requests are remembered. At the beginning: 1,000,000.
    pub records: u64,
    /// How many bytes of answers are kept. What is in flight when this is reached still ends. At the beginning: 1 GiB.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(24 * 60 * 60),
            records: 1_000_000,
            bytes: 1 << 30,
        }
    }
}

impl Limits {
    /// Until when what ends now is remembered.
    fn until(&self, now: SystemTime) -> SystemTime {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        now.checked_add(self.window.min(CENTURY)).unwrap_or(now)
    }
}

/// How many records that have expired a new one clears away at most, so that none pays for a day.
const EVICTED_AT_ONCE: usize = 100;

/// Why records can't be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The file is no database, or its tables are of another version or not ours.
    #[error("these are not records that this version can read: {0}")]
    Foreign(String),
    /// The file is not what was written.
    #[error("the records are damaged: {0}")]
    Damaged(String),
    /// Another process held the database for too long.
    #[error("the records are locked by another process")]
    Busy,
    /// Something else.
    #[error("the records can't be reached: {0}")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}
