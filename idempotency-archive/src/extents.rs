//! The memory in extents: pages of 64 KiB that files are made of, and that go from one file to another.
//!
//! ```text
//! page
//! 0              the header (see `header`)
//! 1              table of group 0: of each of its extents 4 bytes, little-endian: 0 free, 1 the last of its file, n + 2: extent n follows
//! 2 …            the 16,384 extents of group 0
//! 16,386         table of group 1, and so on
//! ```
//!
//! The heap has the files as lists, so that a position is found without a read. An extent costs 4 bytes of a table, and 4 in the heap.

use ic_stable_structures::Memory;
use std::collections::VecDeque;

/// Bytes of an extent: a page, as memories are grown by.
pub(crate) const EXTENT: usize = 65_536;

/// Extents that one table says of.
const GROUP: u64 = EXTENT as u64 / 4;

/// How the chain of a file's extents goes on.
const FREE: u32 = 0;
const LAST: u32 = 1;
const NEXT: u32 = 2;

/// A file: its extents in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct File(VecDeque<u32>);

impl File {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Its first extent, as it is stored: 0 if it has none.
    pub(crate) fn head(&self) -> u32 {
        self.0.front().map_or(0, |first| first + NEXT)
    }

    /// Where in the memory the bytes of its extent lie.
    pub(crate) fn address(&self, extent: usize) -> u64 {
        address(self.0[extent])
    }
}

/// The memory is not what [`Extents`] wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BrokenChain;

/// The memory, and which of its extents are free.
pub(crate) struct Extents<M> {
    memory: M,
    /// Extents that the memory has room for.
    count: u32,
    /// The last is taken first.
    free: Vec<u32>,
}

/// A memory whose files are being opened.
pub(crate) struct Opening<M> {
    memory: M,
    /// What the tables say; of an extent that was found in a file, [`FOUND`].
    words: Vec<u32>,
}

const FOUND: u32 = u32::MAX;

fn table(extent: u32) -> u64 {
    let (group, within) = (u64::from(extent) / GROUP, u64::from(extent) % GROUP);
    (1 + group * (GROUP + 1)) * EXTENT as u64 + within * 4
}

fn address(extent: u32) -> u64 {
    let (group, within) = (u64::from(extent) / GROUP, u64::from(extent) % GROUP);
    (2 + group * (GROUP + 1) + within) * EXTENT as u64
}

/// Extents in a memory of that many pages.
fn extents_in(pages: u64) -> u32 {
    let pages = pages.saturating_sub(1);
    let (groups, rest) = (pages / (GROUP + 1), pages % (GROUP + 1));
    u32::try_from(groups * GROUP + rest.saturating_sub(1))
        .map_or(u32::MAX - NEXT, |count| count.min(u32::MAX - NEXT))
}

/// Pages of a memory with so many extents: the header, and in each group the table.
fn pages_of(extents: u64) -> u64 {
    1 + extents + extents.div_ceil(GROUP)
}

impl<M: Memory> Opening<M> {
    /// Reads the tables.
    pub(crate) fn new(memory: M) -> Self {
        let count = extents_in(memory.size());
        let mut words = Vec::with_capacity(count as usize);
        let mut bytes = vec![];
        for first in (0..count).step_by(GROUP as usize) {
            bytes.resize(4 * (count - first).min(GROUP as u32) as usize, 0);
            memory.read(table(first), &mut bytes);
            let (table, _) = bytes.as_chunks();
            words.extend(table.iter().map(|word| u32::from_le_bytes(*word)));
        }
        Self { memory, words }
    }

    /// The file that begins with an extent (0 if with none), and has so many.
    pub(crate) fn file(&mut self, head: u32, extents: u64) -> Result<File, BrokenChain> {
        let mut file = File::default();
        let mut next = head;
        while next >= NEXT {
            let extent = next - NEXT;
            let word = self.words.get_mut(extent as usize).ok_or(BrokenChain)?;
            next = std::mem::replace(word, FOUND);
            // No extent is in two files, or twice in one.
            if next == FREE || next == FOUND {
                return Err(BrokenChain);
            }
            file.0.push_back(extent);
        }
        if file.0.len() as u64 == extents {
            Ok(file)
        } else {
            Err(BrokenChain)
        }
    }

