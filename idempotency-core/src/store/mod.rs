//! The deduplication store: every remembered request, in stable memory, with nothing to do at an upgrade.
//!
//! ```text
//! page 0         page 1      page 2 …
//! +------------+ +---------+ +-----------+-----------+-----------+
//! | header     | | root of | | segment:  | segment:  | segment:  |
//! | slice table| | index   | | blocks of | records   | replies   | …
//! |            | |         | | the index | of a slice| of a slice|
//! +------------+ +---------+ +-----------+-----------+-----------+
//! ```
//!
//! - A *record* (`record.rs`) is what is kept of a request: 44 bytes, and a reply of up to 64.
//! - A *slice* (`slice.rs`) is a log of the records that expire within the same 1/32 of window and drift (up to 1/8
//!   where much is retained). When all of them have expired, its segments are given back: forgetting costs the same for one
//!   record and for a million.
//! - The *index* (`index.rs`, `bucket.rs`) is a trie over hash bits that leads from an identity to its record.
//! - A *tally* (`tally.rs`, `tallies.rs`) is what is kept of a lane or a scope from one request to the next, in slices by last
//!   use.
//! - *Contents* (`contents.rs`) are all of these together: what finds, adds, changes and forgets records.
//! - *Segments* (`segments.rs`) are the pages of the memory that slices and index take and give back; how many there must be
//!   is in `room.rs`.
//! - The *header* (`header.rs`) is read when the store is opened and kept on the heap, with the slice table and the root of
//!   the index: some 100 KiB at most, however many records there are. The ends of the logs are found by reading on from where the table says.
//!
//! # Cost
//! A new request reads mostly one node and one bucket, writes one slot of the bucket, and appends to a log. That is two
//! charged pages, and a third one once in fifteen requests. A retry reads the same and its record. Nothing depends on the
//! number of records but the depth of the trie.
//!
//! # Invariants
//! - A slot of the index leads to a record of its slice as long as that slice lives; after that the slot is free.
//! - `entries ≤ capacity` and `bytes ≤ capacity_bytes` after every insert; room for the largest reply is found before a
//!   function runs, so completing a request never fails for want of room.
//! - A slice is given up only after its `until`, which is no earlier than the expiry of any of its records, and what of it is
//!   still running is remembered on the heap.
//! - Of all stores that have opened a memory only the last one answers.
//!
//! The IC undoes a message that traps as a whole, so there is no moment at which these do not hold.
//!
//! Nothing that is read from memory is believed: each address, length and level is checked where it is used, each chain
//! that is followed has an end, and a memory that contradicts itself gives [`OpenError::Damaged`] or [`Damaged`].

mod bucket;
mod chain;
mod contents;
mod error;
mod header;
mod index;
mod record;
mod room;
mod segments;
mod slice;
mod tallies;
mod tally;

pub use error::{Damaged, OpenError};
pub use record::Attempt;
pub(crate) use record::{Head, Record, State};

use crate::{
    admission::Ticket,
    error::IdempotencyError,
    identity::Identity,
    policy::Policy,
    quota::Usage,
    runtime::{Canister, Runtime as _},
    sequence::{FreedLane, Lane},
    time::Timestamp,
};
use candid::CandidType;
use contents::{Contents, Ended, Running};
use header::MAX_SLICES;
use ic_stable_structures::Memory;
use record::{MAX_REPLY_BYTES, RECORD_BYTES};
use serde::Deserialize;
use slice::Slice;
use std::{
    cell::{Cell, RefCell, RefMut},
    fmt,
    time::Duration,
};

/// Every remembered request of one or more endpoints. It lives in a `thread_local!`, as other stable structures do.
///
/// It owns the [`Memory`] it is given, for good: give it a `MemoryId` of its own. Of two stores of a heap that have opened one
/// memory, the first refuses every request from then on as [`Damaged`]. Its heap does not grow with the requests that it holds.
pub struct Store<M: Memory> {
    policy: Policy,
    inner: RefCell<Contents<M>>,
    /// How many stores of this heap had been opened when this one was last seen to be the last one in its memory.
    openings: Cell<u64>,
    /// The endpoints that were called in this heap: names and methods.
    endpoints: RefCell<Vec<(&'static str, &'static str)>>,
    /// The time for which the eviction timer of this heap is set.
    #[cfg(feature = "timers")]
    pub(crate) timer: Cell<Option<Timestamp>>,
}

