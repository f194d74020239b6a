//! A journal in a file: a line for each entry.
//!
//! ```text
//! idempotency-agent journal 1
//! 5f3c09a1 {"request":{…}}
//! ^ CRC-32 of what follows the blank, in hexadecimal
//! ```
//! The file only grows while it is open; opening it writes a shorter one in its place if most of it is forgotten.

use super::{Calls, Entry, Journal, JournalError, Recorded};
use crate::request::Key;
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

const HEADER: &str = "idempotency-agent journal 1\n";

/// A journal in a file. One process at a time can have it open.
#[derive(Debug)]
pub struct FileJournal {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Holds the lock. Not the journal itself: that may be replaced by a shorter one.
    _lock: File,
    file: File,
    calls: Calls,
    has_failed: bool,
}

impl FileJournal {
    /// Opens the journal at `path`, or begins a new one. `path` with `.lock` behind it is a file that only serves to keep others out.
    ///
    /// A last line without its end is dropped: the process, or the machine, went down while it was written, and what it says was not sent.
    ///
    /// # Errors
    /// [`JournalError::Locked`] if another process has it open, [`JournalError::Damaged`] if any line is not what was written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        let path = path.as_ref();
        let mut options = options();
        options.truncate(false);
        let lock = options.open(beside(path, ".lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => JournalError::Locked,
            TryLockError::Error(error) => error.into(),
        })?;
        // Never made empty: a file without its first line has lost it.
        if !path.try_exists()? {
            rewritten(path, &Calls::default())?;
        }
        let mut file = options.create(false).open(path)?;
        let mut text = vec![];
        file.read_to_end(&mut text)?;
        let Some(lines) = text.strip_prefix(HEADER.as_bytes()) else {
            return Err(JournalError::Damaged("its first line is another".into()));
        };
        let whole = lines
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let (calls, count) = read(&lines[..whole])?;
        let needed = calls
            .0
            .values()
            .map(|call| 1 + call.messages.len() + usize::from(call.end.is_some()))
            .sum::<usize>();
        if count > 2 * needed + SLACK {
            file = rewritten(path, &calls)?;
        } else {
            file.set_len((HEADER.len() + whole) as u64)?;
            file.seek(SeekFrom::End(0))?;
            file.sync_all()?;
        }
        Ok(Self {
            state: Mutex::new(State {
                _lock: lock,
                file,
                calls,
                has_failed: false,
            }),
        })
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, JournalError> {
        self.state.lock().map_err(|_| JournalError::Failed)
    }
}

/// So many lines more than twice what is needed are left.
const SLACK: usize = 1_000;

/// For reading and writing, by nobody else: whoever reads a signed message can send it.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The calls, and how many lines they took.
fn read(text: &[u8]) -> Result<(Calls, usize), JournalError> {
    let mut calls = Calls::default();
    let mut count = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        count += 1;
        let damaged = |why: String| JournalError::Damaged(format!("line {}: {why}", count + 1));
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let (sum, body) = line
            .split_at_checked(9)
            .ok_or_else(|| damaged("it is too short".into()))?;
        if sum != format!("{:08x} ", crc32fast::hash(body)).as_bytes() {
            return Err(damaged("its checksum is another".into()));
        }
        let entry = serde_json::from_slice(body).map_err(|error| damaged(error.to_string()))?;
        calls.apply(entry).map_err(damaged)?;
    }
    Ok((calls, count))
}

fn line(entry: &Entry) -> Result<String, JournalError> {
    let body =
        serde_json::to_string(entry).map_err(|error| JournalError::Refused(error.to_string()))?;
    Ok(format!("{:08x} {body}\n", crc32fast::hash(body.as_bytes())))
}

/// Writes the journal anew, and puts it in the place of what is there: at each moment one of them is there, whole.
fn rewritten(path: &Path, calls: &Calls) -> Result<File, JournalError> {
    let new = beside(path, ".new");
    let mut file = options().truncate(true).open(&new)?;
    let mut text = HEADER.to_owned();
    for (key, call) in &calls.0 {
        text += &line(&Entry::Request(Box::new(call.request.clone())))?;
        for message in &call.messages {
            let (key, message) = (key.clone(), message.clone());
            text += &line(&Entry::Message { key, message })?;
        }
        if let Some(end) = &call.end {
            let (key, end) = (key.clone(), end.clone());
            text += &line(&Entry::End { key, end })?;
        }
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    // The name is durable with its directory.
    #[cfg(unix)]
    {
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(file)
}

impl Journal for FileJournal {
    fn append(&self, entry: Entry) -> Result<(), JournalError> {
        let mut state = self.state()?;
        if state.has_failed {
            return Err(JournalError::Failed);
        }
        state.calls.check(&entry).map_err(JournalError::Refused)?;
        let line = line(&entry)?;
        // After an error a part of it may be there, or all, or nothing.
        state.has_failed = true;
        state.file.write_all(line.as_bytes())?;
        state.file.sync_data()?;
        state.has_failed = false;
        state.calls.apply(entry).map_err(JournalError::Refused)
    }

    fn get(&self, key: &Key) -> Result<Option<Recorded>, JournalError> {
        Ok(self.state()?.calls.0.get(key).cloned())
    }

    fn open_calls(&self) -> Result<Vec<Key>, JournalError> {
        Ok(self.state()?.calls.open_calls())
    }
}
