//! Partitions: rows that may be forgotten at about the same time, in a log of their own. Forgetting them all is giving back the
//! segments of two chains, whatever their number.
//!
//! A partition has a chain of rows and a chain of blobs. A row is appended with four zero bytes after it, which the next one
//! overwrites; so the end of the log can be found by reading on from a place known earlier, and the table in the header's page
//! is written only when the log reaches another 4 KiB page.
//!
//! ```text
//! offset  bytes  entry of a partition in its family's table
//!      0      8  until: it is kept up to and including this time, ns
//!      8      8  oldest: no row in it has an earlier time, ns
//!     16      8  first word of the layer above
//!     24      4  rows
//!     28     14  chain of rows
//!     42     14  chain of blobs
//!     56      8  second word of the layer above
//! ```

use super::{
    blobs,
    chain::Chain,
    error::Damaged,
    header::{Header, Version},
    kind::{Family, Kind},
    layout::{ENTRY_BYTES, TERMINATOR, field},
    segments::Segments,
    version2,
};
#[cfg(feature = "archive")]
use super::{layout::SEGMENT_BYTES, segments::CHAIN_BYTES};
use ic_stable_structures::Memory;
use std::collections::VecDeque;

/// A partition, as it stands in its family's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Partition<O> {
    pub(crate) until: u64,
    /// Numbers come round after 32,768 partitions: a slot that was left over from the last time leads to an older row.
    pub(crate) oldest: u64,
    pub(crate) rows: u32,
    /// What the layer above keeps with it.
    pub(crate) own: O,
    log: Chain,
    blobs: Chain,
}

impl<O: Copy + Default + From<[u64; 2]> + Into<[u64; 2]>> Partition<O> {
    fn new(until: u64) -> Self {
        Self {
            until,
            oldest: u64::MAX,
            ..Self::default()
        }
    }

    fn from_bytes(mut bytes: &[u8]) -> Self {
        let rest = &mut bytes;
        let until = u64::from_le_bytes(field(rest));
        let oldest = u64::from_le_bytes(field(rest));
        let first = u64::from_le_bytes(field(rest));
        let rows = u32::from_le_bytes(field(rest));
        let (log, blobs) = (Chain::from_bytes(rest), Chain::from_bytes(rest));
        let own = [first, u64::from_le_bytes(field(rest))].into();
        Self {
            until,
            oldest,
            rows,
            own,
            log,
            blobs,
        }
    }

