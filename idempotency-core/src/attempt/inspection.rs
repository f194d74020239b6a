//! `inspect!`: a message that can't succeed is refused before consensus, by one replica and without a certificate. That only
//! saves cycles: the method decides again, and nothing here may change what it decides.

use super::{attribute::Attribute, request::identify};
use crate::{
    error::IdempotencyError,
    identity::Argument,
    runtime::{Canister, Runtime},
    time::Timestamp,
};
use candid::Principal;

/// Decoding takes up to some thousand instructions a byte, and a message is inspected within 200 million.
const MOST_ARGUMENT_BYTES: usize = 16 << 10;

/// A message as it is inspected.
#[derive(Debug)]
pub struct Message {
    caller: Principal,
    argument: Vec<u8>,
    now: Timestamp,
}

/// An endpoint that can look at a message.
pub trait Inspect {
    /// The exported name of its method.
    fn method(&self) -> &'static str;

    /// Whether a message for the method can succeed.
    fn inspect(&self, message: &Message) -> Result<(), IdempotencyError>;
}

impl<A, R, S, I> Inspect for Attribute<A, R, S, I> {
    fn method(&self) -> &'static str {
        self.endpoint.method
    }

    fn inspect(&self, message: &Message) -> Result<(), IdempotencyError> {
        let Message {
            caller,
            argument,
            now,
        } = message;
        if argument.len() > MOST_ARGUMENT_BYTES {
            return Ok(());
        }
        // The method itself tells a client that its argument does not decode.
        let Ok(args) = (self.endpoint.decode)(argument) else {
            return Ok(());
        };
        let description = (self.endpoint.describe)(&args);
        let argument = Argument::new(argument);
        // Quotas are not looked at: what counts against them may have expired when the message runs.
        let has_quota = false;
        let identified = identify(
            &self.endpoint,
            &description,
            &argument,
            caller,
            (None, has_quota),
        )?;
        let Some(identified) = identified else {
            return Ok(());
        };
        let place = (&identified.identity, identified.sequence);
        self.store.foresee(place, description.created_at, *now)
    }
}

/// What the first of the endpoints says that the message is for. Messages for other methods are let through.
pub fn first_inspected(endpoints: &[&dyn Inspect]) -> Result<(), IdempotencyError> {
    inspected(&Canister, endpoints)
}

/// As [`first_inspected`], on any runtime.
pub(super) fn inspected(
    runtime: &impl Runtime,
    endpoints: &[&dyn Inspect],
) -> Result<(), IdempotencyError> {
    let method = runtime.method_name();
    let Some(endpoint) = (endpoints.iter()).find(|endpoint| endpoint.method() == method) else {
        return Ok(());
    };
    endpoint.inspect(&Message {
        caller: runtime.caller(),
        argument: runtime.argument(),
        now: runtime.time(),
    })
}
