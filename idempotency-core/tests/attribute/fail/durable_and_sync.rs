use idempotency_core::{Policy, Steps, Store, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = key, durable)]
#[ic_cdk::update]
fn with_steps(steps: Steps, key: u64) {}

#[idempotent(store = STORE, key = key, durable)]
#[ic_cdk::update]
fn without_steps(key: u64) {}

fn main() {}