    pub(super) fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let own: [u64; 2] = self.own.into();
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.until.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.oldest.to_le_bytes());
        bytes[16..24].copy_from_slice(&own[0].to_le_bytes());
        bytes[24..28].copy_from_slice(&self.rows.to_le_bytes());
        bytes[28..42].copy_from_slice(&self.log.to_bytes());
        bytes[42..56].copy_from_slice(&self.blobs.to_bytes());
        bytes[56..].copy_from_slice(&own[1].to_le_bytes());
        bytes
    }

    /// What the table must be told when it changes. The rest is found by reading on.
    fn mark(&self) -> (u32, u32, u64) {
        (self.blobs.tail, self.log.tail, self.log.page())
    }

    /// Appends a blob; where it lies.
    pub(super) fn append_blob<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        blob: &[u8],
    ) -> Result<u64, Damaged> {
        blobs::append(&mut self.blobs, segments, blob)
    }

    /// Appends a row of `length` bytes, which `bytes` holds with the zeros after it; `link` is told its address first: what it writes lies
    /// near what was read last, where a MemoryManager finds its way sooner. The address.
    #[inline]
    pub(super) fn append<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        bytes: &[u8],
        length: usize,
        time: u64,
        link: impl FnOnce(&mut Segments<M>, u64) -> Result<(), Damaged>,
    ) -> Result<u64, Damaged> {
        let at = self.append_unnamed(segments, bytes, length, link)?;
        self.rows = self.rows.saturating_add(1);
        self.oldest = self.oldest.min(time);
        Ok(at)
    }

    /// As [`append`](Self::append), of a row without a name.
    #[inline]
    pub(super) fn append_unnamed<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        bytes: &[u8],
        length: usize,
        link: impl FnOnce(&mut Segments<M>, u64) -> Result<(), Damaged>,
    ) -> Result<u64, Damaged> {
        // The zeros must fit, too.
        if self.log.room() < (length + TERMINATOR) as u64 {
            self.log.extend(segments)?;
        }
        let at = self.log.end();
        link(segments, at)?;
        segments.memory.write(at, &bytes[..length + TERMINATOR]);
        self.log.used += length as u32;
        Ok(at)
    }

    /// Reads the log, from an address in it or from its beginning, to the end of the segment; where `bytes` lie then, and where the log goes
    /// on behind them.
    #[cfg(feature = "archive")]
    pub(crate) fn read_log<M: Memory>(
        &self,
        segments: &Segments<M>,
        from: Option<u64>,
        bytes: &mut Vec<u8>,
    ) -> Result<(u64, Option<u64>), Damaged> {
        let Some(start) = from.or((self.log.head != 0).then(|| start_of(self.log.head))) else {
            bytes.clear();
            return Ok((0, None));
        };
        let segment = u32::try_from(start / SEGMENT_BYTES).map_err(|_| Damaged)?;
        let is_last = segment == self.log.tail;
        let end = match is_last {
            true => self.log.end(),
            false => u64::from(segment) * SEGMENT_BYTES + SEGMENT_BYTES,
        };
        let length = end.checked_sub(start).ok_or(Damaged)?;
        bytes.resize(length as usize, 0);
        segments.read_into(start, bytes)?;
        if is_last {
            return Ok((start, None));
        }
        match segments.next_in_chain(segment)? {
            0 => Err(Damaged),
            next => Ok((start, Some(start_of(next)))),
        }
    }

    /// Segments of its log.
    #[cfg(feature = "archive")]
    pub(crate) fn log_segments(&self) -> u32 {
        self.log.segments
    }

    /// Finds the ends of its chains, from the places that the table knows, and counts what was appended since.
    fn find_end<F: Family<Own = O>, M: Memory>(
        &mut self,
        segments: &Segments<M>,
    ) -> Result<(), Damaged> {
        // A blob's end is found by its row's.
        self.blobs.find_end(segments, 0, |_| Ok(None))?;
        let mut log = self.log;
        log.find_end(segments, F::MOST_BYTES, |rest| {
            let Some(row) = F::row(rest)? else {
                return Ok(None);
            };
            let Some(bytes) = rest.get(..row.length) else {
                return Ok(None);
            };
            if row.is_named() {
                self.rows = self.rows.saturating_add(1);
                self.oldest = self.oldest.min(row.time);
            }
            F::count(&mut self.own, bytes);
            if let Some((place, length)) = F::blob(bytes) {
                blobs::skip(&mut self.blobs, segments, place.address, length)?;
            }
            Ok(Some(row.length))
        })?;
        self.log = log;
        Ok(())
    }
}

/// The live partitions of a family, oldest first.
pub(crate) struct Partitions<F: Family> {
    live: VecDeque<Partition<F::Own>>,
    /// Rows of all of them.
    pub(crate) rows: u64,
}

impl<F: Family> Partitions<F> {
    /// Reads them from the family's table.
    pub(super) fn open<M: Memory>(
        segments: &Segments<M>,
        version: Version,
    ) -> Result<Self, Damaged> {
        let numbers = segments.header.live[F::INDEX];
        let mut live = VecDeque::with_capacity(usize::from(numbers.count));
        for position in 0..usize::from(numbers.count) {
            let number = numbers.number(position);
            let entry = match version {
                Version::Two if F::KIND == Kind::COUNTER => {
                    version2::counters_entry(&segments.memory, number)
                }
                _ => {
                    let mut entry = [0; ENTRY_BYTES];
                    segments.memory.read(place::<F>(number), &mut entry);
                    entry
                }
            };
            let mut partition = Partition::from_bytes(&entry);
            partition.find_end::<F, M>(segments)?;
            live.push_back(partition);
        }
        let rows = live.iter().map(|partition| u64::from(partition.rows)).sum();
        Ok(Self { live, rows })
    }

    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Partition<F::Own>> {
        self.live.iter()
    }

    /// Their numbers, in the same order.
    pub(crate) fn numbers(&self, header: &Header) -> impl Iterator<Item = u16> + use<F> {
        let live = header.live[F::INDEX];
        (0..self.live.len()).map(move |position| live.number(position))
    }

    pub(crate) fn oldest(&self) -> Option<&Partition<F::Own>> {
        self.live.front()
    }

    pub(crate) fn newest(&self) -> Option<&Partition<F::Own>> {
        self.live.back()
    }

    pub(crate) fn get(&self, header: &Header, number: u16) -> Option<&Partition<F::Own>> {
        self.live.get(header.live[F::INDEX].position(number))
    }

    pub(crate) fn get_mut(
        &mut self,
        header: &Header,
        number: u16,
    ) -> Option<&mut Partition<F::Own>> {
        self.live.get_mut(header.live[F::INDEX].position(number))
    }

