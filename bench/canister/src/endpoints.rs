//! One endpoint with the attribute and the same without it, as it is and with replies encoded as the attribute does.

use crate::{instructions, ours::STORE};
use bench_work::TransferArg;
use idempotency_core::{
    IdempotencyError, attempt, idempotent,
    outcome::{Asked, Outcome},
    outcomes,
};
use serde_bytes::ByteBuf;
use std::hint::black_box;

/// A blob of this length takes 40 bytes of candid.
const BLOB_BYTES: usize = 30;

fn pay(arg: TransferArg) -> ByteBuf {
    black_box(arg);
    ByteBuf::from([7; BLOB_BYTES])
}

#[idempotent(store = STORE, key = arg.memo)]
#[ic_cdk::update]
fn pay_once(arg: TransferArg) -> ByteBuf {
    pay(arg)
}

#[idempotent(store = STORE, key = arg.memo, alias = off)]
#[ic_cdk::update]
fn pay_once_decoded(arg: TransferArg) -> ByteBuf {
    pay(arg)
}

#[ic_cdk::update(encode_with = "encode")]
fn pay_ever(arg: TransferArg) -> ByteBuf {
    pay(arg)
}

#[ic_cdk::update]
fn pay_plainly(arg: TransferArg) -> ByteBuf {
    pay(arg)
}

#[ic_cdk::query]
fn idempotency_outcomes(calls: Vec<Asked>) -> Vec<Result<Outcome, IdempotencyError>> {
    outcomes!(calls; pay_once)
}

/// Instructions of saying what became of calls, without the question's own candid and the answer's.
#[ic_cdk::update]
fn outcomes_alone(calls: Vec<Asked>) -> u64 {
    let before = instructions();
    let told = outcomes!(calls; pay_once);
    let after = instructions();
    assert!(told.iter().all(Result::is_ok));
    after - before
}

#[ic_cdk::update]
fn empty() {}

/// Instructions that decoding the argument takes.
#[ic_cdk::update(decode_with = "bytes")]
fn decoding(argument: Vec<u8>) -> u64 {
    let before = instructions();
    let arg: (TransferArg,) = attempt::decode(&argument).expect("the argument decodes");
    black_box(arg);
    instructions() - before
}

fn encode(reply: ByteBuf) -> Vec<u8> {
    attempt::encode_one(reply).expect("the reply encodes")
}

fn bytes(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}
