//! Rows by name: found, added, written over and forgotten.

use super::{
    error::Damaged,
    index::{Index, Occupied, Place, Vacant},
    kind::{Family, Name, Row, tail},
    layout::{ROW_BYTES, RowBytes, SEGMENT_BYTES},
    partition::{Partition, Partitions},
    segments::Segments,
    slot::Slot,
};
use ic_stable_structures::Memory;

/// A name's place: occupied by a row, of which `T` was read, or vacant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry<T> {
    Occupied(Occupied, T),
    Vacant(Vacant),
}

impl<T> Entry<T> {
    /// What was read of the row.
    pub(crate) fn occupied(self) -> Option<(Occupied, T)> {
        match self {
            Self::Occupied(occupied, read) => Some((occupied, read)),
            Self::Vacant(_) => None,
        }
    }

    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Entry<U> {
        match self {
            Self::Occupied(occupied, read) => Entry::Occupied(occupied, change(read)),
            Self::Vacant(vacant) => Entry::Vacant(vacant),
        }
    }

    fn place(&self) -> Place {
        match self {
            Self::Occupied(occupied, _) => Place::Occupied(*occupied),
            Self::Vacant(vacant) => Place::Vacant(*vacant),
        }
    }
}

/// All that a memory holds but the partitions, which stand with whoever knows what is in them.
pub(crate) struct Table<M: Memory> {
    pub(crate) segments: Segments<M>,
    index: Index,
    /// The row that is read or put together: clearing room for each would cost as much as filling it. It means nothing between calls.
    scratch: RowBytes,
}

/// What is done with the name of a row that is added.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Link {
    /// It is a new one.
    Insert(Vacant),
    /// It led to a row elsewhere, which counts no more.
    Replace(Occupied),
    /// It leads nowhere yet: see [`Table::link`].
    #[cfg(feature = "outbox")]
    Later,
}

/// Where a row lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowAt {
    pub(crate) address: u64,
    pub(crate) partition: u16,
}

impl Occupied {
    /// The row that it leads to.
    pub(crate) fn row(self) -> RowAt {
        RowAt {
            address: self.slot.address,
            partition: self.slot.partition,
        }
    }
}

/// A row as it was put together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Composed {
    /// Its bytes, without the zeros after it.
    pub(crate) length: usize,
    /// Whether its partition was changed in a way that its table must know.
    pub(crate) must_write: bool,
}

impl<M: Memory> Table<M> {
    pub(super) fn new(segments: Segments<M>) -> Self {
        Self {
            index: Index::read(&segments),
            segments,
            scratch: [0; ROW_BYTES],
        }
    }

    /// Whether what was found is still so.
    pub(crate) fn is_current<T>(&self, entry: &Entry<T>) -> bool {
        self.index.is_current(&entry.place())
    }

    /// Looks a name up. `occupied` is shown its row, `vacant` is told that there is none: what they return is made where it stays, as
    /// moving a record costs as much as reading it.
    #[inline]
    pub(crate) fn find<F: Family, T>(
        &mut self,
        partitions: &Partitions<F>,
        name: &Name,
        occupied: impl FnOnce(&Segments<M>, Occupied, &[u8]) -> Result<T, Damaged>,
        vacant: impl FnOnce(Vacant) -> T,
    ) -> Result<T, Damaged> {
        let tail = tail(name);
        self.find_row(
            partitions,
            name,
            |row, _| row.tail == tail,
            occupied,
            vacant,
        )
    }

    /// As [`find`](Self::find), by a row's alias.
    #[inline]
    pub(crate) fn find_alias<F: Family, T>(
        &mut self,
        partitions: &Partitions<F>,
        alias: &Name,
        occupied: impl FnOnce(&Segments<M>, Occupied, &[u8]) -> Result<T, Damaged>,
        vacant: impl FnOnce(Vacant) -> T,
    ) -> Result<T, Damaged> {
        let tail = tail(alias);
        let has_alias = |_: &Row, bytes: &[u8]| F::has_alias(bytes, &tail);
        self.find_row(partitions, alias, has_alias, occupied, vacant)
    }

