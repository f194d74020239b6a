//! A filter: which ids it may hold, in a few bits each. It never denies one that was put in.
//!
//! ```text
//! +-------------------+-------------------+-----
//! | block 0: 512 bits | block 1: 512 bits | …      a blocked Bloom filter
//! +-------------------+-------------------+-----
//! ```
//!
//! An id sets 8 bits of one block. Its 16 bytes are two little-endian numbers. The second is how far into the filter its block lies, in parts
//! of 2^64. The first are the numbers of seven bits, of 9 bits each, from the lowest; that of the eighth are the lowest 9 bits of the second,
//! which hardly count for the block.
//!
//! # Why of this kind
//! It never fails, whatever is put in, in any order and any number at a time. A cuckoo filter takes a third less memory at the same rate, but moves
//! fingerprints when it is almost full, 241,657 instructions at worst for one id, and has no place for nine ids of one fingerprint and bucket, which
//! callers can choose. A binary fuse filter takes least, but is made of all ids at once on the heap: they would have to be kept. `bench/filters.csv`.
//!
//! # Ids that are chosen
//! Ids are the end of a BLAKE3 hash, so nothing is hashed again. Whoever chooses keys can try out many until their ids lie in one block, fill
//! that, and make others' ids seem held that lie in it, too: each such block costs the attacker its share of the store's requests, and the
//! others a question to an archive. An id that is held is never denied, whatever the ids are.
//!
//! # Rates and bytes
//! A filter that holds what it was made for takes an id that it does not hold for one it does
//!
//! | once in | 256 | 1,024 | 4,096 | 16,384 | 65,536 | 1,048,576 |
//! |---|---|---|---|---|---|---|
//! | with so many bytes per id | 1.5 | 2.0 | 2.5 | 3.2 | 4.0 | 6.5 |

use super::entry::Id;
use ic_stable_structures::Memory;
use std::mem;

/// Bytes of a block: one read.
const BLOCK_BYTES: usize = 64;

/// The IC charges for each page of this size that a message writes to.
const PAGE_BYTES: usize = 4_096;

const BLOCKS_IN_PAGE: u64 = (PAGE_BYTES / BLOCK_BYTES) as u64;

/// Bits that an id sets.
const BITS: u32 = 8;

/// A block has 512 bits.
const BITS_OF_PLACE: u32 = 9;

/// From so many ids to a page on, pages are read and written as a whole.
const MANY_IN_PAGE: usize = 20;

/// Positions are worked out with numbers below this one: 256 GiB.
const MOST_BLOCKS: u64 = u32::MAX as u64;

/// For a rate of one in 2^n: how many ids there may be to 16 blocks, at entry n − 1. That number is the largest for which the mean of
/// `(1 − (511/512)^(8 j))^8`, j being Poisson distributed as the ids in a block are, is no more than the rate.
const IDS_TO_16_BLOCKS: [u64; 20] = [
    2553, 1875, 1495, 1237, 1046, 897, 776, 677, 593, 522, 461, 408, 361, 321, 285, 253, 225, 200,
    177, 157,
];

/// How often a full filter may be wrong about an id that it does not hold: once in 2 to this many.
pub const LEAST_RATE_BITS: u32 = 1;
/// The rarest.
pub const MOST_RATE_BITS: u32 = IDS_TO_16_BLOCKS.len() as u32;

/// Where a filter lies. All its bytes must be in the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    offset: u64,
    blocks: u64,
}

impl Filter {
    /// The filter in `bytes` bytes from `offset` on, which must be a multiple of 4,096; an empty one is all zeros. `None` if `bytes` is no
    /// length of a filter.
    pub const fn at(offset: u64, bytes: u64) -> Option<Self> {
        let blocks = bytes / BLOCK_BYTES as u64;
        let is_filter = bytes.is_multiple_of(BLOCK_BYTES as u64)
            && blocks > 0
            && blocks <= MOST_BLOCKS
            && offset.is_multiple_of(PAGE_BYTES as u64)
            && offset.checked_add(bytes).is_some();
        if is_filter {
            Some(Self { offset, blocks })
        } else {
            None
        }
    }

    /// How long a filter for so many ids is that is wrong once in 2^`rate_bits` when it holds them all. `None` if that is too long for one.
    /// `rate_bits` is taken for the nearest that there is.
    pub fn bytes_for(ids: u64, rate_bits: u32) -> Option<u64> {
        let row = rate_bits.clamp(LEAST_RATE_BITS, MOST_RATE_BITS) - LEAST_RATE_BITS;
        let blocks = ids
            .checked_mul(16)?
            .div_ceil(IDS_TO_16_BLOCKS[row as usize])
            .max(1);
        (blocks <= MOST_BLOCKS).then_some(blocks * BLOCK_BYTES as u64)
    }

    /// No filter of this length was made for more ids.
    pub(super) const fn most_ids(&self) -> u64 {
        self.blocks.saturating_mul(IDS_TO_16_BLOCKS[0]) / 16
    }

