//! Very many requests that nobody but an operator can settle.

use crate::{
    state::MANY,
    work::{Answer, Failure},
};
use ic_cdk::{
    api::{canister_self, performance_counter, time},
    call::Call,
};
use idempotency_core::{
    IdempotencyError, Stats, Steps, Timestamp, endpoint, idempotent,
    store::{Resolved, UnknownRequest},
};
use std::collections::BTreeMap;

/// How many are under way at a time: a queue to a canister has room for 500 messages, and each request takes two.
const AT_A_TIME: u64 = 100;

/// It is parked.
#[idempotent(store = MANY, key = key, durable)]
#[ic_cdk::update]
async fn undecided(steps: Steps, key: u64) -> Answer {
    steps.park(format!("nobody knows of {key}")).await
}

/// It is parked, and the next number waits for it.
#[idempotent(store = MANY, sequence = number, durable)]
#[ic_cdk::update]
async fn undecided_in_order(steps: Steps, number: u64) -> Answer {
    steps.park(format!("nobody knows of {number}")).await
}

/// Sends requests with these keys, as this canister's own; how many of the answers were which.
#[ic_cdk::update]
async fn send_many(from: u64, until: u64) -> BTreeMap<String, u64> {
    let mut answers = BTreeMap::new();
    for first in (from..until).step_by(AT_A_TIME as usize) {
        let keys = first..until.min(first + AT_A_TIME);
        let calls = keys.map(|key| async move {
            let call = Call::unbounded_wait(canister_self(), "undecided").with_arg(key);
            let answer = call.await.expect("it answers");
            answer.candid::<Answer>().expect("an answer")
        });
        for answer in futures_util::future::join_all(calls).await {
            let text = match answer {
                Ok(text) | Err(Failure::Own(text)) => text,
                Err(Failure::Idempotency(error)) => error.to_string(),
            };
            let name = text.split(':').next().unwrap_or_default();
            *answers.entry(name.to_owned()).or_default() += 1;
        }
    }
    answers
}

/// A page of the list that an operator sees, and the instructions that it takes to find it.
#[ic_cdk::query]
fn unknown_of_many(after: u64, most: u64) -> (Vec<UnknownRequest>, u64) {
    let before = performance_counter(0);
    let unknown = MANY.with(|store| store.unknown(after, most as usize));
    let instructions = performance_counter(0) - before;
    (unknown.expect("the store is sound"), instructions)
}

#[ic_cdk::query]
fn stats_of_many() -> Stats {
    MANY.with(idempotency_core::Store::stats)
}

/// Settles a request of this canister's own.
#[ic_cdk::update]
fn settle_undecided(key: u64, reply: Option<String>) -> Result<Resolved, IdempotencyError> {
    let settlement = crate::unknown::settlement(reply);
    endpoint!(undecided)
        .of(canister_self())
        .resolve(&key, &settlement)
}

/// Settles the request with this number in the list.
#[ic_cdk::update]
fn settle_listed_undecided(
    number: u64,
    reply: Option<String>,
) -> Result<Resolved, IdempotencyError> {
    MANY.with(|store| {
        let found = store.unknown(number - 1, 1)?;
        let settlement = crate::unknown::settlement(reply);
        let now = Timestamp::from_nanos(time());
        store.resolve(&found[0].identity, &settlement, now)
    })
}
