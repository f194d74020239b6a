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
//!
//! offset  bytes  archive
//!      0     30  principal: its length, and its bytes
//!     30      1  state: 1 current, 2 full, 3 behind, 4 no more is sent
//!     31      1  bit 0: it keeps replies; bit 1: this canister has made it; bit 2: it has no controllers
//!     32     24  its confirmed position: entries, digest
//!     56      8  since when it is known, ns
//!     64     32  SHA-256 of its module, or zeros
//!
//! offset  bytes  progress
//!      0      1  bit 0: a partition is being shipped; bit 1: a chunk is under way; bit 2: it is the partition's last one
//!      1      1  what is kept of replies: 0 nothing, 1 digests, 2 all; of the chunk that is under way
//!      2      2  partition
//!      8      8  until when the store keeps it, ns: numbers come round
//!     16      8  where in its log the chunk begins that is next or under way; 0 at the beginning
//!     24      8  where the one behind it begins
//!     32     24  position of the archive behind the chunk that is under way
//!     56      8  since when it is, ns
//!     64      8  where in its log those begin that an archive has confirmed and the filter lacks; 0 at the beginning
//!     72      8  how many these are
//!     80      4  which archive
//!
//! offset  bytes  the archive that is being made
//!      0     30  principal, if it is known
//!     30      1  step: 0 none, 1 is created, 2 was created, 3 is installed, 4 was installed, 5 its controllers are given up, 6 is asked
//!     31      1  bits as of an archive; bit 3: it was tried to be installed
//!     32      8  since when, ns
//!     64     32  SHA-256 of its module, or zeros
//! ```
//!
//! Integers are little-endian.

use super::{
    entry::Id,
    generations::{Generations, NoRoom, Plan, TABLE_BYTES},
    wire::Position,
};
use crate::{
    policy::Keep,
    store::{Damaged, Expired, History, OpenError},
    table::field,
    time::Timestamp,
};
use candid::Principal;
use ic_stable_structures::Memory;
use serde_bytes::ByteArray;

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
const RECORD_BYTES: usize = 128;
const MOST_ARCHIVES: u32 = (PAGE / RECORD_BYTES as u64) as u32;

const _: () = assert!(GENERATIONS_AT + TABLE_BYTES <= PAGE);

/// What becomes of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is sent what expires.
    Current,
    /// It takes no more.
    Full,
    /// It has lost what it had confirmed.
    Behind,
    /// It is sent no more, as the policy has changed.
    Closed,
}

/// An archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Archive {
    pub(super) canister: Principal,
    pub(super) state: State,
    pub(super) keeps_replies: bool,
    /// This canister has made it.
    pub(super) is_made: bool,
    pub(super) is_blackholed: bool,
    /// It has taken so much, for certain.
    pub(super) confirmed: Position,
    pub(super) since: Timestamp,
    pub(super) module: [u8; 32],
}

/// A chunk that may be with the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InFlight {
    /// Where the next one begins; `None` if it is the partition's last one.
    pub(super) next: Option<u64>,
    pub(super) keep: Keep,
    /// The archive's position with it.
    pub(super) after: Position,
    pub(super) since: Timestamp,
}

/// How far a partition is shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) partition: Expired,
    /// Where the next chunk begins; `None` at the beginning.
    pub(super) from: Option<u64>,
    pub(super) in_flight: Option<InFlight>,
    pub(super) unfiltered: Option<Unfiltered>,
}

/// Ids that an archive has confirmed, and that are not in the filter yet: those before [`Progress::from`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unfiltered {
    pub(super) archive: u32,
    /// Where they begin in the partition's log; `None` at its beginning.
    pub(super) from: Option<u64>,
    pub(super) count: u64,
}

/// How far an archive is that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// `create_canister` is under way.
    IsCreated,
    WasCreated,
    /// `install_code` is under way.
    IsInstalled,
    WasInstalled,
    /// `update_settings` is under way.
    IsSealed,
    /// It is asked how it is.
    IsAsked,
}

/// An archive that is being made, or taken into use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Making {
    /// Anonymous before it is known.
    pub(super) canister: Principal,
    pub(super) step: Step,
    pub(super) keeps_replies: bool,
    pub(super) is_made: bool,
    pub(super) is_blackholed: bool,
    /// An attempt to install it may have been executed.
    pub(super) was_tried: bool,
    pub(super) since: Timestamp,
    pub(super) module: [u8; 32],
}

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
    /// The ids that are [`Unfiltered`], if all of them were confirmed in this heap.
    pub(super) unfiltered: Vec<Id>,
}

type Record = [u8; RECORD_BYTES];

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

fn write_principal(bytes: &mut Record, principal: &Principal) {
    let principal = principal.as_slice();
    bytes[0] = principal.len() as u8;
    bytes[1..=principal.len()].copy_from_slice(principal);
}

fn read_principal(bytes: &Record) -> Option<Principal> {
    Principal::try_from_slice(bytes.get(1..=usize::from(bytes[0]))?).ok()
}

fn write_position(bytes: &mut [u8], position: &Position) {
    bytes[..8].copy_from_slice(&position.entries.to_le_bytes());
    bytes[8..24].copy_from_slice(position.digest.as_slice());
}

fn read_position(rest: &mut &[u8]) -> Position {
    Position {
        entries: u64::from_le_bytes(field(rest)),
        digest: ByteArray::new(field(rest)),
    }
}

fn bit(is_set: bool, bit: u8) -> u8 {
    if is_set { 1 << bit } else { 0 }
}

