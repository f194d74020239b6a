//! The deduplication store: every remembered request, in stable memory, with nothing to do at an upgrade.
//!
//! One user-given [`Memory`] holds a header page and two B-trees in stripes: records by [`Identity`], and the order in
//! which they expire. Looking a request up, remembering one and forgetting one each take a number of instructions that
//! grows with the logarithm of the records held.
//!
//! # Invariants
//! - Each record has exactly one entry in the expiry index, at its `expires_at`.
//! - The header's `bytes` is the sum of [`Record::bytes`](record::Record) over all records.
//! - `len ≤ capacity` and `bytes ≤ capacity_bytes` after every insert; room for the largest reply is found before a
//!   function runs, so completing a request never fails for want of room.
//! - Nothing is removed at or before its `expires_at`, and nothing that is running is removed at all.

mod header;
mod record;
mod region;

pub use record::{Attempt, Record};
pub(crate) use record::{Reply, State};

use crate::{
    admission::Ticket,
    identity::Identity,
    policy::Policy,
    runtime,
    time::{Timestamp, nanos},
};
use candid::CandidType;
use header::Header;
use ic_stable_structures::{BTreeMap, Memory};
use record::RECORD_BYTES;
use region::{PAGE_BYTES, Region};
use serde::Deserialize;
use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    time::Duration,
};

/// Every remembered request of one or more endpoints. It lives in a `thread_local!`, as other stable structures do.
///
/// It owns the [`Memory`] it is given, for good: give it a `MemoryId` of its own. Its heap holds nothing but handles.
pub struct Store<M: Memory> {
    policy: Policy,
    inner: RefCell<Inner<M>>,
    /// The time for which the eviction timer of this heap is set.
    #[cfg(feature = "timers")]
    pub(crate) timer: Cell<Option<Timestamp>>,
}

struct Inner<M: Memory> {
    memory: Rc<M>,
    header: Header,
    used_pages: [Rc<Cell<u64>>; 2],
    records: BTreeMap<[u8; 32], Record, Region<M>>,
    /// `expires_at`, big-endian so that it sorts, then the identity.
    expiry: BTreeMap<[u8; 40], (), Region<M>>,
}

/// Why a memory could not be opened as a store. Nothing in it was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The memory holds something else.
    Foreign {
        /// Its first bytes.
        found: [u8; 8],
    },
    /// The memory holds a store of a layout that this version of the library does not know.
    UnknownVersion {
        /// The layout version found.
        found: u8,
        /// The layout version that this library reads and writes.
        known: u8,
    },
    /// The memory begins as a store and goes on as something else.
    Damaged,
    /// The memory could not grow to hold an empty store.
    OutOfMemory,
    /// The policy contradicts itself.
    InvalidPolicy(&'static str),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { found } => write!(
                f,
                "the memory given to the store begins with {found:02x?}: it belongs to something else; give the store a MemoryId that nothing else uses"
            ),
            Self::UnknownVersion { found, known } => write!(
                f,
                "the store was written in layout version {found}, this library knows version {known}; deploy the version of the library that wrote it, or a later one"
            ),
            Self::Damaged => write!(
                f,
                "the memory given to the store has its header but not its trees: something else wrote to it; restore a snapshot, or give the store a new MemoryId and lose its records"
            ),
            Self::OutOfMemory => write!(
                f,
                "the store's memory can't grow; free stable memory or raise its limit"
            ),
            Self::InvalidPolicy(why) => write!(f, "the store's policy can't work: {why}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// How full a store is.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Stats {
    /// Requests held.
    pub entries: u64,
    /// Most requests that may be held.
    pub capacity: u64,
    /// Bytes charged to them: 141 for each, and its reply or the room reserved for it.
    pub bytes: u64,
    /// Most bytes that may be charged.
    pub capacity_bytes: u64,
    /// When the next request expires.
    pub oldest_expiry: Option<Timestamp>,
    /// How many times a fresh heap (an install or upgrade) has opened the store.
    pub incarnation: u64,
}

impl<M: Memory> Store<M> {
    /// Opens the store in `memory`, or makes a new one if the memory was never used.
    ///
    /// # Panics
    /// Traps with the [`OpenError`] if the memory can't be opened: an upgrade that would lose the store is undone.
    pub fn new(memory: M, policy: Policy) -> Self {
        Self::open(memory, policy, runtime::time())
            .unwrap_or_else(|error| panic!("idempotency: {error}"))
    }

