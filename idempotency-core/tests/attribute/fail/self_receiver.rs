use idempotency_core::{Policy, Store, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

struct Ledger;

impl Ledger {
    #[idempotent(store = STORE, key = key)]
    #[ic_cdk::update]
    fn pay(&self, key: u64) -> u64 {
        key
    }
}

fn main() {}
