//! Going on with durable requests that an upgrade or a trap cut off, and with those that slept: oldest first, a bounded number in a second.
//!
//! With the feature `timers` a timer does it: [`install`](crate::install) sets it, and each attempt that ends. Without the feature a retry
//! does.

use crate::{
    access::StoreAccess,
    runtime::{Outgoing, Runtime},
    store::Attempt,
    time::Timestamp,
};
use candid::Principal;

/// So many durable requests go on by themselves in a second: where a callee is slow, more are under way. A limit to those would let
/// some that hang hold up all others.
#[cfg(feature = "timers")]
const MOST_IN_A_SECOND: usize = 20;

/// What the canister tells itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The request whose last attempt this was goes on.
    GoOn(Attempt),
    /// This attempt is executed.
    Attempt(Attempt),
    /// This attempt asks `on_unknown`.
    Resolve(Attempt),
}

impl Message {
    pub(crate) fn attempt(self) -> Attempt {
        match self {
            Self::GoOn(attempt) | Self::Attempt(attempt) | Self::Resolve(attempt) => attempt,
        }
    }

    fn bytes(self) -> Vec<u8> {
        let kind = match self {
            Self::GoOn(_) => 0,
            Self::Attempt(_) => 1,
            Self::Resolve(_) => 2,
        };
        [&[kind][..], &self.attempt().0.to_le_bytes()].concat()
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (kind, number) = bytes.split_first()?;
        let attempt = Attempt(u64::from_le_bytes(number.try_into().ok()?));
        match kind {
            0 => Some(Self::GoOn(attempt)),
            1 => Some(Self::Attempt(attempt)),
            2 => Some(Self::Resolve(attempt)),
            _ => None,
        }
    }
}

/// A call of the canister to itself, to the method that goes on with an endpoint's requests.
pub(crate) fn call(canister: Principal, endpoint: &str, message: Message) -> Outgoing {
    Outgoing {
        callee: canister,
        method: format!("<idempotency> {endpoint}"),
        argument: message.bytes(),
        cycles: 0,
        timeout: None,
    }
}

/// Sets the timer for the next request that goes on by itself, unless it is already set for that time or an earlier one.
pub(crate) fn schedule(runtime: &impl Runtime, store: &impl StoreAccess, now: Timestamp) {
    #[cfg(feature = "timers")]
    timer::set(runtime, store, now);
    #[cfg(not(feature = "timers"))]
    let _ = (runtime, store, now);
}

#[cfg(feature = "timers")]
mod timer {
    use super::{MOST_IN_A_SECOND, Message, call};
    use crate::{access::StoreAccess, alarm::Due, runtime::Runtime, store::Store, time::Timestamp};
    use ic_stable_structures::Memory;
    use std::time::Duration;

    pub(super) fn set(runtime: &impl Runtime, store: &impl StoreAccess, now: Timestamp) {
        if let Some(Due { at, delay }) = store.with(|store| to_be_set(store, now)) {
            let (later, its) = (runtime.clone(), store.clone());
            runtime.surely_after(delay, move || run(&later, &its, at));
        }
    }

    /// The timer that must be set. From now on it counts as set.
    fn to_be_set<M: Memory>(store: &Store<M>, now: Timestamp) -> Option<Due> {
        let due = store.next_due()?.max(store.rests_until.get());
        store.recovery.set(due, now)
    }

    /// The timer that was set for `at` runs. Nobody waits for the answers here: an attempt may take longer than a timer's message.
    fn run(runtime: &impl Runtime, store: &impl StoreAccess, at: Timestamp) {
        let now = runtime.time();
        let due = store.with(|store| {
            store.recovery.rings(at);
            // Another timer's run has gone on with as many as it may.
            if now < store.rests_until.get() {
                return Ok(vec![]);
            }
            let due = store.take_due(now, MOST_IN_A_SECOND);
            if (due.as_ref()).is_ok_and(|due| due.len() == MOST_IN_A_SECOND) {
                store.rests_until.set(now.plus(Duration::from_secs(1)));
            }
            due
        });
        // A damaged store refuses requests, and no timer is set for it again.
        if let Ok(due) = due {
            for (attempt, endpoint) in due {
                let canister = runtime.canister();
                runtime.notify(call(canister, &endpoint, Message::GoOn(attempt)));
            }
            set(runtime, store, now);
        }
    }
}
