use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{Policy, Store, idempotent};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

const WIDE: u16 = 2_000;

#[idempotent(store = STORE, sequence = key, max_in_flight = WIDE)]
#[ic_cdk::update]
fn pay(key: u64) {}

fn main() {}
