
//! The core under another path, functions that are inspected in other modules, and a closure for replays.
#![deny(warnings)]

mod deps {
    pub use idempotency_core as once;
}

use deps::once::{Policy, Store, Timestamp};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

mod payments {
    use crate::{STORE, deps, deps::once::idempotent};

    #[idempotent(crate = deps::once, store = STORE, key = key, on_replay = |reply: u64| reply + 1)]
    #[ic_cdk::update]
    pub fn pay(key: u64) -> u64 {
        key
    }

    #[idempotent(crate = crate::deps::once, store = STORE, sequence = number, max_in_flight = super::WINDOW)]
    #[ic_cdk::update]
    pub fn step(number: u64) -> (u64, u64) {
        (number, number)
    }
}

const WINDOW: u16 = 64;

/// The time is an argument, and so a reference. Who a caller is may decide the scope.
#[deps::once::idempotent(crate = deps::once, store = STORE, key = t, created_at = t, scope = account_of("main"))]
#[ic_cdk::update]
async fn timed(t: Timestamp) -> Timestamp {
    t
}

fn account_of(name: &str) -> String {
    format!("{}/{name}", ic_cdk::api::msg_caller())
}

#[ic_cdk::inspect_message]
fn inspect_message() {
    if deps::once::inspect!(payments::pay, payments::step, timed,).is_ok() {
        ic_cdk::api::accept_message();
    }
}

fn main() {
    assert_eq!(payments::pay(1), 1);
    assert_eq!(payments::step(1), (1, 1));
    drop(timed(Timestamp::from_secs(1)));
}
