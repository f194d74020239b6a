//! Where each row lies: a trie over the hash bits of names.
//!
//! ```text
//! root    page 1: 256 nodes of 64 children, chosen by the first 8 bits; a child by the next 6
//! node    128 bytes: 32 children of 4 bytes, chosen by the next 5 bits; up to four nodes below the root
//! bucket  256 bytes: 25 slots of 10 bytes; then 1 byte: bits of its node that all its slots share; 1 byte unused;
//!         4 bytes: a bucket to go on with, where no bits are left to split by
//! child   0: nothing here; else the address / 64 × 2, + 1 if it is a node
//! slot    80 bits: see `slot.rs`
//! ```
//!
//! A slot whose partition is gone is free: forgetting touches no bucket. A full bucket splits in two; neighbouring children
//! of a node share a bucket until it does. So no call pays for a resize. The root is kept on the heap too, 64 KiB however
//! many rows there are: a look-up reads one node at most below some twenty million, and a bucket, and an insert writes
//! one slot.
//!
//! An attacker who grinds names with equal bits makes a path deeper, by one node for 5 bits more. When all 34 bits are
//! equal that nodes go by, which takes 2^34 hashes for each slot, buckets are chained, 25 slots each.

use super::{
    bucket::{DEPTH_AT, FIVE, NEXT_AT, Passed, fives_with_hash, next_bucket, put},
    error::Damaged,
    kind::{Family, Name},
    layout::{BUCKET_BYTES, Bucket, SEGMENT_BYTES, UNIT_BYTES, UNITS_AHEAD, UNITS_IN_SEGMENT},
    path::{Bits, LEVEL_BITS, LOWEST, Path, ROOT, shift},
    segments::{Segments, address},
    slot::{FREED, HASH_BITS, SLOT_BYTES, Slot, hash_at, leads_to},
};
use ic_stable_structures::Memory;
use std::cell::Cell;

const NODE_BYTES: usize = 128;
const CHILD_BYTES: usize = 4;

/// Nodes and buckets that one insert may take: one for each bit, and a last one.
const MOST_BLOCKS: u64 = (HASH_BITS + LEVEL_BITS.len() as u32) as u64;

/// Most bytes that one insert may take for them.
pub(crate) const MOST_BYTES: u64 = MOST_BLOCKS * BUCKET_BYTES as u64;

/// Segments that one insert may take for them.
pub(crate) const MOST_SEGMENTS: u64 = MOST_BYTES.div_ceil(SEGMENT_BYTES) + 1;

/// Where the slot of a name would stand that the index does not hold. It is small, as it is moved often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vacant {
    bucket: u32,
    node: u32,
    level: u8,
    changes: Option<Changes>,
}

/// How often the index had changed when a place was found: the place is right until the next change. It is used in the message in which it
/// was found, or found anew, so the number may come round.
type Changes = u32;

thread_local! {
    /// Where the next index of this heap begins to count: a place of one is not right for another, nor for a later one of the same
    /// memory. Steps of the golden ratio keep any number of them apart.
    static FIRST_CHANGE: Cell<Changes> = const { Cell::new(0) };
}

const APART: Changes = 0x9E37_79B9;

impl Vacant {
    /// Of a name that is known to be new, and was not looked for.
    pub(crate) const SOMEWHERE: Self = Self {
        bucket: 0,
        node: 0,
        level: 0,
        changes: None,
    };
}

/// A slot, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Occupied {
    at: u64,
    pub(crate) slot: Slot,
    changes: Changes,
    /// A row may go with its partition; where one is missing, another would still stand.
    forgotten: Changes,
}

/// The place of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Occupied(Occupied),
    Vacant(Vacant),
}

/// What came of splitting a bucket.
enum Splitting {
    /// There was a place for the slot.
    Done,
    /// The bucket that the slot goes to is full, and can be split.
    GoesOn,
    /// No bits are left to split it by.
    NoBits,
}

/// The index, with what of it is kept on the heap.
pub(crate) struct Index {
    /// As it lies in memory.
    root: Vec<u8>,
    /// The bucket that was read last, as copies cost more than a look, and its address in units. It may have changed since: only
    /// with a place that is current, which was found after the last change, is it taken for what lies there.
    content: Bucket,
    content_of: u32,
    /// How often slots were added, changed or freed.
    changes: Changes,
    /// How often rows were forgotten with their partition.
    forgotten: Changes,
}

