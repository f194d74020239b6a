//! What the table must know of the rows that the layer above keeps in it.

use super::{blobs::BlobPlace, error::Damaged};

/// The kind of a row, as the slot of the index that leads to it says: 3 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind(u8);

impl Kind {
    /// What is kept of a request.
    pub(crate) const REQUEST: Self = Self(0);

    /// A message of an outbox.
    #[cfg(feature = "outbox")]
    pub(crate) const MESSAGE: Self = Self(1);

    /// What is kept of a lane or a quota.
    pub(crate) const COUNTER: Self = Self(4);

    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }
}

/// A family of partitions, and the rows that lie in them.
pub(crate) trait Family {
    /// Its place among the families.
    const INDEX: usize;
    /// The kind of its rows.
    const KIND: Kind;
    /// Most partitions that live at a time.
    const MOST_PARTITIONS: u16;
    /// Where its table begins, in bytes.
    const TABLE: u64;
    /// Most bytes of a row, with the [zeros](super::layout::TERMINATOR) after it.
    const MOST_BYTES: usize;
    /// How many bytes of a row are read at first.
    const FIRST_READ: usize;
    /// What the layer above keeps with each partition, in two words.
    type Own: Copy + Default + From<[u64; 2]> + Into<[u64; 2]>;

    /// The row at the beginning of `bytes`, of which the end may be missing; `None` at the end of a log.
    ///
    /// # Errors
    /// [`Damaged`] if it is no row of this family.
    fn row(bytes: &[u8]) -> Result<Option<Row>, Damaged>;

    /// Whether the row that is the whole of `bytes` has an alias, and it is this one.
    fn has_alias(bytes: &[u8], alias: &[u8; 16]) -> bool;

    /// What lies outside of the row that is the whole of `bytes`, and how many bytes that has.
    fn blob(bytes: &[u8]) -> Option<(BlobPlace, usize)>;

    /// Counts the row that is the whole of `bytes` in what is kept with its partition: the partition's table does not know of it yet.
    fn count(own: &mut Self::Own, bytes: &[u8]);
}

/// What the table must know of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// In bytes, without the zeros after it.
    pub(crate) length: usize,
    /// When it was written, or last used, ns; [`Row::UNNAMED`] if it has no name.
    pub(crate) time: u64,
    /// The end of its name.
    pub(crate) tail: [u8; 16],
}

impl Row {
    /// The time of a row without a name: no slot of the index leads to it.
    pub(crate) const UNNAMED: u64 = u64::MAX;

    pub(super) fn is_named(&self) -> bool {
        self.time != Self::UNNAMED
    }
}

/// The name of a row: a hash, whose first 36 bits are its place in the index.
pub(crate) type Name = [u8; 24];

/// The last 16 bytes, which a row holds.
pub(crate) fn tail(name: &Name) -> [u8; 16] {
    let mut tail = [0; 16];
    tail.copy_from_slice(&name[8..]);
    tail
}
