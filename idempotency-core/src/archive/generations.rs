//! The ids that were archived: a filter for those of each archive, in parts that are begun as they are needed, each four times as large as
//! the one before, up to 16 GiB.
//!
//! The table of them is 10,248 bytes; the filters (`filter.rs`) lie behind one another where the memory
//! ended when they were begun.
//!
//! ```text
//! offset  bytes  field
//!      0      8  number of generations, 256 at most
//!      8 256×40  the generations, oldest first:
//!      0      4    number of the archive that has its ids
//!      4      4    zeros
//!      8      8    how many ids it was made for
//!     16      8    how many were put in
//!     24      8    where its filter lies in the memory
//!     32      8    bytes of the filter
//! ```
//!
//! Integers are little-endian. A table that was never written is all zeros: it has no generations.
//!
//! # Cost
//! A look-up reads 64 bytes of each generation: some 430 instructions for the first, and 380 for each further one. A billion ids of one archive
//! are six of them; each further archive of that size is one more.
//!
//! Putting ids in costs most where each is alone in a page of 4 KiB. A million at a time take some 360 instructions each in a generation for 16
//! million, and 590 in one for 125 million; 50,000 at a time 560 in the former.

use super::{
    entry::Id,
    filter::{Filter, MOST_RATE_BITS},
};
use crate::table::{Damaged, field};
use ic_stable_structures::Memory;

/// Bytes of the table.
pub const TABLE_BYTES: u64 = COUNT_BYTES + MOST as u64 * ENTRY_BYTES;

/// Generations that there can be.
pub const MOST: usize = 256;

/// The first generation is for so many ids: its filter fits into what a memory of a `MemoryManager` takes at first.
pub const FIRST_IDS: u64 = 1 << 20;

/// Among so many generations the rate of false positives is divided; with more it is that much higher.
pub const SHARES: u32 = 16;

const GROWTH: u64 = 4;
const COUNT_BYTES: u64 = 8;
const ENTRY_BYTES: u64 = 40;
const MEMORY_PAGE: u64 = 65_536;

/// How often an id that was never archived may be taken for one that was: at most once in so many, by all generations together as long as there
/// are no more than [`SHARES`] of them; at most `n / SHARES` times as often with `n`.
///
/// | once in | 16 | 64 | 256 | 1,024 | 4,096 | 65,536 |
/// |---|---|---|---|---|---|---|
/// | bytes for each id | 1.5 | 2.0 | 2.5 | 3.2 | 4.1 | 6.6 |
///
/// Other numbers count as the next of these powers of two, each doubling being a step of its own, some 13 percent more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneIn(u32);

impl OneIn {
    /// The rarest.
    pub const RAREST: Self = Self(65_536);

    /// Once in `number`, which is taken for the nearest from 2 to 65,536.
    pub const fn new(number: u32) -> Self {
        match number {
            0..2 => Self(2),
            2..=65_536 => Self(number),
            _ => Self::RAREST,
        }
    }

    /// As it was given.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The rate of one generation is one in 2 to this many.
    const fn bits_of_each(self) -> u32 {
        (self.0 * SHARES).next_power_of_two().ilog2()
    }
}

const _: () = assert!(OneIn::RAREST.bits_of_each() == MOST_RATE_BITS);

/// How large generations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How often the filter may be wrong.
    pub rate: OneIn,
    /// How many ids the very first generation is for.
    pub first_ids: u64,
    /// How many ids an archive is meant to hold. One that holds more gets further generations, for an eighth more ids or `first_ids` each.
    pub archive_ids: u64,
}

/// There is no room for more ids: the memory can't grow, or there are 256 generations. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// A part of the filter: ids of one archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// The number of the archive.
    pub archive: u32,
    /// How many ids it is for.
    pub capacity: u64,
    /// How many were put in, some perhaps twice.
    pub count: u64,
    /// Where the filter lies in the memory.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    filter: Filter,
}

impl Generation {
    fn read(bytes: &[u8]) -> Option<Self> {
        let rest = &mut &*bytes;
        let archive = u32::from_le_bytes(field(rest));
        let zeros: [u8; 4] = field(rest);
        let [capacity, count, offset, bytes] = [(); 4].map(|()| u64::from_le_bytes(field(rest)));
        let filter = Filter::at(offset, bytes)?;
        let is_sound = zeros == [0; 4] && count <= capacity && capacity <= filter.most_ids();
        is_sound.then_some(Self {
            archive,
            capacity,
            count,
            offset,
            bytes,
            filter,
        })
    }

