//! The deduplication store: every remembered request, in stable memory, with nothing to do at an upgrade.
//!
//! It keeps its rows in a table (the module `table`), which knows nothing of what they mean:
//!
//! - A *record* (`record.rs`) is what is kept of a request: 44 bytes, and a reply of up to 64. A partition holds those that expire within the
//!   same 1/32 of window and drift (up to 1/8 where much is retained).
//! - What has begun and has not ended is *open* (`open.rs`, `phases.rs`): it has a cell of the table, where a later heap finds it, and is kept
//!   on the heap. What must be known to go on with it is in its *journal* (`journal.rs`, `journals.rs`, `origin.rs`): rows in its record's partition.
//!   Who takes over from an attempt is in `resume.rs`, who settles a request in `unknown.rs`, and `keep_on.rs` brings durable requests out
//!   of a partition that is forgotten.
//! - What has expired is read for an archive, and forgotten when that has it (`shipping.rs`); who sends it is above the store (`keeper.rs`).
//! - A *counter* (`counter.rs`, `counters.rs`) is what is kept of a lane or a scope from one request to the next, in partitions by last
//!   use.
//! - *Contents* (`contents.rs`) are all of these together. In one place (`transitions.rs`) records change, and in one (`charges.rs`) the
//!   counters that go with them.
//! - A store that certifies has a hash tree (`forest.rs`, `certify.rs`), which follows the records.
//! - A [`Ticket`] is what admission allows; the store carries it out.
//! - How much memory there must be is in `room.rs`.
//! - What a store says of itself is in `stats.rs`, how full it was in `samples.rs`; `observe.rs` fills both.
//!
//! # Invariants
//! - `entries ≤ capacity` after every insert, and `bytes ≤ capacity_bytes` after every insert of a request that is not durable. Room for the
//!   largest reply, and for a durable request's whole journal, is found before a function runs: no step and no end fails for want of
//!   room. What a durable request records counts besides the room that is kept for it, which is that for moving it: by that, `bytes` may
//!   pass `capacity_bytes`.
//! - A partition is given up only after its `until`, which is no earlier than the expiry of any of its records. What of it is
//!   still running is remembered on the heap, and what is durable and has not ended is moved to another one before: however long it lasts, it
//!   is not lost.
//! - A cell leads to the record of a request that has not ended, in a partition that lives, and to the last row of its journal. Only the
//!   attempt whose number both have, and which runs in this heap, changes them.
//! - Of all stores that have opened a memory only the last one answers.
//!
//! The IC undoes a message that traps as a whole, so there is no moment at which these do not hold.

mod certify;
mod charges;
mod contents;
mod counter;
mod counters;
mod forest;
mod import;
mod journal;
mod journals;
mod keep_on;
#[cfg(feature = "archive")]
mod keeper;
mod lanes;
mod observe;
mod open;
mod origin;
mod phases;
mod record;
mod records;
mod requests;
mod resume;
mod room;
#[cfg(feature = "http")]
mod samples;
mod settlement;
#[cfg(feature = "archive")]
mod shipping;
mod stats;
mod ticket;
mod transitions;
mod unknown;

pub use crate::table::{Damaged, OpenError};
pub(crate) use forest::Batch;
#[cfg(any(test, feature = "timers"))]
pub(crate) use forest::LEASE;
pub use forest::Shown;
#[cfg(feature = "archive")]
pub(crate) use keeper::{Archived, Expired, History, Keeper, LookingUp, Moved, NotInstalled};
pub(crate) use open::{NotRecorded, Progress};
pub(crate) use origin::Origin;
pub use record::{Attempt, Reply};
pub(crate) use record::{Head, Pending, Record, ScopeDigest, State};
pub use records::Ended;
pub(crate) use records::Lookup;
#[cfg(feature = "http")]
pub(crate) use samples::Sample;
pub use settlement::{Resolved, Settlement, UnknownRequest};
#[cfg(feature = "archive")]
pub(crate) use shipping::EndedRow;
pub use stats::{Events, Stats};
pub use ticket::Ticket;
pub(crate) use ticket::{Counted, TicketCounters};

