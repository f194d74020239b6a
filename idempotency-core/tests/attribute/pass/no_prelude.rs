//! Without the standard prelude, and with names of ours taken.
#![no_implicit_prelude]
#![deny(warnings)]

use ::ic_stable_structures::DefaultMemoryImpl;
use ::idempotency_core::{Policy, Resolution, Steps, Store, Unknown, idempotent};
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

/// Constants would take the place of what is bound by these names.
#[allow(non_upper_case_globals, dead_code)]
mod taken {
    pub(crate) const unknown: u8 = 0;
    pub(crate) const resolver: u8 = 0;
}
#[allow(unused_imports)]
use taken::{resolver, unknown};

/// Durable.
#[idempotent(store = STORE, key = (core, run), durable, on_unknown = on_unknown)]
#[::ic_cdk::update]
async fn go_on(steps: Steps, core: u64, run: String) -> u64 {
    drop_text(run);
    steps.run("go_on", || async move { core }).await
}

/// Its entry has the name of that which goes on with another method.
#[idempotent(store = STORE, key = run)]
#[::ic_cdk::update]
async fn go_on_go_on(run: u64) -> u64 {
    run
}

async fn on_unknown(core: u64, run: String, _: Unknown) -> Resolution<u64> {
    drop_text(run);
    Resolution::Done(core)
}

fn drop_text(_: String) {}

fn main() {
    pay(1, String::new(), 2);
    ::std::mem::drop(step(1));
}
