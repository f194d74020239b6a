//! Two stores of which a query proves what became of requests, once the switch `certify` is on when the canister is upgraded. With the switch
//! `combine` the canister certifies something of its own, too.

use crate::{
    Answer,
    asynchronous::{Plan, work_on},
    state::{Memory, is_on, memory, ran},
};
use ic_certification::{fork, fork_hash, labeled, labeled_hash, leaf, leaf_hash};
use idempotency_core::{
    IdempotencyError, Policy, Store, Timestamp,
    certified::{self, Proof},
    idempotent,
    outcome::Asked,
    prove,
};
use std::time::Duration;

thread_local! {
    static FIRST: Store<Memory> = Store::new(memory(11), policy());
    static SECOND: Store<Memory> = Store::new(memory(12), policy());
}

fn policy() -> Policy {
    let policy = Policy::new()
        .window(Duration::from_secs(3600))
        .drift(Duration::from_secs(60));
    match is_on("certify") {
        true => policy.certify(Duration::from_secs(10)),
        false => policy,
    }
}

/// What else the canister certifies.
const ASSETS: &[u8] = b"what else is certified";

fn certify_all() {
    let assets = labeled_hash(b"assets", &leaf_hash(ASSETS));
    ic_cdk::api::certified_data_set(fork_hash(&assets, &certified::root()));
}

pub(crate) fn install() {
    idempotency_core::install(&FIRST);
    idempotency_core::install(&SECOND);
    if is_on("certify") {
        if is_on("combine") {
            certified::publish_with(certify_all);
        }
        certified::install(&SECOND, "second");
        certified::install(&FIRST, "first");
    }
}

#[idempotent(store = FIRST, key = key, created_at = created_at.map(Timestamp::from_nanos))]
#[ic_cdk::update]
fn say_certified(key: Vec<u8>, created_at: Option<u64>, text: String) -> Answer {
    Ok(format!("{}: {text}", ran("say_certified")))
}

#[idempotent(store = SECOND, key = key)]
#[ic_cdk::update]
async fn work_certified(key: Vec<u8>, plan: Plan) -> Answer {
    work_on("work_certified", plan).await
}

#[ic_cdk::query]
fn idempotency_proof(call: Asked) -> Result<Proof, IdempotencyError> {
    let proof = prove!(call; say_certified, work_certified)?;
    Ok(match is_on("combine") {
        true => proof.within(|stores| fork(labeled("assets", leaf(ASSETS)), stores)),
        false => proof,
    })
}
