use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{Policy, Store, idempotent};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = number, created_at = key)]
#[ic_cdk::update]
fn pay(number: u64) {}

#[idempotent(store = STORE, key = (account, id), created_at = key)]
#[ic_cdk::update]
fn pay_for(account: u32, id: String) {}

fn main() {}
