//! The core under another path, functions that are inspected in other modules, and a closure for replays.
#![deny(warnings)]

mod deps {
    pub(crate) use idempotency_core as once;
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
    pub(crate) fn pay(key: u64) -> u64 {
        key
    }

    #[idempotent(crate = crate::deps::once, store = STORE, sequence = number, max_in_flight = super::WINDOW)]
    #[ic_cdk::update]
    pub(crate) fn step(number: u64) -> (u64, u64) {
        (number, number)
    }

    #[idempotent(crate = deps::once, store = STORE, key = key, durable, on_unknown = super::look_up)]
    #[ic_cdk::update]
    pub(crate) async fn order(steps: deps::once::Steps, key: u64) -> u64 {
        steps.run("order", || async move { key }).await
    }
}

const WINDOW: u16 = 64;

fn look_up(key: u64, _: deps::once::Unknown) -> deps::once::Resolution<u64> {
    deps::once::Resolution::Done(key)
}

#[ic_cdk::update]
fn settle(key: u64) {
    let done = deps::once::store::Settlement::NotExecuted;
    let caller = ic_cdk::api::msg_caller();
    drop(
        deps::once::endpoint!(payments::order)
            .of(caller)
            .resolve(&key, &done),
    );
}

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
    if deps::once::inspect!(payments::pay, payments::step, payments::order, timed,).is_ok() {
        ic_cdk::api::accept_message();
    }
}

fn main() {
    assert_eq!(payments::pay(1), 1);
    assert_eq!(payments::step(1), (1, 1));
    drop(timed(Timestamp::from_secs(1)));
}
