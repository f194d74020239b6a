
//! Without the standard prelude, and with names of ours taken.
#![no_implicit_prelude]
#![deny(warnings)]

use ::ic_stable_structures::DefaultMemoryImpl;
use ::idempotency_core::{Policy, Store, idempotent};
use ::std::{default::Default as _, string::String, thread_local};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

/// Two of its own.
#[idempotent(store = STORE, key = (core, attempt), fingerprint = arguments)]
#[::ic_cdk::update]
fn pay(core: u64, attempt: String, arguments: u64) -> u64 {
    drop_text(attempt);
    core + arguments
}

/// Numbers.
#[idempotent(store = STORE, sequence = std, max_in_flight = 2)]
#[::ic_cdk::update]
async fn step(std: u64) -> (u64, u64) {
    (std, std)
}

fn drop_text(_: String) {}

fn main() {
    pay(1, String::new(), 2);
    ::std::mem::drop(step(1));
}
