//! A bucket of the index: 25 slots, and the bucket that it goes on in.

use super::{
    error::Damaged,
    layout::{BUCKET_BYTES, Bucket, FAMILIES, Live, UNIT_BYTES},
    segments::Segments,
    slot::{SLOT_BYTES, Slot, hash_at, high_word, is_live},
};
use ic_stable_structures::Memory;

pub(super) const SLOTS: usize = 25;
pub(super) const FIVE: usize = 5;

/// Where a bucket says how many bits of its node all its slots share.
pub(super) const DEPTH_AT: usize = 250;

/// Where it names the bucket that it goes on in.
pub(super) const NEXT_AT: usize = 252;

/// A bit for each five slots: whether one of them has this hash. Without a branch for each slot this takes a third.
pub(super) fn fives_with_hash(bucket: &Bucket, hash: u32) -> u32 {
    (0..SLOTS / FIVE).fold(0, |fives, five| {
        let has_hash = (0..FIVE).fold(false, |found, index| {
            found | (hash_at(bucket, five * FIVE + index) == hash)
        });
        fives | u32::from(has_hash) << five
    })
}

/// How many slots were ever used, as far as their upper bits tell: they are used from the first on, so it takes five looks. A slot whose
/// upper bits are all 0 may mislead it: whoever asks looks at the other places, too.
fn used(bucket: &Bucket) -> usize {
    let mut used = 0;
    for step in [16, 8, 4, 2, 1] {
        let index = used + step - 1;
        if index < SLOTS && high_word(bucket, index) != 0 {
            used += step;
        }
    }
    used
}

/// Puts a slot into a place that is free, one that was never used if there is one; `false` if there is none.
pub(super) fn put<M: Memory>(
    segments: &Segments<M>,
    live: &[Live; FAMILIES],
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
