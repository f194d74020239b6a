use idempotency_core::{Policy, Store, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, sequence = key.to_string())]
#[ic_cdk::update]
fn pay(key: u64) -> u64 {
    key
}

fn main() {}
