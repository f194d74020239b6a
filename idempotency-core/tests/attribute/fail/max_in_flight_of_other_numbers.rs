use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{Policy, Store, idempotent};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, sequence = key, max_in_flight = 2_000)]
#[ic_cdk::update]
fn a(key: u64) {}

#[idempotent(store = STORE, sequence = key, max_in_flight = 0)]
#[ic_cdk::update]
fn b(key: u64) {}

#[idempotent(store = STORE, sequence = key, max_in_flight = "64")]
#[ic_cdk::update]
fn c(key: u64) {}

#[idempotent(store = STORE, sequence = key, max_in_flight = true)]
#[ic_cdk::update]
fn d(key: u64) {}

fn main() {}
