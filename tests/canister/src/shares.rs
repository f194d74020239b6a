//! Endpoints that give each caller a share, or charge for what they remember.

use crate::{
    Answer, Failure,
    state::{MAIN, SHARED, ran},
};
use idempotency_core::idempotent;

/// What a canister pays to have a request remembered.
const PRICE: u128 = 1_000_000_000;

#[idempotent(store = SHARED, key = *key)]
#[ic_cdk::update]
fn say_shared(key: u64, bytes: u32) -> Answer {
    Ok(format!(
        "{}: {}",
        ran("say_shared"),
        "x".repeat(bytes as usize)
    ))
}

#[idempotent(store = MAIN, key = *key, cycles = PRICE)]
#[ic_cdk::update]
fn say_charged(key: u64) -> Result<u64, Failure> {
    Ok(ran("say_charged"))
}