impl Index {
    pub(super) fn read<M: Memory>(segments: &Segments<M>) -> Self {
        let mut root = vec![0; SEGMENT_BYTES as usize];
        segments.memory.read(ROOT, &mut root);
        Self {
            root,
            content: [0; BUCKET_BYTES],
            content_of: 0,
            changes: FIRST_CHANGE.replace(FIRST_CHANGE.get().wrapping_add(APART)),
            forgotten: 0,
        }
    }

    /// Rows were forgotten: slots that were found may lead nowhere now.
    pub(super) fn note_forgotten(&mut self) {
        self.forgotten = self.forgotten.wrapping_add(1);
    }

    fn has_changed(&mut self) {
        self.changes = self.changes.wrapping_add(1);
    }

    /// Whether a place that was found is still right.
    pub(super) fn is_current(&self, place: &Place) -> bool {
        match place {
            Place::Occupied(Occupied {
                changes, forgotten, ..
            }) => (*changes, *forgotten) == (self.changes, self.forgotten),
            Place::Vacant(vacant) => vacant.changes == Some(self.changes),
        }
    }

    /// The place of a name: the first slot for which `is_it` says yes, or where a new one would stand.
    pub(super) fn find<F: Family, M: Memory>(
        &mut self,
        segments: &Segments<M>,
        name: &Name,
        mut is_it: impl FnMut(Slot) -> Result<bool, Damaged>,
    ) -> Result<Place, Damaged> {
        let (bits, live) = (Bits::of(name), &segments.header.live);
        let path = self.descend(segments, bits)?;
        let mut chained: Bucket;
        let (mut at, mut bucket) = (path.bucket_at(), &self.content);
        let mut passed = Passed::new(at);
        while at != 0 {
            let mut fives = fives_with_hash(bucket, bits.hash);
            while fives != 0 {
                let first = fives.trailing_zeros() as usize * FIVE;
                fives &= fives - 1;
                for index in first..first + FIVE {
                    if hash_at(bucket, index) == bits.hash && leads_to::<F>(bucket, index, live) {
                        let slot = Slot::read(bucket, index);
                        if is_it(slot)? {
                            return Ok(Place::Occupied(Occupied {
                                at: at + (index * SLOT_BYTES) as u64,
                                slot,
                                changes: self.changes,
                                forgotten: self.forgotten,
                            }));
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
        Ok(Place::Vacant(Vacant {
            bucket: path.bucket,
            node: path.node,
            level: path.level,
            changes: Some(self.changes),
        }))
    }

    /// Adds a slot. [`Segments::reserve`] has made sure that there is room for [`MOST_SEGMENTS`].
    pub(super) fn insert<F: Family, M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        (name, vacant): (&Name, Vacant),
        address: u64,
        partition: u16,
    ) -> Result<(), Damaged> {
        let bits = Bits::of(name);
        let slot = Slot {
            address,
            kind: F::KIND,
            partition,
            hash: bits.hash,
        };
        let mut path = Path {
            bucket: vacant.bucket,
            node: vacant.node,
            child: bits.child(vacant.level),
            level: vacant.level,
        };
        if vacant.changes != Some(self.changes) {
            path = self.descend(segments, bits)?;
        } else if path.bucket != self.content_of {
            self.read_bucket(segments, path.bucket)?;
        }
        self.has_changed();
        if path.bucket == 0 {
            return self.begin(segments, path, slot);
        }
        let live = segments.header.live;
        match put(segments, &live, path.bucket_at(), &self.content, slot) {
            true => Ok(()),
            false => self.insert_full(segments, path, bits, slot),
        }
    }

    /// As [`insert`](Self::insert), where the bucket that was read last is full.
    #[cold]
    #[inline(never)]
    fn insert_full<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        mut path: Path,
        bits: Bits,
        slot: Slot,
    ) -> Result<(), Damaged> {
        for _ in 0..MOST_BLOCKS {
            match self.split(segments, &mut path, bits, slot)? {
                Splitting::Done => return Ok(()),
                Splitting::GoesOn => {}
                Splitting::NoBits => return self.chain(segments, path, slot),
            }
        }
        Err(Damaged)
    }

    /// Has a slot lead to another row.
    pub(super) fn replace<M: Memory>(
        &mut self,
        segments: &Segments<M>,
        Occupied { at, slot, .. }: Occupied,
        address: u64,
        partition: u16,
    ) {
        let slot = Slot {
            address,
            partition,
            ..slot
        };
        self.write_slot(segments, at, slot);
    }

    /// Frees a slot.
    pub(super) fn remove<M: Memory>(&mut self, segments: &Segments<M>, occupied: Occupied) {
        // Not all zeros: that would say that the slots after it were never used.
        self.write_slot(segments, occupied.at, FREED);
    }

    fn write_slot<M: Memory>(&mut self, segments: &Segments<M>, at: u64, slot: Slot) {
        self.has_changed();
        segments.memory.write(at, &slot.bytes());
    }

    #[inline]
    fn descend<M: Memory>(&mut self, segments: &Segments<M>, bits: Bits) -> Result<Path, Damaged> {
        let (mut level, mut child) = (0, bits.child(0));
        let node = bits.root << (LEVEL_BITS[0] + 2);
        let mut node_at = ROOT + u64::from(node);
        let at = node as usize + 4 * usize::from(child);
        let mut number = match self.root[at..].first_chunk() {
            Some(child) => u32::from_le_bytes(*child),
            None => return Err(Damaged),
        };
        while number % 2 == 1 {
            if level == LOWEST {
                return Err(Damaged);
            }
            level += 1;
            child = bits.child(level);
            node_at = u64::from(number / 2) * UNIT_BYTES;
            number = u32::from_le_bytes(segments.read(node_at + 4 * u64::from(child))?);
        }
        let bucket = number / 2;
        if bucket == 0 && level > 0 {
            // Only the root has children that lead nowhere.
            return Err(Damaged);
        }
        self.read_bucket(segments, bucket)?;
        Ok(Path {
            bucket,
            node: (node_at / UNIT_BYTES) as u32,
            child,
            level,
        })
    }

    #[inline]
    fn read_bucket<M: Memory>(
        &mut self,
        segments: &Segments<M>,
        bucket: u32,
    ) -> Result<(), Damaged> {
        self.content_of = bucket;
        match bucket {
            0 => Ok(()),
            bucket => segments.read_into(u64::from(bucket) * UNIT_BYTES, &mut self.content),
        }
    }

    /// The first bucket of one of the root's nodes, which all its children share.
    fn begin<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        path: Path,
        slot: Slot,
    ) -> Result<(), Damaged> {
        let bucket = take_block(segments, BUCKET_BYTES)?;
        let mut content = [0; BUCKET_BYTES];
        content[..SLOT_BYTES].copy_from_slice(&slot.bytes());
        segments.memory.write(bucket, &content);
        self.write_children(
            segments,
            path.node_at(),
            child_of(bucket, false),
            1 << LEVEL_BITS[0],
        );
        Ok(())
    }

    /// Splits a full bucket in two and adds a slot to its half; or, if its node has no bits left, puts a node above it, by which it can be
    /// split. `path` leads to where the slot goes then, and `content` is what lies there.
    fn split<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        path: &mut Path,
        name: Bits,
        slot: Slot,
    ) -> Result<Splitting, Damaged> {
        let (bucket, level) = (path.bucket_at(), usize::from(path.level));
        let (depth, bits) = (u32::from(self.content[DEPTH_AT]), LEVEL_BITS[level]);
        if depth > bits {
            return Err(Damaged);
        }
        if depth == bits {
            if path.level == LOWEST {
                return Ok(Splitting::NoBits);
            }
            let below = take_block(segments, NODE_BYTES)?;
            let children = child_of(bucket, false);
            self.write_children(segments, below, children, NODE_BYTES / CHILD_BYTES);
            segments.memory.write(bucket + DEPTH_AT as u64, &[0]);
            self.content[DEPTH_AT] = 0;
            self.write_children(segments, path.child_at(), child_of(below, true), 1);
            path.node = (below / UNIT_BYTES) as u32;
            path.level += 1;
            path.child = name.child(path.level);
            return Ok(Splitting::GoesOn);
        }
        // The bit by which the slots part: the first of this level that they do not all share.
        let bit = 1 << (shift(path.level) + bits - depth - 1);
        let (mut lower, mut upper) = ([0; BUCKET_BYTES], [0; BUCKET_BYTES]);
        let mut lower_places = lower.as_chunks_mut::<SLOT_BYTES>().0.iter_mut();
        let mut upper_places = upper.as_chunks_mut::<SLOT_BYTES>().0.iter_mut();
        let mut place = |hash: u32| match hash & bit {
            0 => lower_places.next(),
            _ => upper_places.next(),
        };
        let slots = self.content.as_chunks::<SLOT_BYTES>().0;
        for (index, slot) in slots.iter().enumerate() {
            if let Some(place) = place(hash_at(&self.content, index)) {
                *place = *slot;
            }
        }
        // None if all went to the same half.
        let place = place(slot.hash).map(|place| *place = slot.bytes());
        let above = take_block(segments, BUCKET_BYTES)?;
        for (bucket, content) in [(bucket, &mut lower), (above, &mut upper)] {
            content[DEPTH_AT] = depth as u8 + 1;
            segments.memory.write(bucket, content);
        }
        // Of the children that share the bucket, which lie side by side, the upper half gets the new one.
        let sharing = 1 << (bits - depth);
        let first = usize::from(path.child) / sharing * sharing + sharing / 2;
        self.write_children(
            segments,
            path.node_at() + (CHILD_BYTES * first) as u64,
            child_of(above, false),
            sharing / 2,
        );
        if place.is_some() {
            return Ok(Splitting::Done);
        }
        if slot.hash & bit != 0 {
            path.bucket = (above / UNIT_BYTES) as u32;
        }
        self.content[DEPTH_AT] = depth as u8 + 1;
        Ok(Splitting::GoesOn)
    }

    /// Puts a slot into the buckets that go on from a full one that can't be split.
    fn chain<M: Memory>(
        &self,
        segments: &mut Segments<M>,
        path: Path,
        slot: Slot,
    ) -> Result<(), Damaged> {
        let live = segments.header.live;
        let (mut bucket, mut content) = (path.bucket_at(), self.content);
        let mut passed = Passed::new(bucket);
        loop {
            let next = next_bucket(segments, &content, &mut passed)?;
            if next == 0 {
                let next = take_block(segments, BUCKET_BYTES)?;
                let mut fresh = [0; BUCKET_BYTES];
                fresh[..SLOT_BYTES].copy_from_slice(&slot.bytes());
                segments.memory.write(next, &fresh);
                let child = child_of(next, false).to_le_bytes();
                segments.memory.write(bucket + NEXT_AT as u64, &child);
                return Ok(());
            }
            bucket = next;
            content = segments.read(bucket)?;
            if put(segments, &live, bucket, &content, slot) {
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
        let child = child.to_le_bytes();
        if at < ROOT + SEGMENT_BYTES {
            let first = (at - ROOT) as usize;
            let children = &mut self.root[first..first + CHILD_BYTES * count];
            children.as_chunks_mut().0.fill(child);
            segments.memory.write(at, children);
        } else {
            let children = [child; NODE_BYTES / CHILD_BYTES];
            segments.memory.write(at, children[..count].as_flattened());
        }
    }
}

fn child_of(address: u64, is_node: bool) -> u32 {
    (address / UNIT_BYTES) as u32 * 2 + u32::from(is_node)
}

/// The address of a node or bucket of `bytes` bytes that nothing else uses.
fn take_block<M: Memory>(segments: &mut Segments<M>, bytes: usize) -> Result<u64, Damaged> {
    let units = bytes as u32 / UNIT_BYTES as u32;
    let header = &segments.header;
    if header.index_segment == 0 || header.index_units + units > UNITS_IN_SEGMENT {
        let segment = segments.take()?;
        (segments.header.index_segment, segments.header.index_units) = (segment, 0);
    }
    let taken = segments.header.index_units;
    segments.header.index_units += units;
    // The header in memory is ahead: most blocks don't cost its page.
    if segments.header.index_units > taken.next_multiple_of(UNITS_AHEAD) {
        segments.write_header();
    }
    Ok(address(segments.header.index_segment) + u64::from(taken) * UNIT_BYTES)
}
