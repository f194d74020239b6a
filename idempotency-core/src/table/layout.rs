//! Sizes and numbers that several parts of a memory have in common.

/// A segment is a page of the memory.
pub(crate) const SEGMENT_BYTES: u64 = 65_536;

/// Pages before it are the header and the root of the index.
pub(crate) const FIRST_SEGMENT: u32 = 2;

/// 64 GiB: as far as the addresses in the index reach.
pub(crate) const MOST_PAGES: u64 = 1 << 20;

/// Nodes and buckets of the index lie at multiples of this.
pub(super) const UNIT_BYTES: u64 = 64;
pub(super) const UNITS_IN_SEGMENT: u32 = (SEGMENT_BYTES / UNIT_BYTES) as u32;

/// The header says that units are taken from a segment so many at a time. A heap that goes leaves some that nothing uses: 8 KiB at most.
pub(super) const UNITS_AHEAD: u32 = 128;

pub(super) const BUCKET_BYTES: usize = 256;

/// A bucket of the index.
pub(super) type Bucket = [u8; BUCKET_BYTES];

/// Zeros after the last row of a log.
pub(crate) const TERMINATOR: usize = 4;

/// Room for a row of any kind and the zeros after it.
pub(crate) const ROW_BYTES: usize = 192;

/// The bytes of a row that is being put together.
pub(crate) type RowBytes = [u8; ROW_BYTES];

/// Size of a partition's entry in the table of its family.
pub(super) const ENTRY_BYTES: usize = 64;

/// Families of partitions: each is numbered by itself and has a table of its own in the header's page.
pub(crate) const FAMILIES: usize = 2;

/// Partitions have numbers of 15 bits that come round; only their order among the live ones counts.
pub(super) const NUMBERS: u16 = 0x7FFF;

/// The live partitions of a family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Live {
    /// Number of the oldest.
    pub(super) first: u16,
    pub(super) count: u16,
}

impl Live {
    /// The number of the partition at a position, the oldest being at 0.
    pub(super) fn number(self, position: usize) -> u16 {
        self.first.wrapping_add(position as u16) & NUMBERS
    }

    pub(super) fn position(self, number: u16) -> usize {
        usize::from(number.wrapping_sub(self.first) & NUMBERS)
    }

    pub(super) fn contains(self, number: u16) -> bool {
        self.position(number) < usize::from(self.count)
    }
}

/// The next `N` bytes. Callers pass slices of a fixed length that suffices.
pub(crate) fn field<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let Some((field, tail)) = rest.split_first_chunk() else {
        unreachable!("a fixed layout is longer than its fields")
    };
    *rest = tail;
    *field
}
