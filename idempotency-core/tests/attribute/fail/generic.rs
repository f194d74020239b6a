use idempotency_core::{Policy, Store, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
fn pay<T>(key: u64, value: T) -> u64 {
    drop(value);
    key
}

fn main() {}
