//! Pages of the user's memory, handed out and taken back.
//!
//! A segment is a page of 64 KiB with a number. Those of a chain begin with the number of the next (0 ends it), so that
//! giving back a chain of any length is two writes. Page 0 is the header, page 1 the root of the index.

use super::header::Header;
use ic_stable_structures::Memory;

pub(super) const SEGMENT_BYTES: u64 = 65_536;

/// Bytes before the data of a segment in a chain: the next one's number, and 4 that are not used.
pub(super) const CHAIN_BYTES: u64 = 8;

/// Growing costs the MemoryManager a rewrite of its own header, so it is done for many pages at a time.
const GROW_PAGES: u64 = 16;

/// 256 GiB: as far as the addresses in the index reach.
const MOST_PAGES: u64 = 1 << 22;

pub(super) struct Segments<M> {
    pub(super) memory: M,
    pub(super) header: Header,
}

impl<M: Memory> Segments<M> {
    pub(super) fn write_header(&self) {
        self.header.write(&self.memory);
    }

    pub(super) fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read(address, &mut bytes);
        bytes
    }

    /// Makes the first pages of a new store, whose memory is all zeros; `false` if the memory can't grow that far.
    pub(super) fn make(&self, segments: u64) -> bool {
        self.memory.grow(u64::from(self.header.pages) + segments) >= 0
    }

    /// Makes sure that `segments` more can be taken; `false` if the memory can't grow that far.
    pub(super) fn reserve(&self, segments: u64) -> bool {
        let pages = u64::from(self.header.pages);
        let unused = self.memory.size().saturating_sub(pages) + u64::from(self.header.free_count);
        if unused >= segments {
            return true;
        }
        let missing = segments - unused;
        if self.memory.size() + missing + GROW_PAGES > MOST_PAGES {
            return false;
        }
        self.memory.grow(missing.max(GROW_PAGES)) >= 0 || self.memory.grow(missing) >= 0
    }

    /// A segment whose content may be anything. [`reserve`](Self::reserve) has made sure of it.
    pub(super) fn take(&mut self) -> u32 {
        let segment = self.header.free_head;
        if segment != 0 {
            self.header.free_head = u32::from_le_bytes(self.read(address(segment)));
            self.header.free_count -= 1;
        } else {
            self.header.pages += 1;
        }
        self.write_header();
        if segment != 0 {
            segment
        } else {
            self.header.pages - 1
        }
    }

    /// A segment to begin a chain or to follow `previous`.
    pub(super) fn take_for_chain(&mut self, previous: u32) -> u32 {
        let segment = self.take();
        // The next one's number, and the end of the data.
        self.memory
            .write(address(segment), &[0; CHAIN_BYTES as usize + 4]);
        if previous != 0 {
            self.memory.write(address(previous), &segment.to_le_bytes());
        }
        segment
    }

    pub(super) fn next_in_chain(&self, segment: u32) -> u32 {
        u32::from_le_bytes(self.read(address(segment)))
    }

    /// Gives back a chain of `segments` segments; the caller writes the header.
    pub(super) fn give_back(&mut self, head: u32, tail: u32, segments: u32) {
        if head != 0 {
            self.memory
                .write(address(tail), &self.header.free_head.to_le_bytes());
            self.header.free_head = head;
            self.header.free_count += segments;
        }
    }
}

pub(super) fn address(segment: u32) -> u64 {
    u64::from(segment) * SEGMENT_BYTES
}
