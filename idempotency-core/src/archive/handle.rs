//! The archives as a canister holds them.

use super::{
    contents::Contents,
    generations::Plan,
    policy::{ArchivePolicy, Source},
    records::InFlight,
    status::{ArchiveStatus, ChunkStatus, MakingStatus, Overview, Problem, TopUp, Trouble},
};
use crate::{
    store::{Damaged, OpenError},
    time::Timestamp,
};
use candid::Principal;
use ic_stable_structures::Memory;
use sha2::{Digest as _, Sha256};
use std::{
    cell::{Cell, OnceCell, RefCell, RefMut},
    collections::BTreeMap,
    fmt,
    thread::LocalKey,
    time::Duration,
};

/// The longest pause before what has failed is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// While something is under way the timer looks so seldom whether it still is.
pub(super) const LOOKS_AFTER: Duration = Duration::from_secs(600);

/// The archives of one store. It lives in a `thread_local!`, as a [`Store`](crate::Store) does, and owns its [`Memory`] for good: give it a
/// `MemoryId` that nothing else uses.
pub struct Archives<M: Memory> {
    pub(super) policy: ArchivePolicy,
    contents: RefCell<Contents<M>>,
    /// Something is under way in this heap.
    is_busy: Cell<bool>,
    trouble: RefCell<Option<Trouble>>,
    /// What became of each archive when it was last asked for its cycles.
    top_ups: RefCell<BTreeMap<Principal, TopUp>>,
    /// In a row.
    failures: Cell<u32>,
    module: OnceCell<[u8; 32]>,
    /// How many requests the store has to ship.
    waiting: OnceCell<Box<dyn Fn() -> u64>>,
}

impl<M: Memory> Archives<M> {
    /// Opens the archives in `memory`, or begins with none if the memory was never used.
    ///
    /// # Panics
    /// Traps with the [`OpenError`] if the memory can't be opened, so that an upgrade which would lose them is undone. Panics outside of a
    /// canister.
    pub fn new(memory: M, policy: ArchivePolicy) -> Self {
        if cfg!(not(target_family = "wasm")) {
            panic!(
                "idempotency: archives are called with the clock and the timers of a canister, and this is not one"
            );
        }
        Self::open(memory, policy)
            .unwrap_or_else(|error| panic!("idempotency: the archives: {error}"))
    }

    pub(super) fn open(memory: M, policy: ArchivePolicy) -> Result<Self, OpenError> {
        policy.check().map_err(OpenError::InvalidPolicy)?;
        Ok(Self {
            contents: RefCell::new(Contents::open(memory)?),
            policy,
            is_busy: Cell::default(),
            trouble: RefCell::default(),
            top_ups: RefCell::default(),
            failures: Cell::default(),
            module: OnceCell::new(),
            waiting: OnceCell::new(),
        })
    }

    /// The policy it was opened with.
    pub fn policy(&self) -> &ArchivePolicy {
        &self.policy
    }

