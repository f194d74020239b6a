use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{Policy, Store, idempotent};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = key, required = true)]
#[ic_cdk::update]
fn a(key: u64) {}

#[idempotent(store = STORE, key = key, anonymous = false)]
#[ic_cdk::update]
fn b(key: u64) {}

#[idempotent(store = STORE, key)]
#[ic_cdk::update]
fn c(key: u64) {}

fn main() {}
