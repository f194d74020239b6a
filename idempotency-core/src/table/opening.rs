//! Opening a memory, whichever layout it has.

use super::{
    cells::{CellBytes, Cells},
    error::{Damaged, OpenError},
    header::{Header, Purpose, Version, WORDS},
    kind::Family,
    layout::FAMILIES,
    nodes::Forest,
    partition::Partitions,
    rows::Table,
    segments::Segments,
    texts::Texts,
    version2,
};
use ic_stable_structures::Memory;
use std::cell::Cell;

/// A memory that is being opened. Nothing has been written to it.
pub(crate) struct Opening<M: Memory> {
    segments: Segments<M>,
    found: Version,
    purpose: Purpose,
}

impl<M: Memory> Opening<M> {
    /// Of what `memory` holds, or of nothing if it was never used. `most_partitions` of each family may live; `pages` says how many pages there
    /// must be, given whether the memory is new.
    ///
    /// # Errors
    /// [`OpenError`]; the memory is unchanged but for its size.
    pub(crate) fn read(
        memory: M,
        purpose: Purpose,
        may_grow: bool,
        most_partitions: [u16; FAMILIES],
        pages: impl FnOnce(bool) -> u64,
    ) -> Result<Self, OpenError> {
        let found = Header::version(&memory, purpose)?;
        let header = match found {
            Version::None => Header::new(),
            Version::Two => version2::header(&memory),
            Version::Today => Header::read(&memory, purpose)?,
        };
        let is_new = found == Version::None;
        if !is_new && !header.is_plausible(memory.size(), most_partitions) {
            return Err(OpenError::Damaged);
        }
        let segments = Segments {
            memory,
            header,
            may_grow,
            seen: Cell::new(0),
        };
        if !segments.grow_to(pages(is_new)) {
            return Err(OpenError::OutOfMemory);
        }
        Ok(Self {
            segments,
            found,
            purpose,
        })
    }

    /// Its header, as the heap before has left it.
    pub(crate) fn header(&self) -> &Header {
        &self.segments.header
    }

    /// The partitions of a family.
    pub(crate) fn partitions<F: Family>(&self) -> Result<Partitions<F>, Damaged> {
        Partitions::open(&self.segments, self.found)
    }

    /// The bytes of a row that lies at an address.
    #[cfg(feature = "outbox")]
    pub(crate) fn row<const N: usize>(&self, at: u64) -> Result<[u8; N], Damaged> {
        self.segments.read(at)
    }

    /// The cells. `in_use` is shown each one that is in use.
    pub(crate) fn cells(
        &self,
        in_use: impl FnMut(u32, &CellBytes) -> Result<(), Damaged>,
    ) -> Result<Cells, Damaged> {
        Cells::open(&self.segments, in_use)
    }

    /// The texts.
    pub(crate) fn texts(&self) -> Result<Texts, Damaged> {
        Texts::open(&self.segments)
    }

    /// Trees and their queue, if there are any, and whether the last heap kept them.
    pub(crate) fn forest(&self) -> Result<Option<(Forest, bool)>, Damaged> {
        if self.found != Version::Today || !Header::has_forest(&self.segments.memory) {
            return Ok(None);
        }
        let mut forest = Forest::read(&self.segments);
        forest.check(&self.segments)?;
        let is_kept = forest.incarnation == self.segments.header.incarnation;
        if is_kept {
            forest.find_end(&self.segments)?;
        }
        Ok(Some((forest, is_kept)))
    }

    /// Opens it for a new heap, with these words of the layer above. `rewrite` writes the partitions that were read from it anew, where their
    /// layout is an older one.
    pub(crate) fn open(
        mut self,
        words: [u64; WORDS],
        rewrite: impl FnOnce(&Segments<M>),
    ) -> Table<M> {
        let segments = &mut self.segments;
        segments.header.words = words;
        segments.header.write_once(&segments.memory, self.purpose);
        if self.found == Version::Two {
            rewrite(segments);
        }
        segments.header.incarnation += 1;
        segments.write_header();
        Table::new(self.segments)
    }
}
