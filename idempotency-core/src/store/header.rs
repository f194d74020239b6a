//! The first page of a store's memory: what the store is, and where everything else lies.
//!
//! ```text
//! offset  bytes  field
//!      0      7  magic "IDMPTCY"
//!      7      1  layout version, 2
//!      8      8  incarnation: how many heaps have opened this store
//!     16      8  window, ns   } of the policy that the store was
//!     24      8  drift, ns    } last opened with
//!     32      8  floor, ns: a request created before it may have been forgotten
//!     40      4  pages in use, this one and the root included
//!     44      4  first free segment, 0 if none; each names the next
//!     48      4  number of free segments
//!     52      4  segment that the index takes nodes and buckets from, 0 if none
//!     56      4  units of 64 bytes taken from it
//!     60      2  number of the oldest slice
//!     62      2  live slices
//!     64      8  floor of sequences: a lane that is not known begins here
//!     72      2  number of the oldest slice of tallies
//!     74      2  live slices of tallies
//!    256  16×56  slice table of tallies: slice n is entry n mod 16
//!   4096 512×64  slice table: slice n is entry n mod 512
//! ```
//!
//! Integers are little-endian. What is written often lies in one 4 KiB page, as the IC charges for each.

use super::{
    OpenError,
    index::UNITS_IN_SEGMENT,
    segments::{FIRST_SEGMENT, MOST_PAGES},
    slice::{NUMBERS, Slice},
    tally::TallySlice,
};
use ic_stable_structures::Memory;

const MAGIC: &[u8; 7] = b"IDMPTCY";
const LAYOUT_VERSION: u8 = 2;
const BYTES: usize = 76;
const INCARNATION_OFFSET: u64 = 8;
const TALLIES_OFFSET: u64 = 256;
const SLICES_OFFSET: u64 = 4_096;

/// Most slices that live at a time.
pub(super) const MAX_SLICES: u16 = 512;

/// Most slices of tallies that live at a time.
pub(super) const MAX_TALLY_SLICES: u16 = 16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) incarnation: u64,
    pub(super) window: u64,
    pub(super) drift: u64,
    pub(super) floor: u64,
    pub(super) pages: u32,
    pub(super) free_head: u32,
    pub(super) free_count: u32,
    pub(super) index_segment: u32,
    pub(super) index_units: u32,
    pub(super) first_slice: u16,
    pub(super) slices: u16,
    pub(super) sequence_floor: u64,
    pub(super) first_tallies: u16,
    pub(super) tallies: u16,
}

impl Header {
    /// The incarnation as it stands in a memory that is a store.
    pub(super) fn read_incarnation(memory: &impl Memory) -> u64 {
        let mut bytes = [0; 8];
        memory.read(INCARNATION_OFFSET, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// `None` in a memory that was never used.
    pub(super) fn read(memory: &impl Memory) -> Result<Option<Self>, OpenError> {
        if memory.size() == 0 {
            return Ok(None);
        }
        let mut bytes = [0; BYTES];
        memory.read(0, &mut bytes);
        if &bytes[..7] != MAGIC {
            let mut found = [0; 8];
            found.copy_from_slice(&bytes[..8]);
            return Err(OpenError::Foreign { found });
        }
        if bytes[7] != LAYOUT_VERSION {
            return Err(OpenError::UnknownVersion {
                found: bytes[7],
                known: LAYOUT_VERSION,
            });
        }
        let mut rest = &bytes[8..];
        let header = Self {
            incarnation: u64::from_le_bytes(take(&mut rest)),
            window: u64::from_le_bytes(take(&mut rest)),
            drift: u64::from_le_bytes(take(&mut rest)),
            floor: u64::from_le_bytes(take(&mut rest)),
            pages: u32::from_le_bytes(take(&mut rest)),
            free_head: u32::from_le_bytes(take(&mut rest)),
            free_count: u32::from_le_bytes(take(&mut rest)),
            index_segment: u32::from_le_bytes(take(&mut rest)),
            index_units: u32::from_le_bytes(take(&mut rest)),
            first_slice: u16::from_le_bytes(take(&mut rest)),
            slices: u16::from_le_bytes(take(&mut rest)),
            sequence_floor: u64::from_le_bytes(take(&mut rest)),
            first_tallies: u16::from_le_bytes(take(&mut rest)),
            tallies: u16::from_le_bytes(take(&mut rest)),
        };
        if header.is_plausible(memory.size()) {
            Ok(Some(header))
        } else {
            Err(OpenError::Damaged)
        }
    }

    fn is_plausible(&self, size: u64) -> bool {
        let is_segment = |segment| segment == 0 || (FIRST_SEGMENT..self.pages).contains(&segment);
        let is_list = (self.free_head == 0) == (self.free_count == 0);
        self.pages >= FIRST_SEGMENT
            && u64::from(self.pages) <= size.min(MOST_PAGES)
            && self.slices <= MAX_SLICES
            && self.tallies <= MAX_TALLY_SLICES
            && self.first_slice <= NUMBERS
            && self.first_tallies <= NUMBERS
            && self.incarnation < u64::MAX
            && is_list
            && self.free_count < self.pages
            && self.index_units <= UNITS_IN_SEGMENT
            && is_segment(self.free_head)
            && is_segment(self.index_segment)
    }

    pub(super) fn write(&self, memory: &impl Memory) {
        let mut bytes = [0; BYTES];
        bytes[..7].copy_from_slice(MAGIC);
        bytes[7] = LAYOUT_VERSION;
        let longs = [self.incarnation, self.window, self.drift, self.floor];
        for (place, field) in bytes[8..40].chunks_exact_mut(8).zip(longs) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        let words = [
            self.pages,
            self.free_head,
            self.free_count,
            self.index_segment,
            self.index_units,
        ];
        for (place, field) in bytes[40..60].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes[60..62].copy_from_slice(&self.first_slice.to_le_bytes());
        bytes[62..64].copy_from_slice(&self.slices.to_le_bytes());
        bytes[64..72].copy_from_slice(&self.sequence_floor.to_le_bytes());
        bytes[72..74].copy_from_slice(&self.first_tallies.to_le_bytes());
        bytes[74..].copy_from_slice(&self.tallies.to_le_bytes());
        memory.write(0, &bytes);
    }

    pub(super) fn read_slice(memory: &impl Memory, number: u16) -> Slice {
        let mut bytes = [0; Slice::BYTES];
        memory.read(place(number), &mut bytes);
        Slice::from_bytes(&bytes)
    }

    pub(super) fn read_tallies(memory: &impl Memory, number: u16) -> TallySlice {
        let mut bytes = [0; TallySlice::BYTES];
        memory.read(tallies_place(number), &mut bytes);
        TallySlice::from_bytes(&bytes)
    }

    pub(super) fn write_tallies(memory: &impl Memory, number: u16, slice: &TallySlice) {
        memory.write(tallies_place(number), &slice.to_bytes());
    }

    pub(super) fn write_slice(memory: &impl Memory, number: u16, slice: &Slice) {
        memory.write(place(number), &slice.to_bytes());
    }
}

fn place(number: u16) -> u64 {
    SLICES_OFFSET + u64::from(number % MAX_SLICES) * Slice::BYTES as u64
}

fn tallies_place(number: u16) -> u64 {
    TALLIES_OFFSET + u64::from(number % MAX_TALLY_SLICES) * TallySlice::BYTES as u64
}

/// The next `N` bytes. Callers pass slices of a fixed length that suffices.
pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let Some((field, tail)) = rest.split_first_chunk() else {
        unreachable!("a fixed layout is longer than its fields")
    };
    *rest = tail;
    *field
}
