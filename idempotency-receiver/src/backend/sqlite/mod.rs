//! Records in a SQLite database.

mod owner;
mod schema;
#[cfg(test)]
mod tests;
mod transactional;

pub use transactional::{TransactionError, Transactional};

use super::{Attempt, Backend, BackendError, Begun, EVICTED_AT_ONCE, Limits, Mode, Settlement};
use crate::{
    answer::Answer,
    digest::{Digest, RequestId},
};
use bytes::Bytes;
use http::Extensions;
use owner::Owner;
use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Row, TransactionBehavior::Immediate, params,
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::Mutex, task::spawn_blocking};

/// Records in a SQLite database: they outlive the process, and can share a transaction with the effect, see [`Transactional`].
///
/// The database may be yours: the tables' names begin with `idempotency_`. Several processes may have it open, on one machine, and on a file
/// system with locks. Each holds a lock on a file of its own beside the database as long as it lives, so that the others know without a clock
/// whether what it has begun can still end. It is in WAL mode, and each commit is on the disk before it counts.
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
}

/// What a record's column `state` says.
const IN_FLIGHT: i64 = 0;
const DONE: i64 = 1;
const UNKNOWN: i64 = 2;

impl SqliteBackend {
    /// Opens the database at `path`, or makes a new one. What processes had begun that are gone is unknown from now on.
    ///
    /// It blocks: it reads all records to see whether they are sound.
    ///
    /// # Errors
    /// [`BackendError::Foreign`] if the file is no database, or has such tables of another version; [`BackendError::Damaged`] if it is not what was
    /// written.
    pub fn open(path: impl AsRef<Path>, limits: Limits) -> Result<Self, BackendError> {
        let path = path.as_ref();
        let mut connection = Connection::open(path).map_err(error)?;
        schema::open(&mut connection)?;
        let owner = Owner::new(&mut connection, path)?;
        let shared = Shared {
            connection: Arc::new(Mutex::new(connection)),
            owner,
            limits,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// How many requests are remembered, those that have expired included as long as they are there.
    ///
    /// # Errors
    /// If the records can't be reached.
    pub async fn len(&self) -> Result<u64, BackendError> {
        let count = |connection: &mut Connection, _: &Shared| schema::totals(connection);
        Ok(self.shared.with(count).await?.0)
    }

    /// Does something with the database, as one transaction: what belongs to no request, such as making and reading your own tables.
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
    /// Does something with the connection, when it is free, on a thread where it may block. It is done also if nobody waits for it any more.
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

/// A row of the records.
struct Record {
    fingerprint: Vec<u8>,
    state: i64,
    owner: u64,
    attempt: u64,
    expires_at: i64,
    answer: Option<Answer>,
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let headers: Option<Vec<u8>> = row.get("headers")?;
    let body: Option<Vec<u8>> = row.get("body")?;
    let status: Option<u16> = row.get("status")?;
    let answer = status.zip(headers).zip(body);
    Ok(Record {
        fingerprint: row.get("fingerprint")?,
        state: row.get("state")?,
        owner: row.get::<_, i64>("owner")?.cast_unsigned(),
        attempt: row.get::<_, i64>("attempt")?.cast_unsigned(),
        expires_at: row.get("expires_at")?,
        answer: answer.and_then(|((status, headers), body)| {
            Answer::decoded(status, &headers, Bytes::from(body))
        }),
    })
}

fn find(connection: &Connection, identity: Digest) -> Result<Option<Record>, BackendError> {
    connection
        .prepare("SELECT * FROM idempotency_records WHERE identity = ?1")
        .and_then(|mut statement| statement.query_row([identity.0], record).optional())
        .map_err(error)
}

/// What is to be done about a request.
enum Decision {
    Say(Begun),
    /// An attempt of this owner is in flight.
    InFlight(u64),
    /// An attempt with this number may begin.
    Begin(u64),
}

fn decide(
    found: Option<Record>,
    id: RequestId,
    mode: Mode,
    now: i64,
) -> Result<Decision, BackendError> {
    let found = found.filter(|record| record.state == IN_FLIGHT || now < record.expires_at);
    let Some(record) = found else {
        return Ok(match mode {
            Mode::Look => Decision::Say(Begun::Absent),
            Mode::New | Mode::Repeat => Decision::Begin(1),
        });
    };
    if record.fingerprint != id.fingerprint.0 {
        return Ok(Decision::Say(Begun::KeyReused));
    }
    match (record.state, record.answer) {
        (DONE, Some(answer)) => Ok(Decision::Say(Begun::Done(answer))),
        (IN_FLIGHT, None) => Ok(Decision::InFlight(record.owner)),
        (UNKNOWN, None) if mode == Mode::Repeat => Ok(Decision::Begin(record.attempt + 1)),
        (UNKNOWN, None) => Ok(Decision::Say(Begun::Unknown)),
        _ => Err(BackendError::Damaged(format!(
            "the record {} is not what was written",
            id.identity
        ))),
    }
}

fn begin(
    connection: &mut Connection,
    shared: &Shared,
    id: RequestId,
    mode: Mode,
    now: SystemTime,
) -> Result<Begun, BackendError> {
    let owner = &shared.owner;
    let (now, until) = (millis(now), millis(shared.limits.until(now)));
    // Most requests that are known need no write.
    match decide(find(connection, id.identity)?, id, mode, now)? {
        Decision::Say(begun) => return Ok(begun),
        Decision::InFlight(other) if !owner.is_gone(other)? => return Ok(Begun::InFlight),
        Decision::InFlight(_) | Decision::Begin(_) => {}
    }
    let transaction = connection
        .transaction_with_behavior(Immediate)
        .map_err(error)?;
    let mut decision = decide(find(&transaction, id.identity)?, id, mode, now)?;
    if let Decision::InFlight(other) = decision
        && owner.reap(&transaction, other, until)?
    {
        decision = decide(find(&transaction, id.identity)?, id, mode, now)?;
    }
    let begun = match decision {
        Decision::Say(begun) => begun,
        Decision::InFlight(_) => Begun::InFlight,
        Decision::Begin(number) => {
            evict(&transaction, now)?;
            execute(
                &transaction,
                "DELETE FROM idempotency_records WHERE identity = ?1",
                params![id.identity.0],
            )?;
            let (records, bytes) = schema::totals(&transaction)?;
            if number == 1 && (records >= shared.limits.records || bytes >= shared.limits.bytes) {
                Begun::Full {
                    retry_after: first_expiry(&transaction, now)?,
                }
            } else {
                execute(
                    &transaction,
                    "INSERT INTO idempotency_records (identity, fingerprint, state, owner, attempt, began_at, expires_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    params![
                        id.identity.0,
                        id.fingerprint.0,
                        IN_FLIGHT,
                        owner.id().cast_signed(),
                        number.cast_signed(),
                        now,
                        until,
                    ],
                )?;
                Begun::Acquired(Attempt::new(id, owner.id(), number))
            }
        }
    };
    transaction.commit().map_err(error)?;
    Ok(begun)
}

fn evict(connection: &Connection, now: i64) -> Result<(), BackendError> {
    let some = EVICTED_AT_ONCE as i64;
    execute(
        connection,
        "DELETE FROM idempotency_records WHERE identity IN
         (SELECT identity FROM idempotency_records WHERE state <> 0 AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
        params![now, some],
    )
    .map(drop)
}

fn first_expiry(connection: &Connection, now: i64) -> Result<Duration, BackendError> {
    let first: Option<i64> = connection
        .query_row(
            "SELECT min(expires_at) FROM idempotency_records WHERE state <> 0",
            [],
            |row| row.get(0),
        )
        .map_err(error)?;
    let wait = first.unwrap_or(now).saturating_sub(now).max(1000);
    Ok(Duration::from_millis(wait.unsigned_abs()))
}

fn settle(
    connection: &mut Connection,
    shared: &Shared,
    attempt: &Attempt,
    settlement: &Settlement,
    now: SystemTime,
) -> Result<Option<Answer>, BackendError> {
    let until = millis(shared.limits.until(now));
    let transaction = connection
        .transaction_with_behavior(Immediate)
        .map_err(error)?;
    let found = find(&transaction, attempt.id.identity)?;
    let Some(record) =
        found.filter(|record| (record.owner, record.attempt) == (attempt.owner, attempt.number))
    else {
        return Ok(None);
    };
    if record.state != IN_FLIGHT {
        return Ok(record.answer);
    }
    let identity = attempt.id.identity.0;
    match settlement {
        Settlement::Done(answer) => complete(&transaction, attempt, answer, until)?,
        Settlement::NotExecuted => execute(
            &transaction,
            "DELETE FROM idempotency_records WHERE identity = ?1",
            params![identity],
        )?,
        Settlement::Unknown => execute(
            &transaction,
            "UPDATE idempotency_records SET state = ?2, expires_at = ?3 WHERE identity = ?1",
            params![identity, UNKNOWN, until],
        )?,
    };
    transaction.commit().map_err(error)?;
    Ok(None)
}

/// Writes the answer of an attempt that is in flight: how many records that changed, 1 or, if the attempt isn't in flight any more, 0.
fn complete(
    connection: &Connection,
    attempt: &Attempt,
    answer: &Answer,
    until: i64,
) -> Result<usize, BackendError> {
    execute(
        connection,
        "UPDATE idempotency_records SET state = ?1, expires_at = ?2, status = ?3, headers = ?4, body = ?5
         WHERE identity = ?6 AND owner = ?7 AND attempt = ?8 AND state = ?9",
        params![
            DONE,
            until,
            answer.status().as_u16(),
            answer.encoded_headers(),
            &answer.body()[..],
            attempt.id.identity.0,
            attempt.owner.cast_signed(),
            attempt.number.cast_signed(),
            IN_FLIGHT,
        ],
    )
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
            begin(connection, shared, id, mode, now)
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
            settle(connection, shared, &attempt, &settlement, now)
        };
        self.shared.with(work).await
    }

    fn prepare(&self, attempt: &Attempt, now: SystemTime, extensions: &mut Extensions) {
        extensions.insert(Transactional::new(
            Arc::clone(&self.shared),
            attempt.clone(),
            now,
        ));
    }
}
