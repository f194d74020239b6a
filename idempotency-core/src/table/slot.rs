//! A slot of the index: where a row lies.
//!
//! ```text
//! bits    80, in 10 bytes
//!  0 …34  address of the row / 4, 0 if the slot was freed
//! 34 …36  lower bits of the row's kind
//! 36 …51  number of the row's partition
//!     51  upper bit of the row's kind
//! 52 …80  bits 8 to 35 of the row's name
//! ```
//!
//! (Version 2 had longer addresses and a bit for the kind: with the kind in three places its slots are slots of today.)

use super::{
    kind::{Family, Kind},
    layout::{Bucket, FAMILIES, Live},
};

pub(super) const SLOT_BYTES: usize = 10;
pub(super) const HASH_BITS: u32 = 28;

const ADDRESS_BITS: u32 = 34;
const ADDRESS: u64 = (1 << ADDRESS_BITS) - 1;
const NUMBER: u64 = 0x7FFF;

/// Where a row lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) address: u64,
    pub(crate) kind: Kind,
    pub(crate) partition: u16,
    pub(super) hash: u32,
}

impl Slot {
    pub(super) fn read(bucket: &Bucket, index: usize) -> Self {
        Self {
            address: (word(bucket, index * SLOT_BYTES) & ADDRESS) * 4,
            kind: kind_of(high_word(bucket, index)),
            partition: partition_of(high_word(bucket, index)),
            hash: hash_at(bucket, index),
        }
    }

    pub(super) fn bytes(self) -> [u8; SLOT_BYTES] {
        let kind = u64::from(self.kind.bits());
        let low = (self.address / 4)
            | ((kind & 3) << 34)
            | (u64::from(self.partition) << 36)
            | ((kind >> 2) << 51)
            | (u64::from(self.hash) << 52);
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
    kind: Kind::COUNTER,
    partition: NUMBER as u16,
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

/// Of a slot: all but the lowest 16 bits.
pub(super) fn high_word(bucket: &Bucket, index: usize) -> u64 {
    word(bucket, index * SLOT_BYTES + 2)
}

pub(super) fn hash_at(bucket: &Bucket, index: usize) -> u32 {
    match bucket[index * SLOT_BYTES + 6..].first_chunk() {
        Some(bytes) => u32::from_le_bytes(*bytes) >> 4,
        None => 0,
    }
}

fn partition_of(high: u64) -> u16 {
    (high >> 20 & NUMBER) as u16
}

fn kind_of(high: u64) -> Kind {
    Kind::from_bits((high >> 18 & 3 | high >> 33 & 4) as u8)
}

fn is_used(bucket: &Bucket, index: usize) -> bool {
    word(bucket, index * SLOT_BYTES) & ADDRESS != 0
}

/// Whether a slot leads to a row of a family that is there.
pub(super) fn leads_to<F: Family>(bucket: &Bucket, index: usize, live: &[Live; FAMILIES]) -> bool {
    let high = high_word(bucket, index);
    kind_of(high) == F::KIND
        && is_used(bucket, index)
        && live[F::INDEX].contains(partition_of(high))
}

/// Whether a slot must stay. One that leads to a row of an unknown kind is not ours to take.
#[inline]
pub(super) fn is_live(bucket: &Bucket, index: usize, live: &[Live; FAMILIES]) -> bool {
    let high = high_word(bucket, index);
    // Of the kinds that are known, the lower bits are 0, and the upper one says which family.
    let (lower, family) = (high >> 18 & 3, (high >> 35 & 1) as usize);
    is_used(bucket, index) && (lower != 0 || live[family].contains(partition_of(high)))
}
