//! Requests that have begun and have not ended: what becomes of them, whatever else happens to the store.

mod cases;
mod charges;
mod damaged;
mod many;
mod model;
mod ops;
mod properties;
mod world;

use super::{
    cases::{admitted, execute, request},
    config,
    harness::{START, TestMemory},
    hashed,
};
use crate::{
    admission::{self, Decision, Request},
    identity::Identity,
    policy::Policy,
    store::{
        Attempt, NotRecorded, Origin, Progress, Reply, Resolved, Settlement, Store, open::Phase,
        origin::Resumed,
    },
    time::Timestamp,
};
use candid::Principal;
use std::time::Duration;

const WINDOW: u64 = 3_200;

/// What is begun at the start is past its window then, and so is all that expires together with it.
const PAST: u64 = WINDOW + WINDOW / 32 + 1;

const SECOND: u64 = 1_000_000_000;

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn caller() -> Principal {
    Principal::from_slice(&[1])
}

fn policy() -> Policy {
    Policy::new()
        .window(Duration::from_nanos(WINDOW))
        .drift(Duration::ZERO)
        .max_reply_bytes(1_000)
        .max_journal_bytes(8_192)
}

fn open(memory: &TestMemory, policy: Policy, now: u64) -> Store<TestMemory> {
    Store::open(memory.clone(), policy, at(now)).unwrap()
}

fn numbered(number: u64) -> Request {
    Request {
        identity: hashed(number),
        ..request(0, 0, None)
    }
}

fn key(number: u64) -> Identity {
    hashed(number)
}

/// Begins a durable request.
fn begin(store: &Store<TestMemory>, request: &Request, argument: &[u8], now: u64) -> Attempt {
    let ticket = admitted(store, request, now);
    store.make_room_for_durable(argument, at(now)).unwrap();
    let origin = Origin {
        endpoint: "pay",
        scope: [7; 8],
        kept: Some((caller(), argument)),
    };
    store.begin(&ticket, &origin).unwrap()
}

/// What is known of an attempt, whether it runs or not.
fn known(store: &Store<TestMemory>, attempt: Attempt) -> Resumed {
    let mut inner = store.inner.borrow_mut();
    inner.resumed(attempt).unwrap().unwrap()
}

fn phase(store: &Store<TestMemory>, attempt: Attempt) -> Option<Phase> {
    let inner = store.inner.borrow();
    inner.open.get(attempt).map(|open| open.phase)
}
