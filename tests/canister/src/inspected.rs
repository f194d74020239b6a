//! Endpoints whose messages are looked at before consensus.

use crate::{
    Answer,
    state::{LANES, SMALL, is_on, ran},
};
use idempotency_core::{Timestamp, idempotent, inspect};

#[idempotent(
    store = SMALL,
    key = key,
    required,
    created_at = created_at.map(Timestamp::from_nanos)
)]
#[ic_cdk::update]
fn say_inspected(key: Option<Vec<u8>>, created_at: Option<u64>, text: String) -> Answer {
    Ok(format!("{}: {text}", ran("say_inspected")))
}

#[idempotent(store = LANES, sequence = number, max_in_flight = 64)]
#[ic_cdk::update]
fn step_inspected(number: u64, text: String) -> Answer {
    Ok(format!("{}: {text}", ran("step_inspected")))
}

#[idempotent(store = SMALL, key = key)]
#[ic_cdk::update]
fn say_inspected_freely(key: Option<Vec<u8>>, text: String) -> Answer {
    Ok(format!("{}: {text}", ran("say_inspected_freely")))
}

/// A trap carries the reason to the client; a message that is merely not accepted has none.
#[ic_cdk::inspect_message]
fn inspect_message() {
    let before = ic_cdk::api::instruction_counter();
    let inspected = inspect!(say_inspected, step_inspected, say_inspected_freely);
    let instructions = ic_cdk::api::instruction_counter() - before;
    if is_on("measure inspection") {
        ic_cdk::trap(format!("<{instructions}> instructions: {inspected:?}"));
    }
    match inspected {
        Ok(()) => ic_cdk::api::accept_message(),
        Err(error) => ic_cdk::trap(format!("idempotency: {error}")),
    }
}
