//! Endpoints that await, and so are more than one message.

use crate::{
    Answer, Failure,
    state::{LANES, MAIN, SHARED, SMALL, ran},
};
use candid::{CandidType, Deserialize, Principal};
use ic_cdk::call::Call;
use ic_management_canister_types::{HttpMethod, HttpRequestArgs};
use idempotency_core::idempotent;

/// What an endpoint does before and after its await.
#[derive(CandidType, Clone, Copy, Debug, Deserialize, PartialEq)]
enum Plan {
    /// Awaits a call to itself and answers.
    Answer,
    /// Answers without awaiting.
    AnswerAtOnce,
    /// Awaits an HTTPS outcall, for as long as the test leaves it unanswered.
    Hold,
    /// Fails before the await.
    FailFirst,
    /// Fails after the await.
    FailLater,
    /// Traps before the await.
    TrapFirst,
    /// Traps after the await.
    TrapLater,
    /// Awaits an HTTPS outcall, and then traps.
    HoldAndTrap,
    /// Answers with more than the store keeps.
    AnswerMuch,
}

#[ic_cdk::update]
fn nothing() {}

/// Waits until the test answers an outcall. One that is left unanswered for a minute is rejected, and another made.
async fn hold() {
    let request = HttpRequestArgs {
        url: "https://example.com".into(),
        method: HttpMethod::GET,
        max_response_bytes: Some(1_000),
        ..Default::default()
    };
    let outcall = || {
        Call::unbounded_wait(Principal::management_canister(), "http_request")
            .with_arg(&request)
            .with_cycles(100_000_000_000)
    };
    while outcall().await.is_err() {}
}

async fn work_on(endpoint: &str, plan: Plan) -> Answer {
    let number = ran(endpoint);
    match plan {
        Plan::AnswerAtOnce => return Ok(format!("{number}: at once")),
        Plan::FailFirst => return Err(Failure::Own(format!("{number}: failed first"))),
        Plan::TrapFirst => ic_cdk::trap("planned, first"),
        Plan::Hold | Plan::HoldAndTrap => hold().await,
        _ => {
            Call::unbounded_wait(ic_cdk::api::canister_self(), "nothing")
                .await
                .expect("a call to oneself");
        }
    }
    ran(&format!("{endpoint}, after the await"));
    match plan {
        Plan::FailLater => Err(Failure::Own(format!("{number}: failed later"))),
        Plan::TrapLater | Plan::HoldAndTrap => ic_cdk::trap("planned, later"),
        Plan::AnswerMuch => Ok("x".repeat(2_000)),
        _ => Ok(format!("{number}: done")),
    }
}

#[idempotent(store = MAIN, key = key)]
#[ic_cdk::update]
async fn work(key: Vec<u8>, plan: Plan) -> Answer {
    work_on("work", plan).await
}

#[idempotent(store = MAIN, key = key, errors = forget)]
#[ic_cdk::update]
async fn work_forgetfully(key: Vec<u8>, plan: Plan) -> Answer {
    work_on("work_forgetfully", plan).await
}

#[idempotent(store = SMALL, key = key)]
#[ic_cdk::update]
async fn work_small(key: Vec<u8>, plan: Plan) -> Answer {
    work_on("work_small", plan).await
}

#[idempotent(store = SHARED, key = *key, errors = forget)]
#[ic_cdk::update]
async fn work_shared(key: u64, plan: Plan) -> Answer {
    work_on("work_shared", plan).await
}

#[idempotent(store = LANES, sequence = number)]
#[ic_cdk::update]
async fn work_in_order(number: u64, plan: Plan) -> Answer {
    work_on("work_in_order", plan).await
}

#[idempotent(store = LANES, sequence = number, errors = forget)]
#[ic_cdk::update]
async fn work_in_order_forgetfully(number: u64, plan: Plan) -> Answer {
    work_on("work_in_order_forgetfully", plan).await
}

#[idempotent(store = LANES, sequence = number, window = 64)]
#[ic_cdk::update]
async fn work_pipelined(number: u64, plan: Plan) -> Answer {
    work_on("work_pipelined", plan).await
}
