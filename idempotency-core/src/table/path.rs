//! The ways through the trie: which bits of a name choose what.

use super::{
    kind::Name,
    layout::{SEGMENT_BYTES, UNIT_BYTES},
    slot::HASH_BITS,
};

pub(super) const ROOT: u64 = SEGMENT_BYTES;
/// The root's nodes are wider: their children are on the heap.
pub(super) const LEVEL_BITS: [u32; 5] = [6, 5, 5, 5, 5];
pub(super) const LOWEST: u8 = LEVEL_BITS.len() as u8 - 1;

/// What a name is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bits {
    pub(super) root: u32,
    pub(super) hash: u32,
}

impl Bits {
    pub(super) fn of(name: &Name) -> Self {
        // Of a whole word the bytes would have to be turned round.
        let [root, a, b, c, d, ..] = *name;
        Self {
            root: root.into(),
            hash: u32::from_be_bytes([a, b, c, d]) >> (u32::BITS - HASH_BITS),
        }
    }

    /// The child of a node on `level`.
    pub(super) fn child(self, level: u8) -> u8 {
        ((self.hash >> shift(level)) % (1 << LEVEL_BITS[usize::from(level)])) as u8
    }
}

/// How far to the left the bits of a level lie.
pub(super) fn shift(level: u8) -> u32 {
    HASH_BITS - LEVEL_BITS[..=usize::from(level)].iter().sum::<u32>()
}

/// Where a way through the trie ends. Addresses are in units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// The bucket, or 0 where there is none yet.
    pub(super) bucket: u32,
    /// The node above, and which of its children leads here.
    pub(super) node: u32,
    pub(super) child: u8,
    pub(super) level: u8,
}

impl Path {
    pub(super) fn bucket_at(self) -> u64 {
        u64::from(self.bucket) * UNIT_BYTES
    }

    pub(super) fn node_at(self) -> u64 {
        u64::from(self.node) * UNIT_BYTES
    }

    pub(super) fn child_at(self) -> u64 {
        self.node_at() + 4 * u64::from(self.child)
    }
}
