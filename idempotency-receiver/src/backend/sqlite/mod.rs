//! Records in a SQLite database.

mod owner;
mod records;
mod schema;
mod transactional;

pub use transactional::{TransactionError, Transactional};

use super::{Attempt, Backend, BackendError, Begun, Limits, Mode, Settlement};
use crate::{
    answer::Answer,
    digest::{Digest, RequestId},
};
use http::Extensions;
use owner::Owner;
use rusqlite::{Connection, ErrorCode};
use std::{
    path::Path,
    sync::{Arc, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{sync::Mutex, task::spawn_blocking};

/// Records in a SQLite database: they outlive the process, and can share a transaction with the effect, see [`Transactional`].
///
/// The database may be yours: the tables' names begin with `idempotency_`. Several processes may have it open, on one machine,
/// and on a file system with locks. Each holds a lock on a file of its own beside the database as long as it lives, so that the
/// others know without a clock whether what it has begun can still end. It is in WAL mode, and each commit is on the disk before
/// it counts.
///
/// Clones have the same connection, which works on one transaction at a time, on a thread where it may block.
#[derive(Clone, Debug)]
pub struct SqliteBackend {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connection: Arc<Mutex<Connection>>,
    owner: Owner,
    limits: Limits,
    /// Attempts that nobody settles any more; the next request does.
    abandoned: std::sync::Mutex<Vec<Attempt>>,
}

impl SqliteBackend {
    /// Opens the database at `path`, or makes a new one. What processes had begun that are gone is unknown from now on.
    ///
    /// It blocks: it reads all records to see whether they are sound.
    ///
    /// # Errors
    /// [`BackendError::Foreign`] if the file is no database, or has such tables of another version; [`BackendError::Damaged`] if
    /// it is not what was written.
    pub fn open(path: impl AsRef<Path>, limits: Limits) -> Result<Self, BackendError> {
        let path = path.as_ref();
        let mut connection = Connection::open(path).map_err(error)?;
        schema::open(&mut connection)?;
        let owner = Owner::new(&mut connection, path, limits.until(SystemTime::now()))?;
        let shared = Shared {
            connection: Arc::new(Mutex::new(connection)),
            owner,
            limits,
            abandoned: std::sync::Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// How many requests are remembered, those that have expired included as long as they are there.
    ///
    /// # Errors
    /// If the records can't be reached.
    pub async fn remembered(&self) -> Result<u64, BackendError> {
        let count = |connection: &mut Connection, _: &Shared| schema::totals(connection);
        Ok(self.shared.with(count).await?.0)
    }

    /// Requests whose outcome is unknown, with the time when their last attempt began: at most this many, those first that expire
    /// first.
    ///
    /// # Errors
    /// If the records can't be reached.
    pub async fn unknown(&self, limit: u32) -> Result<Vec<(Digest, SystemTime)>, BackendError> {
        let list =
            move |connection: &mut Connection, _: &Shared| records::unknown(connection, limit);
        self.shared.with(list).await
    }

    /// Settles a request whose outcome is unknown, when an operator has found out: with its answer if it was executed, and with
    /// `None` if it was not. Whether there was such a request.
    ///
    /// # Errors
    /// If the records can't be reached.
    pub async fn resolve(
        &self,
        identity: Digest,
        answer: Option<Answer>,
    ) -> Result<bool, BackendError> {
        let resolve = move |connection: &mut Connection, shared: &Shared| {
            let until = millis(shared.limits.until(SystemTime::now()));
            records::resolve(connection, identity, answer.as_ref(), until)
        };
        self.shared.with(resolve).await
    }

    /// Does something with the database, as one transaction: what belongs to no request, such as making and reading your own
    /// tables.
    ///
    /// # Errors
    /// What `work` says, after which nothing of it has happened; or that the database can't be reached.
    pub async fn transaction<T, E>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, TransactionError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        transactional::transaction(&self.shared, work).await
    }
}

impl Shared {
    fn abandoned(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.abandoned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the connection, when it is free, on a thread where it may block. It is done also if nobody waits for
    /// it any more.
    async fn with<T: Send + 'static, E: From<BackendError> + Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Connection, &Self) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let shared = Arc::clone(self);
        let mut connection = Arc::clone(&self.connection).lock_owned().await;
        let done = spawn_blocking(move || work(&mut connection, &shared)).await;
        match done {
            Ok(done) => done,
            Err(ended) => match ended.try_into_panic() {
                // A user's function did; its transaction is rolled back.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(ended) => Err(BackendError::Failed(ended.into()).into()),
            },
        }
    }
}

fn execute(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<usize, BackendError> {
    connection
        .prepare(sql)
        .and_then(|mut statement| statement.execute(parameters))
        .map_err(error)
}

/// Milliseconds since 1970.
fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn error(error: rusqlite::Error) -> BackendError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => BackendError::Busy,
        Some(ErrorCode::DatabaseCorrupt) => BackendError::Damaged(error.to_string()),
        Some(ErrorCode::NotADatabase) => BackendError::Foreign(error.to_string()),
        _ => BackendError::Failed(error.into()),
    }
}

impl Backend for SqliteBackend {
    async fn begin(
        &self,
        id: RequestId,
        mode: Mode,
        now: SystemTime,
    ) -> Result<Begun, BackendError> {
        let work = move |connection: &mut Connection, shared: &Shared| {
            records::begin(connection, shared, id, mode, now)
        };
        self.shared.with(work).await
    }

    async fn settle(
        &self,
        attempt: &Attempt,
        settlement: Settlement,
        now: SystemTime,
    ) -> Result<Option<Answer>, BackendError> {
        let attempt = attempt.clone();
        let work = move |connection: &mut Connection, shared: &Shared| {
            records::settle(connection, shared, &attempt, &settlement, now)
        };
        self.shared.with(work).await
    }

    fn abandon(&self, attempt: &Attempt, _now: SystemTime) {
        self.shared.abandoned().push(attempt.clone());
    }

    fn prepare(&self, attempt: &Attempt, now: SystemTime, extensions: &mut Extensions) {
        extensions.insert(Transactional::new(
            Arc::clone(&self.shared),
            attempt.clone(),
            now,
        ));
    }
}
