use idempotency_core::{Policy, Steps, Store, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
async fn first(steps: Steps, key: u64) {}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
fn sync(key: u64, steps: idempotency_core::Steps) {}

fn main() {}
