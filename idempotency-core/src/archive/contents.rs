//! What lies in the memory of [`Archives`](super::Archives): which archives there are, how far the shipping is, and the filter.
//!
//! ```text
//! page 0
//! offset  bytes  field
//!      0      7  magic "IDMPARC"
//!      7      1  layout version, 1
//!      8      8  incarnation: how many heaps have opened this memory
//!     16      8  features that a version which does not know them must refuse: none is known
//!     24      8  features that a version which does not know them may ignore
//!     32      4  number of archives, 512 at most
//!     36      4  archives that may have been made and are not known
//!     40      8  incarnation of the store that was seen last, 0 if none was
//!     48      8  what had expired by then, ns, may have been forgotten without an archive
//!     56      8  when archives are asked next whether they lack cycles, ns; 0 if that is open
//!    128    128  progress of the shipping
//!    256    128  the archive that is being made
//!   4096 10,248  table of the filter's generations: see `generations.rs`
//! page 1
//!      0 512×128 archives
//! page 2 …       the filter
//! ```
//!
//! Integers are little-endian. `records.rs` has the records of 128 bytes.

use super::{
    entry::Id,
    generations::{Generations, NoRoom, Plan, TABLE_BYTES},
    records::{Archive, Making, Progress, RECORD_BYTES, Record, State},
};
use crate::{
    store::{Damaged, History, OpenError},
    table::field,
    time::Timestamp,
};
use ic_stable_structures::Memory;

const MAGIC: [u8; 7] = *b"IDMPARC";
const VERSION: u8 = 1;
const FEATURES: u64 = 0;
const INCARNATION_AT: u64 = 8;
const COUNTS_AT: u64 = 32;
const STORE_AT: u64 = 40;
const TOP_UP_AT: u64 = 56;
const PROGRESS_AT: u64 = 128;
const MAKING_AT: u64 = 256;
const GENERATIONS_AT: u64 = 4_096;
const PAGE: u64 = 65_536;
/// The header's and that of the archives.
const PAGES: u64 = 2;
const MOST_ARCHIVES: u32 = (PAGE / RECORD_BYTES as u64) as u32;

const _: () = assert!(GENERATIONS_AT + TABLE_BYTES <= PAGE);

/// All that lies in the memory, and on the heap what is needed of it.
pub(super) struct Contents<M: Memory> {
    memory: M,
    incarnation: u64,
    archives: Vec<Archive>,
    lost: u32,
    /// Of the store that was seen last; 0 if none was.
    store_incarnation: u64,
    forgot_until: Timestamp,
    top_up_at: Timestamp,
    progress: Option<Progress>,
    making: Option<Making>,
    generations: Generations,
    /// The ids that are [`Unfiltered`](super::records::Unfiltered), if all of them were confirmed in this heap.
    pub(super) unfiltered: Vec<Id>,
}

impl<M: Memory> Contents<M> {
    /// What `memory` holds, or nothing if it was never used.
    pub(super) fn open(memory: M) -> Result<Self, OpenError> {
        if memory.size() == 0 {
            if memory.grow(PAGES) < 0 {
                return Err(OpenError::OutOfMemory);
            }
            // What was given back to a MemoryManager may say anything.
            memory.write(0, &vec![0; (PAGES * PAGE) as usize]);
            memory.write(0, &MAGIC);
            memory.write(7, &[VERSION]);
        }
        let mut head = [0; 64];
        memory.read(0, &mut head);
        let found: [u8; 8] = field(&mut &head[..]);
        if found[..7] != MAGIC {
            return Err(OpenError::Foreign { found });
        }
        if head[7] != VERSION {
            return Err(OpenError::UnknownVersion {
                found: head[7],
                known: VERSION,
            });
        }
        let rest = &mut &head[8..];
        let incarnation = u64::from_le_bytes(field(rest));
        let features = u64::from_le_bytes(field(rest));
        let _: [u8; 8] = field(rest);
        let count = u32::from_le_bytes(field(rest));
        let lost = u32::from_le_bytes(field(rest));
        let store_incarnation = u64::from_le_bytes(field(rest));
        let forgot_until = Timestamp::from_nanos(u64::from_le_bytes(field(rest)));
        let top_up_at = Timestamp::from_nanos(u64::from_le_bytes(field(rest)));
        if features & !FEATURES != 0 {
            return Err(OpenError::UnknownFeatures { found: features });
        }
        if memory.size() < PAGES || count > MOST_ARCHIVES {
            return Err(OpenError::Damaged);
        }
        let archives =
            (0..count).map(|number| Archive::from_bytes(&record(&memory, place(number))));
        let archives: Vec<_> = archives.collect::<Option<_>>().ok_or(Damaged)?;
        let current = |archive: &Archive| archive.state == State::Current;
        let is_last = |archive: &Archive| archives.last() == Some(archive);
        if !archives
            .iter()
            .all(|archive| !current(archive) || is_last(archive))
        {
            return Err(OpenError::Damaged);
        }
        let progress = Progress::from_bytes(&record(&memory, PROGRESS_AT)).ok_or(Damaged)?;
        let making = Making::from_bytes(&record(&memory, MAKING_AT)).ok_or(Damaged)?;
        let generations = Generations::open(&memory, GENERATIONS_AT)?;
        if (generations.all().iter()).any(|generation| generation.archive >= count) {
            return Err(OpenError::Damaged);
        }
        let contents = Self {
            memory,
            incarnation: incarnation.wrapping_add(1),
            archives,
            lost,
            store_incarnation,
            forgot_until,
            top_up_at,
            progress,
            making,
            generations,
            unfiltered: vec![],
        };
        (contents.memory).write(INCARNATION_AT, &contents.incarnation.to_le_bytes());
        Ok(contents)
    }

