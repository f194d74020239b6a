//! Where each request's record lies: a trie over the hash bits of identities.
//!
//! ```text
//! root    page 1: 256 nodes of 64 children, chosen by the first 8 bits; a child by the next 6
//! node    128 bytes: 32 children of 4 bytes, chosen by the next 5 bits; up to four nodes below the root
//! bucket  256 bytes: 25 slots of 10 bytes; then 1 byte: bits of its node that all its slots share; 1 byte unused;
//!         4 bytes: a bucket to go on with, where no bits are left to split by
//! child   0: nothing here; else the address / 64 × 2, + 1 if it is a node
//! slot    80 bits: record's address / 4 in 36, number of its slice in 16, the identity's hash bits 8 to 35 in 28
//! ```
//!
//! A slot whose slice is gone is free: forgetting touches no bucket. A full bucket splits in two; neighbouring children
//! of a node share a bucket until it does. So no call pays for a resize. The root is kept on the heap too, 64 KiB however
//! many requests there are: a look-up reads one node at most below some twenty million, and a bucket, and an insert writes
//! one slot.
//!
//! An attacker who grinds identities with equal bits makes a path deeper, by one node for 5 bits more. When all 34 bits are
//! equal that nodes go by, which takes 2^34 hashes for each slot, buckets are chained, 25 slots each.

use super::{
    bucket::{
        BUCKET_BYTES, Bucket, DEPTH_AT, FREED, Live, NEXT_AT, Passed, SLOT_BYTES, SLOTS, Slot,
        has_hash, hash_at, is_live, live, next_bucket, put,
    },
    error::Damaged,
    segments::{SEGMENT_BYTES, Segments, address},
};
use crate::identity::Identity;
use ic_stable_structures::Memory;

const ROOT: u64 = SEGMENT_BYTES;
const ROOT_BITS: u32 = 8;
pub(super) const HASH_BITS: u32 = 28;
/// The root's nodes are wider: their children are on the heap.
const LEVEL_BITS: [u32; 5] = [6, 5, 5, 5, 5];
const LOWEST: usize = LEVEL_BITS.len() - 1;

/// Nodes and buckets lie at multiples of this.
pub(super) const UNIT_BYTES: u64 = 64;
pub(super) const UNITS_IN_SEGMENT: u32 = (SEGMENT_BYTES / UNIT_BYTES) as u32;
const NODE_BYTES: usize = 128;

/// Nodes and buckets that one insert may take: one for each bit, and a last one.
const MOST_BLOCKS: u64 = (HASH_BITS + LEVEL_BITS.len() as u32) as u64;

pub(super) const MOST_BYTES: u64 = MOST_BLOCKS * BUCKET_BYTES as u64;

/// Segments that one insert may take for them.
pub(super) const MOST_SEGMENTS: u64 = MOST_BYTES.div_ceil(SEGMENT_BYTES) + 1;

/// What an identity is looked up by.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bits {
    root: usize,
    hash: u32,
}

impl Bits {
    fn of(identity: &Identity) -> Self {
        let first = identity.head();
        Self {
            root: (first >> (64 - ROOT_BITS)) as usize,
            hash: (first >> (64 - ROOT_BITS - HASH_BITS)) as u32 & ((1 << HASH_BITS) - 1),
        }
    }

    /// The child of a node on `level`.
    fn child(self, level: usize) -> usize {
        (self.hash >> shift(level)) as usize % (1 << LEVEL_BITS[level])
    }
}

/// How far to the left the bits of a level lie.
fn shift(level: usize) -> u32 {
    HASH_BITS - LEVEL_BITS[..=level].iter().sum::<u32>()
}

/// Where a path through the trie ends: a bucket, and what leads to it. Filled in place, as a copy costs more than a look.
struct Found {
    /// Address of the bucket, or 0 where there is none yet.
    bucket: u64,
    content: Bucket,
    level: usize,
    /// Address of the node above, and which of its children leads here.
    node: u64,
    child: usize,
}

impl Found {
    fn child_at(&self) -> u64 {
        self.node + 4 * self.child as u64
    }
}

/// The index, with what of it is kept on the heap.
pub(super) struct Index {
    /// As it lies in memory.
    root: Vec<u8>,
    /// Where the last look ended.
    found: Found,
    /// What was not found there, until the index changes: it would be added there.
    missed: Option<Bits>,
    /// How often slots were added, changed or freed.
    changes: u64,
}

