use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{Policy, Store, idempotent};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = args, created_at = key)]
#[ic_cdk::update]
fn pay(to: String, amount: u64) {}

#[idempotent(store = STORE, sequence = number, created_at = key)]
#[ic_cdk::update]
fn order(number: u64) {}

#[idempotent(store = STORE, key = id, created_at = "key")]
#[ic_cdk::update]
fn quoted(id: String) {}

fn main() {}
