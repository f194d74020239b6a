//! How a store is reached: through the thread-local variable that holds it.
//!
//! An attempt outlives messages, and so it keeps the way to its store and not the store. A test may have another way, to a store
//! that it opens anew at an upgrade.

use crate::{
    admission,
    error::IdempotencyError,
    identity::{EarlyName, Identity},
    import::{self, ImportProblem, Past, Taken},
    outcome::{self, Known, Outcome},
    sequence::{FreedLane, Sequence},
    store::{Damaged, Ended, Resolved, Settlement, Shown, Store},
    time::Timestamp,
};
use ic_stable_structures::Memory;
use std::thread::LocalKey;

/// A way to a store.
pub(crate) trait StoreAccess: Clone + 'static {
    /// Where the store lives.
    type Memory: Memory;

    /// Works on the store.
    fn with<T>(&self, work: impl FnOnce(&Store<Self::Memory>) -> T) -> T;
}

impl<M: Memory> StoreAccess for &'static LocalKey<Store<M>> {
    type Memory = M;

    fn with<T>(&self, work: impl FnOnce(&Store<M>) -> T) -> T {
        LocalKey::with(self, work)
    }
}

/// What is known when archives have answered.
#[cfg(feature = "archive")]
pub(crate) type Later<'a, T> =
    std::pin::Pin<Box<dyn std::future::Future<Output = Result<T, IdempotencyError>> + 'a>>;

/// What an endpoint's constant can do with its store. It does not name the type of the memory, which the attribute can't see.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`store` is a thread-local `Store`, not a `{Self}`",
    note = "write `thread_local! {{ static PAYMENTS: Store<Memory> = Store::new(memory, policy); }}` and `store = PAYMENTS`"
)]
pub trait AnyStore {
    /// [`admission::foresee`]
    fn foresee(
        &'static self,
        request: (&Identity, Option<Sequence>),
        created_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), IdempotencyError>;

    /// [`outcome::outcome`]
    fn outcome(
        &'static self,
        request: (&Identity, Option<Sequence>),
        created_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(Outcome, Option<Known>), IdempotencyError>;

    /// [`outcome::outcome`], or if that depends on it, with what the archives say.
    #[cfg(feature = "archive")]
    fn outcome_ever<'a>(
        &'static self,
        request: (Identity, Option<Sequence>),
        created_at: Option<Timestamp>,
        now: &'a dyn Fn() -> Timestamp,
    ) -> Later<'a, (Outcome, Option<Known>)>;

    /// [`Store::ended`]
    fn ended(&'static self, name: &EarlyName) -> Result<Option<Ended>, Damaged>;

    /// [`Store::proof`]
    fn proof(
        &'static self,
        identity: &Identity,
        created_at: Option<Timestamp>,
    ) -> Result<Option<Shown>, IdempotencyError>;

    /// [`Store::next_number`]
    fn next_number(&'static self, lane: &Identity) -> Result<u64, Damaged>;

    /// [`Store::free_lane`]
    fn free_lane(&'static self, lane: &Identity, number: u64) -> Result<FreedLane, Damaged>;

    /// [`Store::guaranteed_until`], also of a number whose record lies in its lane.
    fn guaranteed_until(
        &'static self,
        request: (&Identity, Option<Sequence>),
    ) -> Result<Option<Timestamp>, Damaged>;

    /// [`Store::resolve`]
    fn resolve(
        &'static self,
        identity: &Identity,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<Resolved, IdempotencyError>;

    /// [`Store::begin_partitions`]
    fn begin_import(&'static self, now: Timestamp) -> Result<(), Damaged>;

    /// [`import::take_over`]
    fn take_over(&'static self, past: &Past<'_>, now: Timestamp) -> Result<Taken, ImportProblem>;
}

impl<M: Memory> AnyStore for LocalKey<Store<M>> {
    fn foresee(
        &'static self,
        request: (&Identity, Option<Sequence>),
        created_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), IdempotencyError> {
        self.with(|store| admission::foresee(store, request, created_at, now))
    }

    fn outcome(
        &'static self,
        request: (&Identity, Option<Sequence>),
        created_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(Outcome, Option<Known>), IdempotencyError> {
        self.with(|store| outcome::outcome(store, request, created_at, now))
    }

    #[cfg(feature = "archive")]
    fn outcome_ever<'a>(
        &'static self,
        (identity, sequence): (Identity, Option<Sequence>),
        created_at: Option<Timestamp>,
        now: &'a dyn Fn() -> Timestamp,
    ) -> Later<'a, (Outcome, Option<Known>)> {
        Box::pin(async move {
            let request = (&identity, sequence);
            let answer =
                self.with(|store| outcome::ask_archives(store, request, created_at, now()))?;
            let Some(answer) = answer else {
                return self.with(|store| outcome::outcome(store, request, created_at, now()));
            };
            let archived = answer.await?;
            self.with(|store| outcome::outcome_with(store, request, created_at, archived, now()))
        })
    }

    fn ended(&'static self, name: &EarlyName) -> Result<Option<Ended>, Damaged> {
        self.with(|store| store.ended(name))
    }

    fn proof(
        &'static self,
        identity: &Identity,
        created_at: Option<Timestamp>,
    ) -> Result<Option<Shown>, IdempotencyError> {
        self.with(|store| store.proof(identity, created_at))
    }

    fn next_number(&'static self, lane: &Identity) -> Result<u64, Damaged> {
        self.with(|store| store.next_number(lane))
    }

    fn free_lane(&'static self, lane: &Identity, number: u64) -> Result<FreedLane, Damaged> {
        self.with(|store| store.free_lane(lane, number))
    }

    fn guaranteed_until(
        &'static self,
        (identity, sequence): (&Identity, Option<Sequence>),
    ) -> Result<Option<Timestamp>, Damaged> {
        self.with(|store| match sequence {
            Some(sequence) => store.number_guaranteed_until(identity, &sequence),
            None => store.guaranteed_until(identity),
        })
    }

    fn resolve(
        &'static self,
        identity: &Identity,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<Resolved, IdempotencyError> {
        self.with(|store| store.resolve(identity, settlement, now))
    }

    fn begin_import(&'static self, now: Timestamp) -> Result<(), Damaged> {
        self.with(|store| store.begin_partitions(now))
    }

    fn take_over(&'static self, past: &Past<'_>, now: Timestamp) -> Result<Taken, ImportProblem> {
        self.with(|store| import::take_over(store, past, now))
    }
}
