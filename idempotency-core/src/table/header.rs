//! The first page of a memory: what it is, and where everything else lies.
//!
//! ```text
//! offset  bytes  field
//!      0      7  magic "IDMPTCY"
//!      7      1  layout version, 3
//!      8      8  incarnation: how many heaps have opened this memory
//!     16    4×8  words 0 to 3 of the layer above
//!     48      4  pages in use, this one and the root of the index included
//!     52      4  first free segment, 0 if none; each names the next
//!     56      4  number of free segments
//!     60      4  segment that the index takes nodes and buckets from, 0 if none
//!     64      4  units of 64 bytes taken from it, or a few more: the next multiple of 128
//!     68    2×4  of each family of partitions: number of the oldest, and how many live
//!     80      8  features that a version which does not know them may ignore
//!     88      8  features that a version which does not know them must refuse
//!     96     16  of the cells: see `cells.rs`
//!    112      8  word 4 of the layer above, which changes only when the memory is opened
//!    256  16×64  table of the counters' partitions: partition n is entry n mod 16
//!   4096 512×64  table of the requests' partitions: partition n is entry n mod 512
//!  36864         texts: see `texts.rs`
//! ```
//!
//! Integers are little-endian. What is written often lies in one 4 KiB page, as the IC charges for each.
//!
//! # Versions
//! Version N of the layout opens a memory of version N − 1 and makes it one of version N; what is older, newer, or has a feature
//! that must be refused is [`OpenError`], and unchanged. Whoever adds a kind of rows or a meaning of bytes sets a feature.
//! `version2.rs` reads what version 2 wrote otherwise.
//!
//! | must be refused | |
//! |---|---|
//! | bit 0 | there are cells and rows without names; and texts |
//! | bit 1 | rows have aliases; a record may hold the reply for retries; a counter may say more: see `sequence/lane.rs` |
//! | bit 2 | the rows are messages of an outbox, and no requests: see `outbox/message.rs` |
//!
//! | may be ignored | |
//! |---|---|
//! | bit 0 | there are trees and a queue: see `nodes.rs`. A version that does not know them lets them lie, and makes the incarnation another than theirs, so that nobody believes them later |
//! | bit 1 | what was forgotten is in archives: whoever opens this memory with archives that know nothing has mixed up memories |

use super::{
    error::OpenError,
    layout::{
        FAMILIES, FIRST_SEGMENT, Live, MOST_PAGES, NUMBERS, UNITS_AHEAD, UNITS_IN_SEGMENT, field,
    },
};
use ic_stable_structures::Memory;

const MAGIC: &[u8; 7] = b"IDMPTCY";
const VERSION: u8 = 3;
const BYTES: usize = 76;
const INCARNATION_AT: u64 = 8;
/// Of those that may be ignored.
const EXTRAS_AT: u64 = 80;
/// There are trees and a queue.
const FOREST: u64 = 1;
/// An archive keeps what is forgotten.
#[cfg(feature = "archive")]
const ARCHIVED: u64 = 2;
/// Of those that must be refused.
const FEATURES_AT: u64 = 88;
/// There are cells, rows without names, and texts.
const CELLS: u64 = 1;
/// Rows have aliases, and so on.
const ALIASES: u64 = 2;
/// The rows are messages.
const MESSAGES: u64 = 4;

/// What the rows of a memory are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Requests, and their counters.
    Requests,
    /// Messages of an outbox.
    Messages,
}

impl Purpose {
    /// The features that others must refuse, and that this version knows: every memory has them that it has opened.
    const fn features(self) -> u64 {
        match self {
            Self::Requests => CELLS | ALIASES,
            Self::Messages => CELLS | MESSAGES,
        }
    }

    /// Whether a memory with these features is for another purpose.
    const fn is_other(self, found: u64) -> bool {
        (self.features() ^ found) & MESSAGES != 0
    }
}

/// Words that the layer above has in the header.
pub(crate) const WORDS: usize = 5;
/// Where the last of them lies.
const LAST_WORD_AT: u64 = 112;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) incarnation: u64,
    /// What the layer above keeps here.
    pub(crate) words: [u64; WORDS],
    pub(crate) pages: u32,
    pub(crate) free_head: u32,
    pub(crate) free_count: u32,
    pub(crate) index_segment: u32,
    /// As many as this heap took, and the ones before it may have.
    pub(crate) index_units: u32,
    /// The live partitions of each family.
    pub(crate) live: [Live; FAMILIES],
}

/// Which layout a memory has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// It was never used.
    None,
    Two,
    Today,
}

