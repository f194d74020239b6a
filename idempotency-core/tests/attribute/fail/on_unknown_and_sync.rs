use idempotency_core::{Policy, Resolution, Store, Unknown, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = key, on_unknown = look_up)]
#[ic_cdk::update]
fn pay(key: u64) -> u64 {
    key
}

fn look_up(_: u64, _: Unknown) -> Resolution<u64> {
    Resolution::NotExecuted
}

fn main() {}
