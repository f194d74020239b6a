//! A memory that a test can keep from growing and write into, and that notices a store which reads without end.

use ic_stable_structures::Memory;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

pub(crate) const PAGE_BYTES: usize = 65_536;

/// Clones share the same bytes.
#[derive(Clone)]
pub(crate) struct TestMemory {
    bytes: Rc<RefCell<Vec<u8>>>,
    most_pages: Rc<Cell<u64>>,
    /// How many times it has refused to grow since the last [`allow`](Self::allow).
    pub(crate) refused_grows: Rc<Cell<u64>>,
    accesses_left: Rc<Cell<u64>>,
}

impl TestMemory {
    /// An empty memory of which no more than `most_pages` pages are to be had.
    pub(crate) fn new(most_pages: u64) -> Self {
        Self {
            bytes: Rc::default(),
            most_pages: Rc::new(Cell::new(most_pages)),
            refused_grows: Rc::default(),
            accesses_left: Rc::new(Cell::new(u64::MAX)),
        }
    }

    pub(crate) fn limit(&self, most_pages: u64) {
        self.most_pages.set(most_pages);
    }

    /// Panics at the first access after so many.
    pub(crate) fn allow(&self, accesses: u64) {
        self.accesses_left.set(accesses);
        self.refused_grows.set(0);
    }

    /// Changes its bytes behind the store's back.
    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Vec<u8>)) {
        edit(&mut self.bytes.borrow_mut());
    }

    fn count_access(&self) {
        let left = self.accesses_left.get();
        assert!(left > 0, "the store goes on and on");
        self.accesses_left.set(left - 1);
    }
}

impl Memory for TestMemory {
    fn size(&self) -> u64 {
        (self.bytes.borrow().len() / PAGE_BYTES) as u64
    }

    fn grow(&self, pages: u64) -> i64 {
        self.count_access();
        let size = self.size();
        if size.saturating_add(pages) > self.most_pages.get() {
            self.refused_grows.set(self.refused_grows.get() + 1);
            return -1;
        }
        // Zeros that are copied, as it takes Miri seconds to resize one byte by byte.
        let zeros = vec![0; pages as usize * PAGE_BYTES];
        self.bytes.borrow_mut().extend_from_slice(&zeros);
        size as i64
    }

    fn read(&self, offset: u64, into: &mut [u8]) {
        self.count_access();
        let from = offset as usize;
        into.copy_from_slice(&self.bytes.borrow()[from..from + into.len()]);
    }

    fn write(&self, offset: u64, from: &[u8]) {
        self.count_access();
        let to = offset as usize;
        self.bytes.borrow_mut()[to..to + from.len()].copy_from_slice(from);
    }
}
