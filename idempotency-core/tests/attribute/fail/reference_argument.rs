use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{Policy, Store, idempotent};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
fn a(key: &str) {}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
fn b(key: Option<&str>) {}

fn main() {}
