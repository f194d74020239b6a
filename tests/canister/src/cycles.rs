//! Calls between canisters, with cycles.

use crate::{
    Failure,
    state::{LANES, MAIN, is_on, ran},
};
use candid::Principal;
use ic_cdk::{
    api::{msg_cycles_accept, msg_cycles_available, msg_cycles_refunded},
    call::Call,
};
use idempotency_core::idempotent;

/// Takes all cycles attached, once.
#[idempotent(store = MAIN, key = *key)]
#[ic_cdk::update]
fn pay(key: u64) -> u128 {
    ran("pay");
    msg_cycles_accept(msg_cycles_available())
}

/// What a canister pays for an execution.
const PRICE: u128 = 1_000_000_000;

fn not_locked() -> Result<(), String> {
    if is_on("lock") {
        return Err("locked".into());
    }
    Ok(())
}

#[idempotent(store = MAIN, key = key, cycles = PRICE)]
#[ic_cdk::update(guard = "not_locked")]
fn buy(key: Option<u64>) -> Result<u64, Failure> {
    Ok(ran("buy"))
}

#[idempotent(store = LANES, sequence = number, cycles = PRICE)]
#[ic_cdk::update(guard = "not_locked")]
async fn buy_in_order(number: Option<u64>) -> Result<u64, Failure> {
    Ok(ran("buy_in_order"))
}

/// Calls `pay` on a canister with cycles attached: what it answered, and the cycles that came back.
#[ic_cdk::update]
async fn pay_at(canister: Principal, key: u64, cycles: u128) -> (u128, u128) {
    let reply = Call::unbounded_wait(canister, "pay")
        .with_arg(key)
        .with_cycles(cycles)
        .await
        .expect("pay answers");
    (
        reply.candid().expect("pay answers with a number"),
        msg_cycles_refunded(),
    )
}

/// Makes a call in this canister's name, with cycles: the reply, or why there is none, and the cycles that came back.
#[ic_cdk::update]
async fn forward(
    canister: Principal,
    method: String,
    arg: Vec<u8>,
    cycles: u128,
) -> (Result<Vec<u8>, String>, u128) {
    let call = Call::unbounded_wait(canister, &method)
        .with_raw_args(&arg)
        .with_cycles(cycles);
    let answer = call.await;
    let answer = answer.map(|reply| reply.into_bytes());
    (
        answer.map_err(|error| error.to_string()),
        msg_cycles_refunded(),
    )
}
