use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{Policy, Store, idempotent};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, sequence = key, window = 2_000)]
#[ic_cdk::update]
fn a(key: u64) {}

#[idempotent(store = STORE, sequence = key, window = 0)]
#[ic_cdk::update]
fn b(key: u64) {}

#[idempotent(store = STORE, sequence = key, window = "64")]
#[ic_cdk::update]
fn c(key: u64) {}

#[idempotent(store = STORE, sequence = key, window = true)]
#[ic_cdk::update]
fn d(key: u64) {}

fn main() {}
