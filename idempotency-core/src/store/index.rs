//! Where each request's record lies: a trie over the hash bits of identities, of 256-byte blocks.
//!
//! ```text
//! root    page 1: 16,384 children of 4 bytes, chosen by the first 14 bits
//! node    64 children of 4 bytes, chosen by the next 6 bits; four levels at most
//! bucket  25 slots of 10 bytes; then 1 byte: bits of this level that all its slots share; 1 byte unused;
//!         4 bytes: a bucket to go on with, where no bits are left to split by
//! child   0: nothing here; else a block's number × 2, + 1 if it is a node
//! slot    80 bits: record's address / 4 in 36, number of its slice in 16, the identity's hash bits 14 to 41 in 28
//! ```
//!
//! A slot whose slice is gone is free: forgetting touches no bucket. A full bucket splits in two; neighbouring children
//! of a node share a bucket until it does. So no call pays for a resize, a look-up reads the root, mostly one node, and a
//! bucket, and an insert writes one slot.
//!
//! An attacker who grinds identities with equal bits makes a path deeper, by one node of 64 children for 6 bits more. When
//! all 38 bits are equal that nodes go by, which takes 2^38 hashes for each slot, buckets are chained, 25 slots each.

use super::segments::{SEGMENT_BYTES, Segments, address};
use crate::identity::Identity;
use ic_stable_structures::Memory;

const ROOT: u64 = SEGMENT_BYTES;
pub(super) const ROOT_BITS: u32 = 14;
const HASH_BITS: u32 = 28;
const NODE_BITS: u32 = 6;
const CHILDREN: usize = 64;
const MAX_LEVELS: u32 = 4;
const BLOCK_BYTES: usize = 256;
const BLOCKS_IN_SEGMENT: u32 = 256;
const SLOT_BYTES: usize = 10;
const SLOTS: usize = 25;
const DEPTH_AT: usize = 250;
const NEXT_AT: usize = 252;

/// Blocks that one insert may take: a node and a bucket on each level.
pub(super) const MOST_BLOCKS: u64 = 2 * (MAX_LEVELS as u64 * NODE_BITS as u64 + 2);

type Block = [u8; BLOCK_BYTES];

/// What an identity is looked up by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Bits {
    root: u64,
    hash: u32,
}

impl Bits {
    pub(super) fn of(identity: &Identity) -> Self {
        let first = identity.head();
        Self {
            root: first >> (64 - ROOT_BITS),
            hash: (first >> (64 - ROOT_BITS - HASH_BITS)) as u32 & ((1 << HASH_BITS) - 1),
        }
    }

    /// The child of a node on `level`.
    fn child(self, level: u32) -> usize {
        (self.hash >> (HASH_BITS - NODE_BITS * (level + 1))) as usize % CHILDREN
    }
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) address: u64,
    pub(super) slice: u16,
    hash: u32,
}

impl Slot {
    fn read(block: &Block, index: usize) -> Self {
        Self {
            address: (word(block, index * SLOT_BYTES) & ((1 << 36) - 1)) * 4,
            slice: slice_at(block, index),
            hash: hash_at(block, index),
        }
    }

    fn bytes(self) -> [u8; SLOT_BYTES] {
        let low = (self.address / 4) | (u64::from(self.slice) << 36) | (u64::from(self.hash) << 52);
        let high = (self.hash >> 12) as u16;
        let mut bytes = [0; SLOT_BYTES];
        bytes[..8].copy_from_slice(&low.to_le_bytes());
        bytes[8..].copy_from_slice(&high.to_le_bytes());
        bytes
    }
}

// A slot's fields are read one at a time: most slots differ in the first that is looked at.

/// Eight bytes of a block; zeros where it ends.
fn word(block: &Block, at: usize) -> u64 {
    match block[at..].first_chunk() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => 0,
    }
}

fn hash_at(block: &Block, index: usize) -> u32 {
    (word(block, index * SLOT_BYTES + 2) >> 36) as u32
}

fn slice_at(block: &Block, index: usize) -> u16 {
    (word(block, index * SLOT_BYTES + 2) >> 20) as u16
}

/// Whether a slot leads to a record that is there.
fn is_live(block: &Block, index: usize, live: &Live) -> bool {
    let has_address = word(block, index * SLOT_BYTES) & ((1 << 36) - 1) != 0;
    has_address && slice_at(block, index).wrapping_sub(live.first) < live.count
}