impl Header {
    /// The incarnation as it stands in a memory that is open.
    pub(crate) fn read_incarnation(memory: &impl Memory) -> u64 {
        let mut bytes = [0; 8];
        memory.read(INCARNATION_AT, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Of a memory that was never used.
    pub(super) fn new() -> Self {
        Self {
            pages: FIRST_SEGMENT,
            ..Self::default()
        }
    }

    /// Which layout a memory has.
    pub(super) fn version(memory: &impl Memory, purpose: Purpose) -> Result<Version, OpenError> {
        if memory.size() == 0 {
            return Ok(Version::None);
        }
        let mut found = [0; 8];
        memory.read(0, &mut found);
        if &found[..7] != MAGIC {
            return Err(OpenError::Foreign { found });
        }
        match found[7] {
            VERSION => Ok(Version::Today),
            2 if purpose == Purpose::Messages => Err(OpenError::OtherPurpose),
            2 => Ok(Version::Two),
            found => Err(OpenError::UnknownVersion {
                found,
                known: VERSION,
            }),
        }
    }

    /// The header of a memory that has today's layout.
    pub(super) fn read(memory: &impl Memory, purpose: Purpose) -> Result<Self, OpenError> {
        let mut features = [0; 8];
        memory.read(FEATURES_AT, &mut features);
        let found = u64::from_le_bytes(features);
        if purpose.is_other(found) {
            return Err(OpenError::OtherPurpose);
        }
        if found & !purpose.features() != 0 {
            return Err(OpenError::UnknownFeatures { found });
        }
        let (mut bytes, mut last) = ([0; BYTES], [0; 8]);
        memory.read(0, &mut bytes);
        memory.read(LAST_WORD_AT, &mut last);
        let mut rest = &bytes[8..];
        let rest = &mut rest;
        let incarnation = u64::from_le_bytes(field(rest));
        let [a, b, c, d] = words(rest);
        Ok(Self {
            incarnation,
            words: [a, b, c, d, u64::from_le_bytes(last)],
            pages: u32::from_le_bytes(field(rest)),
            free_head: u32::from_le_bytes(field(rest)),
            free_count: u32::from_le_bytes(field(rest)),
            index_segment: u32::from_le_bytes(field(rest)),
            index_units: u32::from_le_bytes(field(rest)),
            live: [(); FAMILIES].map(|()| Live {
                first: u16::from_le_bytes(field(rest)),
                count: u16::from_le_bytes(field(rest)),
            }),
        })
    }

    /// Whether it does not contradict itself, in a memory of so many pages with at most so many live partitions of each family.
    pub(super) fn is_plausible(&self, size: u64, most: [u16; FAMILIES]) -> bool {
        let is_segment = |segment| segment == 0 || (FIRST_SEGMENT..self.pages).contains(&segment);
        let is_list = (self.free_head == 0) == (self.free_count == 0);
        let are_live = |(live, most): (&Live, u16)| live.count <= most && live.first <= NUMBERS;
        self.pages >= FIRST_SEGMENT
            && u64::from(self.pages) <= size.min(MOST_PAGES)
            && self.live.iter().zip(most).all(are_live)
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
        bytes[7] = VERSION;
        bytes[8..16].copy_from_slice(&self.incarnation.to_le_bytes());
        for (place, word) in bytes[16..48].chunks_exact_mut(8).zip(self.words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let words = [
            self.pages,
            self.free_head,
            self.free_count,
            self.index_segment,
            self.index_units.next_multiple_of(UNITS_AHEAD),
        ];
        for (place, word) in bytes[48..68].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        for (place, live) in bytes[68..].chunks_exact_mut(4).zip(self.live) {
            place[..2].copy_from_slice(&live.first.to_le_bytes());
            place[2..].copy_from_slice(&live.count.to_le_bytes());
        }
        memory.write(0, &bytes);
    }

    /// Whether there are trees and a queue.
    pub(super) fn has_forest(memory: &impl Memory) -> bool {
        read_extras(memory) & FOREST != 0
    }

    /// Notes whether there are trees and a queue.
    pub(crate) fn write_forest(memory: &impl Memory, is_there: bool) {
        let others = read_extras(memory) & !FOREST;
        let extras = others | if is_there { FOREST } else { 0 };
        memory.write(EXTRAS_AT, &extras.to_le_bytes());
    }

    /// Whether what was forgotten is in archives.
    #[cfg(feature = "archive")]
    pub(crate) fn is_archived(memory: &impl Memory) -> bool {
        read_extras(memory) & ARCHIVED != 0
    }

    /// Notes that what is forgotten is in archives.
    #[cfg(feature = "archive")]
    pub(crate) fn write_archived(memory: &impl Memory) {
        let extras = read_extras(memory) | ARCHIVED;
        memory.write(EXTRAS_AT, &extras.to_le_bytes());
    }

    /// Writes what changes only when a memory is opened: the last word, and which features it has that must be refused. The others stay
    /// as they are.
    pub(super) fn write_once(&self, memory: &impl Memory, purpose: Purpose) {
        memory.write(FEATURES_AT, &purpose.features().to_le_bytes());
        memory.write(LAST_WORD_AT, &self.words[WORDS - 1].to_le_bytes());
    }
}

fn read_extras(memory: &impl Memory) -> u64 {
    let mut bytes = [0; 8];
    memory.read(EXTRAS_AT, &mut bytes);
    u64::from_le_bytes(bytes)
}

fn words<const N: usize>(rest: &mut &[u8]) -> [u64; N] {
    [(); N].map(|()| u64::from_le_bytes(field(rest)))
}
