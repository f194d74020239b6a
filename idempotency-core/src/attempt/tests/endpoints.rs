//! The methods of the canister that the tests cut off. What one does is said by its argument.

use super::{ic::TestStore, native::Native};
use crate::{
    attempt::{
        durable::{serve_durable, serve_going_on},
        endpoint::{Compare, Description, Endpoint, Errors, Recognise, RequestId},
        resolution::{Asks, Nobody, Resolution, Unknown},
        serve::{serve, serve_async},
    },
    codec,
    error::IdempotencyError,
    identity::Scope,
    runtime::Runtime as _,
    steps::Steps,
};
use candid::{CandidType, Deserialize};
use std::time::Duration;

/// What a request has its method do. The work has an effect before the first await, and one after each.
#[derive(CandidType, Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(super) struct Plan {
    /// How many times it awaits.
    pub(super) awaits: u8,
    /// In which segment it traps, after the effect: 0 is before the first await.
    pub(super) traps_in: Option<u8>,
    /// What it holds traps when it is dropped in a cleanup.
    pub(super) traps_in_cleanup: bool,
    /// It ends with an `Err`.
    pub(super) fails: bool,
    /// A durable one sleeps at its end, for [`PAUSE`].
    pub(super) sleeps: bool,
}

pub(super) const PAUSE: Duration = Duration::from_secs(60);

/// The error of the methods.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) enum Failure {
    /// Their own.
    Own,
    /// The library's.
    Idempotency(IdempotencyError),
}

/// What the awaited answers add up to: so it shows who was given whose.
pub(super) type Answer = Result<u64, Failure>;

/// All callers share the keys.
const fn endpoint(errors: Errors) -> Endpoint<(u64, Plan), Answer> {
    Endpoint {
        method: "work",
        name: "work",
        required: true,
        anonymous: false,
        errors,
        is_candid: true,
        recognise: Recognise::Never,
        decode: codec::decode,
        describe: |(key, _)| Description {
            id: RequestId::of_key(key),
            created_at: None,
            scope: Scope::Global,
        },
        compare: Compare::Arguments,
        encode: codec::encode_one,
        is_error: Result::is_err,
        refuse: |error| Ok(Err(Failure::Idempotency(error))),
        on_replay: None,
        cycles: 0,
    }
}

pub(super) const KEEP: Endpoint<(u64, Plan), Answer> = endpoint(Errors::Keep);
pub(super) const FORGET: Endpoint<(u64, Plan), Answer> = endpoint(Errors::Forget);

const ASKING: Endpoint<(u64, Plan), Answer> = Endpoint {
    name: "asking",
    ..endpoint(Errors::Keep)
};

const DURABLE_ASKING: Endpoint<(u64, Plan), Answer> = Endpoint {
    name: DURABLE_ASKING_NAME,
    ..endpoint(Errors::Keep)
};

pub(super) const DURABLE_ASKING_NAME: &str = "durable, asking";

/// `on_unknown` says of the request with this key that it was executed, with the answer [`FOUND`].
pub(super) const RAN: u64 = 1;

/// `on_unknown` says of the request with this key that it did nothing.
pub(super) const DID_NOT_RUN: u64 = 2;

/// Of this one, and of all others, it can't tell.
pub(super) const NOBODY_KNOWS: u64 = 3;

pub(super) const FOUND: u64 = 1_000;

/// The sync method.
pub(super) fn call(ic: &Native, store: &TestStore) {
    let its = ic.clone();
    serve(ic, store, &FORGET, move |(key, plan)| {
        its.effect(key, 0);
        if plan.traps_in == Some(0) {
            its.trap("planned");
        }
        end(plan, 0)
    });
}

/// The async methods.
pub(super) async fn call_async(ic: Native, store: TestStore, is_kept: bool) {
    let endpoint = if is_kept { &KEEP } else { &FORGET };
    let its = ic.clone();
    let run = |(key, plan)| work(its, key, plan);
    serve_async(ic, store, endpoint, run, Nobody).await;
}

/// The durable method.
pub(super) async fn call_durable(ic: Native, store: TestStore) {
    serve_durable(ic, store, &KEEP, false).await;
}

/// The method by which the canister goes on with it.
pub(super) async fn go_on(ic: Native, store: TestStore) {
    let its = ic.clone();
    let run = |steps, (key, plan)| work_in_steps(its, steps, key, plan);
    serve_going_on(ic, store, &KEEP, run, Nobody).await;
}

/// The async method with `on_unknown`.
pub(super) async fn call_asking(ic: Native, store: TestStore) {
    let its = ic.clone();
    let run = |(key, plan)| work(its, key, plan);
    serve_async(ic, store, &ASKING, run, Asks(settle)).await;
}

/// The durable method with `on_unknown`.
pub(super) async fn call_durable_asking(ic: Native, store: TestStore) {
    serve_durable(ic, store, &DURABLE_ASKING, true).await;
}

/// The method by which the canister goes on with it. Whoever cuts its step off has it parked.
pub(super) async fn go_on_asking(ic: Native, store: TestStore) {
    let its = ic.clone();
    let run = |steps: Steps, (key, _): (u64, Plan)| async move {
        let call = || async {
            its.effect(key, 0);
            its.outcall_with(key).await
        };
        Ok(steps.run("call", call).await)
    };
    serve_going_on(ic, store, &DURABLE_ASKING, run, Asks(settle)).await;
}

/// `on_unknown`
fn settle((key, _): (u64, Plan), _: Unknown) -> Resolution<Answer> {
    match key {
        RAN => Resolution::Done(Ok(FOUND)),
        DID_NOT_RUN => Resolution::NotExecuted,
        _ => Resolution::StillUnknown,
    }
}

/// As [`work`], each effect and each await a step.
async fn work_in_steps(ic: Native, steps: Steps, key: u64, plan: Plan) -> Answer {
    let mut sum = 0;
    for segment in 0..=plan.awaits {
        if segment > 0 {
            let call = steps.run(("call", u64::from(segment)), || ic.outcall_with(key));
            sum += call.repeatable().await;
        }
        let effect = || async { ic.effect(key, segment) };
        steps.run(("effect", u64::from(segment)), effect).await;
    }
    if plan.sleeps {
        steps.sleep(PAUSE).await;
    }
    end(plan, sum)
}

async fn work(ic: Native, key: u64, plan: Plan) -> Answer {
    let _held = plan.traps_in_cleanup.then(|| TrapsInCleanup(ic.clone()));
    let mut sum = 0;
    for segment in 0..=plan.awaits {
        if segment > 0 {
            sum += ic.outcall().await;
        }
        ic.effect(key, segment);
        if plan.traps_in == Some(segment) {
            ic.trap("planned");
        }
    }
    end(plan, sum)
}

fn end(plan: Plan, sum: u64) -> Answer {
    match plan.fails {
        true => Err(Failure::Own),
        false => Ok(sum),
    }
}

struct TrapsInCleanup(Native);

impl Drop for TrapsInCleanup {
    fn drop(&mut self) {
        // Natively a trap unwinds, which a second one must not interrupt.
        if self.0.is_cleaning_up() && !std::thread::panicking() {
            self.0.trap("planned, in the cleanup");
        }
    }
}
