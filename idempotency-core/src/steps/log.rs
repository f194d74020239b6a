//! A request's journal, as one attempt reads and writes it, and why the attempt can't go on.

use super::{
    entry::{self, Entry},
    journal::{AppendError, Journal},
    name::StepName,
    reason,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// Longest text that CBOR lends to a type instead of giving it away, and longest name of a field.
const SCRATCH_BYTES: usize = 4_096;

pub(super) struct Log {
    journal: Rc<dyn Journal>,
    /// What earlier attempts recorded.
    entries: Vec<Vec<u8>>,
    /// How many entries the journal has by now.
    length: Cell<usize>,
    parked: RefCell<Option<String>>,
    /// Where entries are written.
    buffer: RefCell<Vec<u8>>,
    /// Where CBOR is decoded. Clearing one for each value would cost as much as decoding it.
    scratch: RefCell<Vec<u8>>,
}

impl Log {
    pub(super) fn new(journal: Rc<dyn Journal>, entries: Vec<Vec<u8>>) -> Self {
        Self {
            journal,
            length: Cell::new(entries.len()),
            entries,
            parked: RefCell::default(),
            buffer: RefCell::default(),
            scratch: RefCell::default(),
        }
    }

    pub(super) fn journal(&self) -> &Rc<dyn Journal> {
        &self.journal
    }

    /// What earlier attempts recorded.
    pub(super) fn entries(&self) -> &[Vec<u8>] {
        &self.entries
    }

    /// An entry of an earlier attempt.
    pub(super) fn read(&self, number: u32) -> Option<Entry<'_>> {
        Entry::read(self.entries.get(number as usize)?)
    }

    /// The attempt can't go on. The first reason counts.
    pub(super) fn park(&self, reason: impl Into<String>) {
        let mut parked = self.parked.borrow_mut();
        if parked.is_none() {
            *parked = Some(reason::cut(reason.into()));
        }
    }

    pub(super) fn is_parked(&self) -> bool {
        self.parked.borrow().is_some()
    }

    /// Why the attempt can't go on, if it can't.
    pub(super) fn take_reason(&self) -> Option<String> {
        self.parked.borrow_mut().take()
    }

    /// Appends the entry that `write` writes, and gives its number. If it can't, the request is parked.
    pub(super) fn append(&self, write: impl FnOnce(&mut Vec<u8>)) -> Option<u32> {
        let mut entry = self.buffer.take();
        write(&mut entry);
        let number = self.append_bytes(&entry);
        self.buffer.replace(entry);
        number
    }

    fn append_bytes(&self, entry: &[u8]) -> Option<u32> {
        let length = self.length.get();
        let Ok(number) = u32::try_from(length) else {
            self.park(reason::TOO_MANY);
            return None;
        };
        match self.journal.append(entry) {
            Ok(()) => {
                self.length.set(length + 1);
                return Some(number);
            }
            Err(AppendError::Full { max_journal_bytes }) => {
                self.park(reason::full(max_journal_bytes));
            }
            Err(AppendError::Damaged) => self.park(reason::DAMAGED),
        }
        None
    }

    /// Records the result of a step that began with entry `start`, or with none so far. Returns whether it is recorded; if not,
    /// the request is parked, and that the step began is recorded all the same, because it ran.
    pub(super) fn record<T: Serialize>(
        &self,
        start: Option<u32>,
        name: &StepName,
        result: &T,
    ) -> bool {
        // Out of its cell: a type of the method's writes itself into it.
        let mut entry = self.buffer.take();
        match start {
            Some(start) => entry::put_ended(&mut entry, start),
            None => entry::put_done(&mut entry, name.as_bytes()),
        }
        let is_recorded = match ciborium::into_writer(result, &mut entry) {
            Ok(()) => self.append_bytes(&entry).is_some(),
            Err(_) => {
                self.park(reason::not_cbor(name.as_bytes()));
                false
            }
        };
        self.buffer.replace(entry);
        if !is_recorded && start.is_none() {
            self.append(|entry| entry::put_began(entry, name.as_bytes()));
        }
        is_recorded
    }

    /// A recorded result. If it is none of this type, the request is parked.
    pub(super) fn decode<T: DeserializeOwned>(
        &self,
        name: &StepName,
        mut result: &[u8],
    ) -> Option<T> {
        let mut scratch = self.scratch.take();
        // No text in it is longer than the whole.
        let needed = result.len().min(SCRATCH_BYTES);
        if scratch.len() < needed {
            scratch.resize(needed, 0);
        }
        let decoded = ciborium::de::from_reader_with_buffer(&mut result, &mut scratch);
        self.scratch.replace(scratch);
        match decoded {
            Ok(value) if result.is_empty() => Some(value),
            _ => {
                self.park(reason::other_type(name.as_bytes()));
                None
            }
        }
    }
}