/// The slices whose records are there.
#[derive(Clone, Copy)]
pub(super) struct Live {
    pub(super) first: u16,
    pub(super) count: u16,
}

/// Where a path through the trie ends: a bucket, and what leads to it. Filled in place, as a copy costs more than a look.
pub(super) struct Found {
    /// Address of the bucket, or 0 where there is none yet.
    bucket: u64,
    block: Block,
    /// Address of the child that names it.
    child: u64,
    /// How many nodes lie above.
    levels: u32,
    /// Address of the node above, if there is one.
    node: u64,
}

impl Found {
    pub(super) fn nothing() -> Self {
        Self {
            bucket: 0,
            block: [0; BLOCK_BYTES],
            child: 0,
            levels: 0,
            node: 0,
        }
    }
}

pub(super) fn live<M: Memory>(segments: &Segments<M>) -> Live {
    Live {
        first: segments.header.first_slice,
        count: segments.header.slices,
    }
}

/// The first slot of `bits` for which `is_it` says yes, and its address; `found` is where one would be added.
pub(super) fn find<M: Memory>(
    segments: &Segments<M>,
    bits: Bits,
    found: &mut Found,
    mut is_it: impl FnMut(Slot) -> bool,
) -> Option<(u64, Slot)> {
    let live = live(segments);
    descend(segments, bits, found);
    let mut chained: Block;
    let (mut bucket, mut block) = (found.bucket, &found.block);
    while bucket != 0 {
        for index in 0..SLOTS {
            if hash_at(block, index) == bits.hash && is_live(block, index, &live) {
                let slot = Slot::read(block, index);
                if is_it(slot) {
                    let at = bucket + (index * SLOT_BYTES) as u64;
                    return Some((at, slot));
                }
            }
        }
        bucket = next_bucket(block);
        if bucket != 0 {
            chained = segments.read(bucket);
            block = &chained;
        }
    }
    None
}

/// Adds a slot. `found` is where [`find`] left it, if nothing was added since. [`Segments::reserve`] has made sure that there
/// is room for [`MOST_BLOCKS`] blocks.
pub(super) fn insert<M: Memory>(
    segments: &mut Segments<M>,
    bits: Bits,
    found: &mut Found,
    record: u64,
    slice: u16,
) {
    let slot = Slot {
        address: record,
        slice,
        hash: bits.hash,
    };
    let live = live(segments);
    loop {
        if found.bucket == 0 {
            let bucket = take_block(segments);
            let mut block = [0; BLOCK_BYTES];
            block[..SLOT_BYTES].copy_from_slice(&slot.bytes());
            segments.memory.write(bucket, &block);
            write_child(segments, found.child, child_of(bucket, false));
            return;
        }
        if put(segments, &live, found.bucket, &found.block, slot) {
            return;
        }
        if !split(segments, found) {
            chain(segments, &live, found.bucket, found.block, slot);
            return;
        }
        descend(segments, bits, found);
    }
}

/// Changes the record that a slot leads to.
pub(super) fn replace<M: Memory>(
    segments: &Segments<M>,
    at: u64,
    slot: Slot,
    record: u64,
    slice: u16,
) {
    let slot = Slot {
        address: record,
        slice,
        ..slot
    };
    segments.memory.write(at, &slot.bytes());
}

/// Frees a slot.
pub(super) fn remove<M: Memory>(segments: &Segments<M>, at: u64) {
    segments.memory.write(at, &[0; SLOT_BYTES]);
}

pub(super) fn descend<M: Memory>(segments: &Segments<M>, bits: Bits, found: &mut Found) {
    (found.child, found.levels, found.node) = (ROOT + 4 * bits.root, 0, 0);
    loop {
        let number = u32::from_le_bytes(segments.read(found.child));
        let block = u64::from(number / 2) * BLOCK_BYTES as u64;
        if number % 2 == 1 {
            found.child = block + 4 * bits.child(found.levels) as u64;
            (found.levels, found.node) = (found.levels + 1, block);
            continue;
        }
        found.bucket = block;
        if block != 0 {
            segments.memory.read(block, &mut found.block);
        }
        return;
    }
}

