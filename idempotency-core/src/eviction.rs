//! Forgetting what has expired, a bounded amount at a time.
//!
//! Records that expire within the same 1/32 of window and drift (up to 1/8 where much is retained) make a slice,
//! and are forgotten together; that costs the same for one record and for a million. Two ways lead there, either of which is
//! enough: each new request gives up one expired slice at most before it runs, and a timer gives up the rest while nobody calls.
//! The timer sleeps until the oldest slice has expired and is not set while the store is empty. What has expired and is not
//! yet forgotten is still answered from: eviction only makes room.

use crate::{
    access::StoreAccess,
    runtime::{Canister, Runtime},
    store::Store,
    time::Timestamp,
};
use ic_stable_structures::Memory;
use std::thread::LocalKey;

/// Opens the store and sets its eviction timer: the one line for `init` and `post_upgrade`.
///
/// Without it a store is opened by the first request that needs it, and works. With it, an upgrade whose memory or policy
/// does not fit is undone at once, and an idle canister forgets what has expired.
///
/// # Panics
/// As [`Store::new`].
pub fn install<M: Memory>(store: &'static LocalKey<Store<M>>) {
    open(&Canister, &store);
}

/// As [`install`], on any runtime.
pub(crate) fn open(runtime: &impl Runtime, store: &impl StoreAccess) {
    store.with(|_| ());
    schedule(runtime, store, runtime.time());
}

/// Sets the timer for the next expiry, unless it is set for that or an earlier time.
pub(crate) fn schedule(runtime: &impl Runtime, store: &impl StoreAccess, now: Timestamp) {
    #[cfg(feature = "timers")]
    timer::set(runtime, store, now);
    #[cfg(not(feature = "timers"))]
    let _ = (runtime, store, now);
}

#[cfg(feature = "timers")]
mod timer {
    use crate::{access::StoreAccess, runtime::Runtime, store::Store, time::Timestamp};
    use ic_stable_structures::Memory;
    use std::time::Duration;

    pub(super) fn set(runtime: &impl Runtime, store: &impl StoreAccess, now: Timestamp) {
        if let Some(delay) = store.with(|store| to_be_set(store, now)) {
            let (later, its) = (runtime.clone(), store.clone());
            runtime.after(delay, move || run(&later, &its));
        }
    }

    /// In what time a timer must run that is not set yet. From now on it is taken for set.
    fn to_be_set<M: Memory>(store: &Store<M>, now: Timestamp) -> Option<Duration> {
        let due = store.next_eviction()?.max(now);
        // A time in the past is that of a run that trapped: it will not come.
        let is_set = (store.timer.get()).is_some_and(|set| now <= set && set <= due);
        (!is_set).then(|| {
            store.timer.set(Some(due));
            Duration::from_nanos(due.as_nanos() - now.as_nanos())
        })
    }

    fn run(runtime: &impl Runtime, store: &impl StoreAccess) {
        let now = runtime.time();
        let evicted = store.with(|store| {
            store.timer.set(None);
            // There are 512 slices at most, and each costs a few thousand instructions.
            store.evict(now, u32::MAX)
        });
        // A damaged store refuses requests, and is not tried again here.
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

        fn at(nanos: u64) -> Timestamp {
            Timestamp::from_nanos(nanos)
        }

        fn execute(store: &Store<VectorMemory>, key: u8, now: u64) {
            let request = Request {
                identity: Identity([key; 24]),
                fingerprint: Fingerprint::default(),
                created_at: None,
                counts_in: None,
            };
            match admission::admit(store, &request, at(now)) {
                Decision::Execute(ticket) => store.record(&ticket, b"x").unwrap(),
                other => panic!("{other:?}"),
            }
        }

        /// A trap undoes what a run had noted, too.
        #[test]
        fn a_timer_that_trapped_is_set_again() {
            let policy = Policy::new()
                .window(Duration::from_nanos(320))
                .drift(Duration::ZERO);
            let store = Store::open(VectorMemory::default(), policy, at(0)).unwrap();
            assert_eq!(to_be_set(&store, at(0)), None);
            execute(&store, 1, 0);
            assert_eq!(to_be_set(&store, at(0)), Some(Duration::from_nanos(321)));
            execute(&store, 2, 50);
            assert_eq!(to_be_set(&store, at(50)), None);
            assert_eq!(to_be_set(&store, at(321)), None);
            // It did not come.
            let again = to_be_set(&store, at(330));
            assert_eq!(again, Some(Duration::ZERO));
            assert_eq!(to_be_set(&store, at(330)), None);
        }
    }
}
