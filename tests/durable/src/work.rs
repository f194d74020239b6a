//! A durable method that does what its argument says.

use crate::state::{DURABLE, callee, effect, effects_of, traps};
use candid::{CandidType, Deserialize};
use ic_cdk::call::Call;
use idempotency_core::{
    IdempotencyError, Resolution, Steps, attempt::Unknown, idempotent, steps::Verified,
};
use serde_bytes::ByteBuf;
use std::time::Duration;

/// What becomes of a step that was cut off.
#[derive(CandidType, Clone, Copy, Debug, Deserialize, PartialEq)]
pub(crate) enum How {
    /// Nobody knows.
    Once,
    /// The callee counts it once for each key.
    Repeatable,
    /// The callee is asked how often it counted it.
    Verified,
    /// As above, and nobody can tell.
    Unverifiable,
}

/// What a request does, one after the other.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(crate) enum Act {
    /// Counts an effect here, in one message.
    Effect(String),
    /// Has the callee count an effect.
    Call(String, How),
    /// Has the callee count two effects, both under way at a time.
    Both(String, String),
    /// Sleeps for so many seconds.
    Sleep(u64),
    /// Traps, while this is configured.
    Trap,
    /// Awaits, and then traps, while this is configured.
    TrapLater,
    /// If the request fails, an effect is counted here, under this name.
    Undo(String),
    /// Fails.
    Fail,
    /// Answers with what was recorded: the time, the bytes and the caller.
    Tell,
    /// Uses the name of a step twice.
    Twice,
    /// Uses a step within a step.
    Within,
    /// Names steps otherwise while traps are configured: a code that has changed.
    Renamed,
    /// As above, with a version that says so.
    Versioned,
}

#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(crate) enum Failure {
    Own(String),
    Idempotency(IdempotencyError),
}

impl From<IdempotencyError> for Failure {
    fn from(error: IdempotencyError) -> Self {
        Self::Idempotency(error)
    }
}

pub(crate) type Answer = Result<String, Failure>;

async fn bump(name: &str) -> u64 {
    let answer = Call::bounded_wait(callee(), "bump").with_arg(name).await;
    match answer {
        Ok(answer) => answer.candid().expect("a number"),
        Err(error) => ic_cdk::trap(format!("planned, as the call failed: {error}")),
    }
}

async fn bump_once(name: &str, key: [u8; 32]) -> u64 {
    let answer = Call::bounded_wait(callee(), "bump_once")
        .with_args(&(ByteBuf::from(key), name))
        .await;
    match answer {
        Ok(answer) => answer.candid().expect("a number"),
        Err(error) => ic_cdk::trap(format!("planned, as the call failed: {error}")),
    }
}

/// How often the callee has counted an effect.
async fn counted(name: &str) -> u64 {
    let answer = Call::bounded_wait(callee(), "counted").with_arg(name).await;
    match answer {
        Ok(answer) => answer.candid().expect("a number"),
        Err(error) => ic_cdk::trap(format!("planned, as the call failed: {error}")),
    }
}

#[ic_cdk::update]
fn counted_here(name: String) -> u64 {
    effects_of(&name)
}

#[ic_cdk::update(name = "counted")]
fn counted_of(name: String) -> u64 {
    effects_of(&name)
}

async fn call(steps: &Steps, name: &str, how: How) -> u64 {
    match how {
        How::Once => steps.run(name.to_owned(), || bump(name)).await,
        How::Repeatable => {
            let key = steps.key(name.to_owned());
            steps
                .run(name.to_owned(), || bump_once(name, key))
                .repeatable()
                .await
        }
        How::Verified => {
            let step = steps.run(name.to_owned(), || bump(name));
            step.verify(|_| async {
                match counted(name).await {
                    0 => Verified::DidNotRun,
                    count => Verified::Ran(count),
                }
            })
            .await
        }
        How::Unverifiable => {
            let step = steps.run(name.to_owned(), || bump(name));
            step.verify(|_| async { Verified::CantTell }).await
        }
    }
}

async fn act(steps: Steps, acts: Vec<Act>) -> Answer {
    let mut said = vec![];
    for (number, act) in acts.into_iter().enumerate() {
        match act {
            Act::Effect(name) => {
                let count = steps.run(name.clone(), || async { effect(&name) }).await;
                said.push(format!("{name} {count}"));
            }
            Act::Call(name, how) => {
                let count = call(&steps, &name, how).await;
                said.push(format!("{name} {count}"));
            }
            Act::Both(first, second) => {
                let both = (
                    call(&steps, &first, How::Repeatable),
                    call(&steps, &second, How::Repeatable),
                );
                let (one, two) = futures_util::future::join(both.0, both.1).await;
                said.push(format!("{first} {one}, {second} {two}"));
            }
            Act::Sleep(seconds) => steps.sleep(Duration::from_secs(seconds)).await,
            Act::Trap if traps() => ic_cdk::trap("planned, at once"),
            Act::TrapLater if traps() => {
                counted("").await;
                ic_cdk::trap("planned, later");
            }
            Act::Trap | Act::TrapLater => {}
            Act::Undo(name) => {
                let undo = format!("undo {name}");
                steps.compensate(name, move || async move {
                    effect(&undo);
                    Ok(())
                });
            }
            Act::Fail => return Err(Failure::Own("planned".into())),
            Act::Tell => {
                let (now, random) = (steps.now(), steps.random().await);
                said.push(format!("{} {random:?} {}", now.as_nanos(), steps.caller()));
            }
            Act::Twice => {
                steps.run("twice", || async {}).await;
                steps.run("twice", || async {}).await;
            }
            Act::Within => {
                let inner = steps.clone();
                steps
                    .run(
                        "outer",
                        || async move { inner.run("inner", || async {}).await },
                    )
                    .await;
            }
            Act::Renamed => {
                let name = if traps() { "old" } else { "new" };
                steps.run((name, number as u64), || async {}).await;
            }
            Act::Versioned => {
                let is_new = !traps() && steps.version("v2");
                let name = if is_new { "new" } else { "old" };
                steps.run((name, number as u64), || async {}).await;
            }
        }
    }
    Ok(said.join("; "))
}

#[idempotent(store = DURABLE, key = key, durable)]
#[ic_cdk::update]
pub(crate) async fn work(steps: Steps, key: ByteBuf, acts: Vec<Act>) -> Answer {
    act(steps, acts).await
}

/// A canister pays for each execution.
#[idempotent(store = DURABLE, key = key, durable, cycles = 1_000_000)]
#[ic_cdk::update]
async fn work_paid(steps: Steps, key: ByteBuf, acts: Vec<Act>) -> Answer {
    act(steps, acts).await
}

/// What could not go on is settled by what the callee counted.
#[idempotent(store = DURABLE, key = key, durable, on_unknown = ask)]
#[ic_cdk::update]
async fn work_resolved(steps: Steps, key: ByteBuf, acts: Vec<Act>) -> Answer {
    act(steps, acts).await
}

async fn ask(_: ByteBuf, _: Vec<Act>, unknown: Unknown) -> Resolution<Answer> {
    match counted("settled").await {
        0 => Resolution::StillUnknown,
        1 => Resolution::NotExecuted,
        _ => Resolution::Done(Ok(format!("settled after {} steps", unknown.steps.len()))),
    }
}

/// In order: the next number waits for this one.
#[idempotent(store = DURABLE, sequence = number, durable)]
#[ic_cdk::update]
pub(crate) async fn work_in_order(steps: Steps, number: u64, acts: Vec<Act>) -> Answer {
    act(steps, acts).await
}
