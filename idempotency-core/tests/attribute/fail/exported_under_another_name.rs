use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{Policy, Store, idempotent};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

use ic_cdk::update as exported;

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
#[exported(name = "pay_v2")]
fn pay(key: u64) {}

fn main() {}
