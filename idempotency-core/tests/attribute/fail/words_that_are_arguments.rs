use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{Policy, Store, idempotent};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = args)]
#[ic_cdk::update]
fn a(args: u64, memo: String) {}

#[idempotent(store = STORE, key = memo, scope = caller)]
#[ic_cdk::update]
fn b(caller: u64, memo: String) {}

#[idempotent(store = STORE, key = memo, scope = global)]
#[ic_cdk::update]
fn c((global, memo): (u64, String)) {}

#[idempotent(store = STORE, key = memo, fingerprint = args)]
#[ic_cdk::update]
fn d(args: u64, memo: String) {}

#[idempotent(store = STORE, key = memo, fingerprint = off)]
#[ic_cdk::update]
fn e(off: u64, memo: String) {}

#[idempotent(store = STORE, key = memo, created_at = key)]
#[ic_cdk::update]
fn f(key: u64, memo: String) {}

fn main() {}