    #[inline]
    fn find_row<F: Family, T>(
        &mut self,
        partitions: &Partitions<F>,
        name: &Name,
        is_called: impl Fn(&Row, &[u8]) -> bool,
        occupied: impl FnOnce(&Segments<M>, Occupied, &[u8]) -> Result<T, Damaged>,
        vacant: impl FnOnce(Vacant) -> T,
    ) -> Result<T, Damaged> {
        let Self {
            segments,
            index,
            scratch,
        } = self;
        let mut length = 0;
        let place = index.find::<F, M>(segments, name, |slot| {
            // A row does not go beyond its segment, which may be the last.
            let room = (SEGMENT_BYTES - slot.address % SEGMENT_BYTES) as usize;
            length = room.min(F::FIRST_READ);
            segments.read_into(slot.address, &mut scratch[..length])?;
            // A slot that was left over may lead to what is no row.
            let Ok(Some(row)) = F::row(&scratch[..length]) else {
                return Ok(false);
            };
            let partition = partitions.get(&segments.header, slot.partition);
            let oldest = partition.map_or(u64::MAX, |partition| partition.oldest);
            let is_it = is_called(&row, &scratch[..length]);
            if !is_it || row.time < oldest || row.length > room || !row.is_named() {
                return Ok(false);
            }
            if length < row.length {
                let rest = scratch.get_mut(length..row.length).ok_or(Damaged)?;
                segments.read_into(slot.address + length as u64, rest)?;
            }
            length = row.length;
            Ok(true)
        })?;
        match place {
            Place::Occupied(place) => occupied(segments, place, &scratch[..length]),
            Place::Vacant(place) => Ok(vacant(place)),
        }
    }

    /// Appends a row with a name and a time to a partition, and its blob if it has one; where the row lies. `compose` puts it together: it
    /// gets the partition, and the address of the blob.
    pub(crate) fn add<F: Family>(
        &mut self,
        partitions: &mut Partitions<F>,
        number: u16,
        name: &Name,
        (time, blob): (u64, Option<&[u8]>),
        link: Link,
        compose: impl FnOnce(&mut RowBytes, &mut Partition<F::Own>, Option<u64>) -> Composed,
    ) -> Result<u64, Damaged> {
        let Self {
            segments,
            index,
            scratch,
        } = self;
        let mut at = 0;
        partitions.change(segments, number, |partition, segments| {
            let blob = match blob {
                Some(blob) => Some(partition.append_blob(segments, blob)?),
                None => None,
            };
            let Composed { length, must_write } = compose(scratch, partition, blob);
            at = partition.append(
                segments,
                scratch,
                length,
                time,
                |segments, address| match link {
                    Link::Insert(vacant) => {
                        index.insert::<F, M>(segments, (name, vacant), address, number)
                    }
                    Link::Replace(occupied) => {
                        index.replace(segments, occupied, address, number);
                        Ok(())
                    }
                    #[cfg(feature = "outbox")]
                    Link::Later => Ok(()),
                },
            )?;
            Ok(must_write)
        })?;
        if let Link::Replace(Occupied { slot, .. }) = link {
            partitions.forget_row(segments, slot.partition, |_| ());
        }
        Ok(at)
    }

    /// Appends a row without a name to a partition; where it lies.
    pub(crate) fn add_unnamed<F: Family>(
        &mut self,
        partitions: &mut Partitions<F>,
        number: u16,
        compose: impl FnOnce(&mut RowBytes, &mut Partition<F::Own>) -> Composed,
    ) -> Result<u64, Damaged> {
        let Self {
            segments, scratch, ..
        } = self;
        let mut at = 0;
        partitions.change(segments, number, |partition, segments| {
            let Composed { length, must_write } = compose(scratch, partition);
            at = partition.append_unnamed(segments, scratch, length, |_, _| Ok(()))?;
            Ok(must_write)
        })?;
        Ok(at)
    }