    /// As [`Store::new`], with the present time as an argument and errors as values.
    ///
    /// # Errors
    /// [`OpenError`]; the memory is unchanged.
    pub fn open(memory: M, policy: Policy, now: Timestamp) -> Result<Self, OpenError> {
        policy.check().map_err(OpenError::InvalidPolicy)?;
        if RECORD_BYTES + u64::from(policy.max_reply_bytes) > policy.capacity_bytes {
            return Err(OpenError::InvalidPolicy(
                "capacity_bytes has no room for one reply of max_reply_bytes",
            ));
        }
        let memory = Rc::new(memory);
        let found = Header::read(&*memory)?;
        let used_pages = found
            .map_or([0; 2], |header| header.used_pages)
            .map(|pages| Rc::new(Cell::new(pages)));
        let [records, expiry] = [0, 1].map(|index: usize| {
            Region::new(memory.clone(), index as u64, used_pages[index].clone())
        });
        let (header, records, expiry) = match found {
            None => {
                if !region::reserve(&*memory, [0; 2], headroom(&policy)) {
                    return Err(OpenError::OutOfMemory);
                }
                (
                    Header::default(),
                    BTreeMap::new(records),
                    BTreeMap::new(expiry),
                )
            }
            Some(header) => {
                if !is_tree(&records) || !is_tree(&expiry) {
                    return Err(OpenError::Damaged);
                }
                (header, BTreeMap::load(records), BTreeMap::load(expiry))
            }
        };
        let header = Header {
            incarnation: header.incarnation + 1,
            floor: floor(&header, &policy, now),
            window: nanos(policy.window),
            drift: nanos(policy.drift),
            ..header
        };
        let mut inner = Inner {
            memory,
            header,
            used_pages,
            records,
            expiry,
        };
        inner.write_header();
        Ok(Self {
            policy,
            inner: RefCell::new(inner),
            #[cfg(feature = "timers")]
            timer: Cell::new(None),
        })
    }

    /// How full the store is. Costs two look-ups in a B-tree.
    pub fn stats(&self) -> Stats {
        let inner = self.inner.borrow();
        Stats {
            entries: inner.records.len(),
            capacity: self.policy.capacity,
            bytes: inner.header.bytes,
            capacity_bytes: self.policy.capacity_bytes,
            oldest_expiry: inner.oldest().map(|(expires_at, _)| expires_at),
            incarnation: inner.header.incarnation,
        }
    }

    /// The policy it was opened with.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn lookup(&self, identity: &Identity) -> Option<Record> {
        self.inner.borrow().records.get(&identity.0)
    }

    /// Whether a request of that identity is remembered.
    pub fn contains(&self, identity: &Identity) -> bool {
        self.lookup(identity).is_some()
    }

    /// Requests created before this may have been executed and forgotten.
    pub(crate) fn floor(&self) -> Timestamp {
        Timestamp::from_nanos(self.inner.borrow().header.floor)
    }

    /// Whether an attempt belongs to this heap: those of earlier heaps can't go on.
    pub(crate) fn is_running(&self, attempt: Attempt) -> bool {
        attempt.incarnation == self.inner.borrow().header.incarnation
    }

    /// Makes sure that one more record with the largest reply fits, evicting at most `inline_evictions` expired ones.
    /// If there is no room: when to try again.
    pub(crate) fn make_room(&self, now: Timestamp) -> Result<(), Timestamp> {
        self.evict(now, self.policy.inline_evictions);
        let inner = self.inner.borrow();
        let needed = RECORD_BYTES + u64::from(self.policy.max_reply_bytes);
        let fits = inner.records.len() < self.policy.capacity
            && inner.header.bytes.saturating_add(needed) <= self.policy.capacity_bytes
            && region::reserve(&*inner.memory, inner.pages(), headroom(&self.policy));
        if fits {
            return Ok(());
        }
        let next = inner
            .oldest()
            .map_or(now, |(expires_at, _)| expires_at)
            .max(now);
        Err(next.plus(Duration::from_nanos(1)))
    }

    /// Records an attempt before it runs. [`make_room`](Self::make_room) has found room for it.
    pub(crate) fn begin(&self, ticket: &Ticket) -> Attempt {
        let mut inner = self.inner.borrow_mut();
        inner.header.attempts += 1;
        let attempt = Attempt {
            incarnation: inner.header.incarnation,
            number: inner.header.attempts,
        };
        let reserved = self.policy.max_reply_bytes;
        inner.insert(
            &ticket.identity,
            ticket.record(State::Pending { attempt, reserved }),
        );
        attempt
    }

    /// Records an executed request and its reply in one go. Admission has found room for it.
    pub fn record(&self, ticket: &Ticket, reply: Vec<u8>) {
        let state = State::Done(Reply::Held(reply));
        self.inner
            .borrow_mut()
            .insert(&ticket.identity, ticket.record(state));
    }

    /// The attempt ended with this reply. `false`, and nothing changes, if the record is not (or no longer) this
    /// attempt's.
    pub(crate) fn complete(&self, identity: &Identity, attempt: Attempt, reply: Reply) -> bool {
        self.end(identity, attempt, Some(State::Done(reply)))
    }

    /// The attempt was interrupted; as [`complete`](Self::complete).
    pub(crate) fn interrupt(&self, identity: &Identity, attempt: Attempt) -> bool {
        self.end(identity, attempt, Some(State::Interrupted))
    }

    /// The attempt did nothing and is forgotten; as [`complete`](Self::complete).
    pub(crate) fn release(&self, identity: &Identity, attempt: Attempt) -> bool {
        self.end(identity, attempt, None)
    }

    fn end(&self, identity: &Identity, attempt: Attempt, state: Option<State>) -> bool {
        let mut inner = self.inner.borrow_mut();
        let Some(record) = inner.records.get(&identity.0) else {
            return false;
        };
        if !matches!(&record.state, State::Pending { attempt: owner, .. } if *owner == attempt) {
            return false;
        }
        match state {
            Some(state) => inner.replace(
                identity,
                &record,
                Record {
                    state,
                    ..record.clone()
                },
            ),
            None => inner.remove(identity, &record),
        }
        true
    }

    /// Forgets expired records, oldest first, looking at no more than `most`; how many it looked at.
    ///
    /// A request that is still running past its expiry gets another window: forgetting it would let it run twice.
    pub fn evict(&self, now: Timestamp, most: u32) -> u32 {
        let mut inner = self.inner.borrow_mut();
        for evicted in 0..most {
            let Some((expires_at, identity)) =
                inner.oldest().filter(|(expires_at, _)| *expires_at < now)
            else {
                return evicted;
            };
            let Some(record) = inner.records.get(&identity.0) else {
                unreachable!("the expiry index names a record that is not there");
            };
            debug_assert_eq!(record.expires_at, expires_at);
            match record.state {
                State::Pending { attempt, .. }
                    if attempt.incarnation == inner.header.incarnation =>
                {
                    let expires_at = now.plus(self.policy.window);
                    inner.replace(
                        &identity,
                        &record,
                        Record {
                            expires_at,
                            ..record.clone()
                        },
                    );
                }
                _ => inner.remove(&identity, &record),
            }
        }
        most
    }

    /// The first instant at which something can be evicted.
    #[cfg(feature = "timers")]
    pub(crate) fn next_eviction(&self) -> Option<Timestamp> {
        self.inner
            .borrow()
            .oldest()
            .map(|(expires_at, _)| expires_at.plus(Duration::from_nanos(1)))
    }
}