    /// Puts ids in. One call for many costs less than a call for each: a page is charged once, and read and written once if it gets many.
    pub fn insert<M: Memory>(&self, memory: &M, ids: &[Id]) {
        let pages = self.blocks.div_ceil(BLOCKS_IN_PAGE);
        match usize::try_from(pages) {
            Ok(pages) if ids.len() / MANY_IN_PAGE >= pages => {
                self.insert_by_page(memory, ids, pages)
            }
            _ => {
                let mut block = [0; BLOCK_BYTES];
                for id in ids {
                    let at = self.place_of(self.block_of(id));
                    memory.read(at, &mut block);
                    set(&mut block, bits(id));
                    memory.write(at, &block);
                }
            }
        }
    }

    fn insert_by_page<M: Memory>(&self, memory: &M, ids: &[Id], pages: usize) {
        // Of each page how many ids it gets; then where its first one goes; in the end, where those of the next begin.
        let mut places = vec![0u32; pages];
        let mut blocks = Vec::with_capacity(ids.len());
        for id in ids {
            let block = self.block_of(id);
            places[(block / BLOCKS_IN_PAGE) as usize] += 1;
            blocks.push(block as u32);
        }
        let mut first = 0;
        for place in &mut places {
            first += mem::replace(place, first);
        }
        let mut sorted = vec![Placed::default(); ids.len()];
        for (id, block) in ids.iter().zip(blocks) {
            let place = &mut places[block as usize / BLOCKS_IN_PAGE as usize];
            sorted[*place as usize] = Placed::new(id, block);
            *place += 1;
        }
        let mut page = [[0; BLOCK_BYTES]; BLOCKS_IN_PAGE as usize];
        let mut begin = 0;
        for (first, end) in (0..).step_by(BLOCKS_IN_PAGE as usize).zip(places) {
            let end = end as usize;
            if begin < end {
                let blocks = (self.blocks - first).min(BLOCKS_IN_PAGE) as usize;
                let (at, bytes) = (self.place_of(first), page[..blocks].as_flattened_mut());
                memory.read(at, bytes);
                for placed in &sorted[begin..end] {
                    set(&mut page[placed.in_page()], placed.bits());
                }
                memory.write(at, page[..blocks].as_flattened());
            }
            begin = end;
        }
    }

    fn place_of(&self, block: u64) -> u64 {
        self.offset + block * BLOCK_BYTES as u64
    }

    /// Whether it may hold the id: always for one that was put in; for another one, at the rate that the filter was made for. It reads 64 bytes.
    pub fn may_hold<M: Memory>(&self, memory: &M, id: &Id) -> bool {
        let mut block = [0; BLOCK_BYTES];
        memory.read(self.place_of(self.block_of(id)), &mut block);
        let (words, _) = block.as_chunks();
        bits(id).all(|(word, bit)| u64::from_le_bytes(words[word]) & bit != 0)
    }

    /// The product's upper half: ids are spread over any number of blocks.
    fn block_of(&self, id: &Id) -> u64 {
        let [_, back] = halves(id);
        let (high, low) = (back >> 32, back & u64::from(u32::MAX));
        (high * self.blocks + ((low * self.blocks) >> 32)) >> 32
    }
}

/// An id, and which block of its page is its.
#[derive(Clone, Copy, Default)]
struct Placed {
    front: u64,
    /// The end of the second half, and above it the block.
    rest: u64,
}

impl Placed {
    #[inline(always)]
    fn new(id: &Id, block: u32) -> Self {
        let [front, back] = halves(id);
        let rest = u64::from(block) << BITS_OF_PLACE | back & !(u64::MAX << BITS_OF_PLACE);
        Self { front, rest }
    }

    #[inline(always)]
    fn in_page(&self) -> usize {
        (self.rest >> BITS_OF_PLACE) as usize % BLOCKS_IN_PAGE as usize
    }

    #[inline(always)]
    fn bits(&self) -> impl Iterator<Item = (usize, u64)> {
        bits_of(self.front, self.rest)
    }
}

fn halves(id: &Id) -> [u64; 2] {
    let both = u128::from_le_bytes(*id);
    [both as u64, (both >> 64) as u64]
}

#[inline(always)]
fn bits(id: &Id) -> impl Iterator<Item = (usize, u64)> {
    let [front, back] = halves(id);
    bits_of(front, back)
}

/// The bits of an id in its block: in which word of 64 bits, and which there.
#[inline(always)]
fn bits_of(front: u64, back: u64) -> impl Iterator<Item = (usize, u64)> {
    (0..BITS).map(move |number| {
        let place = match number {
            7 => back,
            _ => front >> (BITS_OF_PLACE * number),
        };
        ((place >> 6 & 7) as usize, 1 << (place & 63))
    })
}

#[inline(always)]
fn set(block: &mut [u8; BLOCK_BYTES], bits: impl Iterator<Item = (usize, u64)>) {
    let (words, _) = block.as_chunks_mut();
    for (word, bit) in bits {
        words[word] = (u64::from_le_bytes(words[word]) | bit).to_le_bytes();
    }
}

#[cfg(test)]
#[path = "tests/filter.rs"]
mod tests;
