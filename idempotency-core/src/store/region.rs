//! Two growing memories in the one that the user gave.
//!
//! ```text
//! page  0        1         17        33        49
//!       +--------+---------+---------+---------+---------+ ...
//!       | header | records | expiry  | records | expiry  |
//!       +--------+---------+---------+---------+---------+ ...
//! ```
//!
//! The stripes are of a fixed width, so where a byte lies is arithmetic: there is no table to keep, and no MemoryManager
//! that could meet the user's own. The price is that the memory is as large as twice the larger of the two.

use ic_stable_structures::Memory;
use std::{cell::Cell, fmt, rc::Rc};

pub(super) const PAGE_BYTES: u64 = 65_536;
const HEADER_PAGES: u64 = 1;
const STRIPE_PAGES: u64 = 16;
const STRIPE_BYTES: u64 = STRIPE_PAGES * PAGE_BYTES;
const REGIONS: u64 = 2;

/// One of the two memories, as a `Memory` of its own.
pub(super) struct Region<M> {
    memory: Rc<M>,
    index: u64,
    /// Pages that hold data, which is at most the region's size.
    used_pages: Rc<Cell<u64>>,
}

impl<M> fmt::Debug for Region<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("index", &self.index)
            .field("used_pages", &self.used_pages)
            .finish_non_exhaustive()
    }
}

impl<M: Memory> Region<M> {
    pub(super) fn new(memory: Rc<M>, index: u64, used_pages: Rc<Cell<u64>>) -> Self {
        Self {
            memory,
            index,
            used_pages,
        }
    }

    /// Calls `access` for each stretch of `length` bytes at `offset` that lies in one stripe, with its place in the
    /// memory and its range in the buffer.
    fn stretches(
        &self,
        offset: u64,
        length: usize,
        mut access: impl FnMut(u64, std::ops::Range<usize>),
    ) {
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let within = at % STRIPE_BYTES;
            let stretch = (length - done).min((STRIPE_BYTES - within) as usize);
            let stripe = at / STRIPE_BYTES * REGIONS + self.index;
            access(
                HEADER_PAGES * PAGE_BYTES + stripe * STRIPE_BYTES + within,
                done..done + stretch,
            );
            done += stretch;
        }
    }
}

/// Size in pages of region `index` in a memory of `pages` pages.
fn size_in(pages: u64, index: u64) -> u64 {
    let pages = pages.saturating_sub(HEADER_PAGES);
    let row = REGIONS * STRIPE_PAGES;
    pages / row * STRIPE_PAGES
        + (pages % row)
            .saturating_sub(index * STRIPE_PAGES)
            .min(STRIPE_PAGES)
}

/// Pages that a memory needs for region `index` to have `pages` pages.
fn needed_for(pages: u64, index: u64) -> u64 {
    match pages.checked_sub(1) {
        None => 0,
        Some(last) => {
            HEADER_PAGES
                + (last / STRIPE_PAGES * REGIONS + index) * STRIPE_PAGES
                + last % STRIPE_PAGES
                + 1
        }
    }
}

/// Makes sure that each region can take `pages` more than it uses; `false` if the memory can't grow that far.
pub(super) fn reserve<M: Memory>(memory: &M, used_pages: [u64; 2], pages: u64) -> bool {
    let needed = (0..REGIONS)
        .map(|index| needed_for(used_pages[index as usize] + pages, index))
        .max()
        .unwrap_or(0);
    let missing = needed.saturating_sub(memory.size());
    missing == 0 || memory.grow(missing) >= 0
}

impl<M: Memory> Memory for Region<M> {
    fn size(&self) -> u64 {
        size_in(self.memory.size(), self.index)
    }

    fn grow(&self, pages: u64) -> i64 {
        let before = self.size();
        let missing = needed_for(before + pages, self.index).saturating_sub(self.memory.size());
        if missing > 0 && self.memory.grow(missing) < 0 {
            return -1;
        }
        before as i64
    }

    fn read(&self, offset: u64, into: &mut [u8]) {
        self.stretches(offset, into.len(), |at, range| {
            self.memory.read(at, &mut into[range])
        });
    }

    fn write(&self, offset: u64, from: &[u8]) {
        let end_page = (offset + from.len() as u64).div_ceil(PAGE_BYTES);
        self.used_pages.set(self.used_pages.get().max(end_page));
        self.stretches(offset, from.len(), |at, range| {
            self.memory.write(at, &from[range])
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ic_stable_structures::VectorMemory;

    #[test]
    fn sizes_and_needs_are_inverse() {
        for index in 0..REGIONS {
            for pages in 1..200 {
                let needed = needed_for(pages, index);
                assert_eq!(size_in(needed, index), pages);
                assert_eq!(size_in(needed - 1, index), pages - 1);
            }
        }
    }

    #[test]
    fn regions_do_not_touch_each_other_or_the_header() {
        let memory = Rc::new(VectorMemory::default());
        memory.grow(1);
        memory.write(0, &[9; PAGE_BYTES as usize]);
        let regions = [0, 1].map(|index| Region::new(memory.clone(), index, Rc::default()));
        for region in &regions {
            assert!(region.grow(40) >= 0);
            assert!(region.size() >= 40);
        }
        let bytes = 40 * PAGE_BYTES as usize;
        let pattern = |seed: usize| -> Vec<u8> {
            (0..bytes).map(|i| ((i * 31 + seed) % 251) as u8).collect()
        };
        regions[0].write(0, &pattern(1));
        regions[1].write(0, &pattern(2));
        for (region, seed) in regions.iter().zip([1, 2]) {
            let mut read = vec![0; bytes];
            region.read(0, &mut read);
            assert!(read == pattern(seed));
        }
        let mut header = [0; PAGE_BYTES as usize];
        memory.read(0, &mut header);
        assert!(header == [9; PAGE_BYTES as usize]);
    }
}
