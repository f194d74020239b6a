//! A canister that makes safe calls, and what they call that no other canister of the tests has: a method that counts, and a
//! ledger with ICRC-3.
#![forbid(unsafe_code)]

mod ledger;

use candid::{CandidType, Deserialize, Nat, Principal};
use idempotency_core::{
    IdempotencyError, SafeCall, Timestamp,
    safe_call::{Callee, Outcome, Transfer, TransferFrom},
};
use std::{cell::Cell, fmt::Debug, time::Duration};

/// How a call is made.
#[derive(CandidType, Clone, Debug, Deserialize)]
struct Options {
    tries: u32,
    pause_ms: u64,
    /// An unbounded wait if absent.
    timeout: Option<u32>,
    in_doubt_since: Option<u64>,
    cycles: Option<u64>,
}

impl Options {
    fn of<C: Callee>(&self, call: SafeCall<C>) -> SafeCall<C> {
        let call = call
            .tries(self.tries)
            .pause(Duration::from_millis(self.pause_ms))
            .cycles(self.cycles.unwrap_or(0).into());
        let call = match self.timeout {
            Some(seconds) => call.timeout(seconds),
            None => call.unbounded(),
        };
        match self.in_doubt_since {
            Some(since) => call.in_doubt_since(Timestamp::from_nanos(since)),
            None => call,
        }
    }
}

/// An outcome, as the tests read it.
#[derive(CandidType)]
enum End<T> {
    Replied(T),
    ReplyLost(String),
    Rejected(String),
    NotExecuted(String),
    StillUnknown { until: Option<u64>, last: String },
}

impl<T: Debug> From<Outcome<T>> for End<T> {
    fn from(outcome: Outcome<T>) -> Self {
        match outcome {
            Outcome::Replied(reply) => End::Replied(reply),
            Outcome::ReplyLost { message, .. } => End::ReplyLost(message),
            Outcome::Rejected(reason) => End::Rejected(reason.to_string()),
            Outcome::NotExecuted(reason) => End::NotExecuted(reason.to_string()),
            Outcome::StillUnknown { until, last } => End::StillUnknown {
                until: until.map(Timestamp::as_nanos),
                last: last.to_string(),
            },
            other => ic_cdk::trap(format!("an outcome of a later version: {other:?}")),
        }
    }
}

/// What the test canister's endpoints answer with.
type Answer = Result<String, Failure>;

#[derive(CandidType, Clone, Debug, Deserialize)]
enum Failure {
    Own(String),
    Idempotency(IdempotencyError),
}

/// What the test canister's `work` is to do.
#[derive(CandidType, Clone, Copy, Debug, Deserialize)]
enum Work {
    Answer,
    Hold,
    TrapLater,
}

/// Calls `work` of the test canister, which awaits.
#[ic_cdk::update]
async fn call_work(canister: Principal, key: Vec<u8>, work: Work, options: Options) -> End<Answer> {
    let call =
        SafeCall::endpoint(canister, "work", (key, work)).refusal(|answer: &Answer| match answer {
            Err(Failure::Idempotency(error)) => Some(error),
            _ => None,
        });
    // As the test canister's store has it.
    let call = call.window(Duration::from_secs(3_600));
    options.of(call).send().await.into()
}

/// Calls `pay` of the test canister, which takes all cycles and traps with its refusals.
#[ic_cdk::update]
async fn call_pay(canister: Principal, key: u64, options: Options) -> End<u128> {
    let call = SafeCall::endpoint(canister, "pay", (key,));
    options.of(call).send().await.into()
}

/// Calls `pay` with an argument that it does not understand.
#[ic_cdk::update]
async fn call_pay_wrongly(canister: Principal, options: Options) -> End<u128> {
    let call = SafeCall::endpoint(canister, "pay", ("no number",));
    options.of(call).send().await.into()
}

/// Calls a method that takes nothing and answers with a number.
#[ic_cdk::update]
async fn call_plain(canister: Principal, method: String, options: Options) -> End<u64> {
    let call = SafeCall::plain(canister, &method, ());
    options.of(call).send().await.into()
}

/// Transfers 1,000 tokens of this canister.
#[ic_cdk::update]
async fn call_transfer(
    ledger: Principal,
    to: Principal,
    created_at: u64,
    options: Options,
) -> End<Nat> {
    let transfer = Transfer {
        from_subaccount: None,
        to: to.into(),
        amount: 1_000u64.into(),
        fee: None,
        memo: b"safe".to_vec(),
        created_at: Timestamp::from_nanos(created_at),
    };
    let call = SafeCall::icrc1_transfer(ledger, &transfer);
    options.of(call).send().await.into()
}

/// Transfers 1,000 tokens of another account, for which this canister has an allowance.
#[ic_cdk::update]
async fn call_transfer_from(
    ledger: Principal,
    from: Principal,
    to: Principal,
    created_at: u64,
    options: Options,
) -> End<Nat> {
    let transfer = TransferFrom {
        spender_subaccount: None,
        from: from.into(),
        to: to.into(),
        amount: 1_000u64.into(),
        fee: None,
        memo: b"safe".to_vec(),
        created_at: Timestamp::from_nanos(created_at),
    };
    let call = SafeCall::icrc2_transfer_from(ledger, &transfer);
    options.of(call).send().await.into()
}

thread_local! {
    static EFFECTS: Cell<u64> = const { Cell::new(0) };
}

/// Counts its executions.
#[ic_cdk::update]
fn effect() -> u64 {
    EFFECTS.set(EFFECTS.get() + 1);
    EFFECTS.get()
}

/// How often `effect` was executed.
#[ic_cdk::query]
fn effects() -> u64 {
    EFFECTS.get()
}
