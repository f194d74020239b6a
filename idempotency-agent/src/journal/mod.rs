//! What a client keeps of its calls, so that one that crashes goes on with the same key and the same signed bytes.
//!
//! An entry is durable when [`Journal::append`] returns: the request before anything is signed, each message before it is sent, the end
//! before the caller is told. What is lost with a crash in between is a message that was not sent, or an end that can be found again.

mod file;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use file::FileJournal;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteJournal;

use crate::{
    end::End,
    request::{Key, Request},
    transport::Message,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io, sync::Mutex};

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A call begins.
    Request(Box<Request>),
    /// A message of the call was signed, and will be sent.
    Message {
        /// The call.
        key: Key,
        /// What is sent.
        message: Message,
    },
    /// The call ended. Never `StillUnknown`.
    End {
        /// The call.
        key: Key,
        /// How.
        end: End,
    },
    /// The caller needs the call no more: its key is free, and making the call again would be another call.
    Forgotten {
        /// The call.
        key: Key,
    },
}

/// What is known of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// What is to be done.
    pub request: Request,
    /// What was signed for it, oldest first.
    pub messages: Vec<Message>,
    /// How it ended, if it has.
    pub end: Option<End>,
}

/// Where calls are kept. The methods block until the disk has answered, some milliseconds.
pub trait Journal: Send + Sync {
    /// Writes an entry, durably.
    ///
    /// # Errors
    /// If it can't be known to be durable; or it does not follow from what is there, such as a second request with the same key.
    fn append(&self, entry: Entry) -> Result<(), JournalError>;

    /// What is known of a call.
    ///
    /// # Errors
    /// If it can't be read.
    fn get(&self, key: &Key) -> Result<Option<Recorded>, JournalError>;

    /// The calls that have not ended.
    ///
    /// # Errors
    /// If they can't be read.
    fn open_calls(&self) -> Result<Vec<Key>, JournalError>;
}

impl<J: Journal + ?Sized> Journal for &J {
    fn append(&self, entry: Entry) -> Result<(), JournalError> {
        (**self).append(entry)
    }

    fn get(&self, key: &Key) -> Result<Option<Recorded>, JournalError> {
        (**self).get(key)
    }

    fn open_calls(&self) -> Result<Vec<Key>, JournalError> {
        (**self).open_calls()
    }
}

/// Why a journal can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The disk, or the operating system.
    #[error("the journal can't be read or written: {0}")]
    Io(#[from] io::Error),
    /// Another process has it. Two that go on with the same calls would not know of each other's messages.
    #[error("another process uses the journal; each process needs its own, or one after the other")]
    Locked,
    /// It is not what was written. Nothing of it is used: a call whose messages are forgotten might be taken for one that never ran.
    #[error(
        "the journal is damaged, or no journal of this version: {0}; restore it, or find out what became of its calls before you start a new one"
    )]
    Damaged(String),
    /// An entry does not follow from what is there.
    #[error("the journal does not take the entry: {0}")]
    Refused(String),
    /// An earlier entry could not be written. What is on the disk is not known until the journal is opened again.
    #[error("an earlier entry could not be written; open the journal again")]
    Failed,
}

/// What all entries come to.
#[derive(Debug, Default)]
struct Calls(BTreeMap<Key, Recorded>);

impl Calls {
    /// # Errors
    /// In words, if the entry does not follow from those before it.
    fn check(&self, entry: &Entry) -> Result<(), String> {
        let (key, may) = match entry {
            Entry::Request(request) => {
                let is_new = !self.0.contains_key(&request.key);
                return is_new
                    .then_some(())
                    .ok_or_else(|| format!("a second request with the key {}", request.key));
            }
            Entry::Message { key, .. } => {
                (key, self.0.get(key).is_some_and(|call| call.end.is_none()))
            }
            Entry::End { key, end } => {
                let is_end = !matches!(end, End::StillUnknown { .. });
                (
                    key,
                    is_end && self.0.get(key).is_some_and(|call| call.end.is_none()),
                )
            }
            Entry::Forgotten { key } => {
                (key, self.0.get(key).is_some_and(|call| call.end.is_some()))
            }
        };
        may.then_some(())
            .ok_or_else(|| format!("an entry of the call {key}, which is not in the state for it"))
    }

    fn apply(&mut self, entry: Entry) -> Result<(), String> {
        self.check(&entry)?;
        match entry {
            Entry::Request(request) => {
                let key = request.key.clone();
                let recorded = Recorded {
                    request: *request,
                    messages: vec![],
                    end: None,
                };
                self.0.insert(key, recorded);
            }
            Entry::Message { key, message } => {
                if let Some(call) = self.0.get_mut(&key) {
                    call.messages.push(message);
                }
            }
            Entry::End { key, end } => {
                if let Some(call) = self.0.get_mut(&key) {
                    call.end = Some(end);
                }
            }
            Entry::Forgotten { key } => {
                self.0.remove(&key);
            }
        }
        Ok(())
    }

    fn open_calls(&self) -> Vec<Key> {
        let open = self.0.iter().filter(|(_, call)| call.end.is_none());
        open.map(|(key, _)| key.clone()).collect()
    }
}

/// A journal that ends with the process: for calls whose outcome does not matter after a crash, and for tests.
#[derive(Debug, Default)]
pub struct MemoryJournal(Mutex<Calls>);

impl Journal for MemoryJournal {
    fn append(&self, entry: Entry) -> Result<(), JournalError> {
        let mut calls = self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        calls.apply(entry).map_err(JournalError::Refused)
    }

    fn get(&self, key: &Key) -> Result<Option<Recorded>, JournalError> {
        let calls = self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok(calls.0.get(key).cloned())
    }

    fn open_calls(&self) -> Result<Vec<Key>, JournalError> {
        let calls = self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok(calls.open_calls())
    }
}