    /// Reads the row without a name that lies at an address, of at most `most` bytes, and is in use.
    pub(crate) fn read_unnamed<T>(
        &mut self,
        at: u64,
        most: usize,
        read: impl FnOnce(&[u8]) -> Result<T, Damaged>,
    ) -> Result<T, Damaged> {
        let room = (SEGMENT_BYTES - at % SEGMENT_BYTES) as usize;
        let row = &mut self.scratch[..room.min(most)];
        self.segments.read_into(at, row)?;
        read(row)
    }

    /// Writes a row over another one of the same length, as [`add`](Self::add) does.
    pub(crate) fn overwrite<F: Family>(
        &mut self,
        partitions: &mut Partitions<F>,
        row: RowAt,
        blob: Option<&[u8]>,
        compose: impl FnOnce(&mut RowBytes, &mut Partition<F::Own>, Option<u64>) -> Composed,
    ) -> Result<(), Damaged> {
        let Self {
            segments, scratch, ..
        } = self;
        partitions.change(segments, row.partition, |partition, segments| {
            let blob = match blob {
                Some(blob) => Some(partition.append_blob(segments, blob)?),
                None => None,
            };
            let Composed { length, must_write } = compose(scratch, partition, blob);
            segments.check(row.address, length)?;
            segments.memory.write(row.address, &scratch[..length]);
            Ok(must_write)
        })
    }

    /// Writes a row over another one of the same length, which lies at an address. It has no blob, and its partition does not change.
    pub(crate) fn rewrite(
        &mut self,
        at: u64,
        compose: impl FnOnce(&mut RowBytes) -> usize,
    ) -> Result<(), Damaged> {
        let length = compose(&mut self.scratch);
        self.segments.check(at, length)?;
        self.segments.memory.write(at, &self.scratch[..length]);
        Ok(())
    }

    /// Has a name lead to a row that was added without, or an alias to one, too.
    pub(crate) fn link<F: Family>(&mut self, name: &Name, row: RowAt) -> Result<(), Damaged> {
        let place = (name, Vacant::SOMEWHERE);
        (self.index).insert::<F, M>(&mut self.segments, place, row.address, row.partition)
    }

    /// Has an alias lead to a row no more; nothing happens if it did not.
    pub(crate) fn remove_alias<F: Family>(
        &mut self,
        alias: &Name,
        row: RowAt,
    ) -> Result<(), Damaged> {
        let is_it = |slot: Slot| Ok((slot.address, slot.partition) == (row.address, row.partition));
        let (segments, index) = (&self.segments, &mut self.index);
        if let Place::Occupied(occupied) = index.find::<F, M>(segments, alias, is_it)? {
            index.remove(segments, occupied);
        }
        Ok(())
    }

    /// A row to which no name leads counts no more.
    #[cfg(feature = "outbox")]
    pub(crate) fn forget_unlinked<F: Family>(
        &mut self,
        partitions: &mut Partitions<F>,
        number: u16,
        note: impl FnOnce(&mut F::Own),
    ) {
        partitions.forget_row(&self.segments, number, note);
    }

    /// Forgets a row: its bytes go with its partition, to which `note` may be written.
    pub(crate) fn remove<F: Family>(
        &mut self,
        partitions: &mut Partitions<F>,
        occupied: Occupied,
        note: impl FnOnce(&mut F::Own),
    ) {
        self.index.remove(&self.segments, occupied);
        partitions.forget_row(&self.segments, occupied.slot.partition, note);
    }

    /// Forgets the oldest partition with all its rows; the caller writes the header.
    pub(crate) fn forget_oldest<F: Family>(
        &mut self,
        partitions: &mut Partitions<F>,
    ) -> Option<Partition<F::Own>> {
        self.index.note_forgotten();
        partitions.forget_oldest(&mut self.segments)
    }
}
