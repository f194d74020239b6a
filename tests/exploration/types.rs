//! What the canisters say, as a client reads it.

use candid::CandidType;
use serde::Deserialize;

/// Those refusals that clients can meet here; any other one is an error when it is decoded, as it must be.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(crate) enum Refusal {
    InProgress { since: u64 },
    OutcomeUnknown { since: u64 },
}

#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(crate) enum Failure {
    Own(String),
    Idempotency(Refusal),
}

/// Of the durable canister's methods.
pub(crate) type Answer = Result<String, Failure>;

#[derive(CandidType, Clone, Copy, Debug, Deserialize, PartialEq)]
pub(crate) enum How {
    Repeatable,
    Verified,
}

/// What a durable request does.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(crate) enum Act {
    Effect(String),
    Call(String, How),
}

impl Act {
    pub(crate) fn effect(name: &str) -> Self {
        Self::Effect(name.to_owned())
    }

    pub(crate) fn call(name: &str, how: How) -> Self {
        Self::Call(name.to_owned(), how)
    }
}

/// What a store says of itself.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct Stats {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) unknown: u64,
}
