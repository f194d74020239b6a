//! A canister with an idempotent endpoint for each case that the integration tests need.
//!
//! Every endpoint counts its executions in stable memory, and most answer with the number of the execution: a replay
//! shows by an old number.
#![forbid(unsafe_code)]

mod asynchronous;
mod certified;
mod cycles;
mod doubled;
mod effects;
mod evolution;
mod inspected;
mod outcalls;
mod payer;
mod sequences;
mod shares;
mod state;
mod sync;
mod takeover;

use candid::{CandidType, Deserialize};
use idempotency_core::{
    IdempotencyError, Stats,
    http::{self, HttpRequest, HttpResponse},
    outcome::{Asked, Outcome},
    outcomes,
};

/// What the endpoints answer.
type Answer = Result<String, Failure>;

/// An error type with a place for the library's.
#[derive(CandidType, Clone, Debug, Deserialize)]
enum Failure {
    /// The endpoint's own error.
    Own(String),
    /// A refusal.
    Idempotency(IdempotencyError),
}

impl From<IdempotencyError> for Failure {
    fn from(error: IdempotencyError) -> Self {
        Failure::Idempotency(error)
    }
}

#[ic_cdk::init]
fn init() {
    state::install();
    takeover::install();
    certified::install();
}

#[ic_cdk::post_upgrade]
fn post_upgrade() {
    state::install();
    takeover::install();
    certified::install();
}

/// How many times an endpoint ran, and had its effects stand.
#[ic_cdk::query]
fn executions(endpoint: String) -> u64 {
    state::executions(&endpoint)
}

/// What became of calls, for who made them.
#[ic_cdk::query]
fn idempotency_outcomes(calls: Vec<Asked>) -> Vec<Result<Outcome, IdempotencyError>> {
    outcomes!(
        calls;
        sync::say, sync::say_backwards, sync::say_by_args, sync::say_timed, sync::say_to_all, sequences::step
    )
}

/// How full each store is.
#[derive(CandidType)]
struct AllStats {
    main: Stats,
    small: Stats,
    retaining: Stats,
    dropping: Stats,
    lanes: Stats,
    shared: Stats,
}

#[ic_cdk::query]
fn stats() -> AllStats {
    AllStats {
        main: state::MAIN.with(|store| store.stats()),
        small: state::SMALL.with(|store| store.stats()),
        retaining: state::RETAINING.with(|store| store.stats()),
        dropping: state::DROPPING.with(|store| store.stats()),
        lanes: state::LANES.with(|store| store.stats()),
        shared: state::SHARED.with(|store| store.stats()),
    }
}

/// What the stores say of themselves, one of them under a name that is hostile to a page.
#[ic_cdk::query]
fn http_request(request: HttpRequest) -> HttpResponse<'static> {
    let mut stores: Vec<(_, &'static dyn http::Observed)> = vec![
        ("main", &state::MAIN),
        ("<script>alert(1)</script>", &state::SMALL),
        ("lanes", &state::LANES),
        ("shared", &state::SHARED),
    ];
    if state::is_on("doubled") {
        stores.push(("doubled", &doubled::FIRST));
    }
    http::serve(&request, &stores)
}

/// The time at which an update call executes.
#[ic_cdk::update]
fn time() -> u64 {
    ic_cdk::api::time()
}

/// Sets a switch that endpoints look at.
#[ic_cdk::update]
fn switch(name: String, on: bool) {
    state::switch(&name, on);
}

/// Instructions that post_upgrade used.
#[ic_cdk::query]
fn post_upgrade_instructions() -> u64 {
    state::install_instructions()
}
