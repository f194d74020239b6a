//! Endpoints whose requests are numbered instead of named.

use crate::{
    Answer, Failure, asynchronous,
    state::{LANES, ran},
};
use candid::Principal;
use idempotency_core::{
    IdempotencyError, Timestamp,
    attempt::{Handle, Numbered, PerCaller},
    endpoint, idempotent,
    sequence::FreedLane,
};

fn answer(endpoint: &str, text: &str) -> Answer {
    Ok(format!("{}: {text}", ran(endpoint)))
}

#[idempotent(store = LANES, sequence = number)]
#[ic_cdk::update]
pub(crate) fn step(number: u64, text: String) -> Answer {
    answer("step", &text)
}

#[idempotent(store = LANES, sequence = number, lane = lane)]
#[ic_cdk::update]
fn step_in_lane(lane: u64, number: u64, text: String) -> Answer {
    answer("step_in_lane", &text)
}

#[idempotent(store = LANES, sequence = number, scope = global)]
#[ic_cdk::update]
fn step_together(number: u64, text: String) -> Answer {
    answer("step_together", &text)
}

#[idempotent(store = LANES, sequence = number, scope = account)]
#[ic_cdk::update]
fn step_of(account: String, number: u64, text: String) -> Answer {
    answer("step_of", &format!("{text} of {account}"))
}

#[idempotent(store = LANES, sequence = number, created_at = Timestamp::from_nanos(*created_at))]
#[ic_cdk::update]
fn step_dated(number: u64, created_at: u64, text: String) -> Answer {
    answer("step_dated", &text)
}

#[idempotent(store = LANES, sequence = number)]
#[ic_cdk::update]
fn step_and_fail(number: u64, fails: bool) -> Answer {
    let number = ran("step_and_fail");
    if fails {
        return Err(Failure::Own(format!("{number}: failed")));
    }
    Ok(format!("{number}: done"))
}

/// Its reply is so short that its record lies in its lane.
#[idempotent(store = LANES, sequence = number)]
#[ic_cdk::update]
fn count_in_order(number: u64) -> u64 {
    ran("count_in_order")
}

/// The fingerprint leaves `first_incomplete` out: by the time of a retry more replies may have arrived.
#[idempotent(store = LANES, sequence = number, max_in_flight = 64, first_incomplete = first_incomplete, fingerprint = text)]
#[ic_cdk::update]
fn stream(number: u64, first_incomplete: Option<u64>, text: String) -> Answer {
    answer("stream", &text)
}

/// The number with which the caller's lane at `endpoint` goes on: for a client that has lost count. Endpoints without lanes
/// have one, whatever `lane` is.
#[ic_cdk::query]
fn next_sequence(endpoint: String, lane: u64) -> u64 {
    let caller = ic_cdk::api::msg_caller();
    let next = match &*endpoint {
        "step_in_lane" => endpoint!(step_in_lane).of(caller).lane(&lane).next_number(),
        _ => in_order(&endpoint).of(caller).next_number(),
    };
    or_trap(next)
}

/// As `next_sequence`, of the lane that all callers share.
#[ic_cdk::query]
fn next_sequence_together() -> u64 {
    or_trap(endpoint!(step_together).next_number())
}

/// As `next_sequence`, of an account's lane.
#[ic_cdk::query]
fn next_sequence_of(account: String) -> u64 {
    or_trap(endpoint!(step_of).of(&account).next_number())
}

/// Frees a caller's lane, for an operator.
#[ic_cdk::update(guard = "is_controller")]
fn free_lane(endpoint: String, caller: Principal, number: u64) -> FreedLane {
    or_trap(in_order(&endpoint).of(caller).free_lane(number))
}

fn is_controller() -> Result<(), String> {
    match ic_cdk::api::is_controller(&ic_cdk::api::msg_caller()) {
        true => Ok(()),
        false => Err("only for controllers".into()),
    }
}

/// The endpoints where each caller has one lane.
fn in_order(endpoint: &str) -> Handle<PerCaller, Numbered> {
    match endpoint {
        "step" => endpoint!(step),
        "step_dated" => endpoint!(step_dated),
        "step_and_fail" => endpoint!(step_and_fail),
        "count_in_order" => endpoint!(count_in_order),
        "stream" => endpoint!(stream),
        "work_in_order" => endpoint!(asynchronous::work_in_order),
        "work_in_order_forgetfully" => endpoint!(asynchronous::work_in_order_forgetfully),
        "work_pipelined" => endpoint!(asynchronous::work_pipelined),
        _ => ic_cdk::trap(format!("{endpoint} has no lane for each caller")),
    }
}

fn or_trap<T>(said: Result<T, IdempotencyError>) -> T {
    said.unwrap_or_else(|error| ic_cdk::trap(error.to_string()))
}
