//! Stable memory: pages on the host, undone page by page.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::page::{Page, Pages};

/// Bytes of a Wasm page, the unit in which stable memory grows.
pub(crate) const WASM_PAGE: u64 = 65_536;
/// Bytes of a page of the undo journal and of the dirty-page charge.
pub(super) const PAGE: usize = 4_096;
/// The IC's limit: 500 GiB.
const MAX_WASM_PAGES: u64 = 500 * (1 << 30) / WASM_PAGE;

/// An access outside of the current size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutOfBounds;

/// What it takes to go back to a point in time.
#[derive(Clone, Debug, Default)]
struct Journal {
    /// What the pages written since then held.
    pages: BTreeMap<u64, Option<Arc<Page>>>,
    wasm_pages: u64,
}

/// One canister's stable memory.
///
/// Pages never written take no space. The first write to a page in a message keeps the old page until the message has
/// succeeded or is undone, so that both cost what the message wrote, not what the memory holds. The same goes for
/// several messages in a row that succeed or fail together, as those of an upgrade do ([`StableMemory::begin`]).
#[derive(Clone, Debug, Default)]
pub struct StableMemory {
    pages: Arc<Pages>,
    wasm_pages: u64,
    /// Back to the start of the message.
    message: Journal,
    /// Back to [`StableMemory::begin`].
    transaction: Option<Journal>,
}

impl StableMemory {
    /// Size in Wasm pages of 64 KiB.
    pub fn wasm_pages(&self) -> u64 {
        self.wasm_pages
    }

    /// The whole content, as `get_stable_memory` answers it.
    pub fn read_all(&self) -> Vec<u8> {
        let mut bytes = vec![0; (self.wasm_pages * WASM_PAGE) as usize];
        for (number, page) in self.pages.written() {
            bytes[number as usize * PAGE..][..PAGE].copy_from_slice(page.bytes());
        }
        bytes
    }

    /// Replaces everything, as `set_stable_memory` does; the size is rounded up to a Wasm page.
    pub fn replace(&mut self, bytes: &[u8]) {
        let mut pages = Pages::default();
        for (number, chunk) in bytes.chunks(PAGE).enumerate() {
            if chunk.iter().any(|byte| *byte != 0) {
                let mut page = [0; PAGE];
                page[..chunk.len()].copy_from_slice(chunk);
                *pages.slot(number as u64) = Some(Arc::new(Page::of(page)));
            }
        }
        let wasm_pages = (bytes.len() as u64).div_ceil(WASM_PAGE);
        *self = Self {
            pages: Arc::new(pages),
            wasm_pages,
            message: Journal {
                pages: BTreeMap::new(),
                wasm_pages,
            },
            transaction: None,
        };
    }

    /// Grows by `additional` Wasm pages and answers the old size; `None` over the limit.
    pub(super) fn grow(&mut self, additional: u64) -> Option<u64> {
        let old = self.wasm_pages;
        let new = old.checked_add(additional)?;
        if new > MAX_WASM_PAGES {
            return None;
        }
        self.wasm_pages = new;
        Some(old)
    }

    /// Fills `target` with the bytes from `offset` on.
    pub(super) fn read(&self, offset: u64, target: &mut [u8]) -> Result<(), OutOfBounds> {
        self.check(offset, target.len())?;
        let mut done = 0;
        while done < target.len() {
            let (page, start, count) = piece(offset, done, target.len());
            let piece = &mut target[done..done + count];
            match self.pages.get(page) {
                Some(page) => piece.copy_from_slice(&page.bytes()[start..start + count]),
                None => piece.fill(0),
            }
            done += count;
        }
        Ok(())
    }

    /// How many pages of the range were not yet written in this message.
    pub(super) fn clean_pages(&self, offset: u64, length: u64) -> Result<u64, OutOfBounds> {
        self.check(offset, length as usize)?;
        if length == 0 {
            return Ok(0);
        }
        let (first, last) = (offset / PAGE as u64, (offset + length - 1) / PAGE as u64);
        let dirty = self.message.pages.range(first..=last).count() as u64;
        Ok(last - first + 1 - dirty)
    }

    /// Writes `source` at `offset`.
    pub(super) fn write(&mut self, offset: u64, source: &[u8]) -> Result<(), OutOfBounds> {
        self.check(offset, source.len())?;
        let pages = Arc::make_mut(&mut self.pages);
        let mut done = 0;
        while done < source.len() {
            let (number, start, count) = piece(offset, done, source.len());
            let slot = pages.slot(number);
            self.message
                .pages
                .entry(number)
                .or_insert_with(|| slot.clone());
            let page = Arc::make_mut(slot.get_or_insert_with(new_page));
            page.bytes_mut()[start..start + count].copy_from_slice(&source[done..done + count]);
            done += count;
        }
        Ok(())
    }

    /// From here on, messages can still be undone by [`StableMemory::revert`].
    pub fn begin(&mut self) {
        self.transaction = Some(Journal {
            pages: BTreeMap::new(),
            wasm_pages: self.wasm_pages,
        });
    }

    /// Keeps what was written since [`StableMemory::begin`].
    pub fn keep(&mut self) {
        self.transaction = None;
    }

    /// Undoes everything since [`StableMemory::begin`].
    pub fn revert(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            self.go_back(transaction);
            self.message.wasm_pages = self.wasm_pages;
        }
    }

    /// Keeps what the message wrote.
    pub(super) fn commit(&mut self) {
        let written = std::mem::take(&mut self.message.pages);
        if let Some(transaction) = &mut self.transaction {
            for (number, page) in written {
                transaction.pages.entry(number).or_insert(page);
            }
        }
        self.message.wasm_pages = self.wasm_pages;
    }

    /// Undoes what the message wrote.
    pub(super) fn roll_back(&mut self) {
        let journal = std::mem::take(&mut self.message);
        self.go_back(journal);
        self.message.wasm_pages = self.wasm_pages;
    }

    fn go_back(&mut self, journal: Journal) {
        if !journal.pages.is_empty() {
            let pages = Arc::make_mut(&mut self.pages);
            for (number, page) in journal.pages {
                *pages.slot(number) = page;
            }
        }
        self.wasm_pages = journal.wasm_pages;
    }

    /// The pages that were written.
    pub(super) fn pages(&self) -> &Arc<Pages> {
        &self.pages
    }

    fn check(&self, offset: u64, length: usize) -> Result<(), OutOfBounds> {
        let end = offset.checked_add(length as u64).ok_or(OutOfBounds)?;
        if end > self.wasm_pages * WASM_PAGE {
            Err(OutOfBounds)
        } else {
            Ok(())
        }
    }
}

fn new_page() -> Arc<Page> {
    Arc::new(Page::of([0; PAGE]))
}

/// The page, the start in it and the byte count of the next piece of a range.
fn piece(offset: u64, done: usize, length: usize) -> (u64, usize, usize) {
    let at = offset + done as u64;
    let start = (at % PAGE as u64) as usize;
    (at / PAGE as u64, start, (PAGE - start).min(length - done))
}