    /// How the archives are, and whether anything is wrong. Reads no request.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn overview(&self) -> Result<Overview, Damaged> {
        let contents = self.contents()?;
        let archives = contents.archives().iter().map(|archive| ArchiveStatus {
            canister: archive.canister,
            state: archive.state.into(),
            requests: archive.confirmed.entries,
            keeps_replies: archive.keeps_replies,
            is_made: archive.is_made,
            is_blackholed: archive.is_blackholed,
            since: archive.since,
            top_up: self.top_ups.borrow().get(&archive.canister).cloned(),
        });
        let in_flight = contents.progress().and_then(|progress| progress.in_flight);
        let confirmed = (contents.current()).map_or(0, |(_, current)| current.confirmed.entries);
        let chunk = |in_flight: InFlight| ChunkStatus {
            requests: in_flight.after.entries.saturating_sub(confirmed),
            since: in_flight.since,
        };
        Ok(Overview {
            archives: archives.collect(),
            waiting: self.waiting.get().map_or(0, |waiting| waiting()),
            chunk: in_flight.map(chunk),
            making: contents.making().map(|making| MakingStatus {
                canister: (making.canister != Principal::anonymous()).then_some(making.canister),
                since: making.since,
            }),
            trouble: self.trouble.borrow().clone(),
            lost: contents.lost(),
            bytes: contents.bytes(),
        })
    }

    /// The canisters of the archives, in the order in which they were filled: for whoever shows them to clients.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn canisters(&self) -> Result<Vec<Principal>, Damaged> {
        let contents = self.contents()?;
        Ok(contents.archives().iter().map(|it| it.canister).collect())
    }

    /// What it holds, unless other archives have opened its memory since.
    pub(super) fn contents(&self) -> Result<RefMut<'_, Contents<M>>, Damaged> {
        let contents = self.contents.borrow_mut();
        match contents.is_superseded() {
            true => Err(Damaged),
            false => Ok(contents),
        }
    }

    /// Has `overview` tell how many requests wait.
    pub(super) fn watch(&self, waiting: Box<dyn Fn() -> u64>) {
        let _ = self.waiting.set(waiting);
    }

    /// Whether something is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy.get()
    }

    /// All is well.
    pub(super) fn succeeded(&self) {
        self.failures.set(0);
        *self.trouble.borrow_mut() = None;
    }

    /// Something has failed; when it is tried again.
    pub(super) fn failed(&self, problem: Problem, now: Timestamp) -> Timestamp {
        let again = self.pause(now);
        let mut trouble = self.trouble.borrow_mut();
        let before = trouble.take();
        let is_same = |before: &Trouble| {
            std::mem::discriminant(&before.problem) == std::mem::discriminant(&problem)
        };
        let (since, tries) =
            (before.filter(is_same)).map_or((now, 0), |before| (before.since, before.tries));
        *trouble = Some(Trouble {
            problem,
            since,
            tries: tries.saturating_add(1),
            again,
        });
        again
    }

    /// An archive was asked whether it lacks cycles.
    pub(super) fn topped_up(&self, archive: Principal, top_up: TopUp) {
        self.top_ups.borrow_mut().insert(archive, top_up);
    }

    /// Growing pauses.
    pub(super) fn pause(&self, now: Timestamp) -> Timestamp {
        let failures = self.failures.get();
        self.failures.set(failures.saturating_add(1));
        now.plus(Duration::from_secs(1 << failures.min(10)).min(LONGEST_PAUSE))
    }

    /// Whether a call could not be sent the last time: for want of cycles, perhaps.
    pub(super) fn is_in_trouble(&self) -> bool {
        self.trouble.borrow().is_some()
    }

    pub(super) fn plan(&self) -> Plan {
        Plan {
            rate: self.policy.rate(),
            first_ids: self.policy.first_ids,
            archive_ids: self.policy.capacity,
        }
    }

    /// The SHA-256 of the module that archives are made of; `None` if they are given.
    pub(super) fn module_hash(&self) -> Option<[u8; 32]> {
        match &self.policy.source {
            Source::Given(_) => None,
            Source::Embedded(module) => {
                Some(*(self.module).get_or_init(|| Sha256::digest(module).into()))
            }
            Source::Stored { hash, .. } => Some(*hash),
        }
    }
}

impl<M: Memory> fmt::Debug for Archives<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archives")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// A way to the archives: timers and calls outlive messages, so they keep that and not the archives.
pub(super) trait Access: Clone + 'static {
    /// Where they live.
    type Memory: Memory;

    /// Works on them.
    fn with<T>(&self, work: impl FnOnce(&Archives<Self::Memory>) -> T) -> T;
}

impl<M: Memory> Access for &'static LocalKey<Archives<M>> {
    type Memory = M;

    fn with<T>(&self, work: impl FnOnce(&Archives<M>) -> T) -> T {
        LocalKey::with(self, work)
    }
}

/// Something is under way, for as long as this lives. It is dropped also in the cleanup after a trap, so that another attempt may follow; and
/// never given up before: what is made twice is paid for twice.
pub(super) struct UnderWay<A: Access>(A);

impl<A: Access> UnderWay<A> {
    pub(super) fn begin(archives: &A) -> Self {
        archives.with(|archives| archives.is_busy.set(true));
        Self(archives.clone())
    }
}

impl<A: Access> Drop for UnderWay<A> {
    fn drop(&mut self) {
        self.0.with(|archives| archives.is_busy.set(false));
    }
}