    /// Whether another heap, or another `Archives` of this one, has opened the memory since.
    pub(super) fn is_superseded(&self) -> bool {
        let mut found = [0; 8];
        self.memory.read(INCARNATION_AT, &mut found);
        u64::from_le_bytes(found) != self.incarnation
    }

    /// Notes the store whose archives these are, in a heap that has opened it. A heap without archives may have forgotten what it would. `false`,
    /// and nothing is noted, if the store had archives and these are not they.
    pub(super) fn meet(&mut self, history: &History) -> bool {
        if history.is_archived && self.store_incarnation == 0 {
            return false;
        }
        // Heaps follow one another, and a heap may do this twice.
        let missed = history.incarnation.saturating_sub(self.store_incarnation) > 1;
        if missed {
            self.forgot_until = self.forgot_until.max(history.forgotten_until);
        }
        self.store_incarnation = history.incarnation;
        let words = [history.incarnation, self.forgot_until.as_nanos()];
        let bytes = words.map(u64::to_le_bytes);
        self.memory.write(STORE_AT, bytes.as_flattened());
        true
    }

    /// What had expired by then may have been forgotten without an archive.
    pub(super) fn forgot_until(&self) -> Timestamp {
        self.forgot_until
    }

    /// When archives are asked next whether they lack cycles, if that is known.
    pub(super) fn top_up_at(&self) -> Option<Timestamp> {
        Some(self.top_up_at).filter(|at| *at != Timestamp::from_nanos(0))
    }

    pub(super) fn set_top_up_at(&mut self, at: Timestamp) {
        self.top_up_at = at;
        (self.memory).write(TOP_UP_AT, &at.as_nanos().to_le_bytes());
    }

    /// All archives, by their numbers.
    pub(super) fn archives(&self) -> &[Archive] {
        &self.archives
    }

    pub(super) fn archive(&self, number: u32) -> Option<&Archive> {
        self.archives.get(number as usize)
    }

    /// The archive that is sent what expires, and its number.
    pub(super) fn current(&self) -> Option<(u32, Archive)> {
        let number = self.archives.len().checked_sub(1)?;
        let archive = self.archives.get(number)?;
        (archive.state == State::Current).then_some((number as u32, *archive))
    }

    /// Whether there is a place for one more.
    pub(super) fn has_place(&self) -> bool {
        self.archives.len() < MOST_ARCHIVES as usize
    }

    /// Notes a new archive, which is the current one from now on; nothing happens if there is no place.
    pub(super) fn add(&mut self, archive: Archive) {
        if !self.has_place() {
            return;
        }
        if let Some((number, current)) = self.current() {
            let state = State::Closed;
            self.set(number, Archive { state, ..current });
        }
        self.archives.push(archive);
        let count = self.archives.len() as u32;
        self.write_archive(count - 1, &archive);
        self.memory.write(COUNTS_AT, &count.to_le_bytes());
    }

    /// Notes what has become of an archive.
    pub(super) fn set(&mut self, number: u32, archive: Archive) {
        if let Some(known) = self.archives.get_mut(number as usize) {
            *known = archive;
            self.write_archive(number, &archive);
        }
    }

    fn write_archive(&self, number: u32, archive: &Archive) {
        self.memory.write(place(number), &archive.to_bytes());
    }

    pub(super) fn progress(&self) -> Option<Progress> {
        self.progress
    }

    pub(super) fn set_progress(&mut self, progress: Option<Progress>) {
        self.progress = progress;
        let bytes = progress.map_or([0; RECORD_BYTES], |progress| progress.to_bytes());
        self.memory.write(PROGRESS_AT, &bytes);
    }

    pub(super) fn making(&self) -> Option<Making> {
        self.making
    }

    pub(super) fn set_making(&mut self, making: Option<Making>) {
        self.making = making;
        let bytes = making.map_or([0; RECORD_BYTES], |making| making.to_bytes());
        self.memory.write(MAKING_AT, &bytes);
    }

    /// Archives that may have been made and are not known.
    pub(super) fn lost(&self) -> u32 {
        self.lost
    }

    pub(super) fn count_lost(&mut self) {
        self.lost = self.lost.saturating_add(1);
        (self.memory).write(COUNTS_AT + 4, &self.lost.to_le_bytes());
    }

    /// Makes sure that the filter can take so many ids of an archive.
    pub(super) fn reserve(&mut self, archive: u32, ids: u64, plan: &Plan) -> Result<(), NoRoom> {
        self.generations.reserve(&self.memory, archive, ids, plan)
    }

    /// Puts ids of an archive into the filter.
    pub(super) fn insert(&mut self, archive: u32, ids: &[Id]) -> Result<(), NoRoom> {
        self.generations.insert(&self.memory, archive, ids)
    }

    /// Whether an archive may hold an id.
    #[inline]
    pub(super) fn may_hold(&self, id: &Id) -> bool {
        !self.generations.may_hold(&self.memory, id).is_empty()
    }

    /// The archives that may hold an id.
    pub(super) fn hits(&self, id: &Id) -> Vec<u32> {
        self.generations.may_hold(&self.memory, id)
    }

    /// Bytes of stable memory.
    pub(super) fn bytes(&self) -> u64 {
        self.memory.size() * PAGE
    }
}

fn place(number: u32) -> u64 {
    PAGE + u64::from(number) * RECORD_BYTES as u64
}

fn record<M: Memory>(memory: &M, at: u64) -> Record {
    let mut bytes = [0; RECORD_BYTES];
    memory.read(at, &mut bytes);
    bytes
}
