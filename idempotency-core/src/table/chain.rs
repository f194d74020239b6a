//! A log over several segments.

use super::{
    error::Damaged,
    layout::{FIRST_SEGMENT, SEGMENT_BYTES, field},
    segments::{CHAIN_BYTES, Segments, address},
};
use ic_stable_structures::Memory;

/// What the IC charges for as one page when it is first written in a message.
const CHARGED_PAGE: u64 = 4_096;

/// How much of a log is read at once to find its end.
const READ_BYTES: usize = 1_024;

/// A chain of segments that is appended to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) head: u32,
    pub(crate) tail: u32,
    /// Bytes of the tail in use, its chain bytes included.
    pub(crate) used: u32,
    pub(crate) segments: u32,
}

impl Chain {
    /// Its size in a table.
    pub(crate) const BYTES: usize = 14;

    pub(crate) fn room(&self) -> u64 {
        if self.tail == 0 {
            0
        } else {
            SEGMENT_BYTES - u64::from(self.used)
        }
    }

    pub(crate) fn extend<M: Memory>(&mut self, segments: &mut Segments<M>) -> Result<(), Damaged> {
        let segment = segments.take_for_chain(self.tail)?;
        if self.head == 0 {
            self.head = segment;
        }
        self.tail = segment;
        self.used = CHAIN_BYTES as u32;
        self.segments += 1;
        Ok(())
    }

    pub(crate) fn end(&self) -> u64 {
        address(self.tail) + u64::from(self.used)
    }

    pub(crate) fn is_plausible<M>(&self, segments: &Segments<M>) -> bool {
        let pages = segments.header.pages;
        if self.head == 0 {
            return *self == Self::default();
        }
        (FIRST_SEGMENT..pages).contains(&self.head)
            && (FIRST_SEGMENT..pages).contains(&self.tail)
            && (1..pages).contains(&self.segments)
            && (CHAIN_BYTES..=SEGMENT_BYTES).contains(&u64::from(self.used))
    }

    /// The charged page that it has reached.
    pub(crate) fn page(&self) -> u64 {
        self.end() / CHARGED_PAGE
    }

    /// Brings the end of the log, as a table knew it earlier, to where it is now. `parse` is shown what lies there and gives
    /// the length of the first record, or `None` at the end; a record takes at most `most` bytes.
    pub(crate) fn find_end<M: Memory>(
        &mut self,
        segments: &Segments<M>,
        most: usize,
        mut parse: impl FnMut(&[u8]) -> Result<Option<usize>, Damaged>,
    ) -> Result<(), Damaged> {
        if !self.is_plausible(segments) {
            return Err(Damaged);
        }
        if self.tail == 0 {
            return Ok(());
        }
        let mut bytes = [0; READ_BYTES];
        loop {
            let room = self.room().min(READ_BYTES as u64) as usize;
            segments.read_into(self.end(), &mut bytes[..room])?;
            let mut rest = &bytes[..room];
            let before = self.used;
            while let Some(length) = parse(rest)? {
                self.used += length as u32;
                rest = rest.get(length..).unwrap_or_default();
            }
            if rest.len() >= most || self.used == before {
                return Ok(());
            }
        }
    }

    pub(crate) fn from_bytes(rest: &mut &[u8]) -> Self {
        let (head, tail) = (field(rest), field(rest));
        // Both are below 2^24: the number of segments, and a segment's size.
        let ([a, b, c], [d, e, f]) = (field(rest), field(rest));
        Self {
            head: u32::from_le_bytes(head),
            tail: u32::from_le_bytes(tail),
            segments: u32::from_le_bytes([a, b, c, 0]),
            used: u32::from_le_bytes([d, e, f, 0]),
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&self.head.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.tail.to_le_bytes());
        bytes[8..11].copy_from_slice(&self.segments.to_le_bytes()[..3]);
        bytes[11..].copy_from_slice(&self.used.to_le_bytes()[..3]);
        bytes
    }

    pub(crate) fn give_back<M: Memory>(self, segments: &mut Segments<M>) {
        segments.give_back(self.head, self.tail, self.segments);
    }
}