impl Index {
    pub(super) fn read<M: Memory>(segments: &Segments<M>) -> Self {
        let mut root = vec![0; SEGMENT_BYTES as usize];
        segments.memory.read(ROOT, &mut root);
        let found = Found {
            bucket: 0,
            content: [0; BUCKET_BYTES],
            level: 0,
            node: ROOT,
            child: 0,
        };
        Self {
            root,
            found,
            missed: None,
            changes: 0,
        }
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The first slot of the identity for which `is_it` says yes, and its address.
    pub(super) fn find<M: Memory>(
        &mut self,
        segments: &Segments<M>,
        identity: &Identity,
        mut is_it: impl FnMut(Slot) -> Result<bool, Damaged>,
    ) -> Result<Option<(u64, Slot)>, Damaged> {
        let (bits, live) = (Bits::of(identity), live(segments));
        self.missed = None;
        self.descend(segments, bits)?;
        let mut chained: Bucket;
        let (mut at, mut bucket) = (self.found.bucket, &self.found.content);
        let mut passed = Passed::new(at);
        while at != 0 {
            if has_hash(bucket, bits.hash) {
                for index in 0..SLOTS {
                    if hash_at(bucket, index) == bits.hash && is_live(bucket, index, &live) {
                        let slot = Slot::read(bucket, index);
                        if is_it(slot)? {
                            return Ok(Some((at + (index * SLOT_BYTES) as u64, slot)));
                        }
                    }
                }
            }
            at = next_bucket(segments, bucket, &mut passed)?;
            if at != 0 {
                chained = segments.read(at)?;
                bucket = &chained;
            }
        }
        self.missed = Some(bits);
        Ok(None)
    }

    /// Adds a slot. [`Segments::reserve`] has made sure that there is room for [`MOST_SEGMENTS`].
    pub(super) fn insert<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        identity: &Identity,
        address: u64,
        slice: u16,
    ) -> Result<(), Damaged> {
        self.changes += 1;
        let bits = Bits::of(identity);
        let slot = Slot {
            address,
            slice,
            hash: bits.hash,
        };
        if self.missed.take() != Some(bits) {
            self.descend(segments, bits)?;
        }
        let live = live(segments);
        for _ in 0..MOST_BLOCKS {
            if self.found.bucket == 0 {
                return self.begin(segments, slot);
            }
            let Found {
                bucket, content, ..
            } = &self.found;
            if put(segments, &live, *bucket, content, slot) {
                return Ok(());
            }
            if !self.split(segments)? {
                return self.chain(segments, &live, slot);
            }
            self.descend(segments, bits)?;
        }
        Err(Damaged)
    }

    /// Changes the record that a slot leads to.
    pub(super) fn replace<M: Memory>(
        &mut self,
        segments: &Segments<M>,
        at: u64,
        slot: Slot,
        address: u64,
        slice: u16,
    ) {
        let slot = Slot {
            address,
            slice,
            ..slot
        };
        self.missed = None;
        self.changes += 1;
        segments.memory.write(at, &slot.bytes());
    }

    /// Frees a slot.
    pub(super) fn remove<M: Memory>(&mut self, segments: &Segments<M>, at: u64) {
        self.missed = None;
        self.changes += 1;
        // Not all zeros: that would say that the slots after it were never used.
        segments.memory.write(at, &FREED.bytes());
    }

    #[inline]
    fn descend<M: Memory>(&mut self, segments: &Segments<M>, bits: Bits) -> Result<(), Damaged> {
        let found = &mut self.found;
        (found.level, found.child) = (0, bits.child(0));
        let node = bits.root << (LEVEL_BITS[0] + 2);
        found.node = ROOT + node as u64;
        let at = node + 4 * found.child;
        let mut number = match self.root[at..].first_chunk() {
            Some(child) => u32::from_le_bytes(*child),
            None => return Err(Damaged),
        };
        while number % 2 == 1 {
            if found.level == LOWEST {
                return Err(Damaged);
            }
            found.level += 1;
            found.child = bits.child(found.level);
            found.node = u64::from(number / 2) * UNIT_BYTES;
            number = u32::from_le_bytes(segments.read(found.child_at())?);
        }
        found.bucket = u64::from(number / 2) * UNIT_BYTES;
        if found.bucket != 0 {
            segments.read_into(found.bucket, &mut found.content)?;
        } else if found.level > 0 {
            // Only the root has children that lead nowhere.
            return Err(Damaged);
        }
        Ok(())
    }

    /// The first bucket of one of the root's nodes, which all its children share.
    fn begin<M: Memory>(&mut self, segments: &mut Segments<M>, slot: Slot) -> Result<(), Damaged> {
        let bucket = take(segments, BUCKET_BYTES)?;
        let mut content = [0; BUCKET_BYTES];
        content[..SLOT_BYTES].copy_from_slice(&slot.bytes());
        segments.memory.write(bucket, &content);
        self.write_children(
            segments,
            self.found.node,
            child_of(bucket, false),
            1 << LEVEL_BITS[0],
        );
        Ok(())
    }