    /// The number of the oldest that is kept until a time, or longer.
    pub(crate) fn kept_until(&self, header: &Header, until: u64) -> Option<u16> {
        let newest = self.live.len().wrapping_sub(1);
        let is_enough =
            |position| (self.live.get(position)).is_some_and(|partition| partition.until >= until);
        // Most is kept for as long as anything.
        let position = match is_enough(newest) && !is_enough(newest.wrapping_sub(1)) {
            true => newest,
            false => self
                .live
                .partition_point(|partition| partition.until < until),
        };
        (position < self.live.len()).then(|| header.live[F::INDEX].number(position))
    }

    /// A new partition that is kept until a time; or, where the table is full, the newest, kept until then. Its number.
    pub(crate) fn begin<M: Memory>(&mut self, segments: &mut Segments<M>, until: u64) -> u16 {
        if self.live.len() < usize::from(F::MOST_PARTITIONS) {
            self.live.push_back(Partition::new(until));
            segments.header.live[F::INDEX].count += 1;
            segments.write_header();
        } else if let Some(newest) = self.live.back_mut() {
            newest.until = until;
        }
        let number = self.newest_number(&segments.header);
        self.write(segments, number);
        number
    }

    pub(crate) fn oldest_number(&self, header: &Header) -> u16 {
        header.live[F::INDEX].number(0)
    }

    pub(crate) fn newest_number(&self, header: &Header) -> u16 {
        header.live[F::INDEX].number(self.live.len().saturating_sub(1))
    }

    /// Writes a partition to the family's table.
    pub(crate) fn write<M: Memory>(&self, segments: &Segments<M>, number: u16) {
        if let Some(partition) = self.get(&segments.header, number) {
            let bytes = partition.to_bytes();
            segments.memory.write(place::<F>(number), &bytes);
        }
    }

    /// Writes all of them.
    pub(crate) fn write_all<M: Memory>(&self, segments: &Segments<M>) {
        let live = segments.header.live[F::INDEX];
        for position in 0..self.live.len() {
            self.write(segments, live.number(position));
        }
    }

    /// One row fewer counts in a partition, to which `note` may be written.
    pub(super) fn forget_row<M: Memory>(
        &mut self,
        segments: &Segments<M>,
        number: u16,
        note: impl FnOnce(&mut F::Own),
    ) {
        self.rows = self.rows.saturating_sub(1);
        if let Some(partition) = self.get_mut(&segments.header, number) {
            partition.rows = partition.rows.saturating_sub(1);
            note(&mut partition.own);
            let bytes = partition.to_bytes();
            segments.memory.write(place::<F>(number), &bytes);
        }
    }

    /// Changes a partition, and writes it to the table where its ends have moved or `change` says so.
    pub(super) fn change<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        number: u16,
        change: impl FnOnce(&mut Partition<F::Own>, &mut Segments<M>) -> Result<bool, Damaged>,
    ) -> Result<(), Damaged> {
        let partition = self.get_mut(&segments.header, number).ok_or(Damaged)?;
        let (mark, rows) = (partition.mark(), partition.rows);
        if change(partition, segments)? || partition.mark() != mark {
            let bytes = partition.to_bytes();
            segments.memory.write(place::<F>(number), &bytes);
        }
        let rows = partition.rows.saturating_sub(rows);
        self.rows += u64::from(rows);
        Ok(())
    }

    /// Gives back the blobs of the oldest partition of which `may_drop` says so; whether there is one.
    pub(crate) fn drop_blobs<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        mut may_drop: impl FnMut(&mut F::Own) -> bool,
    ) -> bool {
        let Some(position) = (self.live.iter_mut()).position(|it| may_drop(&mut it.own)) else {
            return false;
        };
        std::mem::take(&mut self.live[position].blobs).give_back(segments);
        segments.write_header();
        self.write(segments, segments.header.live[F::INDEX].number(position));
        true
    }

    /// Forgets the oldest partition: gives back its segments, and its number to nobody for 32,767 others.
    pub(super) fn forget_oldest<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
    ) -> Option<Partition<F::Own>> {
        let partition = self.live.pop_front()?;
        self.rows = self.rows.saturating_sub(partition.rows.into());
        partition.blobs.give_back(segments);
        partition.log.give_back(segments);
        let live = &mut segments.header.live[F::INDEX];
        live.first = live.number(1);
        live.count -= 1;
        Some(partition)
    }
}

/// Where the first row of a segment lies.
#[cfg(feature = "archive")]
fn start_of(segment: u32) -> u64 {
    u64::from(segment) * SEGMENT_BYTES + CHAIN_BYTES
}

/// Where the entry of a partition stands.
fn place<F: Family>(number: u16) -> u64 {
    F::TABLE + u64::from(number % F::MOST_PARTITIONS) * ENTRY_BYTES as u64
}
