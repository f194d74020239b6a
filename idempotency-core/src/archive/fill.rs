//! When ids that an archive has confirmed go into the filter: before the store forgets them, and many at a time, as a page of the filter is charged
//! once in a message, however many it gets.
//!
//! Until then they wait on the heap. A heap that goes leaves them in the store's log, where they are read again.

use super::{
    contents::Contents,
    entry::Id,
    generations::NoRoom,
    policy::Most,
    records::{Progress, Unfiltered},
    ship::{Chunk, add_ids},
};
use crate::{
    policy::Keep,
    store::{Damaged, Store},
};
use ic_stable_structures::Memory;

/// So many wait no longer: 16 MiB. Tests have fewer than that in all; with 11, some wait when an archive of theirs is full.
const MANY: usize = if cfg!(test) { 11 } else { 1 << 20 };

impl<M: Memory> Contents<M> {
    /// Takes the ids of the chunk that was under way: an archive has confirmed it, with these entries. If it was the partition's last one, all
    /// are in the filter then. The progress behind it, at `next`, which is not noted yet.
    pub(super) fn take<S: Memory>(
        &mut self,
        store: &Store<S>,
        progress: Progress,
        (archive, entries, keep): (u32, &[u8], Keep),
        next: Option<u64>,
    ) -> Result<Result<Progress, NoRoom>, Damaged> {
        let mut waiting = self.waiting(store, &progress)?;
        add_ids(&mut waiting, entries, keep);
        let behind = Progress {
            from: next,
            in_flight: None,
            unfiltered: Some(Unfiltered {
                archive,
                from: (progress.unfiltered).map_or(progress.from, |earlier| earlier.from),
                count: waiting.len() as u64,
            }),
            ..progress
        };
        let is_time = next.is_none() || waiting.len() >= MANY;
        self.unfiltered = waiting;
        match is_time {
            true => self.fill(store, behind),
            false => Ok(Ok(behind)),
        }
    }

    /// Puts all that wait into the filter. The progress then, which is not noted yet.
    pub(super) fn fill<S: Memory>(
        &mut self,
        store: &Store<S>,
        progress: Progress,
    ) -> Result<Result<Progress, NoRoom>, Damaged> {
        let waiting = self.waiting(store, &progress)?;
        let filled = match progress.unfiltered {
            Some(Unfiltered { archive, .. }) => self.insert(archive, &waiting),
            None => Ok(()),
        };
        Ok(filled.map(|()| Progress {
            unfiltered: None,
            ..progress
        }))
    }

    /// The ids that wait, which the heap does not hold any more.
    fn waiting<S: Memory>(
        &mut self,
        store: &Store<S>,
        progress: &Progress,
    ) -> Result<Vec<Id>, Damaged> {
        let known = std::mem::take(&mut self.unfiltered);
        let Some(unfiltered) = progress.unfiltered else {
            return Ok(vec![]);
        };
        if known.len() as u64 == unfiltered.count {
            return Ok(known);
        }
        let until = (Some(progress.from), Most::ALL);
        let (partition, from) = (progress.partition, unfiltered.from);
        let chunk = Chunk::read(store, partition, from, Keep::Ids, until)?;
        match chunk.count == unfiltered.count {
            true => Ok(chunk.ids()),
            false => Err(Damaged),
        }
    }
}
