use idempotency_core::{Policy, Resolution, Steps, Store, Unknown, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

fn without_unknown(_: u64) -> Resolution<u64> {
    Resolution::NotExecuted
}

async fn by_reference(_: &u64, _: &Unknown) -> Resolution<u64> {
    Resolution::NotExecuted
}

#[idempotent(store = STORE, key = key, on_unknown = without_unknown)]
#[ic_cdk::update]
async fn a(key: u64) -> u64 {
    key
}

#[idempotent(store = STORE, key = key, on_unknown = by_reference)]
#[ic_cdk::update]
async fn b(key: u64) -> u64 {
    key
}

#[idempotent(store = STORE, key = key, durable, on_unknown = |_steps: Steps, _, _| Resolution::NotExecuted)]
#[ic_cdk::update]
async fn c(steps: Steps, key: u64) -> u64 {
    steps.run("pay", || async move { key }).await
}

fn main() {}
