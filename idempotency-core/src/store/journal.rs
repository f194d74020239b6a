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

use super::{
    contents::Contents,
    open::Open,
    record::{JOURNAL_UNIT_BYTES, Totals},
};
use crate::table::{Composed, Damaged, Partition, Row, RowBytes, TERMINATOR, field};
use ic_stable_structures::Memory;

/// The first byte of a row.
pub(super) const MARK: u8 = 5;

const FIXED_BYTES: usize = 8;
const MOST_DATA_BYTES: usize = 172;

/// Of the longest row.
pub(super) const MOST_LENGTH: usize = FIXED_BYTES + MOST_DATA_BYTES;

/// In the third byte.
const GOES_ON: u8 = 128;

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
    rows * 3 * JOURNAL_UNIT_BYTES
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
fn compose(bytes: &mut RowBytes, class: u8, before: u64, data: &[u8]) -> usize {
    bytes[..3].copy_from_slice(&[MARK, data.len() as u8, class]);
    bytes[3..FIXED_BYTES].copy_from_slice(&before.to_le_bytes()[..5]);
    let end = FIXED_BYTES + data.len();
    bytes[FIXED_BYTES..end].copy_from_slice(data);
    let length = end.next_multiple_of(4);
    bytes[end..length + TERMINATOR].fill(0);
    length
}

impl<M: Memory> Contents<M> {
    /// Appends an entry to a request's journal. There is room for it.
    pub(super) fn append_entry(
        &mut self,
        open: &mut Open,
        class: Class,
        entry: &[u8],
    ) -> Result<(), Damaged> {
        let mut rest = entry;
        loop {
            let (data, later) = rest.split_at(rest.len().min(MOST_DATA_BYTES));
            let goes_on = if later.is_empty() { 0 } else { GOES_ON };
            let (table, requests) = (&mut self.table, &mut self.requests);
            let (mut charge, last) = (0, open.journal);
            open.journal = table.add_unnamed(
                requests,
                open.partition,
                |bytes, partition: &mut Partition<Totals>| {
                    let length = compose(bytes, class as u8 | goes_on, last, data);
                    charge = partition.own.count_journal(length);
                    Composed {
                        length,
                        must_write: false,
                    }
                },
            )?;
            self.journal_bytes += charge;
            open.journal_bytes += charge;
            if later.is_empty() {
                return Ok(());
            }
            rest = later;
        }
    }

    /// The entries of a journal whose last row lies at `last`, in order, and the bytes that it is charged with.
    pub(super) fn entries(&mut self, last: u64) -> Result<(Vec<Entry>, u64), Damaged> {
        let rows = self.rows(last)?;
        let charge = rows.iter().map(JournalRow::charge).sum();
        let mut entries: Vec<Entry> = Vec::with_capacity(rows.len());
        let mut goes_on = false;
        for row in rows.into_iter().rev() {
            match entries.last_mut() {
                Some((class, data)) if goes_on && *class == row.class => data.extend(row.data),
                _ if goes_on => return Err(Damaged),
                _ => entries.push((row.class, row.data)),
            }
            goes_on = row.goes_on;
        }
        if goes_on {
            return Err(Damaged);
        }
        Ok((entries, charge))
    }

    /// The last row of the first entry, which says where the request comes from, of a journal whose last row lies at `last`; and the bytes
    /// that the journal is charged with up to there.
    pub(super) fn end_of_origin(&mut self, last: u64) -> Result<(u64, u64), Damaged> {
        let rows = self.rows(last)?;
        let later = rows.iter().take_while(|row| row.class != Class::Origin);
        let origin = &rows[later.count()..];
        let charge = origin.iter().map(JournalRow::charge).sum();
        Ok((origin.first().map_or(0, |row| row.at), charge))
    }

    /// The rows of a journal whose last row lies at `last`: that one first.
    fn rows(&mut self, last: u64) -> Result<Vec<JournalRow>, Damaged> {
        let mut rows = vec![];
        // What goes in a circle is damaged: it comes back to one of the rows that are looked out for, each twice as far from the last.
        let (mut at, mut looked_out_for, mut next) = (last, 0, 1);
        while at != 0 {
            if at == looked_out_for || rows.len() > MOST_ROWS {
                return Err(Damaged);
            }
            if rows.len() == next {
                (looked_out_for, next) = (at, 2 * next);
            }
            let row = self.read_row(at)?;
            at = row.before;
            rows.push(row);
        }
        Ok(rows)
    }

    fn read_row(&mut self, at: u64) -> Result<JournalRow, Damaged> {
        self.table.read_unnamed(at, MOST_LENGTH, |bytes| {
            let mut rest = bytes.get(..FIXED_BYTES).ok_or(Damaged)?;
            let [mark, length, class] = field(&mut rest);
            let [a, b, c, d, e] = field(&mut rest);
            if mark != MARK {
                return Err(Damaged);
            }
            let data = bytes.get(FIXED_BYTES..FIXED_BYTES + usize::from(length));
            Ok(JournalRow {
                at,
                class: Class::from_byte(class).ok_or(Damaged)?,
                goes_on: class & GOES_ON != 0,
                before: u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]),
                data: data.ok_or(Damaged)?.to_vec(),
            })
        })
    }
}

/// A row as it was read.
struct JournalRow {
    at: u64,
    class: Class,
    goes_on: bool,
    before: u64,
    data: Vec<u8>,
}

impl JournalRow {
    /// The bytes that it is charged with.
    fn charge(&self) -> u64 {
        let length = (FIXED_BYTES + self.data.len()).next_multiple_of(4) as u64;
        length.next_multiple_of(JOURNAL_UNIT_BYTES)
    }
}

/// As many rows as the longest journal can have, and its notes.
const MOST_ROWS: usize = (1 << 18) + 64;
