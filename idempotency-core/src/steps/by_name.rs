//! What is known by its name and not by its place in the order of steps: frozen times and versions of the code.

use super::{
    entry::{self, Entry},
    log::Log,
    name::StepName,
    reason,
};
use crate::time::Timestamp;
use std::{cell::RefCell, collections::BTreeMap};

#[derive(Default)]
pub(super) struct ByName {
    /// All that was frozen, from the first time on that somebody asks.
    frozen: RefCell<Option<BTreeMap<StepName, Timestamp>>>,
    /// The versions that the code has passed or asked for, and whether it is of them.
    versions: RefCell<Vec<(Box<[u8]>, bool)>>,
}

impl ByName {
    /// When a name was frozen, if it was.
    pub(super) fn frozen(&self, log: &Log, name: &StepName) -> Option<Timestamp> {
        let mut frozen = self.frozen.borrow_mut();
        let frozen = frozen.get_or_insert_with(|| {
            let mut recorded = BTreeMap::new();
            for entry in log.entries() {
                if let Some(Entry::Frozen { name, time }) = Entry::read(entry) {
                    recorded.entry(StepName::recorded(name)).or_insert(time);
                }
            }
            recorded
        });
        frozen.get(name).copied()
    }

    /// Freezes a name. `then`: the length of an entry that must have room after it.
    pub(super) fn freeze(&self, log: &Log, name: &StepName, now: Timestamp, then: Option<usize>) {
        let bytes = name.as_bytes();
        let frozen = entry::frozen_bytes(bytes);
        let has_room = match then {
            Some(then) => log.journal().has_room(&[frozen, then]),
            None => log.journal().has_room(&[frozen]),
        };
        if !has_room {
            log.park(reason::no_room(&reason::created_at(bytes)));
        }
        if !log.is_parked() {
            log.append(|entry| entry::put_frozen(entry, bytes, now));
            if let Some(frozen) = &mut *self.frozen.borrow_mut() {
                frozen.insert(name.clone(), now);
            }
        }
    }

    /// The code comes past a recorded version.
    pub(super) fn pass(&self, version: &[u8]) {
        self.versions.borrow_mut().push((version.into(), true));
    }

    /// Whether the code is of a version, if it came past it or asked for it before.
    pub(super) fn version(&self, name: &StepName) -> Option<bool> {
        let versions = self.versions.borrow();
        let known = versions.iter().find(|(it, _)| **it == *name.as_bytes());
        known.map(|(_, is_it)| *is_it)
    }

    /// Settles whether the code is of a version, which is recorded if it is.
    pub(super) fn decide(&self, log: &Log, name: &StepName, is_it: bool) {
        let bytes = name.as_bytes();
        if is_it {
            log.append(|entry| entry::put_version(entry, bytes));
        }
        self.versions.borrow_mut().push((bytes.into(), is_it));
    }
}
