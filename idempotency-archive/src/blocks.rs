//! Blocks of a ledger, by index.

use crate::{
    extents::Extents,
    icrc3::Value,
    log::Log,
    wire::{AppendBlocks, AppendedBlocks},
};
use ic_stable_structures::Memory;

/// The blocks of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blocks {
    /// The index of the first, if there is one.
    pub(crate) first: u64,
    pub(crate) count: u64,
    /// Of each block where it ends in `data`, as 8 bytes.
    pub(crate) ends: Log,
    pub(crate) data: Log,
}

/// The memory is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost;

impl Blocks {
    /// The index of the next block.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.count
    }

    /// Takes those that are not there yet. `has_room` says whether so many extents more may be taken.
    pub(crate) fn append<M: Memory>(
        &mut self,
        extents: &mut Extents<M>,
        append: &AppendBlocks,
        has_room: impl FnOnce(&mut Extents<M>, u64) -> bool,
    ) -> Result<AppendedBlocks, Lost> {
        let AppendBlocks { from, blocks } = append;
        let first = if self.count == 0 { *from } else { self.first };
        let next = first + self.count;
        let malformed = |reason: &str| Ok(AppendedBlocks::Malformed(reason.to_owned()));
        if from.checked_add(blocks.len() as u64).is_none() {
            return malformed("no block has such an index");
        }
        if *from > next || *from < first {
            return Ok(AppendedBlocks::OutOfPlace(next));
        }
        let held = blocks.iter().zip(*from..next);
        for (block, index) in held {
            if self.get(extents, index)?.as_deref() != Some(block.as_slice()) {
                return Ok(AppendedBlocks::Different(index));
            }
        }
        let new = blocks.get((next - from) as usize..).unwrap_or(&[]);
        for block in new {
            if let Err(error) = Value::from_bytes(block) {
                return malformed(&format!("a block is no value: {error}"));
            }
        }
        let mut data = vec![];
        let mut ends = Vec::with_capacity(8 * new.len());
        for block in new {
            data.extend_from_slice(block);
            ends.extend((self.data.length + data.len() as u64).to_le_bytes());
        }
        let needed =
            self.data.extents_for(data.len() as u64) + self.ends.extents_for(ends.len() as u64);
        if !has_room(extents, needed) {
            return Ok(AppendedBlocks::Full(next));
        }
        self.data.append(extents, &data);
        self.ends.append(extents, &ends);
        (self.first, self.count) = (first, self.count + new.len() as u64);
        Ok(AppendedBlocks::Taken(self.next()))
    }

    /// The block of an index.
    pub(crate) fn get<M: Memory>(
        &self,
        extents: &Extents<M>,
        index: u64,
    ) -> Result<Option<Vec<u8>>, Lost> {
        let Some(number) = index.checked_sub(self.first).filter(|&it| it < self.count) else {
            return Ok(None);
        };
        let end = |number: u64| {
            let bytes = self.ends.read(extents, 8 * number, 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let start = if number == 0 {
            Some(0)
        } else {
            end(number - 1)
        };
        let read = || {
            let (start, end) = (start?, end(number)?);
            self.data.read(extents, start, end.checked_sub(start)?)
        };
        read().map(Some).ok_or(Lost)
    }
}
