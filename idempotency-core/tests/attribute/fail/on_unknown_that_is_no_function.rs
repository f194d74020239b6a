use idempotency_core::{Policy, Store, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = key, on_unknown = "look_up")]
#[ic_cdk::update]
async fn quoted(key: u64) {}

#[idempotent(store = STORE, key = key, on_unknown = look_up())]
#[ic_cdk::update]
async fn called(key: u64) {}

#[idempotent(store = STORE, key = key, on_unknown)]
#[ic_cdk::update]
async fn alone(key: u64) {}

#[idempotent(store = STORE, key = key, on_unknown = look_up, on_unknown = look_up)]
#[ic_cdk::update]
async fn twice(key: u64) {}

fn main() {}
