//! A row of a run: what is kept of one id.
//!
//! ```text
//! offset  bytes  narrow: of a short entry      offset  bytes  wide: of a full entry
//!      0      3  digests                            0     16  id
//!      3     13  id, from its fourth byte on       16      7  time and flags
//!     16      7  time and flags                    23     16  digests
//!                                                  39      6  where its reply lies: an offset in the log of replies; 0 where nothing is kept
//! ```
//!
//! Integers are little-endian.

use crate::extents::{EXTENT, Extents, File};
use ic_stable_structures::Memory;
use idempotency_core::archive::{COMPARED, FULL_BYTES, Head, Id};

/// Bytes of a row in an archive of ids.
pub(crate) const NARROW: usize = 16 + Head::BYTES;

/// Bytes of a row in an archive that keeps replies.
pub(crate) const WIDE: usize = FULL_BYTES + 6;

/// Whether rows of a width are those of an archive that keeps replies.
pub(crate) const fn keeps_replies(width: usize) -> bool {
    width == WIDE
}

/// An id as a number, in the order that costs no more than a load, as far as an archive compares it; ids are sorted so.
pub(crate) type Key = u128;

pub(crate) const fn key_of(id: &Id, width: usize) -> Key {
    let all = Key::from_le_bytes(*id);
    match keeps_replies(width) {
        true => all,
        false => all & COMPARED,
    }
}

/// The first half of a key.
pub(crate) fn prefix(key: Key) -> u64 {
    (key >> 64) as u64
}

/// Of a row's first 16 bytes.
pub(crate) fn key<const W: usize>(row: &[u8]) -> Key {
    row.first_chunk().map_or(0, |id| key_of(id, W))
}

/// What the entry says that is kept of the reply: 0 if nothing.
pub(crate) fn kept(row: &[u8]) -> u8 {
    row[22] & 3
}

/// The entry of a row that was found by an id.
pub(crate) fn entry(row: &[u8; WIDE], id: &Id, width: usize) -> Vec<u8> {
    match keeps_replies(width) {
        true => row[..FULL_BYTES].to_vec(),
        false => [id, &row[16..NARROW], &row[..3]].concat(),
    }
}

/// Where the reply lies that a wide row says is kept.
pub(crate) fn place(row: &[u8; WIDE]) -> u64 {
    six(&row[FULL_BYTES..])
}

/// A number of 6 bytes; 0 of none.
fn six(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |&[a, b, c, d, e, f]| {
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    })
}

/// Which of two rows of one id is kept: a reply goes before a digest, and that before nothing; else what was executed later does. What rows
/// are merged in which order makes no difference.
#[cold]
pub(crate) fn is_better(row: &[u8], than: &[u8]) -> bool {
    fn worth(row: &[u8]) -> (u8, u64, &[u8], &[u8], u64) {
        let kept = [0, 2, 2, 1][usize::from(kept(row))];
        let (entry, place) = row.split_at(row.len().min(FULL_BYTES));
        // What is equal but for its reply is told apart by where that lies: the later goes before.
        (
            kept,
            six(&entry[16..]),
            &entry[22..],
            &entry[..3],
            six(place),
        )
    }
    worth(row) > worth(than)
}

/// Rows of that many bytes in an extent. None lies in two.
pub(crate) const fn per_extent(width: usize) -> u64 {
    (EXTENT / width) as u64
}

/// Reads rows of a file from one on.
pub(crate) fn read<M: Memory>(
    extents: &Extents<M>,
    file: &File,
    width: usize,
    first: u64,
    mut into: &mut [u8],
) {
    let per_extent = per_extent(width);
    let (mut extent, mut within) = (first / per_extent, first % per_extent);
    while !into.is_empty() {
        let length = ((per_extent - within) as usize * width).min(into.len());
        let (part, rest) = into.split_at_mut(length);
        let address = file.address(extent as usize) + within * width as u64;
        extents.memory().read(address, part);
        (into, extent, within) = (rest, extent + 1, 0);
    }
}

/// Writes rows into a file from one on; it must have the extents.
pub(crate) fn write<M: Memory>(
    extents: &Extents<M>,
    file: &File,
    width: usize,
    first: u64,
    mut rows: &[u8],
) {
    let per_extent = per_extent(width);
    let (mut extent, mut within) = (first / per_extent, first % per_extent);
    while !rows.is_empty() {
        let length = ((per_extent - within) as usize * width).min(rows.len());
        let (part, rest) = rows.split_at(length);
        let address = file.address(extent as usize) + within * width as u64;
        extents.memory().write(address, part);
        (rows, extent, within) = (rest, extent + 1, 0);
    }
}