/// How full a store is.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests held.
    pub entries: u64,
    /// Most requests that may be held.
    pub capacity: u64,
    /// Bytes charged: 128 for each request, also one that was released, until its slice goes; its reply if that is over 64
    /// bytes, and while it runs room for the largest.
    pub bytes: u64,
    /// Most bytes that may be charged.
    pub capacity_bytes: u64,
    /// When the next requests expire: they are forgotten together, within 1/32 of the window, or up to 1/8
    /// with a [`Policy::retention`] of more than fourteen windows.
    pub oldest_expiry: Option<Timestamp>,
    /// Lanes of sequence numbers and scopes with a quota that are known.
    pub counters: u64,
    /// How many times a fresh heap (an install or upgrade) has opened the store.
    pub incarnation: u64,
}

thread_local! {
    /// How many stores this heap has opened.
    static OPENINGS: Cell<u64> = const { Cell::new(0) };
}

impl<M: Memory> Store<M> {
    /// Opens the store in `memory`, or makes a new one if the memory was never used.
    ///
    /// # Panics
    /// Traps with the [`OpenError`] if the memory can't be opened: an upgrade that would lose the store is undone. Outside a
    /// canister, that is in a native test, there is no clock: use [`Store::open`] there.
    pub fn new(memory: M, policy: Policy) -> Self {
        if cfg!(not(target_family = "wasm")) {
            panic!(
                "idempotency: `Store::new` reads the canister's clock, and this is no canister; in a native test make the \
                 store with `Store::open(memory, policy, Timestamp::from_nanos(0))`"
            );
        }
        Self::open(memory, policy, Canister.time())
            .unwrap_or_else(|error| panic!("idempotency: {error}"))
    }

    /// As [`Store::new`], with the present time as an argument and errors as values.
    ///
    /// # Errors
    /// [`OpenError`]; the memory is unchanged.
    pub fn open(memory: M, policy: Policy, now: Timestamp) -> Result<Self, OpenError> {
        policy.check().map_err(OpenError::InvalidPolicy)?;
        if policy.max_reply_bytes > MAX_REPLY_BYTES {
            return Err(OpenError::InvalidPolicy("max_reply_bytes is over 16 MiB"));
        }
        if RECORD_BYTES + u64::from(policy.max_reply_bytes) > policy.capacity_bytes {
            return Err(OpenError::InvalidPolicy(
                "capacity_bytes has no room for one reply of max_reply_bytes",
            ));
        }
        Ok(Self {
            policy,
            inner: RefCell::new(Contents::open(memory, &policy, now)?),
            openings: Cell::new(OPENINGS.with(|openings| {
                openings.set(openings.get() + 1);
                openings.get()
            })),
            endpoints: RefCell::default(),
            #[cfg(feature = "timers")]
            timer: Cell::new(None),
        })
    }

