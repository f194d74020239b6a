//! A journal in a SQLite database.

use super::{Calls, Entry, Journal, JournalError, Recorded};
use crate::request::Key;
use rusqlite::{Connection, ErrorCode, params};
use std::{
    path::Path,
    sync::{Mutex, MutexGuard},
};

/// A journal in a SQLite database of its own. One process at a time can have it open.
#[derive(Debug)]
pub struct SqliteJournal {
    state: Mutex<(Connection, Calls)>,
}

/// `application_id` and `user_version` of the database.
const MARK: (i64, i64) = (0x4944_4147, 1);

impl SqliteJournal {
    /// Opens the journal at `path`, or begins a new one.
    ///
    /// # Errors
    /// [`JournalError::Locked`] if another process has it open, [`JournalError::Damaged`] if it is not what was written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        let connection = Connection::open(path).map_err(error)?;
        // The lock is taken by the first writing, and held as long as the connection.
        connection
            .execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = EXTRA; PRAGMA busy_timeout = 0; BEGIN IMMEDIATE;")
            .map_err(error)?;
        let number = |sql: &str| {
            connection
                .query_row(sql, [], |row| row.get::<_, i64>(0))
                .map_err(error)
        };
        let mark = (
            number("PRAGMA application_id")?,
            number("PRAGMA user_version")?,
        );
        let tables = number("SELECT count(*) FROM sqlite_schema")?;
        if (mark, tables) == ((0, 0), 0) {
            let (id, version) = MARK;
            connection
                .execute_batch(&format!(
                    "PRAGMA application_id = {id}; PRAGMA user_version = {version};
                     CREATE TABLE entries (number INTEGER PRIMARY KEY, key TEXT NOT NULL, entry TEXT NOT NULL);
                     CREATE INDEX entries_of_a_call ON entries (key);"
                ))
                .map_err(error)?;
        } else if mark != MARK {
            return Err(JournalError::Damaged("it is another database".into()));
        }
        connection.execute_batch("COMMIT").map_err(error)?;
        let sound = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))
            .map_err(error)?;
        if sound != "ok" {
            return Err(JournalError::Damaged(sound));
        }
        let calls = read(&connection)?;
        Ok(Self {
            state: Mutex::new((connection, calls)),
        })
    }

    fn state(&self) -> Result<MutexGuard<'_, (Connection, Calls)>, JournalError> {
        self.state.lock().map_err(|_| JournalError::Failed)
    }
}

fn read(connection: &Connection) -> Result<Calls, JournalError> {
    let mut calls = Calls::default();
    let mut statement = connection
        .prepare("SELECT number, entry FROM entries ORDER BY number")
        .map_err(error)?;
    let rows = statement
        .query_map([], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })
        .map_err(error)?;
    for row in rows {
        let (number, entry) = row.map_err(error)?;
        let damaged = |why: String| JournalError::Damaged(format!("entry {number}: {why}"));
        let entry = serde_json::from_str(&entry).map_err(|error| damaged(error.to_string()))?;
        calls.apply(entry).map_err(damaged)?;
    }
    Ok(calls)
}

fn error(error: rusqlite::Error) -> JournalError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => JournalError::Locked,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            JournalError::Damaged(error.to_string())
        }
        _ => JournalError::Io(std::io::Error::other(error)),
    }
}

impl Journal for SqliteJournal {
    fn append(&self, entry: Entry) -> Result<(), JournalError> {
        let mut state = self.state()?;
        let (connection, calls) = &mut *state;
        calls.check(&entry).map_err(JournalError::Refused)?;
        let text = serde_json::to_string(&entry)
            .map_err(|error| JournalError::Refused(error.to_string()))?;
        let key = match &entry {
            Entry::Request(request) => &request.key,
            Entry::Message { key, .. } | Entry::End { key, .. } | Entry::Forgotten { key } => key,
        };
        let key = hex::encode(key.as_bytes());
        let written = match &entry {
            // What is forgotten leaves nothing.
            Entry::Forgotten { .. } => {
                connection.execute("DELETE FROM entries WHERE key = ?1", params![key])
            }
            _ => connection.execute(
                "INSERT INTO entries (key, entry) VALUES (?1, ?2)",
                params![key, text],
            ),
        };
        written.map_err(error)?;
        calls.apply(entry).map_err(JournalError::Refused)
    }

    fn get(&self, key: &Key) -> Result<Option<Recorded>, JournalError> {
        Ok(self.state()?.1.0.get(key).cloned())
    }

    fn open_calls(&self) -> Result<Vec<Key>, JournalError> {
        Ok(self.state()?.1.open_calls())
    }
}