impl<M: Memory> fmt::Debug for Store<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("policy", &self.policy)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl<M: Memory> Inner<M> {
    fn insert(&mut self, identity: &Identity, record: Record) {
        self.expiry
            .insert(expiry_key(record.expires_at, identity), ());
        self.header.bytes += record.bytes();
        let before = self.records.insert(identity.0, record);
        assert!(
            before.is_none(),
            "idempotency: an admitted request is already recorded"
        );
        self.write_header();
    }

    fn replace(&mut self, identity: &Identity, before: &Record, after: Record) {
        if before.expires_at != after.expires_at {
            self.expiry.remove(&expiry_key(before.expires_at, identity));
            self.expiry
                .insert(expiry_key(after.expires_at, identity), ());
        }
        self.header.bytes = self.header.bytes - before.bytes() + after.bytes();
        self.records.insert(identity.0, after);
        self.write_header();
    }

    fn remove(&mut self, identity: &Identity, record: &Record) {
        self.records.remove(&identity.0);
        self.expiry.remove(&expiry_key(record.expires_at, identity));
        self.header.bytes -= record.bytes();
        self.write_header();
    }

    fn oldest(&self) -> Option<(Timestamp, Identity)> {
        let (key, ()) = self.expiry.first_key_value()?;
        let (mut expires_at, mut identity) = ([0; 8], [0; 32]);
        expires_at.copy_from_slice(&key[..8]);
        identity.copy_from_slice(&key[8..]);
        Some((
            Timestamp::from_nanos(u64::from_be_bytes(expires_at)),
            Identity(identity),
        ))
    }

    fn pages(&self) -> [u64; 2] {
        [self.used_pages[0].get(), self.used_pages[1].get()]
    }

    fn write_header(&mut self) {
        self.header.used_pages = self.pages();
        self.header.write(&*self.memory);
    }
}

fn expiry_key(expires_at: Timestamp, identity: &Identity) -> [u8; 40] {
    let mut key = [0; 40];
    key[..8].copy_from_slice(&expires_at.as_nanos().to_be_bytes());
    key[8..].copy_from_slice(&identity.0);
    key
}

/// Pages that one insert may need in a region: the reply, and a new node on every level of a B-tree.
fn headroom(policy: &Policy) -> u64 {
    u64::from(policy.max_reply_bytes) / PAGE_BYTES + 3
}

fn is_tree<M: Memory>(region: &Region<M>) -> bool {
    let mut magic = [0; 3];
    region.size() > 0 && {
        region.read(0, &mut magic);
        magic == *b"BTR"
    }
}

/// A longer window must not reach back to requests that the shorter one let be forgotten: they would run again.
fn floor(header: &Header, policy: &Policy, now: Timestamp) -> u64 {
    let is_new = header.incarnation == 0;
    let reach = header.window.saturating_add(header.drift);
    if is_new || nanos(policy.window) + nanos(policy.drift) <= reach {
        return header.floor;
    }
    header.floor.max(now.as_nanos().saturating_sub(reach))
}

#[cfg(test)]
mod tests;
