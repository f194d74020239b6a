use idempotency_core::{Policy, Steps, Store, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = key, durable, errors = forget)]
#[ic_cdk::update]
async fn pay(steps: Steps, key: u64) -> Result<u64, String> {
    Ok(steps.run("pay", || async move { key }).await)
}

fn main() {}