#[cfg(feature = "timers")]
use crate::alarm::Alarm;
use crate::{
    identity::Identity,
    policy::Policy,
    runtime::{Canister, Runtime as _},
    time::Timestamp,
};
use contents::Contents;
use ic_stable_structures::Memory;
use record::{MAX_REPLY_BYTES, RECORD_BYTES};
#[cfg(feature = "http")]
use samples::Samples;
use stats::Counts;
use std::{
    cell::{Cell, OnceCell, RefCell, RefMut},
    fmt,
    ops::{Deref, DerefMut},
};

/// Remembers the requests of one or more endpoints. It lives in a `thread_local!`, as other stable structures do.
///
/// It owns its [`Memory`] for good: give it a `MemoryId` that nothing else uses. If a second store opens the same memory, the
/// first one refuses every request from then on as [`Damaged`]. The heap that a store takes grows with the requests that have not
/// ended, by some 200 bytes each, and not with those that have.
pub struct Store<M: Memory> {
    policy: Policy,
    inner: RefCell<Contents<M>>,
    /// How many stores of this heap had been opened when this one was last seen to be the last one in its memory.
    openings: Cell<u64>,
    /// The endpoints that were called in this heap: names and methods.
    endpoints: RefCell<Vec<(&'static str, &'static str)>>,
    counts: Counts,
    #[cfg(feature = "http")]
    samples: Samples,
    /// The label of its tree, and who is told when that lacks something.
    watcher: OnceCell<Watcher>,
    /// Who keeps what it forgets.
    #[cfg(feature = "archive")]
    keeper: OnceCell<std::rc::Rc<dyn Keeper>>,
    /// The time for which the timer of this heap is set that ships what has expired.
    #[cfg(feature = "archive")]
    pub(crate) shipping: Alarm,
    /// Nothing is shipped before.
    #[cfg(feature = "archive")]
    pub(crate) ships_after: Cell<Timestamp>,
    /// The time for which the eviction timer of this heap is set.
    #[cfg(feature = "timers")]
    pub(crate) timer: Alarm,
    /// The time for which the timer of this heap is set that goes on with durable requests.
    #[cfg(feature = "timers")]
    pub(crate) recovery: Alarm,
    /// Until then no more of them go on by themselves.
    #[cfg(feature = "timers")]
    pub(crate) rests_until: Cell<Timestamp>,
    /// The time for which the timer of this heap is set that hashes what has changed.
    #[cfg(feature = "timers")]
    pub(crate) tree_timer: Alarm,
}

/// A label, and what is called when the tree lacks something.
type Watcher = (String, Box<dyn Fn()>);

/// What a store holds, while it is worked on.
struct Inner<'a, M: Memory> {
    // Goes first: who is told looks into the store.
    contents: RefMut<'a, Contents<M>>,
    _telling: Telling<'a, M>,
}

/// Tells whoever certifies the tree, when the store is free again, that it lacks something from now on.
struct Telling<'a, M: Memory>(&'a Store<M>);

impl<M: Memory> Drop for Telling<'_, M> {
    #[inline]
    fn drop(&mut self) {
        if self.0.policy.certify.is_some() {
            self.0.tell();
        }
    }
}

impl<M: Memory> Deref for Inner<'_, M> {
    type Target = Contents<M>;

    #[inline]
    fn deref(&self) -> &Contents<M> {
        &self.contents
    }
}

impl<M: Memory> DerefMut for Inner<'_, M> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Contents<M> {
        &mut self.contents
    }
}

thread_local! {
    /// How many stores this heap has opened.
    static OPENINGS: Cell<u64> = const { Cell::new(0) };
}

impl<M: Memory> Store<M> {
    /// Opens the store in `memory`, or makes a new one if the memory was never used.
    ///
    /// # Panics
    /// Traps with the [`OpenError`] if the memory can't be opened, so that an upgrade which would lose the store is undone.
    /// Panics outside of a canister, where there is no clock: use [`Store::open`] in a native test.
    pub fn new(memory: M, policy: Policy) -> Self {
        if cfg!(not(target_family = "wasm")) {
            panic!(
                "idempotency: `Store::new` reads the clock of a canister, and this is not one; in a native test make the \
                 store with `Store::open(memory, policy, Timestamp::from_nanos(0))`"
            );
        }
        Self::open(memory, policy, Canister.time())
            .unwrap_or_else(|error| panic!("idempotency: {error}"))
    }

