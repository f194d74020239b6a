//! An async method, and a durable one that measures its own steps.

use crate::{instructions, ours::STORE};
use bench_work::TransferArg;
use idempotency_core::{Steps, idempotent};
use serde_bytes::ByteBuf;
use std::{cell::Cell, hint::black_box, time::Duration};

/// How many steps are measured together.
const STEPS: u64 = 10;

thread_local! {
    /// What was measured last.
    static STEP: Cell<u64> = const { Cell::new(0) };
    static CALL_STEP: Cell<u64> = const { Cell::new(0) };
    static RESUME: Cell<u64> = const { Cell::new(0) };
}

async fn pay(arg: TransferArg) -> ByteBuf {
    black_box(arg);
    ByteBuf::from([7; 30])
}

#[idempotent(store = STORE, key = arg.memo)]
#[ic_cdk::update]
async fn pay_async_once(arg: TransferArg) -> ByteBuf {
    pay(arg).await
}

#[ic_cdk::update(encode_with = "encode")]
async fn pay_async_ever(arg: TransferArg) -> ByteBuf {
    pay(arg).await
}

fn encode(reply: ByteBuf) -> Vec<u8> {
    idempotency_core::attempt::encode_one(reply).expect("the reply encodes")
}

/// Instructions of the call so far, in all its messages.
fn of_call() -> u64 {
    ic_cdk::api::call_context_instruction_counter()
}

async fn call_itself() -> u64 {
    let call = ic_cdk::call::Call::bounded_wait(ic_cdk::api::canister_self(), "empty");
    call.await.is_ok().into()
}

/// Runs steps that await nothing, steps that call, and as many calls without a step; sleeps; and is resumed with all of them.
#[idempotent(store = STORE, key = *key, durable)]
#[ic_cdk::update]
async fn work_in_steps(steps: Steps, key: u64) {
    let before = of_call();
    for number in 0..STEPS {
        steps.run(("step", number), || async { 7u64 }).await;
    }
    STEP.set((of_call() - before) / STEPS);
    steps.sleep(Duration::from_secs(1)).await;
    // The first message of an attempt that found them recorded.
    RESUME.set(instructions());
    let before = of_call();
    for number in 0..STEPS {
        steps.run(("call", number), call_itself).await;
    }
    let between = of_call();
    for _ in 0..STEPS {
        call_itself().await;
    }
    let (with, without) = (between - before, of_call() - between);
    CALL_STEP.set(with.saturating_sub(without) / STEPS);
}

/// Instructions of a step that awaits nothing, of one that calls beyond the call, and of resuming with ten.
#[ic_cdk::query]
fn durable_instructions() -> (u64, u64, u64) {
    (STEP.get(), CALL_STEP.get(), RESUME.get())
}
