//! The journals of requests that have not ended: written, and read as a whole.

use super::{
    contents::Contents,
    journal::{Class, Entry, GOES_ON, JournalRow, MOST_DATA_BYTES, MOST_LENGTH, compose},
    open::Open,
    record::Totals,
};
use crate::table::{Composed, Damaged, Partition};
use ic_stable_structures::Memory;

/// Room for the rows of a journal that is not long.
const USUAL_ROWS: usize = 16;

/// As many rows as the longest journal can have, and its notes.
const MOST_ROWS: usize = (1 << 18) + 64;

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
        let mut rows = Vec::with_capacity(USUAL_ROWS);
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
        (self.table).read_unnamed(at, MOST_LENGTH, |bytes| JournalRow::read(at, bytes))
    }
}
