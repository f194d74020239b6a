//! What the attribute emits raises no lint, however strict the crate.
#![deny(warnings, unused, missing_docs)]
#![allow(clippy::toplevel_ref_arg)] // a pattern like any other

//! Every shape of method that the attribute takes.

use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{
    IdempotencyError, Policy, Resolution, Steps, Store, Timestamp, Unknown, idempotent,
};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

type Reply = Result<u64, Refused>;

/// An error with a place for ours.
#[derive(Debug, candid::CandidType)]
pub struct Refused(String);

impl From<IdempotencyError> for Refused {
    fn from(error: IdempotencyError) -> Self {
        Refused(error.to_string())
    }
}

fn only_members() -> Result<(), String> {
    Ok(())
}

fn decode(bytes: Vec<u8>) -> (u64, u64) {
    (bytes.len() as u64, 0)
}

fn encode(reply: u64) -> Vec<u8> {
    reply.to_le_bytes().to_vec()
}

fn negate(reply: i64) -> i64 {
    -reply
}

fn swap((a, b): (u64, u64)) -> (u64, u64) {
    (b, a)
}

/// No reply.
#[idempotent(store = STORE, key = id)]
#[ic_cdk::update]
pub fn nothing(id: u64) {
    drop(id.to_string());
}

/// A private function, an alias of a `Result`.
#[idempotent(store = STORE, key = key, required, anonymous, errors = keep)]
#[ic_cdk::update(name = "renamed", guard = "only_members")]
fn aliased(mut key: u64) -> Reply {
    key += 1;
    Ok(key)
}

/// Patterns, a name of its own, several keys.
#[idempotent(store = STORE, key = (x, *y, z), scope = (w, 1u8), name = "before_renaming", fingerprint = off)]
#[ic_cdk::update]
pub fn patterns((x, y): (u32, u32), _: String, ref z: String, w: [u8; 4]) -> (u64, u64) {
    (u64::from(x + y) + z.len() as u64, u64::from(w[0]))
}

/// An optional key and time.
#[idempotent(
    store = STORE,
    key = request.as_ref().map(|(id, _)| id),
    created_at = request.as_ref().map(|(_, at)| Timestamp::from_millis(*at)),
    scope = global,
    fingerprint = amount,
    errors = forget,
    on_replay = negate,
)]
#[ic_cdk::update]
pub async fn optional(request: Option<(Vec<u8>, u64)>, amount: i64) -> i64 {
    request.map_or(amount, |(id, _)| id.len() as i64)
}

/// Replays a sequence of values.
#[idempotent(store = STORE, key = args, created_at = Timestamp::from_nanos(*at), on_replay = swap)]
#[ic_cdk::update]
pub fn sequence(at: u64) -> (u64, u64) {
    (at, at)
}

/// Its own codec.
#[idempotent(store = STORE, key = a)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode", hidden = true)]
pub fn coded(a: u64, b: u64) -> u64 {
    a + b
}

/// Only the attribute uses its argument.
#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
pub fn keyed(key: u64) {}

/// A durable method with all that goes with it.
#[idempotent(store = STORE, key = (id, *y), scope = (w, 1u8), durable, required, errors = keep, on_unknown = look_up)]
#[ic_cdk::update(name = "renamed_durable", guard = "only_members", hidden = true)]
async fn durable(mut steps: Steps, id: Vec<u8>, (x, y): (u32, u32), mut w: u64) -> Reply {
    steps = steps.clone();
    w += steps.run("pay", || async move { u64::from(x + y) }).await;
    Ok(w + id.len() as u64)
}

async fn look_up(_: Vec<u8>, (x, _): (u32, u32), _: u64, unknown: Unknown) -> Resolution<Reply> {
    match unknown.steps.is_empty() {
        true => Resolution::NotExecuted,
        false => Resolution::Done(Ok(x.into())),
    }
}

/// Its steps have no name, and its codec is its own.
#[idempotent(store = STORE, sequence = a, durable, on_unknown = |_, _, unknown| match unknown.reason {
    Some(_) => Resolution::Done(5),
    None => Resolution::StillUnknown,
})]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode")]
pub async fn durable_coded(_: idempotency_core::Steps, a: u64, b: u64) -> u64 {
    a + b
}

/// Durable, raw, without a reply, and with an async closure.
#[idempotent(store = STORE, key = args, name = "match", durable, on_unknown = async |_, _| Resolution::Done(()))]
#[ic_cdk::update]
pub async fn r#match(r#type: Steps, r#fn: u64) {
    r#type.run(("match", r#fn), || async {}).await;
}

/// A closure that says no types, without steps.
#[idempotent(store = STORE, key = a, on_unknown = |a, b, unknown| async move {
    match unknown.since.as_nanos() < a.pow(2) {
        true => Resolution::Done((a, b)),
        false => Resolution::NotExecuted,
    }
})]
#[ic_cdk::update]
pub async fn asking(a: u64, b: String) -> (u64, String) {
    (a, b)
}

/// A user's macro, and its own type `Steps`.
macro_rules! method {
    ($name:ident, $steps:ty, $own:ty, $resolver:expr) => {
        #[idempotent(store = STORE, key = key, durable, on_unknown = $resolver)]
        #[ic_cdk::update]
        pub(crate) async fn $name(steps: $steps, own: $own, key: u64) -> u64 {
            steps.run("step", || async move { key + own.0 }).await
        }
    };
}

mod own {
    #[derive(candid::CandidType, candid::Deserialize)]
    pub(crate) struct Steps(pub(crate) u64);

    /// It needs no `durable`.
    #[idempotency_core::idempotent(store = super::STORE, key = key)]
    #[ic_cdk::update]
    pub(crate) async fn with_own_steps(steps: self::Steps, key: u64) -> u64 {
        steps.0 + key
    }
}

use own::Steps as OwnSteps;
method!(by_macro, Steps, OwnSteps, |_, key, _| Resolution::Done(key));

/// Not there, and durable.
#[idempotent(store = STORE, key = key, durable, on_unknown = missing)]
#[cfg(any())]
#[ic_cdk::update]
pub async fn absent_durable(steps: Steps, key: u64) -> Missing {
    key
}

/// Not there.
#[idempotent(store = STORE, key = key)]
#[cfg(any())]
#[ic_cdk::update]
pub fn absent(key: u64) -> Missing {
    key
}

fn main() {
    nothing(1);
    keyed(1);
    assert_eq!(aliased(1).ok(), Some(2));
    assert_eq!(
        patterns((1, 2), String::new(), String::from("abc"), [9; 4]),
        (6, 9)
    );
    assert_eq!(sequence(3), (3, 3));
    assert_eq!(coded(1, 2), 3);
    drop(optional(None, 1));
    drop(asking(1, String::new()));
    drop(own::with_own_steps(own::Steps(1), 1));
}
