//! Forgetting what has expired, a bounded amount at a time.
//!
//! Records that expire within the same 1/32 of window and drift (up to 1/8 where much is retained) lie in one partition and are
//! forgotten together. That costs the same for one record and for a million. It happens in two places, and either is
//! enough: each new request drops at most one expired partition before it runs, and a timer drops the rest while nobody calls.
//! The timer is set for the time at which the oldest partition expires. While the store is empty no timer is set. A record that
//! has expired still answers retries until it is forgotten: eviction only makes room.
//!
//! A store with an archive forgets no request here: see `archive`.

use crate::{
    access::StoreAccess,
    error::IdempotencyError,
    recovery,
    runtime::{Canister, Runtime},
    store::{Damaged, Store},
    time::Timestamp,
};
use ic_stable_structures::Memory;
use std::{cell::RefCell, thread::LocalKey};

/// Opens the store and sets its eviction timer: call it in `init` and in `post_upgrade`.
///
/// A store also works without this call: its first request opens it. With the call, an upgrade traps at once if the memory or
/// the policy does not fit, and is undone; and a canister that nobody calls forgets what has expired.
///
/// # Panics
/// As [`Store::new`]; and if a store that was installed before has the same memory, or something has written to the memory of one.
pub fn install<M: Memory>(store: &'static LocalKey<Store<M>>) {
    thread_local! {
        static INSTALLED: RefCell<Installed> = RefCell::default();
    }
    open(&Canister, &store);
    if let Err(damaged) = INSTALLED.with_borrow_mut(|installed| installed.add(store)) {
        Canister.trap(&IdempotencyError::from(damaged).to_string());
    }
}

/// The stores that were installed: each can say whether another one has opened its memory since.
#[derive(Default)]
struct Installed(Vec<Box<dyn Fn() -> Result<(), Damaged>>>);

impl Installed {
    fn add(&mut self, store: impl StoreAccess) -> Result<(), Damaged> {
        self.0
            .push(Box::new(move || store.with(Store::is_the_last_opened)));
        self.0
            .iter()
            .try_for_each(|is_the_last_opened| is_the_last_opened())
    }
}

/// As [`install`], on any runtime.
pub(crate) fn open(runtime: &impl Runtime, store: &impl StoreAccess) {
    store.with(|_| ());
    schedule(runtime, store, runtime.time());
    recovery::schedule(runtime, store, runtime.time());
}

/// Sets the timer for the next expiry, unless it is already set for that time or an earlier one.
pub(crate) fn schedule(runtime: &impl Runtime, store: &impl StoreAccess, now: Timestamp) {
    #[cfg(feature = "timers")]
    timer::set(runtime, store, now);
    #[cfg(not(feature = "timers"))]
    let _ = (runtime, store, now);
}

#[cfg(feature = "timers")]
mod timer {
    use crate::{access::StoreAccess, alarm::Due, runtime::Runtime, store::Store, time::Timestamp};
    use ic_stable_structures::Memory;

    pub(super) fn set(runtime: &impl Runtime, store: &impl StoreAccess, now: Timestamp) {
        #[cfg(feature = "archive")]
        if let Some((keeper, due)) = store.with(|store| to_be_shipped(store, now)) {
            keeper.wake(due);
        }
        if let Some(Due { at, delay }) = store.with(|store| to_be_set(store, now)) {
            let (later, its) = (runtime.clone(), store.clone());
            runtime.after(delay, move || run(&later, &its, at));
        }
    }

    /// The timer that must be set. From now on it counts as set.
    fn to_be_set<M: Memory>(store: &Store<M>, now: Timestamp) -> Option<Due> {
        store.timer.set(store.next_eviction()?, now)
    }

    /// Who ships what has expired, if its timer must be set.
    #[cfg(feature = "archive")]
    fn to_be_shipped<M: Memory>(
        store: &Store<M>,
        now: Timestamp,
    ) -> Option<(std::rc::Rc<dyn crate::store::Keeper>, Due)> {
        let keeper = store.keeper().ok()??;
        Some((keeper, store.next_shipping(now)?))
    }

    /// The timer that was set for `at` runs.
    fn run(runtime: &impl Runtime, store: &impl StoreAccess, at: Timestamp) {
        let now = runtime.time();
        let evicted = store.with(|store| {
            store.timer.rings(at);
            // There are at most 512 partitions, and each costs a few thousand instructions.
            store.evict(now, u32::MAX)
        });
        // A damaged store refuses requests, and no timer is set for it again.
        if evicted.is_ok() {
            set(runtime, store, now);
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::{
            admission::{self, Decision, Request},
            identity::{Fingerprint, Identity},
            policy::Policy,
        };
        use ic_stable_structures::VectorMemory;
        use std::time::Duration;

        fn at(nanos: u64) -> Timestamp {
            Timestamp::from_nanos(nanos)
        }

        fn delay(store: &Store<VectorMemory>, now: u64) -> Option<Duration> {
            to_be_set(store, at(now)).map(|due| due.delay)
        }

        fn execute(store: &Store<VectorMemory>, key: u8, now: u64) {
            let request = Request {
                identity: Identity([key; 24]),
                fingerprint: Fingerprint::default(),
                created_at: None,
                sequence: None,
                scope: None,
            };
            match admission::admit(store, &request, at(now)) {
                Decision::Execute(ticket) => store.record(&ticket, b"x").unwrap(),
                other => panic!("{other:?}"),
            }
        }

        /// The trap also undoes that the run counted as over.
        #[test]
        fn a_timer_that_trapped_is_set_again() {
            let policy = Policy::new()
                .window(Duration::from_nanos(320))
                .drift(Duration::ZERO);
            let store = Store::open(VectorMemory::default(), policy, at(0)).unwrap();
            assert_eq!(delay(&store, 0), None);
            execute(&store, 1, 0);
            assert_eq!(delay(&store, 0), Some(Duration::from_nanos(321)));
            execute(&store, 2, 50);
            assert_eq!(delay(&store, 50), None);
            assert_eq!(delay(&store, 321), None);
            // It has trapped.
            let again = delay(&store, 330);
            assert_eq!(again, Some(Duration::ZERO));
            assert_eq!(delay(&store, 330), None);
        }
    }
}