    fn to_bytes(self) -> [u8; ENTRY_BYTES as usize] {
        let mut bytes = [0; ENTRY_BYTES as usize];
        bytes[..4].copy_from_slice(&self.archive.to_le_bytes());
        let numbers = [self.capacity, self.count, self.offset, self.bytes];
        for (place, number) in bytes[8..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// How many ids can still be put in.
    fn room(&self) -> u64 {
        self.capacity - self.count
    }

    fn end(&self) -> u64 {
        self.offset + self.bytes
    }
}

/// All generations, as the table of them says: on the heap, since every look-up needs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generations {
    /// Where the table lies.
    at: u64,
    all: Vec<Generation>,
}

impl Generations {
    /// Reads the table at `at`.
    ///
    /// # Errors
    /// [`Damaged`] if the table contradicts itself or the memory, or is not in the memory.
    pub fn open<M: Memory>(memory: &M, at: u64) -> Result<Self, Damaged> {
        let memory_bytes = memory.size().saturating_mul(MEMORY_PAGE);
        let end = at.checked_add(TABLE_BYTES).ok_or(Damaged)?;
        if end > memory_bytes {
            return Err(Damaged);
        }
        let mut count = [0; COUNT_BYTES as usize];
        memory.read(at, &mut count);
        let count = usize::try_from(u64::from_le_bytes(count)).map_err(|_| Damaged)?;
        if count > MOST {
            return Err(Damaged);
        }
        let mut table = vec![0; count * ENTRY_BYTES as usize];
        memory.read(at + COUNT_BYTES, &mut table);
        let mut all: Vec<Generation> = Vec::with_capacity(count);
        for bytes in table.chunks_exact(ENTRY_BYTES as usize) {
            let generation = Generation::read(bytes).ok_or(Damaged)?;
            let before = all.last().map_or(end, Generation::end);
            if generation.offset < before || generation.end() > memory_bytes {
                return Err(Damaged);
            }
            all.push(generation);
        }
        Ok(Self { at, all })
    }

    /// Makes sure that as many ids of an archive can be put in: it may begin a generation, and make the memory larger.
    ///
    /// # Errors
    /// [`NoRoom`] if that can't be. Nothing has changed then.
    pub fn reserve<M: Memory>(
        &mut self,
        memory: &M,
        archive: u32,
        ids: u64,
        plan: &Plan,
    ) -> Result<(), NoRoom> {
        let missing = ids.saturating_sub(self.room(archive));
        if missing == 0 {
            return Ok(());
        }
        if self.all.len() == MOST {
            return Err(NoRoom);
        }
        let capacity = self.next_capacity(archive, plan).max(missing);
        let bytes = Filter::bytes_for(capacity, plan.rate.bits_of_each()).ok_or(NoRoom)?;
        let offset = memory.size().checked_mul(MEMORY_PAGE).ok_or(NoRoom)?;
        let filter = Filter::at(offset, bytes).ok_or(NoRoom)?;
        if memory.grow(bytes.div_ceil(MEMORY_PAGE)) < 0 {
            return Err(NoRoom);
        }
        self.all.push(Generation {
            archive,
            capacity,
            count: 0,
            offset,
            bytes,
            filter,
        });
        self.write(memory, self.all.len() - 1);
        memory.write(self.at, &(self.all.len() as u64).to_le_bytes());
        Ok(())
    }

    fn next_capacity(&self, archive: u32, plan: &Plan) -> u64 {
        let largest = self.all.iter().map(|it| it.capacity).max();
        let next = largest.map_or(plan.first_ids, |largest| largest.saturating_mul(GROWTH));
        let of_archive = self.all.iter().filter(|it| it.archive == archive);
        let planned: u64 = of_archive.map(|it| it.capacity).sum();
        let left = plan.archive_ids.saturating_sub(planned);
        let wanted = (next.min(left.max(planned / 8))).max(plan.first_ids.min(plan.archive_ids));
        wanted.min(Filter::most_ids_for(plan.rate.bits_of_each()))
    }

    /// How many ids of an archive can be put in.
    fn room(&self, archive: u32) -> u64 {
        let of_archive = self.all.iter().filter(|it| it.archive == archive);
        of_archive.map(Generation::room).sum()
    }

    /// Puts ids of an archive in, all of them or none.
    ///
    /// # Errors
    /// [`NoRoom`] if no room was [reserved](Self::reserve) for as many.
    pub fn insert<M: Memory>(
        &mut self,
        memory: &M,
        archive: u32,
        ids: &[Id],
    ) -> Result<(), NoRoom> {
        if self.room(archive) < ids.len() as u64 {
            return Err(NoRoom);
        }
        let mut left = ids;
        for index in 0..self.all.len() {
            let generation = &mut self.all[index];
            let room = usize::try_from(generation.room()).unwrap_or(usize::MAX);
            let here = left.len().min(room);
            if generation.archive != archive || here == 0 {
                continue;
            }
            let (ids, rest) = left.split_at(here);
            generation.filter.insert(memory, ids);
            generation.count += here as u64;
            self.write(memory, index);
            left = rest;
        }
        Ok(())
    }

    fn write<M: Memory>(&self, memory: &M, index: usize) {
        let at = self.at + COUNT_BYTES + index as u64 * ENTRY_BYTES;
        memory.write(at, &self.all[index].to_bytes());
    }

    /// The numbers of the archives that may hold an id: each that it was put in for, and seldom another one. Each once, that of the newest
    /// generation first. Nothing is allocated where there is none.
    pub fn may_hold<M: Memory>(&self, memory: &M, id: &Id) -> Vec<u32> {
        let mut archives = vec![];
        for generation in self.all.iter().rev() {
            if generation.filter.may_hold(memory, id) && !archives.contains(&generation.archive) {
                archives.push(generation.archive);
            }
        }
        archives
    }

    /// All generations, the oldest first.
    pub fn all(&self) -> &[Generation] {
        &self.all
    }
}

#[cfg(test)]
#[path = "tests/generations.rs"]
mod tests;
