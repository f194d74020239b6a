//! The journal of a request: what must be known to go on with it. Its entries lie in rows without names in the request's partition, and
//! are forgotten with it. Each row leads to the one before it, and the request's cell to the last.
//!
//! ```text
//! offset  bytes  row of a journal
//!      0      1  5: that it is one
//!      1      1  length of the data, at most 172
//!      2      1  class of the entry: 0 origin, 1 step, 2 note; +128: the entry goes on in the next row
//!      3      5  address of the row before it, 0 if it is the first
//!      8      …  data, padded to a multiple of 4
//! ```

use crate::table::{Damaged, Row, RowBytes, TERMINATOR, field};

/// The first byte of a row.
pub(super) const MARK: u8 = 5;

/// Rows are charged in units of this.
pub(super) const UNIT_BYTES: u64 = 64;

const FIXED_BYTES: usize = 8;
/// Of an entry, in one row.
pub(super) const MOST_DATA_BYTES: usize = 172;

/// Of the longest row.
pub(super) const MOST_LENGTH: usize = FIXED_BYTES + MOST_DATA_BYTES;

/// In the third byte.
pub(super) const GOES_ON: u8 = 128;

/// What an entry of a journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Where the request came from, and what it needs to go on: the first entry.
    Origin,
    /// What `steps` has recorded.
    Step,
    /// Why it was parked.
    Note,
}

impl Class {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte & !GOES_ON {
            0 => Some(Self::Origin),
            1 => Some(Self::Step),
            2 => Some(Self::Note),
            _ => None,
        }
    }
}

/// An entry of a journal.
pub(super) type Entry = (Class, Vec<u8>);

/// The bytes that an entry is charged with, at most.
pub(super) fn most_charge(entry_bytes: usize) -> u64 {
    // Rows of 180 bytes count as three units of 64.
    let rows = entry_bytes.div_ceil(MOST_DATA_BYTES).max(1) as u64;
    rows * 3 * UNIT_BYTES
}

/// The row at the beginning of `bytes`, of which the end may be missing.
pub(super) fn row(bytes: &[u8]) -> Option<Row> {
    let data_bytes = usize::from(*bytes.get(1)?);
    Some(Row {
        length: (FIXED_BYTES + data_bytes).next_multiple_of(4),
        time: Row::UNNAMED,
        tail: [0; 16],
    })
}

/// Writes a row and the zeros after it; its length without these.
pub(super) fn compose(bytes: &mut RowBytes, class: u8, before: u64, data: &[u8]) -> usize {
    bytes[..3].copy_from_slice(&[MARK, data.len() as u8, class]);
    bytes[3..FIXED_BYTES].copy_from_slice(&before.to_le_bytes()[..5]);
    let end = FIXED_BYTES + data.len();
    bytes[FIXED_BYTES..end].copy_from_slice(data);
    let length = end.next_multiple_of(4);
    bytes[end..length + TERMINATOR].fill(0);
    length
}

/// A row as it was read.
pub(super) struct JournalRow {
    pub(super) at: u64,
    pub(super) class: Class,
    pub(super) goes_on: bool,
    pub(super) before: u64,
    pub(super) data: Vec<u8>,
}

impl JournalRow {
    /// The row that lies at `at`, and at the beginning of `bytes`.
    pub(super) fn read(at: u64, bytes: &[u8]) -> Result<Self, Damaged> {
        let mut rest = bytes.get(..FIXED_BYTES).ok_or(Damaged)?;
        let [mark, length, class] = field(&mut rest);
        let [a, b, c, d, e] = field(&mut rest);
        if mark != MARK {
            return Err(Damaged);
        }
        let data = bytes.get(FIXED_BYTES..FIXED_BYTES + usize::from(length));
        Ok(Self {
            at,
            class: Class::from_byte(class).ok_or(Damaged)?,
            goes_on: class & GOES_ON != 0,
            before: u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]),
            data: data.ok_or(Damaged)?.to_vec(),
        })
    }

    /// The bytes that it is charged with.
    pub(super) fn charge(&self) -> u64 {
        let length = (FIXED_BYTES + self.data.len()).next_multiple_of(4) as u64;
        length.next_multiple_of(UNIT_BYTES)
    }
}
