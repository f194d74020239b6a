use idempotency_core::{Policy, Steps, Store, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = steps.key("pay"), durable)]
#[ic_cdk::update]
async fn a(steps: Steps, key: u64) {}

#[idempotent(store = STORE, key = key, scope = (key, s.caller()), durable)]
#[ic_cdk::update]
async fn b(mut s: Steps, key: u64) {}

#[idempotent(store = STORE, key = key, created_at = r#type.now(), durable)]
#[ic_cdk::update]
async fn c(r#type: Steps, key: u64) {}

fn main() {}
