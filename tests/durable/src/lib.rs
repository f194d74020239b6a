//! Durable methods that do what a test plans, and methods that `on_unknown` settles. Another canister with this module, or this one, is the
//! callee: it counts effects by their names.

mod many;
mod state;
mod unknown;
mod work;

use candid::Principal;
use idempotency_core::{
    IdempotencyError, Stats, endpoint,
    http::{self, HttpRequest, HttpResponse},
    outcome::{Asked, Outcome},
    outcomes,
    store::UnknownRequest,
};
use serde_bytes::ByteBuf;
use state::{DURABLE, EFFECTS, MANY, callee, effect, set};
use std::{cell::Cell, collections::BTreeMap};

#[ic_cdk::init]
fn init() {
    idempotency_core::install(&DURABLE);
}

#[ic_cdk::post_upgrade]
fn post_upgrade() {
    idempotency_core::install(&DURABLE);
    if state::has_many() {
        idempotency_core::install(&MANY);
    }
    INSTRUCTIONS.set(ic_cdk::api::performance_counter(0));
}

thread_local! {
    static INSTRUCTIONS: Cell<u64> = const { Cell::new(0) };
}

/// The instructions that the last `post_upgrade` took.
#[ic_cdk::query]
fn post_upgrade_instructions() -> u64 {
    INSTRUCTIONS.get()
}

/// Who is called, and how many more times what traps is to trap.
#[ic_cdk::update]
fn configure(callee: Principal, traps: u64) {
    set(callee, traps);
}

/// Counts an effect, each time.
#[ic_cdk::update]
fn bump(name: String) -> u64 {
    effect(&name)
}

/// Counts an effect once for each key.
#[idempotency_core::idempotent(store = DURABLE, key = key)]
#[ic_cdk::update]
fn bump_once(key: ByteBuf, name: String) -> u64 {
    effect(&name)
}

/// How often an effect was counted.
#[ic_cdk::query]
fn effects() -> BTreeMap<String, u64> {
    EFFECTS.with_borrow(|effects| effects.iter().map(|it| it.into_pair()).collect())
}

#[ic_cdk::query]
fn stats() -> Stats {
    DURABLE.with(idempotency_core::Store::stats)
}

/// What everybody sees.
#[ic_cdk::query]
fn http_request(request: HttpRequest) -> HttpResponse<'static> {
    http::serve(&request, &[("durable", &DURABLE)])
}

/// What an operator sees.
#[ic_cdk::query]
fn unknown(after: u64, most: u64) -> Vec<UnknownRequest> {
    let unknown = DURABLE.with(|store| store.unknown(after, most as usize));
    unknown.expect("the store is sound")
}

/// Which of these requests of `work` are known: each with its client and its key.
#[ic_cdk::query]
fn known(requests: Vec<(Principal, ByteBuf)>) -> Vec<bool> {
    let known = requests.into_iter().map(|(client, key)| {
        let until = endpoint!(work::work).of(client).guaranteed_until(&key);
        until.expect("the store is sound").is_some()
    });
    known.collect()
}

/// With which number each client's lane at `work_in_order` goes on, and whether that number is known: it has begun, and not ended.
#[ic_cdk::query]
fn lanes(clients: Vec<Principal>) -> Vec<(u64, bool)> {
    let lanes = clients.into_iter().map(|client| {
        let lane = endpoint!(work::work_in_order).of(client);
        let next = lane.next_number().expect("the store is sound");
        let until = lane.guaranteed_until(&next);
        (next, until.expect("the store is sound").is_some())
    });
    lanes.collect()
}

/// What became of calls, for who made them.
#[ic_cdk::query]
fn idempotency_outcomes(calls: Vec<Asked>) -> Vec<Result<Outcome, IdempotencyError>> {
    outcomes!(calls; work::work, work::work_in_order, unknown::pay_plainly)
}

/// Who is called.
#[ic_cdk::query]
fn configured_callee() -> Principal {
    callee()
}
