//! What becomes of a canister's code in a native test.

use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{Policy, Store, Timestamp, idempotent};
use std::panic::catch_unwind;

thread_local! {
    static CANISTERS: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());

    static NATIVE: Store<DefaultMemoryImpl> =
        Store::open(DefaultMemoryImpl::default(), Policy::new(), Timestamp::from_nanos(0))
            .expect("an empty memory");
}

#[idempotent(store = CANISTERS, key = id)]
#[ic_cdk::update]
fn pay(id: u64) -> u64 {
    id
}

#[test]
fn the_function_is_an_ordinary_one() {
    assert_eq!(pay(7), 7);
}

#[test]
fn a_store_says_how_to_open_it_in_a_native_test() {
    let panicked = catch_unwind(|| CANISTERS.with(Store::stats)).expect_err("there is no clock");
    let text = panicked.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panicked.downcast_ref::<String>().cloned());
    assert!(text.is_some_and(|text| text.contains("Store::open")));
    assert_eq!(NATIVE.with(Store::stats).entries, 0);
}
