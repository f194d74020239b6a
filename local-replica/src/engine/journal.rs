//! The heap pages a message wrote: their old content, and how many of them are charged.

use super::stable::PAGE;

/// Pages written in a message, in the order of their first writes.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Pages the heap had when the message started; newer ones vanish with a rollback.
    old_pages: usize,
    written: Vec<usize>,
    /// What the old ones among the written pages held, in the same order.
    contents: Vec<u8>,
}

impl Journal {
    pub(super) fn start(&mut self, heap_bytes: usize) {
        self.old_pages = heap_bytes / PAGE;
    }

    pub(super) fn keep(&mut self, page: usize, content: &[u8]) {
        self.written.push(page);
        if page < self.old_pages {
            self.contents.extend_from_slice(content);
        }
    }

    /// Pages written.
    pub(super) fn pages(&self) -> &[usize] {
        &self.written
    }

    /// Puts the old content back.
    pub(super) fn restore(&self, heap: &mut [u8]) {
        for (page, content) in self.old() {
            heap[page * PAGE..][..PAGE].copy_from_slice(content);
        }
    }

    /// How many pages the IC charges: those whose content is another one than before the message.
    pub(super) fn changed(&self, heap: &[u8]) -> u64 {
        let now = |page: usize| &heap[page * PAGE..][..PAGE];
        let old = self
            .old()
            .filter(|(page, content)| now(*page) != *content)
            .count();
        let grown = self.written.iter().filter(|page| **page >= self.old_pages);
        let grown = grown
            .filter(|page| now(**page).iter().any(|byte| *byte != 0))
            .count();
        (old + grown) as u64
    }

    pub(super) fn clear(&mut self) {
        // One heavy message shouldn't hold its journal for good.
        const KEPT: usize = 4 << 20;
        self.written.clear();
        self.contents.clear();
        self.contents.shrink_to(KEPT);
    }

    /// Old pages with their old content.
    fn old(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let pages = self
            .written
            .iter()
            .copied()
            .filter(|page| *page < self.old_pages);
        pages.zip(self.contents.chunks(PAGE))
    }
}
