use idempotency_core::{Policy, Steps, Store, idempotent};
use ic_stable_structures::DefaultMemoryImpl;

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = args, durable)]
#[ic_cdk::update]
async fn pay(steps: Steps) {
    steps.run("pay", || async {}).await
}

fn main() {}
