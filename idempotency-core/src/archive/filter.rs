//! A filter: which ids it may hold, in a few bits each. It never denies one that was put in.
//!
//! ```text
//! +-------------------+-------------------+-----
//! | block 0: 512 bits | block 1: 512 bits | …      a blocked Bloom filter
//! +-------------------+-------------------+-----
//! ```
//!
//! An id sets 8 bits of one block. Its 16 bytes are two little-endian numbers. The first is how far into the filter its block lies, in parts
//! of 2^64. The second are the numbers of seven bits, of 9 bits each, from the lowest; that of the eighth are the lowest 9 bits of the first,
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
use std::slice;

/// Bytes of a block: one read.
const BLOCK_BYTES: usize = 64;

/// The IC charges for each page of this size that a message writes to.
const PAGE_BYTES: usize = 4_096;

const BLOCKS_IN_PAGE: u64 = (PAGE_BYTES / BLOCK_BYTES) as u64;

/// Bits that an id sets.
const BITS: u32 = 8;

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
                    self.change(memory, self.block_of(id), &mut block, slice::from_ref(id));
                }
            }
        }
    }

    fn insert_by_page<M: Memory>(&self, memory: &M, ids: &[Id], pages: usize) {
        let page_of = |id: &Id| (self.block_of(id) / BLOCKS_IN_PAGE) as usize;
        // Of each page how many ids it gets; then where its first one goes; in the end, where those of the next begin.
        let mut places = vec![0; pages];
        for id in ids {
            places[page_of(id)] += 1;
        }
        let mut first = 0;
        for place in &mut places {
            (*place, first) = (first, first + *place);
        }
        let mut sorted = vec![[0; 16]; ids.len()];
        for id in ids {
            let place = &mut places[page_of(id)];
            sorted[*place] = *id;
            *place += 1;
        }
        let mut page = [0; PAGE_BYTES];
        let mut begin = 0;
        for (first, end) in (0..).step_by(BLOCKS_IN_PAGE as usize).zip(places) {
            let blocks = (self.blocks - first).min(BLOCKS_IN_PAGE) as usize;
            if begin < end {
                let bytes = &mut page[..blocks * BLOCK_BYTES];
                self.change(memory, first, bytes, &sorted[begin..end]);
            }
            begin = end;
        }
    }

    /// Sets the bits of ids whose blocks are among those from `first` on that fill `bytes`.
    #[inline]
    fn change<M: Memory>(&self, memory: &M, first: u64, bytes: &mut [u8], ids: &[Id]) {
        let at = self.offset + first * BLOCK_BYTES as u64;
        memory.read(at, bytes);
        for id in ids {
            let start = (self.block_of(id) - first) as usize * BLOCK_BYTES;
            if let Some(block) = bytes[start..].first_chunk_mut::<BLOCK_BYTES>() {
                bits(id).for_each(|(byte, bit)| block[byte] |= bit);
            }
        }
        memory.write(at, bytes);
    }

    /// Whether it may hold the id: always for one that was put in; for another one, at the rate that the filter was made for. It reads 64 bytes.
    pub fn may_hold<M: Memory>(&self, memory: &M, id: &Id) -> bool {
        let mut block = [0; BLOCK_BYTES];
        let at = self.offset + self.block_of(id) * BLOCK_BYTES as u64;
        memory.read(at, &mut block);
        bits(id).all(|(byte, bit)| block[byte] & bit != 0)
    }

    /// The product's upper half: ids are spread over any number of blocks.
    fn block_of(&self, id: &Id) -> u64 {
        let [front, _] = halves(id);
        let (high, low) = (front >> 32, front & u64::from(u32::MAX));
        (high * self.blocks + ((low * self.blocks) >> 32)) >> 32
    }
}

fn halves(id: &Id) -> [u64; 2] {
    let (halves, _) = id.as_chunks();
    [0, 1].map(|half| {
        halves
            .get(half)
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
    })
}

/// The bits of an id in its block: in which byte, and which there.
fn bits(id: &Id) -> impl Iterator<Item = (usize, u8)> {
    let [front, back] = halves(id);
    (0..BITS).map(move |number| {
        let bits = match number {
            7 => front,
            _ => back >> (9 * number),
        };
        ((bits >> 3 & 63) as usize, 1 << (bits & 7))
    })
}

#[cfg(test)]
#[path = "tests/filter.rs"]
mod tests;
