use idempotency_core::{Policy, Resolution, Steps, Store, Unknown, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

fn plain(key: u64, _: Unknown) -> u64 {
    key
}

fn of_text(_: u64, _: Unknown) -> Resolution<String> {
    Resolution::Done(String::new())
}

async fn later(key: u64, _: Unknown) -> u64 {
    key
}

#[idempotent(store = STORE, key = key, on_unknown = plain)]
#[ic_cdk::update]
async fn a(key: u64) -> u64 {
    key
}

#[idempotent(store = STORE, key = key, on_unknown = of_text)]
#[ic_cdk::update]
async fn b(key: u64) -> u64 {
    key
}

#[idempotent(store = STORE, key = key, durable, on_unknown = later)]
#[ic_cdk::update]
async fn c(steps: Steps, key: u64) -> u64 {
    steps.run("pay", || async move { key }).await
}

fn main() {}
