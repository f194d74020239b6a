//! Which process has begun what, and whether it is still there.

use super::{
    BackendError, error, execute, millis,
    records::{IN_FLIGHT, UNKNOWN},
};
use rusqlite::{Connection, Transaction, TransactionBehavior::Immediate, params};
use std::{
    fs::{self, File, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// This opening of the database, with a lock on a file that nobody else has as long as this lives.
#[derive(Debug)]
pub(super) struct Owner {
    id: u64,
    database: PathBuf,
    /// Closing it ends the lock, as does the end of the process, however it comes.
    _locked: File,
}

impl Owner {
    /// A new owner. What others have begun who are gone is unknown from now on, and remembered until this time at least.
    pub(super) fn new(
        connection: &mut Connection,
        database: &Path,
        until: SystemTime,
    ) -> Result<Self, BackendError> {
        // Others may come here by another way.
        let database = database.canonicalize().map_err(failed)?;
        let transaction = connection
            .transaction_with_behavior(Immediate)
            .map_err(error)?;
        execute(
            &transaction,
            "INSERT INTO idempotency_owners DEFAULT VALUES",
            [],
        )?;
        let id = transaction.last_insert_rowid().cast_unsigned();
        // Before the commit, so that nobody sees an owner without a lock.
        let locked = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(lock_of(&database, id))
            .map_err(failed)?;
        locked.try_lock().map_err(|error| failed(error.into()))?;
        let owner = Self {
            id,
            database,
            _locked: locked,
        };
        let others = transaction
            .prepare("SELECT id FROM idempotency_owners WHERE id <> ?1")
            .and_then(|mut statement| {
                let ids = statement.query_map([id.cast_signed()], |row| row.get::<_, i64>(0))?;
                ids.collect::<rusqlite::Result<Vec<_>>>()
            })
            .map_err(error)?;
        for other in others {
            owner.reap(&transaction, other.cast_unsigned(), millis(until))?;
        }
        transaction.commit().map_err(error)?;
        Ok(owner)
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Whether another owner's process has ended, or has closed the database.
    pub(super) fn is_gone(&self, other: u64) -> Result<bool, BackendError> {
        Ok(other != self.id && self.lock_of_gone(other)?.is_some())
    }

    /// If another owner is gone, what it had begun is unknown from now on, and remembered until this time at least. Whether it is
    /// gone.
    pub(super) fn reap(
        &self,
        transaction: &Transaction<'_>,
        other: u64,
        until: i64,
    ) -> Result<bool, BackendError> {
        if other == self.id {
            return Ok(false);
        }
        let Some(_lock) = self.lock_of_gone(other)? else {
            return Ok(false);
        };
        execute(
            transaction,
            "UPDATE idempotency_records SET state = ?1, expires_at = max(expires_at, ?2) WHERE owner = ?3 AND state = ?4",
            params![UNKNOWN, until, other.cast_signed(), IN_FLIGHT],
        )?;
        execute(
            transaction,
            "DELETE FROM idempotency_owners WHERE id = ?1",
            params![other.cast_signed()],
        )?;
        // Were this not committed, then the file is missing, which says the same. No other owner will have this number.
        let _ = fs::remove_file(lock_of(&self.database, other));
        Ok(true)
    }

    /// The lock of an owner who is gone, who may have left no file.
    fn lock_of_gone(&self, other: u64) -> Result<Option<Option<File>>, BackendError> {
        let file = match File::open(lock_of(&self.database, other)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(None)),
            Err(error) => return Err(failed(error)),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Some(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // It only takes room: without it the owner is gone, too.
        let _ = fs::remove_file(lock_of(&self.database, self.id));
    }
}

fn lock_of(database: &Path, id: u64) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(format!(".owner-{id}"));
    PathBuf::from(path)
}

fn failed(error: std::io::Error) -> BackendError {
    BackendError::Failed(error.into())
}
