use idempotency_core::{Policy, Store, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update(manual_reply = true)]
fn pay(key: u64) {
    ic_cdk::api::msg_reply(key.to_le_bytes());
}

fn main() {}
