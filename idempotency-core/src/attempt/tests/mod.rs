//! Calls that are cut off, natively. The same is shown on a replica by the integration tests; here each case takes microseconds, so that
//! all of them can be tried.

#[cfg(feature = "archive")]
mod archives;
mod canister;
mod cases;
mod certified;
mod concurrent;
mod cuts;
#[cfg(feature = "timers")]
mod durable;
mod endpoints;
mod handles;
mod imports;
mod on_replay;
mod outcomes;
mod recognised;
mod resolution;

pub(super) mod ic;
pub(super) mod native;

use crate::{error::IdempotencyError, policy::Policy};
use candid::Principal;
use endpoints::{Answer, Failure, Plan};
use ic::{Call, CallNumber, Ic, Method, Outcome};
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(3_600);

const POLICY: Policy = Policy::new().window(WINDOW).capacity(100);

fn ic() -> Ic {
    Ic::new(POLICY)
}

fn user(number: u8) -> Principal {
    Principal::self_authenticating([number])
}

/// A call of user 1's.
fn call(method: Method, key: u64, plan: Plan) -> Call {
    Call {
        method,
        caller: user(1),
        deadline: 0,
        instructions: 1_000,
        key,
        plan,
    }
}

/// A plan with so many awaits, in which nothing goes wrong.
fn awaits(awaits: u8) -> Plan {
    Plan {
        awaits,
        ..Plan::default()
    }
}

/// What the client of a call reads in the reply.
fn reply(ic: &Ic, call: CallNumber) -> Answer {
    match ic.outcome(call) {
        Some(Outcome::Reply(bytes)) => candid::decode_one(&bytes).expect("a reply"),
        other => panic!("there is no reply, but {other:?}"),
    }
}

/// The library's word on a call, if that is no reply of the method.
fn refusal(ic: &Ic, call: CallNumber) -> Option<IdempotencyError> {
    match reply(ic, call) {
        Err(Failure::Idempotency(error)) => Some(error),
        _ => None,
    }
}

/// The text with which a call trapped.
fn reject(ic: &Ic, call: CallNumber) -> String {
    match ic.outcome(call) {
        Some(Outcome::Reject(text)) => text,
        other => panic!("it did not trap: {other:?}"),
    }
}
