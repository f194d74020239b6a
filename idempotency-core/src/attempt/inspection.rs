//! `inspect!`: what can't succeed is refused before consensus, by one replica and without a certificate. So it is never
//! more than a saving: the method decides anew, and nothing here may change what it decides.

use super::{Endpoint, Identified, identify};
use crate::{admission, error::IdempotencyError, identity::Argument, runtime, store::Store};
use ic_stable_structures::Memory;
use std::thread::LocalKey;

/// Decoding takes up to some thousand instructions a byte, and a message is inspected within 200 million.
const MOST_ARGUMENT_BYTES: usize = 16 << 10;

/// An endpoint that can look at a message.
pub trait Inspect {
    /// Whether the message can succeed; `None` if it is another method's.
    fn inspect(&self, method: &str) -> Option<Result<(), IdempotencyError>>;
}

impl<A, R> Inspect for Endpoint<A, R> {
    fn inspect(&self, method: &str) -> Option<Result<(), IdempotencyError>> {
        (self.method == method).then(|| (self.inspect)(self))
    }
}

/// What the first of the endpoints says that the message is for. Other methods are let through.
pub fn first_inspected(endpoints: &[&dyn Inspect]) -> Result<(), IdempotencyError> {
    let method = runtime::method_name();
    let mut said = (endpoints.iter()).filter_map(|endpoint| endpoint.inspect(&method));
    said.next().unwrap_or(Ok(()))
}

/// Whether the message can succeed.
pub fn inspect<M: Memory, A, R>(
    store: &'static LocalKey<Store<M>>,
    endpoint: &Endpoint<A, R>,
) -> Result<(), IdempotencyError> {
    let (caller, now) = (runtime::caller(), runtime::time());
    let argument = runtime::argument();
    if argument.len() > MOST_ARGUMENT_BYTES {
        return Ok(());
    }
    // What does not decode is told so by the method.
    let Ok(args) = (endpoint.decode)(&argument) else {
        return Ok(());
    };
    let description = (endpoint.describe)(&args);
    let Some(identified) = identify(
        store,
        endpoint,
        &description,
        &Argument::new(&argument),
        &caller,
    )?
    else {
        return Ok(());
    };
    store.with(|store| {
        let Identified {
            identity, sequence, ..
        } = identified;
        admission::foresee(store, &identity, sequence, description.created_at, now)
    })
}