    /// Does the same as [`Store::new`], with the time as an argument and the error as a value.
    ///
    /// # Errors
    /// [`OpenError`]; the memory is unchanged.
    pub fn open(memory: M, policy: Policy, now: Timestamp) -> Result<Self, OpenError> {
        policy.check().map_err(OpenError::InvalidPolicy)?;
        if policy.max_reply_bytes > MAX_REPLY_BYTES {
            return Err(OpenError::InvalidPolicy(
                "max_reply_bytes is more than 16 MiB",
            ));
        }
        if RECORD_BYTES + u64::from(policy.max_reply_bytes) > policy.capacity_bytes {
            return Err(OpenError::InvalidPolicy(
                "capacity_bytes has no room for one reply of max_reply_bytes",
            ));
        }
        Ok(Self {
            #[cfg(feature = "http")]
            samples: Samples::new(&policy),
            policy,
            inner: RefCell::new(Contents::open(memory, &policy, now)?),
            openings: Cell::new(OPENINGS.with(|openings| {
                openings.set(openings.get() + 1);
                openings.get()
            })),
            endpoints: RefCell::default(),
            counts: Counts::new(now),
            watcher: OnceCell::new(),
            #[cfg(feature = "archive")]
            keeper: OnceCell::new(),
            #[cfg(feature = "archive")]
            shipping: Alarm::default(),
            #[cfg(feature = "archive")]
            ships_after: Cell::new(Timestamp::from_nanos(0)),
            #[cfg(feature = "timers")]
            timer: Alarm::default(),
            #[cfg(feature = "timers")]
            recovery: Alarm::default(),
            #[cfg(feature = "timers")]
            rests_until: Cell::new(Timestamp::from_nanos(0)),
            #[cfg(feature = "timers")]
            tree_timer: Alarm::default(),
        })
    }

    /// What the store holds, unless another store has opened its memory since: what this one knows would be out of date then, and
    /// requests would run twice.
    fn inner(&self) -> Result<Inner<'_, M>, Damaged> {
        let inner = self.inner.borrow_mut();
        // Whoever opens the memory while this heap lives is of this heap.
        let openings = OPENINGS.get();
        if self.openings.get() != openings {
            if inner.is_superseded() {
                return Err(Damaged);
            }
            self.openings.set(openings);
        }
        Ok(Inner {
            contents: inner,
            _telling: Telling(self),
        })
    }

    /// Has `watcher` called whenever the tree lacks something after it was whole. `label` is the tree's.
    pub(crate) fn on_change(&self, label: &str, watcher: Box<dyn Fn()>) {
        let _ = self.watcher.set((label.to_owned(), watcher));
    }

    /// The label of the tree, if there is one and somebody certifies it.
    pub(crate) fn label(&self) -> Option<&str> {
        self.watcher.get().map(|(label, _)| label.as_str())
    }

    #[cold]
    fn tell(&self) {
        let is_to_be_told = match self.inner.try_borrow() {
            Ok(inner) => (inner.certified.as_ref()).is_some_and(|tree| tree.is_to_be_told()),
            Err(_) => false,
        };
        if let (true, Some((_, watcher))) = (is_to_be_told, self.watcher.get()) {
            watcher();
        }
    }

    /// Whether no other store has opened its memory since.
    pub(crate) fn is_the_last_opened(&self) -> Result<(), Damaged> {
        self.inner().map(drop)
    }

    /// The policy it was opened with.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The last instant at which the store is certain to remember a request; `None` if it does not know the request. It is a
    /// little later than the policy says, and with a [`Policy::retention`] the store may remember the request for longer. The last
    /// number of a strict lane may have its record in the lane, where only
    /// [`Handle::guaranteed_until`](crate::attempt::Handle::guaranteed_until) finds it.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn guaranteed_until(&self, identity: &Identity) -> Result<Option<Timestamp>, Damaged> {
        self.inner()?.kept_until(identity)
    }

    /// Notes that an endpoint's name is that of a method. Another method whose requests have the same name in this store.
    pub(crate) fn claim(&self, name: &'static str, method: &'static str) -> Option<&'static str> {
        let mut endpoints = self.endpoints.borrow_mut();
        // An endpoint's own names lie where they lay: texts are compared where they do not.
        let are_equal = |one: &str, other: &str| std::ptr::eq(one, other) || one == other;
        let known = endpoints.iter().find(|(known, _)| are_equal(known, name));
        let owner = known.map(|(_, owner)| *owner);
        if owner.is_none() {
            endpoints.push((name, method));
        }
        owner.filter(|owner| !are_equal(owner, method))
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
