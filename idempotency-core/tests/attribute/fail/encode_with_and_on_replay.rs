use idempotency_core::{Policy, Store, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

fn encode(reply: u64) -> Vec<u8> {
    reply.to_le_bytes().to_vec()
}

#[idempotent(store = STORE, key = key, on_replay = u64::reverse_bits)]
#[ic_cdk::update(encode_with = "encode")]
fn pay(key: u64) -> u64 {
    key
}

fn main() {}
