use candid::Principal;
use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{
    Policy, Store, Timestamp, idempotent, import,
    import::{Arguments, Executed},
};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, sequence = number)]
#[ic_cdk::update]
fn step(number: u64) -> u64 {
    number
}

#[idempotent(store = STORE, key = id)]
#[ic_cdk::update]
fn pay(id: u64, amount: u64) -> u64 {
    amount
}

fn executed<A, R>(arguments: A, reply: R) -> [Executed<A, R>; 1] {
    [Executed {
        caller: Principal::anonymous(),
        arguments: Arguments::Whole(arguments),
        executed_at: Timestamp::from_nanos(1),
        reply,
    }]
}

fn main() {
    // A number has no key.
    let _ = import!(step, executed((1u64,), 1u64), 10);
    // All arguments, and of their types.
    let _ = import!(pay, executed((1u64,), 1u64), 10);
    // The reply is a number.
    let _ = import!(pay, executed((1u64, 2u64), "ok"), 10);
}
