use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{Policy, Store, idempotent};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = "STORE", key = key)]
#[ic_cdk::update]
fn a(key: u64) {}

#[idempotent(store = STORE, key = key, crate = "idempotency_core")]
#[ic_cdk::update]
fn b(key: u64) {}

#[idempotent(store = STORE, key = key, on_replay = "again")]
#[ic_cdk::update]
fn c(key: u64) {}

#[idempotent(store = STORE, key = key, errors = "keep")]
#[ic_cdk::update]
fn d(key: u64) {}

#[idempotent(store = STORE, key = key, cycles = "1000")]
#[ic_cdk::update]
fn e(key: u64) {}

#[idempotent(store = STORE, key = key, on_replay = again())]
#[ic_cdk::update]
fn f(key: u64) {}

#[idempotent(store = STORE, key = key, name = "")]
#[ic_cdk::update]
fn g(key: u64) {}

#[idempotent(store = STORE, key = key, name = pay)]
#[ic_cdk::update]
fn h(key: u64) {}

fn main() {}
