//! A memory that a test can keep from growing and write into, and that notices a store which reads without end.

use ic_stable_structures::Memory;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

pub(crate) const PAGE_BYTES: usize = 65_536;

/// Clones share the same bytes.
#[derive(Clone)]
pub(crate) struct TestMemory(Rc<State>);

struct State {
    bytes: RefCell<Vec<u8>>,
    most_pages: Cell<u64>,
    refused_grows: Cell<u64>,
    accesses_left: Cell<u64>,
}

impl TestMemory {
    /// An empty memory of which no more than `most_pages` pages are to be had.
    pub(crate) fn new(most_pages: u64) -> Self {
        Self(Rc::new(State {
            bytes: RefCell::default(),
            most_pages: Cell::new(most_pages),
            refused_grows: Cell::new(0),
            accesses_left: Cell::new(u64::MAX),
        }))
    }

    pub(crate) fn limit(&self, most_pages: u64) {
        self.0.most_pages.set(most_pages);
    }

    /// How many times it has refused to grow since the last [`allow`](Self::allow).
    pub(crate) fn refused_grows(&self) -> u64 {
        self.0.refused_grows.get()
    }

    /// Panics at the first access after so many.
    pub(crate) fn allow(&self, accesses: u64) {
        self.0.accesses_left.set(accesses);
        self.0.refused_grows.set(0);
    }

    /// Changes its bytes behind the store's back.
    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Vec<u8>)) {
        edit(&mut self.0.bytes.borrow_mut());
    }

    fn count_access(&self) {
        let left = self.0.accesses_left.get();
        assert!(left > 0, "the store goes on and on");
        self.0.accesses_left.set(left - 1);
    }
}

impl Memory for TestMemory {
    fn size(&self) -> u64 {
        (self.0.bytes.borrow().len() / PAGE_BYTES) as u64
    }

    fn grow(&self, pages: u64) -> i64 {
        self.count_access();
        let size = self.size();
        if size.saturating_add(pages) > self.0.most_pages.get() {
            self.0.refused_grows.set(self.0.refused_grows.get() + 1);
            return -1;
        }
        // A fresh zeroed vector, as Miri takes seconds to resize one byte by byte.
        let mut grown = vec![0; (size + pages) as usize * PAGE_BYTES];
        let mut bytes = self.0.bytes.borrow_mut();
        grown[..bytes.len()].copy_from_slice(&bytes);
        *bytes = grown;
        size as i64
    }

    fn read(&self, offset: u64, into: &mut [u8]) {
        self.count_access();
        let from = offset as usize;
        into.copy_from_slice(&self.0.bytes.borrow()[from..from + into.len()]);
    }

    fn write(&self, offset: u64, from: &[u8]) {
        self.count_access();
        let to = offset as usize;
        self.0.bytes.borrow_mut()[to..to + from.len()].copy_from_slice(from);
    }
}
