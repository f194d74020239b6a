use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{Policy, Store, idempotent};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[derive(candid::CandidType, candid::Deserialize)]
struct Arg {
    id: String,
    at: idempotency_core::Timestamp,
    number: u64,
}

const ID: &str = "id";

fn compute() -> u64 {
    1
}

#[idempotent(store = STORE, key = ID)]
#[ic_cdk::update]
fn a(arg: Arg) {}

#[idempotent(store = STORE, key = (1, "x"))]
#[ic_cdk::update]
fn b(arg: Arg) {}

#[idempotent(store = STORE, key = compute())]
#[ic_cdk::update]
fn c(arg: Arg) {}

#[idempotent(store = STORE, key = arg.id, scope = 1)]
#[ic_cdk::update]
fn d(arg: Arg) {}

#[idempotent(store = STORE, key = arg.id, scope = ID)]
#[ic_cdk::update]
fn e(arg: Arg) {}

#[idempotent(store = STORE, key = arg.id, fingerprint = [1, 2])]
#[ic_cdk::update]
fn f(arg: Arg) {}

#[idempotent(store = STORE, key = arg.id, fingerprint = compute())]
#[ic_cdk::update]
fn g(arg: Arg) {}

#[idempotent(store = STORE, key = arg.id, created_at = Timestamp::from_nanos(5))]
#[ic_cdk::update]
fn h(arg: Arg) {}

#[idempotent(store = STORE, sequence = 5)]
#[ic_cdk::update]
fn i(arg: Arg) {}

#[idempotent(store = STORE, sequence = arg.number, lane = 1)]
#[ic_cdk::update]
fn j(arg: Arg) {}

#[idempotent(store = STORE, sequence = arg.number, first_incomplete = Some(7))]
#[ic_cdk::update]
fn k(arg: Arg) {}

fn main() {}
