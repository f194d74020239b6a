//! A canister that remembers for ever: payments, each of which counts how often it was made, and answers with its number.
#![forbid(unsafe_code)]

mod state;

use candid::{CandidType, Deserialize, Principal};
use idempotency_core::{
    IdempotencyError, Stats, Timestamp,
    archive::{self, Overview, Upgraded, upgrade_archives},
    idempotent, inspect,
    outcome::{Asked, Outcome},
    outcomes, outcomes_ever,
};
use state::{ARCHIVES, STORE, Settings};

type Answer = Result<u64, Failure>;

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
fn init(settings: Settings) {
    state::set(&settings);
    install();
}

#[ic_cdk::post_upgrade]
fn post_upgrade(settings: Option<Settings>) {
    if let Some(settings) = settings {
        state::set(&settings);
    }
    install();
}

fn install() {
    idempotency_core::install(&STORE);
    if state::is_installed() {
        archive::install(&STORE, &ARCHIVES);
    }
}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
fn pay(key: u64, amount: u64) -> Answer {
    let _ = amount;
    Ok(state::pay(key))
}

/// Other callers' payments under one key are the same payment.
#[idempotent(store = STORE, key = key, scope = global)]
#[ic_cdk::update(guard = "is_user")]
fn pay_together(key: u64, amount: u64) -> Answer {
    let _ = amount;
    Ok(state::pay(key))
}

fn is_user() -> Result<(), String> {
    match ic_cdk::api::msg_caller() == Principal::anonymous() {
        true => Err("this is for users".to_owned()),
        false => Ok(()),
    }
}

#[idempotent(store = STORE, key = key, created_at = Timestamp::from_nanos(*created_at))]
#[ic_cdk::update]
fn pay_dated(key: u64, created_at: u64) -> Answer {
    let _ = created_at;
    Ok(state::pay(key))
}

#[idempotent(store = STORE, sequence = number)]
#[ic_cdk::update]
fn pay_in_order(number: u64, key: u64) -> Answer {
    let _ = number;
    Ok(state::pay(key))
}

/// Pays when it has come back from a call.
#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
async fn pay_later(key: u64, calls: u8) -> Answer {
    for _ in 0..calls {
        let itself = ic_cdk::api::canister_self();
        let call = ic_cdk::call::Call::bounded_wait(itself, "nothing");
        if let Err(error) = call.await {
            return Err(Failure::Own(error.to_string()));
        }
    }
    Ok(state::pay(key))
}

/// A payment that takes cycles.
#[idempotent(store = STORE, key = key, cycles = 1_000_000)]
#[ic_cdk::update]
fn pay_with_cycles(key: u64) -> Answer {
    Ok(state::pay(key))
}

#[ic_cdk::update]
fn nothing() {}

#[ic_cdk::inspect_message]
fn inspect_message() {
    let is_asked = ic_cdk::api::msg_method_name() == "pay_dated";
    match inspect!(pay_dated) {
        Err(error) if is_asked => ic_cdk::trap(format!("idempotency: {error}")),
        _ => ic_cdk::api::accept_message(),
    }
}

/// Records requests as if they had been made, for benchmarks. The next payment sets the timers.
#[ic_cdk::update]
fn fill(from: u64, count: u64, reply_bytes: u32) {
    state::fill(from, count, reply_bytes);
}

/// Leaves blocks of many sizes on the heap, with holes in between, as a canister's own data does: others for each seed.
#[ic_cdk::update]
fn wear(seed: u64, blocks: u64) {
    state::wear(seed, blocks);
}

/// Payments for this key trap; none with 0.
#[ic_cdk::update]
fn trap_at(key: u64) {
    state::trap_at(key);
}

/// How often was paid for keys, from one on.
#[ic_cdk::query]
fn paid(from: u64, most: u64) -> Vec<(u64, u64)> {
    state::paid(from, most)
}

#[ic_cdk::query]
fn overview() -> Option<Overview> {
    ARCHIVES.with(|archives| archives.overview().ok())
}

#[ic_cdk::query]
fn stats() -> Stats {
    STORE.with(idempotency_core::Store::stats)
}

#[ic_cdk::query]
fn idempotency_outcomes(calls: Vec<Asked>) -> Vec<Result<Outcome, IdempotencyError>> {
    outcomes!(calls; pay, pay_together, pay_dated, pay_in_order, pay_later)
}

#[ic_cdk::update]
async fn idempotency_outcomes_ever(calls: Vec<Asked>) -> Vec<Result<Outcome, IdempotencyError>> {
    outcomes_ever!(calls; pay, pay_together, pay_dated, pay_in_order, pay_later).await
}

#[ic_cdk::query(composite = true)]
async fn outcomes_ever_by_query(calls: Vec<Asked>) -> Vec<Result<Outcome, IdempotencyError>> {
    outcomes_ever!(calls; pay, pay_together, pay_dated, pay_in_order, pay_later).await
}

/// Has archives upgraded to the module that the policy says now.
#[ic_cdk::update]
async fn upgrade_all() -> Vec<Upgraded> {
    upgrade_archives(&ARCHIVES).await
}

/// The archives' canisters.
#[ic_cdk::query]
fn archives() -> Vec<Principal> {
    let overview = ARCHIVES.with(|archives| archives.overview());
    overview.map_or(vec![], |it| {
        it.archives.iter().map(|archive| archive.canister).collect()
    })
}
