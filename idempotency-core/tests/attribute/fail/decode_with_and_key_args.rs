use idempotency_core::{Policy, Store, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

fn decode(bytes: Vec<u8>) -> u64 {
    bytes.len() as u64
}

#[idempotent(store = STORE, key = args)]
#[ic_cdk::update(decode_with = "decode")]
fn pay(key: u64) -> u64 {
    key
}

fn main() {}
