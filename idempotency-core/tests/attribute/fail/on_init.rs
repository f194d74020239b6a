use idempotency_core::{Policy, Store, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::init]
fn init(key: u64) {
    let _ = key;
}

fn main() {}
