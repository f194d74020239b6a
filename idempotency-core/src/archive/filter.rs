//! A filter: which ids it may hold, in a few bits each. It never denies one that was put in.
//!
//! ```text
//! +-------------------+-------------------+-----
//! | block 0: 512 bits | block 1: 512 bits | …      a split block Bloom filter
//! +-------------------+-------------------+-----
//! ```
//!
//! A *split block* Bloom filter, as Parquet has it: an id sets one bit in each of the eight words of a block. Of its 16 bytes the last four, a
//! little-endian number, say how far into the filter its block lies, in parts of 2^32. The six bytes from the fourth on are the numbers of the
//! bits, of 6 bits each, from the lowest. The first three bytes do not count: archives of ids alone do not have them.
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
//! | with so many bytes per id | 1.5 | 2.0 | 2.5 | 3.2 | 4.1 | 6.6 |

use super::entry::Id;
use ic_stable_structures::Memory;
use std::mem;

/// Bytes of a block: one read.
const BLOCK_BYTES: usize = 64;

/// The IC charges for each page of this size that a message writes to.
const PAGE_BYTES: usize = 4_096;

const BLOCKS_IN_PAGE: u64 = (PAGE_BYTES / BLOCK_BYTES) as u64;

/// Words of a block, in each of which an id sets a bit.
const WORDS: usize = BLOCK_BYTES / 8;

/// From so many ids to a page on, pages are read and written as a whole.
const MANY_IN_PAGE: usize = 20;

/// Of as many blocks each has as many ids as any other, but for a sixteenth: 16 GiB.
const MOST_BLOCKS: u64 = 1 << 28;

const SHARE_BITS: u32 = 32;

/// The bit of an id from which on it says which bits are set.
const FIRST_PLACE: u32 = 24;

/// For a rate of one in 2^n: how many ids there may be to 16 blocks, at entry n − 1. That number is the largest for which the mean of
/// `(1 − (63/64)^j)^8`, j being Poisson distributed as the ids in a block are, is no more than the rate.
const IDS_TO_16_BLOCKS: [u64; 20] = [
    2535, 1862, 1485, 1229, 1039, 890, 771, 672, 589, 518, 457, 405, 359, 318, 283, 251, 223, 198,
    176, 156,
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
        let blocks = ids
            .checked_mul(16)?
            .div_ceil(ids_to_16_blocks(rate_bits))
            .max(1);
        (blocks <= MOST_BLOCKS).then_some(blocks * BLOCK_BYTES as u64)
    }

    /// For how many ids a filter can be that is wrong once in 2^`rate_bits`.
    pub(super) fn most_ids_for(rate_bits: u32) -> u64 {
        MOST_BLOCKS * ids_to_16_blocks(rate_bits) / 16
    }

    /// No filter of this length was made for more ids.
    pub(super) const fn most_ids(&self) -> u64 {
        self.blocks.saturating_mul(IDS_TO_16_BLOCKS[0]) / 16
    }

    /// Puts ids in. One call for many costs less than a call for each: a page is charged once, and read and written once if it gets many.
    pub fn insert<M: Memory>(&self, memory: &M, ids: &[Id]) {
        let pages = self.blocks.div_ceil(BLOCKS_IN_PAGE);
        match (ids.len() / MANY_IN_PAGE) as u64 >= pages {
            true => self.insert_by_page(memory, ids, pages),
            false => {
                let mut block = [0; BLOCK_BYTES];
                for id in ids {
                    let at = self.place_of(self.block_of(id));
                    memory.read(at, &mut block);
                    set(&mut block, id);
                    memory.write(at, &block);
                }
            }
        }
    }

    /// Puts ids in, in the order of buckets of about a page each: a bucket is read and written once.
    fn insert_by_page<M: Memory>(&self, memory: &M, ids: &[Id], pages: u64) {
        let bits = pages.next_power_of_two().ilog2();
        let bucket = |id: &Id| (u64::from(share(id)) >> (SHARE_BITS - bits)) as usize;
        // Of each bucket how many ids it gets; then where its first one goes; in the end, where those of the next begin.
        let mut places = vec![0u32; 1 << bits];
        for id in ids {
            places[bucket(id)] += 1;
        }
        let mut first = 0;
        for place in &mut places {
            first += mem::replace(place, first);
        }
        let mut sorted = vec![[0; 16]; ids.len()];
        for id in ids {
            let place = &mut places[bucket(id)];
            sorted[*place as usize] = *id;
            *place += 1;
        }
        let mut blocks = [[0; BLOCK_BYTES]; BLOCKS_IN_PAGE as usize + 1];
        let mut begin = 0;
        for (bucket, end) in (0u64..).zip(places) {
            let end = end as usize;
            if begin < end {
                let shares = bucket << (SHARE_BITS - bits)..(bucket + 1) << (SHARE_BITS - bits);
                let (first, last) = (self.block_at(shares.start), self.block_at(shares.end - 1));
                let blocks = &mut blocks[..=(last - first) as usize];
                memory.read(self.place_of(first), blocks.as_flattened_mut());
                for id in &sorted[begin..end] {
                    let block = self.block_of(id).saturating_sub(first);
                    if let Some(block) = blocks.get_mut(block as usize) {
                        set(block, id);
                    }
                }
                memory.write(self.place_of(first), blocks.as_flattened());
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
        let mut words = words.iter().zip(bits(id));
        words.all(|(word, bit)| u64::from_le_bytes(*word) & bit != 0)
    }

    #[inline(always)]
    fn block_of(&self, id: &Id) -> u64 {
        self.block_at(share(id).into())
    }

    /// The block that lies so far into the filter: ids are spread over any number of blocks.
    #[inline(always)]
    fn block_at(&self, share: u64) -> u64 {
        (share * self.blocks) >> SHARE_BITS
    }
}

fn ids_to_16_blocks(rate_bits: u32) -> u64 {
    let row = rate_bits.clamp(LEAST_RATE_BITS, MOST_RATE_BITS) - LEAST_RATE_BITS;
    IDS_TO_16_BLOCKS[row as usize]
}

/// How far into the filter an id's block lies, in parts of 2^32.
#[inline(always)]
fn share(id: &Id) -> u32 {
    (u128::from_le_bytes(*id) >> (128 - SHARE_BITS)) as u32
}

/// The bit that an id sets in each word.
#[inline(always)]
fn bits(id: &Id) -> [u64; WORDS] {
    let places = (u128::from_le_bytes(*id) >> FIRST_PLACE) as u64;
    let mut bits = [0; WORDS];
    for (word, bit) in bits.iter_mut().enumerate() {
        *bit = 1 << (places >> (6 * word) & 63);
    }
    bits
}

#[inline(always)]
fn set(block: &mut [u8; BLOCK_BYTES], id: &Id) {
    let (words, _) = block.as_chunks_mut();
    for (word, bit) in words.iter_mut().zip(bits(id)) {
        *word = (u64::from_le_bytes(*word) | bit).to_le_bytes();
    }
}

#[cfg(test)]
#[path = "tests/filter.rs"]
mod tests;
