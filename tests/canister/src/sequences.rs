//! Endpoints whose requests are numbered instead of named.

use crate::{
    Answer, Failure,
    state::{LANES, ran},
};
use candid::Principal;
use idempotency_core::{
    Timestamp, idempotent,
    identity::{Identity, LaneKey, Scope},
    sequence::FreedLane,
};

fn answer(endpoint: &str, text: &str) -> Answer {
    Ok(format!("{}: {text}", ran(endpoint)))
}

#[idempotent(store = LANES, sequence = number)]
#[ic_cdk::update]
fn step(number: u64, text: String) -> Answer {
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
    next_number(&endpoint, &Scope::Caller, ic_cdk::api::msg_caller(), lane)
}

/// As `next_sequence`, of the lane that all callers share.
#[ic_cdk::query]
fn next_sequence_together(endpoint: String) -> u64 {
    next_number(&endpoint, &Scope::Global, ic_cdk::api::msg_caller(), 0)
}

/// Frees a caller's lane, for an operator.
#[ic_cdk::update(guard = "is_controller")]
fn free_lane(endpoint: String, caller: Principal, number: u64) -> FreedLane {
    let lane = Identity::of_lane(&endpoint, &Scope::Caller, &caller, &LaneKey::default())
        .expect("a caller's name is not too long");
    LANES
        .with(|store| store.free_lane(&lane, number))
        .unwrap_or_else(|damaged| ic_cdk::trap(damaged.to_string()))
}

fn is_controller() -> Result<(), String> {
    match ic_cdk::api::is_controller(&ic_cdk::api::msg_caller()) {
        true => Ok(()),
        false => Err("only for controllers".into()),
    }
}

fn next_number(endpoint: &str, scope: &Scope, caller: Principal, lane: u64) -> u64 {
    let lane = match endpoint {
        "step_in_lane" => LaneKey::of(&lane),
        _ => LaneKey::default(),
    };
    let lane = Identity::of_lane(endpoint, scope, &caller, &lane)
        .expect("a caller's name is not too long");
    LANES
        .with(|store| store.next_number(&lane))
        .unwrap_or_else(|damaged| ic_cdk::trap(damaged.to_string()))
}
