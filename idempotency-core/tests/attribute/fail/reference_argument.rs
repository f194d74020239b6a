use idempotency_core::{Policy, Store, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
fn pay(key: &str) -> u64 {
    key.len() as u64
}

fn main() {}