    /// What the store holds, unless another store has opened its memory since: what this one knows would be out of date then, and
    /// requests would run twice.
    fn inner(&self) -> Result<RefMut<'_, Contents<M>>, Damaged> {
        let inner = self.inner.borrow_mut();
        // Whoever opens the memory while this heap lives is of this heap.
        let openings = OPENINGS.get();
        if self.openings.get() != openings {
            if inner.is_superseded() {
                return Err(Damaged);
            }
            self.openings.set(openings);
        }
        Ok(inner)
    }

    /// How full the store is.
    pub fn stats(&self) -> Stats {
        let inner = self.inner.borrow();
        Stats {
            entries: inner.entries,
            capacity: self.policy.capacity,
            bytes: inner.bytes(&self.policy, inner.reserved()),
            capacity_bytes: self.policy.capacity_bytes,
            oldest_expiry: inner.slices.front().map(Slice::until),
            counters: inner.tallies.entries,
            incarnation: inner.segments.header.incarnation,
        }
    }

    /// The policy it was opened with.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Until when, that instant included, a request is certain to be remembered; `None` if it is not known. It is a little
    /// more than the policy's window, and with [`Policy::retention`] the request may be remembered for longer.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn guaranteed_until(&self, identity: &Identity) -> Result<Option<Timestamp>, Damaged> {
        let mut inner = self.inner()?;
        let found = inner.find(identity)?;
        Ok(found.and_then(|(_, slot)| inner.until(slot.slice)))
    }

    /// Notes that an endpoint's name is that of a method. Another method whose requests have the same name in this store.
    pub(crate) fn claim(&self, name: &'static str, method: &'static str) -> Option<&'static str> {
        let mut endpoints = self.endpoints.borrow_mut();
        let known = endpoints.iter().find(|(known, _)| *known == name);
        let owner = known.map(|(_, owner)| *owner);
        if owner.is_none() {
            endpoints.push((name, method));
        }
        owner.filter(|owner| *owner != method)
    }

    pub(crate) fn lookup(&self, identity: &Identity) -> Result<Option<Record>, Damaged> {
        let mut inner = self.inner()?;
        match inner.find(identity)? {
            Some((_, slot)) => inner.record(slot).map(Some),
            None => Ok(inner.overdue.get(identity).cloned()),
        }
    }

    /// Requests created before this may have been executed and forgotten.
    pub(crate) fn floor(&self) -> Timestamp {
        Timestamp::from_nanos(self.inner.borrow().segments.header.floor)
    }

    /// Whether an attempt belongs to this heap: those of earlier heaps can't go on.
    pub(crate) fn is_running(&self, attempt: Attempt) -> bool {
        attempt.incarnation == self.inner.borrow().segments.header.incarnation
    }

    /// What is known of a lane.
    pub(crate) fn lane(&self, identity: &Identity) -> Result<Option<Lane>, Damaged> {
        let tally = self.inner()?.tally(identity)?;
        Ok(tally.map(|tally| Lane::from_tally(&tally)))
    }

    /// What a scope takes, and whether it is known.
    pub(crate) fn usage(&self, scope: &Identity, now: Timestamp) -> Result<(Usage, bool), Damaged> {
        self.inner()?.usage(scope, now, &self.policy)
    }

    /// Where a lane that is not known begins.
    pub(crate) fn sequence_floor(&self) -> u64 {
        self.inner.borrow().segments.header.sequence_floor
    }

    /// The number with which a lane goes on: every number below was used, or never can be. Where a strict lane's last number
    /// has not ended, or its outcome is unknown, that one. [`endpoint!`](crate::endpoint) calls it for an endpoint's lane.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn next_number(&self, lane: &Identity) -> Result<u64, Damaged> {
        let known = self.lane(lane)?;
        Ok(known.map_or_else(|| self.sequence_floor(), |lane| lane.next()))
    }

    /// Frees a strict lane that waits for `number` because its outcome is unknown: the number is settled as used, never runs
    /// again, and the lane goes on with the next one. For an operator who has found out what the number did. Says what it
    /// found, and does nothing to a lane that waits for another number: to repeat the call is safe. What began in this heap
    /// and has not ended may still be running, however long ago that was, and is left alone: upgrade the canister first.
    ///
    /// `endpoint!(order).of(client).free_lane(number)` calls it for an endpoint's lane: see [`endpoint!`](crate::endpoint).
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn free_lane(&self, lane: &Identity, number: u64) -> Result<FreedLane, Damaged> {
        let Some(mut known) = self.lane(lane)? else {
            let next = self.sequence_floor();
            return Ok(FreedLane::NotStuck { next });
        };
        let Some(since) = known.stuck_since(number) else {
            let next = known.next();
            return Ok(FreedLane::NotStuck { next });
        };
        let record = self.lookup(&Identity::of_number(lane, number))?;
        let state = record.map(|record| record.state);
        if matches!(state, Some(State::Pending(attempt)) if self.is_running(attempt)) {
            return Ok(FreedLane::Running { since });
        }
        known.end(number);
        self.inner()?.amend_lane(lane, &known)?;
        Ok(FreedLane::Freed { since })
    }

    /// Makes sure that these lanes and scopes can be known.
    ///
    /// # Errors
    /// `Full`, with the time at which to try again, or `StoreDamaged`.
    pub(crate) fn make_room_for_tallies(
        &self,
        tallies: impl Iterator<Item = Identity> + Clone,
        now: Timestamp,
    ) -> Result<(), IdempotencyError> {
        let mut inner = self.inner()?;
        inner.make_room_for_tallies(tallies, now, &self.policy)
    }

    /// Makes sure that one more record with the largest reply fits. Gives up one expired slice, and more only if there is no
    /// room otherwise.
    ///
    /// # Errors
    /// `Full`, with the time at which to try again, or `StoreDamaged`.
    pub(crate) fn make_room(&self, now: Timestamp) -> Result<(), IdempotencyError> {
        self.evict(now, 1)?;
        let policy = &self.policy;
        let mut inner = self.inner()?;
        loop {
            let running = inner.reserved();
            let oldest = inner.slices.front().map_or(now, Slice::until);
            let has_expired = oldest < now;
            // A full table has a place for one more slice when it gives up one.
            if (inner.slices.len() < usize::from(MAX_SLICES) || !has_expired)
                && inner.has_room(policy, running)
                && inner.reserve_segments(policy)
            {
                return Ok(());
            }
            if has_expired {
                inner.forget_oldest();
                continue;
            }
            let has_entries = inner.entries < policy.capacity;
            if has_entries && policy.drops_replies && inner.drop_oldest_replies() {
                continue;
            }
            // What is running may end at any time, and need no more room for its reply.
            let may_have_room_soon = running > 0 && inner.has_room(policy, 0);
            let until = if may_have_room_soon { now } else { oldest };
            let retry_after = until.plus(Duration::from_nanos(1));
            return Err(IdempotencyError::Full { retry_after });
        }
    }

    /// Records an attempt before it runs. [`make_room`](Self::make_room) has found room for it.
    pub(crate) fn begin(&self, ticket: &Ticket) -> Result<Attempt, Damaged> {
        let mut inner = self.inner()?;
        inner.attempts += 1;
        let attempt = Attempt {
            incarnation: inner.segments.header.incarnation,
            number: inner.attempts,
        };
        let charge = inner.count(ticket, 0, false, &self.policy)?;
        let slice = inner.insert(ticket, State::Pending(attempt), &self.policy)?;
        let running = Running {
            head: ticket.head,
            slice,
            charge,
        };
        inner.running.insert(attempt.number, running);
        Ok(attempt)
    }

    /// Records an executed request and its reply in one go, as [`admit`](crate::admission::admit) has allowed it in the
    /// same message.
    ///
    /// # Errors
    /// [`Damaged`]: then the message must trap, or the request can run again.
    pub fn record(&self, ticket: &Ticket, reply: &[u8]) -> Result<(), Damaged> {
        let mut inner = self.inner()?;
        inner.count(ticket, reply.len() as u64, true, &self.policy)?;
        inner.insert(ticket, State::Done(reply), &self.policy)?;
        Ok(())
    }

    /// The attempt ended with this reply, or with one that is not to be held. `false`, and nothing changes, if the record
    /// is not (or no longer) this attempt's.
    pub(crate) fn complete(
        &self,
        ticket: &Ticket,
        attempt: Attempt,
        reply: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<bool, Damaged> {
        let mut inner = self.inner()?;
        let counted_until = inner.counted_until(attempt);
        let (state, policy) = (reply.map_or(State::ReplyDropped, State::Done), &self.policy);
        let ended = inner.end(ticket, attempt, state, now, policy)?;
        if ended == Ended::NotItsOwn {
            return Ok(false);
        }
        inner.end_in_lane(ticket, now, policy)?;
        if let Ended::Recorded(slice) = ended {
            let reply_bytes = reply.map_or(0, <[u8]>::len) as u64;
            inner.end_in_quota(ticket, counted_until, slice, reply_bytes, now, policy)?;
        }
        Ok(true)
    }

    /// The attempt was interrupted; as [`complete`](Self::complete).
    pub(crate) fn interrupt(
        &self,
        ticket: &Ticket,
        attempt: Attempt,
        now: Timestamp,
    ) -> Result<bool, Damaged> {
        let mut inner = self.inner()?;
        let counted_until = inner.counted_until(attempt);
        let ended = inner.end(ticket, attempt, State::Interrupted, now, &self.policy)?;
        if let Ended::Recorded(slice) = ended {
            inner.end_in_quota(ticket, counted_until, slice, 0, now, &self.policy)?;
        }
        Ok(ended != Ended::NotItsOwn)
    }

    /// The attempt did nothing and is forgotten, in the message in which it began; as [`complete`](Self::complete).
    pub(crate) fn release(&self, ticket: &Ticket, attempt: Attempt) -> Result<bool, Damaged> {
        let mut inner = self.inner()?;
        let is_released = inner.release(&ticket.head.identity, attempt)?;
        if is_released {
            inner.release_in_lane(ticket, &self.policy)?;
        }
        Ok(is_released)
    }

    /// Gives up slices of lanes and scopes that have been idle, and slices whose records have all expired and been retained,
    /// for as long as the policy says: oldest first, no more than `most`. How many it gave up. Each costs the same, however many records it holds.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn evict(&self, now: Timestamp, most: u32) -> Result<u32, Damaged> {
        let mut inner = self.inner()?;
        let mut evicted = inner.forget_idle_tallies(now, most);
        let is_over = |slice: &Slice| slice.until().plus(self.policy.retention) < now;
        while evicted < most && inner.slices.front().is_some_and(is_over) {
            inner.forget_oldest();
            evicted += 1;
        }
        Ok(evicted)
    }

    /// The first instant at which something can be evicted.
    #[cfg(feature = "timers")]
    pub(crate) fn next_eviction(&self) -> Option<Timestamp> {
        let inner = self.inner.borrow();
        let oldest = inner.slices.front();
        let requests = oldest.map(|slice| slice.until().plus(self.policy.retention));
        let first = (requests.into_iter())
            .chain(inner.tallies.oldest_until())
            .min()?;
        Some(first.plus(Duration::from_nanos(1)))
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

#[cfg(test)]
mod tests;
