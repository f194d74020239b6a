//! Pages of the user's memory, handed out and taken back.
//!
//! A segment is a page of 64 KiB with a number. Those of a chain begin with the number of the next (0 ends it), so that
//! giving back a chain of any length is two writes. Page 0 is the header, page 1 the root of the index.

use super::{
    error::Damaged,
    header::Header,
    layout::{FIRST_SEGMENT, MOST_PAGES, SEGMENT_BYTES},
};
use ic_stable_structures::Memory;
use std::cell::Cell;

/// Bytes before the data of a segment in a chain: the next one's number, and 4 that are not used.
pub(crate) const CHAIN_BYTES: u64 = 8;

/// Growing costs the MemoryManager a rewrite of its own header, so it is done for many pages at a time.
const GROW_PAGES: u64 = 16;

pub(crate) struct Segments<M> {
    pub(crate) memory: M,
    pub(crate) header: Header,
    /// Whether the memory is grown when pages are needed. If not, it was when the store was opened.
    pub(crate) may_grow: bool,
    /// How many pages the memory had when it was last asked, which takes a MemoryManager longer. It never has fewer later.
    pub(super) seen: Cell<u64>,
}

impl<M: Memory> Segments<M> {
    pub(crate) fn write_header(&self) {
        self.header.write(&self.memory);
    }

    /// Whether `bytes` bytes lie in segments that are in use, or were: what is read from memory may say anything.
    #[inline]
    pub(crate) fn check(&self, at: u64, bytes: usize) -> Result<(), Damaged> {
        let end = at.saturating_add(bytes as u64);
        if at >= address(FIRST_SEGMENT) && end <= address(self.header.pages) {
            Ok(())
        } else {
            Err(Damaged)
        }
    }

    pub(crate) fn read<const N: usize>(&self, at: u64) -> Result<[u8; N], Damaged> {
        let mut bytes = [0; N];
        self.read_into(at, &mut bytes)?;
        Ok(bytes)
    }

    #[inline]
    pub(crate) fn read_into(&self, at: u64, bytes: &mut [u8]) -> Result<(), Damaged> {
        self.check(at, bytes.len())?;
        self.memory.read(at, bytes);
        Ok(())
    }

    /// Grows the memory to so many pages when a store is opened; `false` if it can't grow that far.
    pub(crate) fn grow_to(&self, pages: u64) -> bool {
        let missing = pages.saturating_sub(self.memory.size());
        missing == 0 || self.memory.grow(missing) >= 0
    }

    /// Segments that can be taken without growing, as far as was seen.
    fn unused(&self) -> u64 {
        let pages = u64::from(self.header.pages);
        let fresh = self.seen.get().min(MOST_PAGES).saturating_sub(pages);
        fresh + u64::from(self.header.free_count)
    }

    /// Whether `segments` more can be taken without growing.
    #[inline]
    pub(crate) fn has(&self, segments: u64) -> bool {
        self.unused() >= segments || {
            self.seen.set(self.memory.size());
            self.unused() >= segments
        }
    }

    /// Makes sure that `segments` more can be taken; `false` if the memory can't grow that far.
    #[inline]
    pub(crate) fn reserve(&self, segments: u64) -> bool {
        if self.has(segments) {
            return true;
        }
        let missing = segments - self.unused();
        if !self.may_grow || self.memory.size() + missing + GROW_PAGES > MOST_PAGES {
            return false;
        }
        self.memory.grow(missing.max(GROW_PAGES)) >= 0 || self.memory.grow(missing) >= 0
    }

    /// A segment whose content may be anything. [`reserve`](Self::reserve) has made sure of it.
    pub(crate) fn take(&mut self) -> Result<u32, Damaged> {
        let segment = self.header.free_head;
        if segment != 0 {
            let next = u32::from_le_bytes(self.read(address(segment))?);
            let is_last = self.header.free_count == 1;
            let is_segment = (FIRST_SEGMENT..self.header.pages).contains(&next);
            if if is_last { next != 0 } else { !is_segment } {
                return Err(Damaged);
            }
            self.header.free_head = next;
            self.header.free_count -= 1;
            self.write_header();
            return Ok(segment);
        }
        let segment = self.header.pages;
        if u64::from(segment) >= self.memory.size().min(MOST_PAGES) {
            return Err(Damaged);
        }
        self.header.pages += 1;
        self.write_header();
        Ok(segment)
    }

    /// A segment to begin a chain or to follow `previous`.
    pub(crate) fn take_for_chain(&mut self, previous: u32) -> Result<u32, Damaged> {
        let segment = self.take()?;
        // The next one's number, and the end of the data.
        self.memory
            .write(address(segment), &[0; CHAIN_BYTES as usize + 4]);
        if previous != 0 {
            self.memory.write(address(previous), &segment.to_le_bytes());
        }
        Ok(segment)
    }

    pub(crate) fn next_in_chain(&self, segment: u32) -> Result<u32, Damaged> {
        Ok(u32::from_le_bytes(self.read(address(segment))?))
    }

    /// Gives back a chain of `segments` segments; the caller writes the header.
    pub(crate) fn give_back(&mut self, head: u32, tail: u32, segments: u32) {
        if head != 0 {
            self.memory
                .write(address(tail), &self.header.free_head.to_le_bytes());
            self.header.free_head = head;
            self.header.free_count = self.header.free_count.saturating_add(segments);
        }
    }
}

pub(crate) fn address(segment: u32) -> u64 {
    u64::from(segment) * SEGMENT_BYTES
}
