use idempotency_core::{Policy, Steps, Store, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = key, durable)]
#[ic_cdk::update]
async fn none(key: u64) {}

#[idempotent(store = STORE, key = key, durable)]
#[ic_cdk::update]
async fn last(key: u64, steps: Steps) {}

#[idempotent(store = STORE, key = key, durable)]
#[ic_cdk::update]
async fn borrowed(steps: &Steps, key: u64) {}

#[idempotent(store = STORE, key = key, durable)]
#[ic_cdk::update]
async fn two(steps: Steps, more: idempotency_core::Steps, key: u64) {}

#[idempotent(store = STORE, key = key, durable)]
#[ic_cdk::update]
async fn nothing() {}

fn main() {}
