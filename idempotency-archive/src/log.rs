//! Bytes in the order in which they came.

use crate::extents::{EXTENT, Extents, File};
use ic_stable_structures::Memory;

/// A file that bytes are put at the end of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) file: File,
    pub(crate) length: u64,
}

impl Log {
    /// Extents that it takes more, if so many bytes are put to it.
    pub(crate) fn extents_for(&self, bytes: u64) -> u64 {
        (self.length.saturating_add(bytes).div_ceil(EXTENT as u64))
            .saturating_sub(self.file.len() as u64)
    }

    /// `false` if the memory can't grow by [`extents_for`](Self::extents_for) them.
    pub(crate) fn append<M: Memory>(&mut self, extents: &mut Extents<M>, bytes: &[u8]) -> bool {
        let needed = self.extents_for(bytes.len() as u64);
        if !extents.reserve(needed) {
            return false;
        }
        for _ in 0..needed {
            extents.push(&mut self.file);
        }
        extents.write(&self.file, self.length, bytes);
        self.length += bytes.len() as u64;
        true
    }

    /// Those of a range; `None` if it lies beyond the end.
    pub(crate) fn read<M: Memory>(
        &self,
        extents: &Extents<M>,
        from: u64,
        length: u64,
    ) -> Option<Vec<u8>> {
        if from.checked_add(length)? > self.length {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        extents.read(&self.file, from, &mut bytes);
        Some(bytes)
    }
}
