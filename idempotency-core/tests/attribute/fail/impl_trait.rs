use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{Policy, Store, idempotent};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
fn a(key: u64, value: impl Into<u64>) {}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
fn b(key: u64, value: Vec<impl Into<u64>>) {}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
fn c(key: u64) -> impl candid::CandidType { key }

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
fn d(key: u64) -> Result<impl candid::CandidType, String> { Ok(key) }

fn main() {}
