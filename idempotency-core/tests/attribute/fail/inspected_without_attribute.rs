use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{Policy, Store, idempotent, inspect};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

mod other {
    #[ic_cdk::update]
    pub fn refund(key: u64) -> u64 {
        key
    }
}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
fn pay(key: u64) {}

#[ic_cdk::inspect_message]
fn inspect_message() {
    if inspect!(pay, other::refund).is_ok() {
        ic_cdk::api::accept_message();
    }
}

fn main() {}
