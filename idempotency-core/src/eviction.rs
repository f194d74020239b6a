//! Forgetting what has expired, a bounded amount at a time.
//!
//! Two ways, either of which is enough for correctness: each new request evicts at most
//! [`inline_evictions`](crate::Policy::inline_evictions) records before it runs, and a timer evicts the rest while nobody
//! calls. The timer sleeps until the oldest record can expire, is not set while the store is empty, and works within
//! [`timer_instructions`](crate::Policy::timer_instructions) a run. A record that has expired and not yet been evicted is
//! still answered from: eviction only makes room.

use crate::store::Store;
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
    store.with(|_| ());
    schedule(store);
}

/// Sets the timer for the next expiry, unless it is set for that or an earlier time.
pub(crate) fn schedule<M: Memory>(store: &'static LocalKey<Store<M>>) {
    #[cfg(feature = "timers")]
    timer::set(store, std::time::Duration::ZERO);
    #[cfg(not(feature = "timers"))]
    let _ = store;
}

#[cfg(feature = "timers")]
mod timer {
    use crate::{runtime, store::Store};
    use ic_stable_structures::Memory;
    use std::{thread::LocalKey, time::Duration};

    /// A busy store pays for one run a minute, not for one a record.
    const REST: Duration = Duration::from_secs(60);

    /// Records looked at between two readings of the instruction counter.
    const BATCH: u32 = 32;

    pub(super) fn set<M: Memory>(store: &'static LocalKey<Store<M>>, rest: Duration) {
        let now = runtime::time();
        let delay = store.with(|store| {
            let due = store.next_eviction()?.max(now.plus(rest));
            // A time in the past is that of a run that trapped: it will not come.
            let is_set = (store.timer.get()).is_some_and(|set| now <= set && set <= due);
            (!is_set).then(|| {
                store.timer.set(Some(due));
                Duration::from_nanos(due.as_nanos() - now.as_nanos())
            })
        });
        if let Some(delay) = delay {
            runtime::after(delay, move || run(store));
        }
    }

    fn run<M: Memory>(store: &'static LocalKey<Store<M>>) {
        let now = runtime::time();
        let finished = store.with(|store| {
            store.timer.set(None);
            let limit = store.policy().timer_instructions;
            loop {
                if store.evict(now, BATCH) < BATCH {
                    break true;
                }
                if runtime::instructions() >= limit {
                    break false;
                }
            }
        });
        set(store, if finished { REST } else { Duration::ZERO });
    }
}
