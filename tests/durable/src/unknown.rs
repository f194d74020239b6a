//! Methods without steps that are cut off, and what settles them.

use crate::{
    state::{DURABLE, callee, effect, effects_of, traps},
    work::{Answer, Failure},
};
use ic_cdk::call::Call;
use idempotency_core::{
    IdempotencyError, Resolution, Timestamp,
    attempt::Unknown,
    endpoint, idempotent,
    store::{Resolved, Settlement},
};
use serde_bytes::ByteBuf;

/// Has the callee count an effect, and may trap then.
async fn pay(name: String) -> Answer {
    let answer = Call::bounded_wait(callee(), "bump").with_arg(&name).await;
    match answer {
        _ if traps() => ic_cdk::trap("planned, after the await"),
        Ok(_) => Ok(format!("{} paid", effect(&format!("paid {name}")))),
        Err(_) => Err(Failure::Own("not paid".into())),
    }
}

/// Settled by an async function.
#[idempotent(store = DURABLE, key = key, on_unknown = look_up)]
#[ic_cdk::update]
async fn pay_asking(key: ByteBuf, name: String) -> Answer {
    pay(name).await
}

/// The callee knows whether it counted.
async fn look_up(_: ByteBuf, name: String, _: Unknown) -> Resolution<Answer> {
    let answer = Call::bounded_wait(callee(), "counted")
        .with_arg(&name)
        .await;
    match answer {
        _ if name == "trap" && traps() => ic_cdk::trap("planned, in the resolver"),
        Ok(count) if count.candid::<u64>().is_ok_and(|count| count == 0) => Resolution::NotExecuted,
        Ok(_) => Resolution::Done(Ok("settled".into())),
        Err(_) => Resolution::StillUnknown,
    }
}

/// Settled by a sync function.
#[idempotent(store = DURABLE, key = key, on_unknown = know)]
#[ic_cdk::update]
async fn pay_knowing(key: ByteBuf, name: String) -> Answer {
    pay(name).await
}

fn know(_: ByteBuf, name: String, _: Unknown) -> Resolution<Answer> {
    match effects_of(&name) {
        0 => Resolution::NotExecuted,
        _ => Resolution::Done(Ok("known".into())),
    }
}

/// Settled by an operator.
#[idempotent(store = DURABLE, key = key)]
#[ic_cdk::update]
pub(crate) async fn pay_plainly(key: ByteBuf, name: String) -> Answer {
    pay(name).await
}

/// In order: the next number waits for this one.
#[idempotent(store = DURABLE, sequence = number)]
#[ic_cdk::update]
async fn pay_in_order(number: u64, name: String) -> Answer {
    pay(name).await
}

pub(crate) fn settlement(reply: Option<String>) -> Settlement {
    reply.map_or(Settlement::NotExecuted, |reply| {
        let reply: Answer = Ok(reply);
        Settlement::Done(candid::encode_one(reply).expect("it encodes"))
    })
}

#[ic_cdk::update]
fn settle(key: ByteBuf, reply: Option<String>) -> Result<Resolved, IdempotencyError> {
    let caller = ic_cdk::api::msg_caller();
    endpoint!(pay_plainly)
        .of(caller)
        .resolve(&key, &settlement(reply))
}

#[ic_cdk::update]
fn settle_number(number: u64, reply: Option<String>) -> Result<Resolved, IdempotencyError> {
    let caller = ic_cdk::api::msg_caller();
    endpoint!(pay_in_order)
        .of(caller)
        .resolve(&number, &settlement(reply))
}

/// As an operator does it with what `unknown` lists.
#[ic_cdk::update]
fn settle_listed(number: u64, reply: Option<String>) -> Result<Resolved, IdempotencyError> {
    DURABLE.with(|store| {
        let found = store.unknown(number - 1, 1)?;
        let now = Timestamp::from_nanos(ic_cdk::api::time());
        store.resolve(&found[0].identity, &settlement(reply), now)
    })
}
