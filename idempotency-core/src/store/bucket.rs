//! A bucket of the index: 25 slots, and the bucket that it goes on in.

use super::{
    error::Damaged,
    index::{HASH_BITS, UNIT_BYTES},
    segments::Segments,
    slice,
};
use ic_stable_structures::Memory;

pub(super) const BUCKET_BYTES: usize = 256;
pub(super) const SLOT_BYTES: usize = 10;
pub(super) const SLOTS: usize = 25;

/// Where a bucket says how many bits of its node all its slots share.
pub(super) const DEPTH_AT: usize = 250;

/// Where it names the bucket that it goes on in.
pub(super) const NEXT_AT: usize = 252;

pub(super) type Bucket = [u8; BUCKET_BYTES];

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) address: u64,
    pub(super) slice: u16,
    pub(super) hash: u32,
}

impl Slot {
    pub(super) fn read(bucket: &Bucket, index: usize) -> Self {
        Self {
            address: (word(bucket, index * SLOT_BYTES) & ((1 << 36) - 1)) * 4,
            slice: slice_at(bucket, index),
            hash: hash_at(bucket, index),
        }
    }

    pub(super) fn bytes(self) -> [u8; SLOT_BYTES] {
        let low = (self.address / 4) | (u64::from(self.slice) << 36) | (u64::from(self.hash) << 52);
        let high = (self.hash >> 12) as u16;
        let mut bytes = [0; SLOT_BYTES];
        bytes[..8].copy_from_slice(&low.to_le_bytes());
        bytes[8..].copy_from_slice(&high.to_le_bytes());
        bytes
    }
}

/// A slot that leads to nothing any more.
pub(super) const FREED: Slot = Slot {
    address: 0,
    slice: u16::MAX,
    hash: (1 << HASH_BITS) - 1,
};

// A slot's fields are read one at a time: most slots differ in the first that is looked at.

/// Eight bytes of a bucket; zeros where it ends.
fn word(bucket: &Bucket, at: usize) -> u64 {
    match bucket[at..].first_chunk() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => 0,
    }
}

/// Of a slot: its hash, slice, and the upper part of its address.
fn high_word(bucket: &Bucket, index: usize) -> u64 {
    word(bucket, index * SLOT_BYTES + 2)
}

pub(super) fn hash_at(bucket: &Bucket, index: usize) -> u32 {
    (high_word(bucket, index) >> 36) as u32
}

fn slice_at(bucket: &Bucket, index: usize) -> u16 {
    (high_word(bucket, index) >> 20) as u16
}

fn is_used(bucket: &Bucket, index: usize) -> bool {
    word(bucket, index * SLOT_BYTES) & ((1 << 36) - 1) != 0
}

/// Whether any slot has this hash. Without a branch for each slot this takes a third.
pub(super) fn has_hash(bucket: &Bucket, hash: u32) -> bool {
    (0..SLOTS).fold(false, |found, index| {
        found | (hash_at(bucket, index) == hash)
    })
}

/// How many slots were ever used, or fewer: they are used from the first on.
fn used(bucket: &Bucket) -> usize {
    (0..SLOTS).fold(0, |used, index| {
        used + usize::from(high_word(bucket, index) != 0)
    })
}

/// Whether a slot leads to a record that is there.
pub(super) fn is_live(bucket: &Bucket, index: usize, live: &Live) -> bool {
    is_used(bucket, index) && live.contains(slice_at(bucket, index))
}

/// In the number of a slice of tallies; the rest are requests.
pub(super) const TALLIES: u16 = 0x8000;

/// The slices whose records are there: the number of the first and how many, of requests and of tallies.
#[derive(Clone, Copy)]
pub(super) struct Live {
    requests: (u16, u16),
    tallies: (u16, u16),
}

impl Live {
    fn contains(&self, number: u16) -> bool {
        let (first, count) = if number & TALLIES == 0 {
            self.requests
        } else {
            self.tallies
        };
        slice::position(first, number) < usize::from(count)
    }
}

pub(super) fn live<M: Memory>(segments: &Segments<M>) -> Live {
    let header = &segments.header;
    Live {
        requests: (header.first_slice, header.slices),
        tallies: (header.first_tallies, header.tallies),
    }
}

/// Puts a slot into a place that is free, one that was never used if there is one; `false` if there is none.
pub(super) fn put<M: Memory>(
    segments: &Segments<M>,
    live: &Live,
    at: u64,
    bucket: &Bucket,
    slot: Slot,
) -> bool {
    let free = (used(bucket)..SLOTS)
        .chain(0..SLOTS)
        .find(|&index| !is_live(bucket, index, live));
    if let Some(index) = free {
        let place = at + (index * SLOT_BYTES) as u64;
        segments.memory.write(place, &slot.bytes());
    }
    free.is_some()
}

/// What is kept of a chain's buckets while it is followed: enough to notice one that leads back into itself, within three
/// times its length (Brent's algorithm).
pub(super) struct Passed {
    bucket: u64,
    steps: u64,
    until: u64,
}

impl Passed {
    pub(super) fn new(first: u64) -> Self {
        Self {
            bucket: first,
            steps: 0,
            until: 1,
        }
    }

    fn go_on(&mut self, next: u64) -> Result<(), Damaged> {
        if next == self.bucket {
            return Err(Damaged);
        }
        self.steps += 1;
        if self.steps == self.until {
            (self.bucket, self.steps, self.until) = (next, 0, 2 * self.until);
        }
        Ok(())
    }
}

/// The bucket that goes on from a full one, or 0.
pub(super) fn next_bucket<M: Memory>(
    segments: &Segments<M>,
    bucket: &Bucket,
    passed: &mut Passed,
) -> Result<u64, Damaged> {
    let number = [
        bucket[NEXT_AT],
        bucket[NEXT_AT + 1],
        bucket[NEXT_AT + 2],
        bucket[NEXT_AT + 3],
    ];
    let next = u64::from(u32::from_le_bytes(number) / 2) * UNIT_BYTES;
    if next == 0 {
        return Ok(0);
    }
    passed.go_on(next)?;
    segments.check(next, BUCKET_BYTES)?;
    Ok(next)
}
