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

#[idempotent(store = STORE, key = "args")]
#[ic_cdk::update]
fn a(arg: Arg) {}

#[idempotent(store = STORE, key = "arg.id")]
#[ic_cdk::update]
fn b(arg: Arg) {}

#[idempotent(store = STORE, key = arg.id, scope = "caller")]
#[ic_cdk::update]
fn c(arg: Arg) {}

#[idempotent(store = STORE, key = arg.id, scope = "global")]
#[ic_cdk::update]
fn d(arg: Arg) {}

#[idempotent(store = STORE, key = arg.id, fingerprint = "args")]
#[ic_cdk::update]
fn e(arg: Arg) {}

#[idempotent(store = STORE, key = arg.id, fingerprint = "arg.number")]
#[ic_cdk::update]
fn f(arg: Arg) {}

#[idempotent(store = STORE, key = arg.id, created_at = "arg.at")]
#[ic_cdk::update]
fn g(arg: Arg) {}

#[idempotent(store = STORE, sequence = "arg.number")]
#[ic_cdk::update]
fn h(arg: Arg) {}

#[idempotent(store = STORE, sequence = arg.number, lane = "arg.number")]
#[ic_cdk::update]
fn i(arg: Arg) {}

#[idempotent(store = STORE, sequence = arg.number, first_incomplete = "arg.number")]
#[ic_cdk::update]
fn j(arg: Arg) {}

fn main() {}
