//! What the durable canister says, as a client reads it.

use candid::CandidType;
use serde::Deserialize;

/// Those refusals that clients can meet here; any other one is an error when it is decoded, as it must be.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(super) enum Refusal {
    KeyReused,
    InProgress { since: u64 },
    OutcomeUnknown { since: u64 },
    SequenceGap { expected: u64 },
}

#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(super) enum Failure {
    Own(String),
    Idempotency(Refusal),
}

pub(super) type Answer = Result<String, Failure>;

/// What becomes of a step that was cut off.
#[derive(CandidType, Clone, Copy, Debug, Deserialize, PartialEq)]
pub(super) enum How {
    Once,
    Repeatable,
    Verified,
    Unverifiable,
}

/// What a request does, one after the other.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(super) enum Act {
    Effect(String),
    Call(String, How),
    Both(String, String),
    Sleep(u64),
    Undo(String),
    Fail,
}

/// What an operator sees of a request.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(super) struct Unknown {
    pub(super) number: u64,
    pub(super) endpoint: String,
    pub(super) last_step: Option<String>,
    pub(super) reason: Option<String>,
}

/// What a store says of itself, as far as it is looked at.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(super) struct Stats {
    pub(super) unknown: u64,
    pub(super) incarnation: u64,
}
