use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{Policy, Store, endpoint, idempotent};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
fn pay(key: String) {}

#[idempotent(store = STORE, sequence = number)]
#[ic_cdk::update]
fn step(number: u64) {}

#[idempotent(store = STORE, sequence = number, lane = lane, scope = global)]
#[ic_cdk::update]
fn step_in_lane(lane: u64, number: u64) {}

#[idempotent(store = STORE, key = args, scope = to)]
#[ic_cdk::update]
fn pay_once(to: String, amount: u64) {}

fn main() {
    let caller = ic_cdk::api::msg_caller();
    // There are no numbers.
    let _ = endpoint!(pay).of(caller).next_number();
    // Whose?
    let _ = endpoint!(step).next_number();
    let _ = endpoint!(step).free_lane(7);
    // There is one lane.
    let _ = endpoint!(step).of(caller).lane(&1);
    let _ = endpoint!(step).outcome(&7, None);
    // A number is a `u64`.
    let _ = endpoint!(step).of(caller).outcome("7", None);
    let _ = endpoint!(step).of(caller).guaranteed_until("7");
    // Which lane?
    let _ = endpoint!(step_in_lane).next_number();
    // Nobody's in particular.
    let _ = endpoint!(step_in_lane).of(caller).lane(&1);
    // All arguments, and of their types.
    let _ = endpoint!(pay_once).of("account").guaranteed_until(&("account", 7u32));
    // The scope is a text, and not the caller.
    let _ = endpoint!(pay_once).of(caller);
}
