//! Cells: 32 bytes each at a place of its own, in a chain of segments that is read as a whole when the memory is opened. They hold what
//! must be found again without a name: what had begun and had not ended.
//!
//! ```text
//! offset  bytes  in the header's page
//!     96      4  first segment of the chain, 0 if none
//!    100      4  number of cells that were ever in use, rounded up to a multiple of 32
//!    104      8  numbers below this one may have been given out
//! ```
//!
//! A cell that begins with eight zeros is free. The chain never gets shorter: it has room for the most cells that were ever in use at a time.

use super::{
    error::Damaged,
    layout::{FIRST_SEGMENT, field},
    segments::{CHAIN_BYTES, Segments, address},
};
use ic_stable_structures::Memory;

const AT: u64 = 96;

/// The size of a cell.
pub(crate) const CELL_BYTES: usize = 32;

/// The content of a cell. The first eight bytes of one in use are not all zeros.
pub(crate) type CellBytes = [u8; CELL_BYTES];

const CELLS_IN_SEGMENT: u32 = 2_016;

/// So many cells are cleared at a time, before the first of them is used.
const CELLS_IN_BLOCK: u32 = 32;

/// So many numbers are set aside at a time: each time the header's page is written.
const NUMBERS_AHEAD: u64 = 1_024;

/// The cells of a memory, and its numbers.
pub(crate) struct Cells {
    /// The chain, first to last.
    chain: Vec<u32>,
    /// How many cells there are.
    count: u32,
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
        let is_plausible = count.div_ceil(CELLS_IN_SEGMENT) <= segments.header.pages
            && count.is_multiple_of(CELLS_IN_BLOCK);
        if !is_plausible || set_aside > u64::MAX / 2 {
            return Err(Damaged);
        }
        let mut cells = Self {
            chain: vec![],
            count,
            free: vec![],
            next_number: set_aside.max(1),
            set_aside,
        };
        for first in (0..count).step_by(CELLS_IN_SEGMENT as usize) {
            if !(FIRST_SEGMENT..segments.header.pages).contains(&segment) {
                return Err(Damaged);
            }
            let here = (count - first).min(CELLS_IN_SEGMENT);
            let mut bytes = vec![0; here as usize * CELL_BYTES];
            segments.read_into(address(segment) + CHAIN_BYTES, &mut bytes)?;
            let (contents, _) = bytes.as_chunks();
            for (cell, content) in (first..).zip(contents) {
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
            self.clear_block(segments)?;
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

    /// Makes some more cells.
    fn clear_block<M: Memory>(&mut self, segments: &mut Segments<M>) -> Result<(), Damaged> {
        if self.count.is_multiple_of(CELLS_IN_SEGMENT) {
            let last = self.chain.last().copied().unwrap_or(0);
            self.chain.push(segments.take_for_chain(last)?);
        }
        let cells = self.count..self.count + CELLS_IN_BLOCK;
        let zeros = [0; CELLS_IN_BLOCK as usize * CELL_BYTES];
        segments.memory.write(self.place(cells.start)?, &zeros);
        self.count = cells.end;
        self.free.extend(cells.rev());
        let mut header = [0; 8];
        header[..4].copy_from_slice(&self.chain[0].to_le_bytes());
        header[4..].copy_from_slice(&self.count.to_le_bytes());
        segments.memory.write(AT, &header);
        Ok(())
    }

    fn place(&self, cell: u32) -> Result<u64, Damaged> {
        let (index, offset) = (cell / CELLS_IN_SEGMENT, cell % CELLS_IN_SEGMENT);
        let segment = self.chain.get(index as usize).ok_or(Damaged)?;
        Ok(address(*segment) + CHAIN_BYTES + u64::from(offset) * CELL_BYTES as u64)
    }
}