    /// When all files are opened. What is in none must be free.
    pub(crate) fn done(self) -> Result<Extents<M>, BrokenChain> {
        let mut free = vec![];
        for (extent, &word) in self.words.iter().enumerate().rev() {
            match word {
                FREE => free.push(extent as u32),
                FOUND => {}
                _ => return Err(BrokenChain),
            }
        }
        Ok(Extents {
            count: self.words.len() as u32,
            memory: self.memory,
            free,
        })
    }
}

impl<M: Memory> Extents<M> {
    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    /// Bytes of a memory with so many extents.
    pub(crate) fn bytes_of(extents: u64) -> u64 {
        pages_of(extents).saturating_mul(EXTENT as u64)
    }

    /// Extents that belong to files.
    pub(crate) fn used(&self) -> u64 {
        u64::from(self.count) - self.free.len() as u64
    }

    /// Whether so many extents are free, then. Grows the memory if they are not; what it has grown by stays.
    pub(crate) fn reserve(&mut self, extents: u64) -> bool {
        let missing = extents.saturating_sub(self.free.len() as u64);
        if missing == 0 {
            return true;
        }
        let count = u64::from(self.count) + missing;
        let needed = pages_of(count);
        let has = self.memory.size();
        if count > u64::from(u32::MAX - NEXT - 1)
            || self.memory.grow(needed.saturating_sub(has)) < 0
        {
            return false;
        }
        self.free.splice(0..0, (self.count..count as u32).rev());
        self.count = count as u32;
        true
    }

    /// Puts a free extent at the end of a file; `false` if there is none, and the memory can't grow.
    pub(crate) fn push(&mut self, file: &mut File) -> bool {
        if !self.reserve(1) {
            return false;
        }
        let Some(extent) = self.free.pop() else {
            return false;
        };
        self.link(extent, LAST);
        if let Some(&last) = file.0.back() {
            self.link(last, extent + NEXT);
        }
        file.0.push_back(extent);
        true
    }

    /// Frees a file's first extent.
    pub(crate) fn pop_front(&mut self, file: &mut File) {
        if let Some(extent) = file.0.pop_front() {
            self.link(extent, FREE);
            self.free.push(extent);
        }
    }

    fn link(&self, extent: u32, word: u32) {
        self.memory.write(table(extent), &word.to_le_bytes());
    }

    /// Reads bytes of a file from an offset on. What lies beyond its end stays as it was.
    pub(crate) fn read(&self, file: &File, offset: u64, mut into: &mut [u8]) {
        let (mut extent, mut within) = split(offset);
        while !into.is_empty() && extent < file.len() {
            let length = into.len().min(EXTENT - within);
            let (part, rest) = into.split_at_mut(length);
            self.memory.read(file.address(extent) + within as u64, part);
            (into, extent, within) = (rest, extent + 1, 0);
        }
    }

    /// Writes bytes into a file from an offset on; it must have the extents.
    pub(crate) fn write(&self, file: &File, offset: u64, mut bytes: &[u8]) {
        let (mut extent, mut within) = split(offset);
        while !bytes.is_empty() {
            let length = bytes.len().min(EXTENT - within);
            let (part, rest) = bytes.split_at(length);
            self.memory
                .write(file.address(extent) + within as u64, part);
            (bytes, extent, within) = (rest, extent + 1, 0);
        }
    }
}

/// The extent of a file in which an offset lies, and where in it.
fn split(offset: u64) -> (usize, usize) {
    let extent = offset / EXTENT as u64;
    (extent as usize, (offset % EXTENT as u64) as usize)
}
