//! What layout version 2 wrote otherwise: the header's fields in another order, and the counters' partitions in entries of 56
//! bytes. Slots, rows and the requests' partitions are as they are now.
//!
//! ```text
//! offset  bytes  field
//!      8      8  incarnation
//!     16    3×8  window, drift and floor: words 0 to 2
//!     40    5×4  pages, first free segment, free segments, the index's segment, units taken from it
//!     60    2×2  the requests' oldest partition, and how many live
//!     64      8  floor of sequences: word 3
//!     72    2×2  the counters' oldest partition, and how many live
//!    256  16×56  the counters' partitions: until, oldest, two words, rows, chain of rows
//! ```

use super::{
    header::{Header, WORDS},
    layout::{ENTRY_BYTES, Live, field},
};
use ic_stable_structures::Memory;

const BYTES: usize = 76;
const TABLE: u64 = 256;
const OLD_ENTRY_BYTES: usize = 56;

/// How many entries the counters' table has.
const PARTITIONS: u16 = 16;

/// The header, in today's form.
pub(super) fn header(memory: &impl Memory) -> Header {
    let mut bytes = [0; BYTES];
    memory.read(0, &mut bytes);
    let mut rest = &bytes[8..];
    let rest = &mut rest;
    let incarnation = u64::from_le_bytes(field(rest));
    let mut words = [0; WORDS];
    for word in &mut words[..3] {
        *word = u64::from_le_bytes(field(rest));
    }
    let [pages, free_head, free_count, index_segment, index_units] =
        [(); 5].map(|()| u32::from_le_bytes(field(rest)));
    let requests = live(rest);
    words[3] = u64::from_le_bytes(field(rest));
    Header {
        incarnation,
        words,
        pages,
        free_head,
        free_count,
        index_segment,
        index_units,
        live: [requests, live(rest)],
    }
}

fn live(rest: &mut &[u8]) -> Live {
    Live {
        first: u16::from_le_bytes(field(rest)),
        count: u16::from_le_bytes(field(rest)),
    }
}

/// An entry of the counters' table in today's form.
pub(super) fn counters_entry(memory: &impl Memory, number: u16) -> [u8; ENTRY_BYTES] {
    let mut old = [0; OLD_ENTRY_BYTES];
    memory.read(
        TABLE + u64::from(number % PARTITIONS) * OLD_ENTRY_BYTES as u64,
        &mut old,
    );
    let mut entry = [0; ENTRY_BYTES];
    // Until, oldest and the first word; rows and their chain; the second word.
    entry[..24].copy_from_slice(&old[..24]);
    entry[24..42].copy_from_slice(&old[32..50]);
    entry[56..].copy_from_slice(&old[24..32]);
    entry
}
