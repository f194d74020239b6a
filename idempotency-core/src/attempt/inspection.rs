//! `inspect!`: what can't succeed is refused before consensus.

use super::{Endpoint, identify};
use crate::{
    admission::{self, Request},
    error::IdempotencyError,
    runtime,
    store::Store,
};
use ic_stable_structures::Memory;
use std::thread::LocalKey;

/// What an endpoint says of a message; `None` if it is another method's.
pub type Inspected = Option<Result<(), IdempotencyError>>;

/// Decoding takes up to some thousand instructions a byte, and a message is inspected within 200 million.
const MOST_ARGUMENT_BYTES: usize = 16 << 10;

/// What the first of the endpoints says that the message is for. Other methods are let through.
pub fn first_inspected(endpoints: &[fn(&str) -> Inspected]) -> Result<(), IdempotencyError> {
    let method = runtime::method_name();
    let mut said = endpoints.iter().filter_map(|inspect| inspect(&method));
    said.next().unwrap_or(Ok(()))
}

/// Whether the message can succeed, if it is for this endpoint.
pub fn inspect<M: Memory, A, R>(
    store: &'static LocalKey<Store<M>>,
    endpoint: &Endpoint<A, R>,
    is_called: bool,
) -> Inspected {
    is_called.then(|| can_succeed(store, endpoint))
}

fn can_succeed<M: Memory, A, R>(
    store: &'static LocalKey<Store<M>>,
    endpoint: &Endpoint<A, R>,
) -> Result<(), IdempotencyError> {
    let (caller, now) = (runtime::caller(), runtime::time());
    let argument = runtime::argument();
    if argument.len() > MOST_ARGUMENT_BYTES {
        return Ok(());
    }
    // What does not decode is told so by the method.
    let Ok(args) = (endpoint.decode)(argument) else {
        return Ok(());
    };
    let description = (endpoint.describe)(&args);
    let Some((identity, counts_in)) = identify(store, endpoint, &description, &caller)? else {
        return Ok(());
    };
    let request = Request {
        identity,
        fingerprint: (),
        created_at: description.created_at,
        counts_in,
    };
    store.with(|store| admission::foresee(store, &request, now))
}
