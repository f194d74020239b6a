//! Cells: 32 bytes each at a place of its own, in a chain of segments that is read as a whole when the memory is opened. They hold what
//! must be found again without a name: what had begun and had not ended.
//!
//! ```text
//! offset  bytes  in the header's page
//!     96      4  first segment of the chain, 0 if none
//!    100      4  number of segments
//!    104      8  numbers below this one may have been given out
//! ```
//!
//! A cell that begins with eight zeros is free. The chain never gets shorter: it has room for the most cells that were ever in use at a time.

use super::{
    error::Damaged,
    layout::{FIRST_SEGMENT, SEGMENT_BYTES, field},
    segments::{CHAIN_BYTES, Segments, address},
};
use ic_stable_structures::Memory;

const AT: u64 = 96;

/// The size of a cell.
pub(crate) const CELL_BYTES: usize = 32;

/// The content of a cell. The first eight bytes of one in use are not all zeros.
pub(crate) type CellBytes = [u8; CELL_BYTES];

const CELLS_IN_SEGMENT: u32 = ((SEGMENT_BYTES - CHAIN_BYTES) / CELL_BYTES as u64) as u32;

/// So many numbers are set aside at a time: each time the header's page is written.
const NUMBERS_AHEAD: u64 = 1_024;

/// The cells of a memory, and its numbers.
pub(crate) struct Cells {
    /// The chain, first to last.
    chain: Vec<u32>,
    /// Those that are not in use, the one to be used next last.
    free: Vec<u32>,
    /// The number that is given out next.
    next_number: u64,
    /// Numbers below this one are set aside.
    set_aside: u64,
}

impl Cells {
    /// Reads them all. `in_use` is shown each cell that is in use.
    pub(super) fn open<M: Memory>(
        segments: &Segments<M>,
        mut in_use: impl FnMut(u32, &CellBytes) -> Result<(), Damaged>,
    ) -> Result<Self, Damaged> {
        let mut header = [0; 16];
        segments.memory.read(AT, &mut header);
        let rest = &mut header.as_slice();
        let (mut segment, count) = (
            u32::from_le_bytes(field(rest)),
            u32::from_le_bytes(field(rest)),
        );
        let set_aside = u64::from_le_bytes(field(rest));
        if count > segments.header.pages || set_aside > u64::MAX / 2 {
            return Err(Damaged);
        }
        let mut cells = Self {
            chain: vec![],
            free: vec![],
            next_number: set_aside.max(1),
            set_aside,
        };
        let mut bytes = vec![0; (SEGMENT_BYTES - CHAIN_BYTES) as usize];
        for _ in 0..count {
            if !(FIRST_SEGMENT..segments.header.pages).contains(&segment) {
                return Err(Damaged);
            }
            segments.read_into(address(segment) + CHAIN_BYTES, &mut bytes)?;
            let (contents, _) = bytes.as_chunks();
            for (cell, content) in (cells.first_of_next()..).zip(contents) {
                match content[..8] {
                    [0, 0, 0, 0, 0, 0, 0, 0] => cells.free.push(cell),
                    _ => in_use(cell, content)?,
                }
            }
            cells.chain.push(segment);
            segment = segments.next_in_chain(segment)?;
        }
        // The lowest are used first: few pages are written then.
        cells.free.reverse();
        Ok(cells)
    }

    /// No number from this one on was given out.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// A number that was never given out before, and will not be again. 0 is none.
    pub(crate) fn number<M: Memory>(&mut self, segments: &Segments<M>) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        if self.next_number > self.set_aside {
            self.set_aside = self.next_number + NUMBERS_AHEAD;
            segments.memory.write(AT + 8, &self.set_aside.to_le_bytes());
        }
        number
    }

    /// A free cell. It may take a segment: [`Segments::reserve`] has made sure of one.
    pub(crate) fn take<M: Memory>(&mut self, segments: &mut Segments<M>) -> Result<u32, Damaged> {
        if self.free.is_empty() {
            let last = self.chain.last().copied().unwrap_or(0);
            let segment = segments.take_for_chain(last)?;
            let zeros = vec![0; (SEGMENT_BYTES - CHAIN_BYTES) as usize];
            (segments.memory).write(address(segment) + CHAIN_BYTES, &zeros);
            let first = self.first_of_next();
            self.free.extend((first..first + CELLS_IN_SEGMENT).rev());
            self.chain.push(segment);
            let mut header = [0; 8];
            header[..4].copy_from_slice(&self.chain[0].to_le_bytes());
            header[4..].copy_from_slice(&(self.chain.len() as u32).to_le_bytes());
            segments.memory.write(AT, &header);
        }
        self.free.pop().ok_or(Damaged)
    }

    /// Writes a cell that is in use.
    pub(crate) fn write<M: Memory>(
        &self,
        segments: &Segments<M>,
        cell: u32,
        bytes: &CellBytes,
    ) -> Result<(), Damaged> {
        segments.memory.write(self.place(cell)?, bytes);
        Ok(())
    }

    /// Gives a cell back.
    pub(crate) fn free<M: Memory>(
        &mut self,
        segments: &Segments<M>,
        cell: u32,
    ) -> Result<(), Damaged> {
        segments.memory.write(self.place(cell)?, &[0; 8]);
        self.free.push(cell);
        Ok(())
    }

    fn first_of_next(&self) -> u32 {
        self.chain.len() as u32 * CELLS_IN_SEGMENT
    }

    fn place(&self, cell: u32) -> Result<u64, Damaged> {
        let (index, offset) = (cell / CELLS_IN_SEGMENT, cell % CELLS_IN_SEGMENT);
        let segment = self.chain.get(index as usize).ok_or(Damaged)?;
        Ok(address(*segment) + CHAIN_BYTES + u64::from(offset) * CELL_BYTES as u64)
    }
}
