use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{Policy, Store, idempotent};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[ic_cdk::update(name = "pay_v2")]
#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
fn pay(key: u64) {}

fn main() {}