/// Puts a slot into the first place that is free; `false` if there is none.
fn put<M: Memory>(
    segments: &Segments<M>,
    live: &Live,
    bucket: u64,
    block: &Block,
    slot: Slot,
) -> bool {
    let free = (0..SLOTS).find(|&index| !is_live(block, index, live));
    if let Some(index) = free {
        segments
            .memory
            .write(bucket + (index * SLOT_BYTES) as u64, &slot.bytes());
    }
    free.is_some()
}

/// Splits a full bucket in two, putting a node above it first if it has none whose bits are left; `false` if no bits are.
fn split<M: Memory>(segments: &mut Segments<M>, found: &Found) -> bool {
    let depth = u32::from(found.block[DEPTH_AT]);
    if found.node == 0 || depth == NODE_BITS {
        if found.levels == MAX_LEVELS {
            return false;
        }
        let node = take_block(segments);
        let child = child_of(found.bucket, false).to_le_bytes();
        segments.memory.write(node, &child.repeat(CHILDREN));
        segments.memory.write(found.bucket + DEPTH_AT as u64, &[0]);
        write_child(segments, found.child, child_of(node, true));
        return true;
    }
    // The bit by which the slots part: the first of this level that they do not all share.
    let bit = 1 << (HASH_BITS - NODE_BITS * (found.levels - 1) - depth - 1);
    let mut halves = [[0; BLOCK_BYTES]; 2];
    let mut filled = [0; 2];
    for index in 0..SLOTS {
        let slot = Slot::read(&found.block, index);
        let half = usize::from(slot.hash & bit != 0);
        let at = filled[half] * SLOT_BYTES;
        halves[half][at..at + SLOT_BYTES].copy_from_slice(&slot.bytes());
        filled[half] += 1;
    }
    let upper = take_block(segments);
    for (bucket, mut half) in [found.bucket, upper].into_iter().zip(halves) {
        half[DEPTH_AT] = depth as u8 + 1;
        segments.memory.write(bucket, &half);
    }
    // Of the children that share the bucket, which lie side by side, the upper half gets the new one.
    let sharing = CHILDREN >> depth;
    let index = (found.child - found.node) as usize / 4;
    let first = index / sharing * sharing + sharing / 2;
    let child = child_of(upper, false).to_le_bytes();
    segments
        .memory
        .write(found.node + 4 * first as u64, &child.repeat(sharing / 2));
    true
}

/// Puts a slot into the buckets that go on from a full one that can't be split.
fn chain<M: Memory>(
    segments: &mut Segments<M>,
    live: &Live,
    mut bucket: u64,
    mut block: Block,
    slot: Slot,
) {
    loop {
        let next = next_bucket(&block);
        if next == 0 {
            let next = take_block(segments);
            let mut fresh = [0; BLOCK_BYTES];
            fresh[..SLOT_BYTES].copy_from_slice(&slot.bytes());
            segments.memory.write(next, &fresh);
            write_child(segments, bucket + NEXT_AT as u64, child_of(next, false));
            return;
        }
        bucket = next;
        block = segments.read(bucket);
        if put(segments, live, bucket, &block, slot) {
            return;
        }
    }
}

fn next_bucket(block: &Block) -> u64 {
    let number = [
        block[NEXT_AT],
        block[NEXT_AT + 1],
        block[NEXT_AT + 2],
        block[NEXT_AT + 3],
    ];
    u64::from(u32::from_le_bytes(number) / 2) * BLOCK_BYTES as u64
}

fn child_of(block: u64, is_node: bool) -> u32 {
    (block / BLOCK_BYTES as u64) as u32 * 2 + u32::from(is_node)
}

fn write_child<M: Memory>(segments: &Segments<M>, at: u64, child: u32) {
    segments.memory.write(at, &child.to_le_bytes());
}

/// The address of a block that nothing else uses.
fn take_block<M: Memory>(segments: &mut Segments<M>) -> u64 {
    if segments.header.block_segment == 0 || segments.header.blocks_taken == BLOCKS_IN_SEGMENT {
        segments.header.block_segment = segments.take();
        segments.header.blocks_taken = 0;
    }
    let block = segments.header.blocks_taken;
    segments.header.blocks_taken += 1;
    segments.write_header();
    address(segments.header.block_segment) + u64::from(block) * BLOCK_BYTES as u64
}
