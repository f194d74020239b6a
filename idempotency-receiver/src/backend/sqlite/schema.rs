//! The tables.

use super::{BackendError, error};
use rusqlite::{Connection, TransactionBehavior::Immediate};
use std::{thread, time::Duration};

const VERSION: i64 = 1;

/// How long to wait for another process.
const PATIENCE: Duration = Duration::from_secs(5);

/// `body` and `headers` count against the limit of bytes; triggers keep the sums, so that a new request needn't count all
/// records.
const TABLES: &str = "
    CREATE TABLE idempotency_meta (
        version INTEGER NOT NULL,
        records INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE idempotency_owners (id INTEGER PRIMARY KEY AUTOINCREMENT) STRICT;
    CREATE TABLE idempotency_records (
        identity BLOB NOT NULL PRIMARY KEY,
        fingerprint BLOB NOT NULL,
        state INTEGER NOT NULL,
        owner INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        began_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        status INTEGER,
        headers BLOB,
        body BLOB
    ) STRICT;
    CREATE INDEX idempotency_expiry ON idempotency_records (expires_at) WHERE state <> 0;
    CREATE INDEX idempotency_in_flight ON idempotency_records (owner) WHERE state = 0;
    CREATE TRIGGER idempotency_inserted AFTER INSERT ON idempotency_records BEGIN
        UPDATE idempotency_meta SET records = records + 1,
            bytes = bytes + ifnull(length(new.headers) + length(new.body), 0);
    END;
    CREATE TRIGGER idempotency_updated AFTER UPDATE ON idempotency_records BEGIN
        UPDATE idempotency_meta SET
            bytes = bytes + ifnull(length(new.headers) + length(new.body), 0) - ifnull(length(old.headers) + length(old.body), 0);
    END;
    CREATE TRIGGER idempotency_deleted AFTER DELETE ON idempotency_records BEGIN
        UPDATE idempotency_meta SET records = records - 1,
            bytes = bytes - ifnull(length(old.headers) + length(old.body), 0);
    END;
    INSERT INTO idempotency_meta VALUES (1, 0, 0);
";

/// Makes the tables, or checks those that are there.
pub(super) fn open(connection: &mut Connection) -> Result<(), BackendError> {
    connection.busy_timeout(PATIENCE).map_err(error)?;
    wal(connection)?;
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(error)?;
    let transaction = connection
        .transaction_with_behavior(Immediate)
        .map_err(error)?;
    let tables: i64 = transaction
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'idempotency_*'",
            [],
            |row| row.get(0),
        )
        .map_err(error)?;
    if tables == 0 {
        transaction.execute_batch(TABLES).map_err(error)?;
    } else {
        let version = transaction.query_row("SELECT version FROM idempotency_meta", [], |row| {
            row.get::<_, i64>(0)
        });
        let version = version.map_err(|_| {
            BackendError::Foreign("the tables named idempotency_ are not ours".to_owned())
        })?;
        if version != VERSION {
            return Err(BackendError::Foreign(format!(
                "they are of version {version}"
            )));
        }
        let sound: String = transaction
            .query_row("PRAGMA quick_check(idempotency_records)", [], |row| {
                row.get(0)
            })
            .map_err(error)?;
        if sound != "ok" {
            return Err(BackendError::Damaged(sound));
        }
    }
    transaction.commit().map_err(error)
}

/// Switches WAL mode on, which waits for nobody: where two processes do it at the same time, one of them fails at once.
fn wal(connection: &Connection) -> Result<(), BackendError> {
    const PAUSE: Duration = Duration::from_millis(20);
    let mut tries = PATIENCE.as_millis() / PAUSE.as_millis();
    loop {
        let set = connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
        match set.map_err(error) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                return Err(BackendError::Failed(
                    format!("the database stays in mode {mode}: it must be a file").into(),
                ));
            }
            Err(BackendError::Busy) if tries > 0 => {
                tries -= 1;
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
}

/// How many records there are, and how many bytes their answers take.
pub(super) fn totals(connection: &Connection) -> Result<(u64, u64), BackendError> {
    let totals = connection.query_row("SELECT records, bytes FROM idempotency_meta", [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
    });
    let (records, bytes) = totals.map_err(error)?;
    Ok((records.max(0).unsigned_abs(), bytes.max(0).unsigned_abs()))
}
