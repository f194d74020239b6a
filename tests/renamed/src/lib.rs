//! A canister that knows `idempotency-core` by another name, and has no other way to it. That it compiles is the test: the attribute
//! and the macros reach everything by `crate = …`.
#![forbid(unsafe_code)]
#![deny(warnings)]

use ic_stable_structures::DefaultMemoryImpl;
use idem::{
    IdempotencyError, Policy, Store, endpoint, idempotent, inspect,
    outcome::{Asked, Outcome},
    outcomes,
};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(crate = idem, store = STORE, key = (to, amount), on_replay = |reply: u64| reply + 1)]
#[ic_cdk::update]
fn pay(to: String, amount: u64) -> u64 {
    amount
}

#[idempotent(crate = idem, store = STORE, sequence = number, lane = lane, max_in_flight = 64)]
#[ic_cdk::update]
async fn order(lane: u64, number: u64) -> (u64, u64) {
    (lane, number)
}

/// The number of the caller's next order.
#[ic_cdk::query]
fn next_order(lane: u64) -> Result<u64, IdempotencyError> {
    let caller = ic_cdk::api::msg_caller();
    endpoint!(order).of(caller).lane(&lane).next_number()
}

#[ic_cdk::query]
fn outcomes_of(calls: Vec<Asked>) -> Vec<Result<Outcome, IdempotencyError>> {
    outcomes!(calls; pay, order)
}

#[ic_cdk::inspect_message]
fn inspect_message() {
    if inspect!(pay, order).is_ok() {
        ic_cdk::api::accept_message();
    }
}

#[test]
fn the_function_is_an_ordinary_one() {
    assert_eq!(pay("shop".into(), 7), 7);
}
