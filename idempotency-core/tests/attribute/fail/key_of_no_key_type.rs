use idempotency_core::{Policy, Store, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = amount)]
#[ic_cdk::update]
fn pay(amount: f64) -> f64 {
    amount
}

fn main() {}