    /// Splits a full bucket in two, putting a node above it first if its node has no bits left; `false` if none has.
    fn split<M: Memory>(&mut self, segments: &mut Segments<M>) -> Result<bool, Damaged> {
        let Found {
            bucket,
            level,
            node,
            child,
            ..
        } = self.found;
        let (depth, bits) = (u32::from(self.found.content[DEPTH_AT]), LEVEL_BITS[level]);
        if depth > bits {
            return Err(Damaged);
        }
        if depth == bits {
            if level == LOWEST {
                return Ok(false);
            }
            let below = take(segments, NODE_BYTES)?;
            let children = child_of(bucket, false).to_le_bytes().repeat(NODE_BYTES / 4);
            segments.memory.write(below, &children);
            segments.memory.write(bucket + DEPTH_AT as u64, &[0]);
            self.write_children(segments, self.found.child_at(), child_of(below, true), 1);
            return Ok(true);
        }
        // The bit by which the slots part: the first of this level that they do not all share.
        let bit = 1 << (shift(level) + bits - depth - 1);
        let mut halves = [[0; BUCKET_BYTES]; 2];
        let mut filled = [0; 2];
        for index in 0..SLOTS {
            let slot = Slot::read(&self.found.content, index);
            let half = usize::from(slot.hash & bit != 0);
            let at = filled[half] * SLOT_BYTES;
            halves[half][at..at + SLOT_BYTES].copy_from_slice(&slot.bytes());
            filled[half] += 1;
        }
        let upper = take(segments, BUCKET_BYTES)?;
        for (bucket, mut half) in [bucket, upper].into_iter().zip(halves) {
            half[DEPTH_AT] = depth as u8 + 1;
            segments.memory.write(bucket, &half);
        }
        // Of the children that share the bucket, which lie side by side, the upper half gets the new one.
        let sharing = 1 << (bits - depth);
        let first = child / sharing * sharing + sharing / 2;
        self.write_children(
            segments,
            node + 4 * first as u64,
            child_of(upper, false),
            sharing / 2,
        );
        Ok(true)
    }

    /// Puts a slot into the buckets that go on from a full one that can't be split.
    fn chain<M: Memory>(
        &self,
        segments: &mut Segments<M>,
        live: &Live,
        slot: Slot,
    ) -> Result<(), Damaged> {
        let (mut bucket, mut content) = (self.found.bucket, self.found.content);
        let mut passed = Passed::new(bucket);
        loop {
            let next = next_bucket(segments, &content, &mut passed)?;
            if next == 0 {
                let next = take(segments, BUCKET_BYTES)?;
                let mut fresh = [0; BUCKET_BYTES];
                fresh[..SLOT_BYTES].copy_from_slice(&slot.bytes());
                segments.memory.write(next, &fresh);
                let child = child_of(next, false).to_le_bytes();
                segments.memory.write(bucket + NEXT_AT as u64, &child);
                return Ok(());
            }
            bucket = next;
            content = segments.read(bucket)?;
            if put(segments, live, bucket, &content, slot) {
                return Ok(());
            }
        }
    }

    /// Has `count` children from the one at `at` on lead to the same place.
    fn write_children<M: Memory>(
        &mut self,
        segments: &Segments<M>,
        at: u64,
        child: u32,
        count: usize,
    ) {
        let children = child.to_le_bytes().repeat(count);
        segments.memory.write(at, &children);
        if at < ROOT + SEGMENT_BYTES {
            let at = (at - ROOT) as usize;
            self.root[at..at + children.len()].copy_from_slice(&children);
        }
    }
}

fn child_of(address: u64, is_node: bool) -> u32 {
    (address / UNIT_BYTES) as u32 * 2 + u32::from(is_node)
}

/// The address of a node or bucket of `bytes` bytes that nothing else uses.
fn take<M: Memory>(segments: &mut Segments<M>, bytes: usize) -> Result<u64, Damaged> {
    let units = bytes as u32 / UNIT_BYTES as u32;
    let header = &segments.header;
    if header.index_segment == 0 || header.index_units + units > UNITS_IN_SEGMENT {
        let segment = segments.take()?;
        (segments.header.index_segment, segments.header.index_units) = (segment, 0);
    }
    let taken = segments.header.index_units;
    segments.header.index_units += units;
    segments.write_header();
    Ok(address(segments.header.index_segment) + u64::from(taken) * UNIT_BYTES)
}
