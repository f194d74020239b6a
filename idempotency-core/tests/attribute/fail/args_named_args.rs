use idempotency_core::{Policy, Store, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = args)]
#[ic_cdk::update]
fn pay(args: u64, memo: String) -> u64 {
    args + memo.len() as u64
}

fn main() {}