impl Archive {
    fn to_bytes(self) -> Record {
        let mut bytes = [0; RECORD_BYTES];
        write_principal(&mut bytes, &self.canister);
        bytes[30] = match self.state {
            State::Current => 1,
            State::Full => 2,
            State::Behind => 3,
            State::Closed => 4,
        };
        bytes[31] = bit(self.keeps_replies, 0) | bit(self.is_made, 1) | bit(self.is_blackholed, 2);
        write_position(&mut bytes[32..56], &self.confirmed);
        bytes[56..64].copy_from_slice(&self.since.as_nanos().to_le_bytes());
        bytes[64..96].copy_from_slice(&self.module);
        bytes
    }

    fn from_bytes(bytes: &Record) -> Option<Self> {
        let mut rest = &bytes[32..];
        Some(Self {
            canister: read_principal(bytes)?,
            state: match bytes[30] {
                1 => State::Current,
                2 => State::Full,
                3 => State::Behind,
                4 => State::Closed,
                _ => return None,
            },
            keeps_replies: bytes[31] & 1 != 0,
            is_made: bytes[31] & 2 != 0,
            is_blackholed: bytes[31] & 4 != 0,
            confirmed: read_position(&mut rest),
            since: Timestamp::from_nanos(u64::from_le_bytes(field(&mut rest))),
            module: field(&mut rest),
        })
    }
}

impl Progress {
    fn to_bytes(self) -> Record {
        let mut bytes = [0; RECORD_BYTES];
        bytes[0] = 1;
        bytes[2..4].copy_from_slice(&self.partition.number.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.partition.until.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.from.unwrap_or(0).to_le_bytes());
        if let Some(in_flight) = self.in_flight {
            bytes[0] |= 2 | bit(in_flight.next.is_none(), 2);
            bytes[1] = match in_flight.keep {
                Keep::Ids => 0,
                Keep::Digests => 1,
                Keep::Replies => 2,
            };
            bytes[24..32].copy_from_slice(&in_flight.next.unwrap_or(0).to_le_bytes());
            write_position(&mut bytes[32..56], &in_flight.after);
            bytes[56..64].copy_from_slice(&in_flight.since.as_nanos().to_le_bytes());
        }
        if let Some(unfiltered) = self.unfiltered {
            bytes[64..72].copy_from_slice(&unfiltered.from.unwrap_or(0).to_le_bytes());
            bytes[72..80].copy_from_slice(&unfiltered.count.to_le_bytes());
            bytes[80..84].copy_from_slice(&unfiltered.archive.to_le_bytes());
        }
        bytes
    }

    /// `None` of what is no progress, `Some(None)` if there is none.
    fn from_bytes(bytes: &Record) -> Option<Option<Self>> {
        let (flags, keep) = (bytes[0], bytes[1]);
        if flags == 0 {
            return Some(None);
        }
        let number = u16::from_le_bytes(field(&mut &bytes[2..]));
        let rest = &mut &bytes[8..];
        let [until, from, next] = [(); 3].map(|()| u64::from_le_bytes(field(rest)));
        let after = read_position(rest);
        let since = Timestamp::from_nanos(u64::from_le_bytes(field(rest)));
        let [unfiltered_from, count] = [(); 2].map(|()| u64::from_le_bytes(field(rest)));
        let archive = u32::from_le_bytes(field(rest));
        let keep = match keep {
            0 => Keep::Ids,
            1 => Keep::Digests,
            2 => Keep::Replies,
            _ => return None,
        };
        let in_flight = |is_last: bool| InFlight {
            next: (!is_last).then_some(next),
            keep,
            after,
            since,
        };
        let in_flight = match flags {
            1 => None,
            3 if next != 0 => Some(in_flight(false)),
            7 => Some(in_flight(true)),
            _ => return None,
        };
        Some(Some(Self {
            partition: Expired { number, until },
            from: (from != 0).then_some(from),
            in_flight,
            unfiltered: (count != 0).then_some(Unfiltered {
                archive,
                from: (unfiltered_from != 0).then_some(unfiltered_from),
                count,
            }),
        }))
    }
}

impl Making {
    fn to_bytes(self) -> Record {
        let mut bytes = [0; RECORD_BYTES];
        write_principal(&mut bytes, &self.canister);
        bytes[30] = match self.step {
            Step::IsCreated => 1,
            Step::WasCreated => 2,
            Step::IsInstalled => 3,
            Step::WasInstalled => 4,
            Step::IsSealed => 5,
            Step::IsAsked => 6,
        };
        bytes[31] = bit(self.keeps_replies, 0)
            | bit(self.is_made, 1)
            | bit(self.is_blackholed, 2)
            | bit(self.was_tried, 3);
        bytes[32..40].copy_from_slice(&self.since.as_nanos().to_le_bytes());
        bytes[64..96].copy_from_slice(&self.module);
        bytes
    }

    /// `None` of what is none, `Some(None)` if there is none.
    fn from_bytes(bytes: &Record) -> Option<Option<Self>> {
        let step = match bytes[30] {
            0 => return Some(None),
            1 => Step::IsCreated,
            2 => Step::WasCreated,
            3 => Step::IsInstalled,
            4 => Step::WasInstalled,
            5 => Step::IsSealed,
            6 => Step::IsAsked,
            _ => return None,
        };
        Some(Some(Self {
            canister: read_principal(bytes)?,
            step,
            keeps_replies: bytes[31] & 1 != 0,
            is_made: bytes[31] & 2 != 0,
            is_blackholed: bytes[31] & 4 != 0,
            was_tried: bytes[31] & 8 != 0,
            since: Timestamp::from_nanos(u64::from_le_bytes(field(&mut &bytes[32..]))),
            module: field(&mut &bytes[64..]),
        }))
    }
}
