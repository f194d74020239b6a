use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{Policy, Store, idempotent};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

struct Ledger;

impl Ledger {
    #[idempotent(store = STORE, key = key)]
    #[ic_cdk::update]
    fn pay(key: u64) -> u64 {
        key
    }

    #[idempotent(store = STORE, key = key)]
    #[ic_cdk::update]
    fn refund(key: u64, ledger: Self) -> u64 {
        key
    }
}

fn main() {}
