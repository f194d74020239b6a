//! Endpoints that await, and so are more than one message.

use crate::{
    Answer, Failure,
    state::{LANES, MAIN, SHARED, SMALL, ran},
};
use candid::{CandidType, Deserialize, Principal};
use ic_cdk::call::Call;
use ic_management_canister_types::{HttpMethod, HttpRequestArgs, HttpRequestResult};
use idempotency_core::idempotent;

/// What an endpoint does before and after its await.
#[derive(CandidType, Clone, Copy, Debug, Deserialize, PartialEq)]
pub(crate) enum Plan {
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
    /// Traps after the await, and once more when what it holds is dropped for that.
    TrapInCleanup,
    /// Answers with more than the store keeps.
    AnswerMuch,
}

struct TrapsInCleanup;

impl Drop for TrapsInCleanup {
    fn drop(&mut self) {
        if ic_cdk::futures::is_recovering_from_trap() {
            ic_cdk::trap("planned, in the cleanup");
        }
    }
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

pub(crate) async fn work_on(endpoint: &str, plan: Plan) -> Answer {
    let number = ran(endpoint);
    let _guard = (plan == Plan::TrapInCleanup).then_some(TrapsInCleanup);
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
        Plan::TrapLater | Plan::HoldAndTrap | Plan::TrapInCleanup => ic_cdk::trap("planned, later"),
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
pub(crate) async fn work_in_order(number: u64, plan: Plan) -> Answer {
    work_on("work_in_order", plan).await
}

#[idempotent(store = LANES, sequence = number, errors = forget)]
#[ic_cdk::update]
pub(crate) async fn work_in_order_forgetfully(number: u64, plan: Plan) -> Answer {
    work_on("work_in_order_forgetfully", plan).await
}

#[idempotent(store = LANES, sequence = number, max_in_flight = 64)]
#[ic_cdk::update]
pub(crate) async fn work_pipelined(number: u64, plan: Plan) -> Answer {
    work_on("work_pipelined", plan).await
}

/// Answers with what its own outcall was answered with, so whose answer it was given shows. Before it makes that, it counts to a
/// number.
#[idempotent(store = MAIN, key = key)]
#[ic_cdk::update]
async fn fetch(key: Option<Vec<u8>>, path: String, number: u64) -> Answer {
    ran("fetch");
    (0..number).for_each(|number| {
        std::hint::black_box(number);
    });
    let request = HttpRequestArgs {
        url: format!("https://example.com/{path}"),
        method: HttpMethod::GET,
        max_response_bytes: Some(1_000),
        ..Default::default()
    };
    let answer = Call::unbounded_wait(Principal::management_canister(), "http_request")
        .with_arg(&request)
        .with_cycles(100_000_000_000)
        .await
        .map_err(|error| Failure::Own(error.to_string()))?;
    let result: HttpRequestResult = answer.candid().expect("an outcall's result");
    Ok(String::from_utf8_lossy(&result.body).into_owned())
}

/// Has another canister `fetch`, and waits for no longer than so many seconds.
#[ic_cdk::update]
async fn fetch_at(canister: Principal, path: String, seconds: u32) -> Answer {
    let key = Some(path.as_bytes());
    let call = Call::bounded_wait(canister, "fetch")
        .with_args(&(key, &path, 0u64))
        .change_timeout(seconds);
    let answer = call.await.expect("fetch answers");
    answer.candid().expect("fetch answers with an answer")
}
