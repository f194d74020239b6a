//! What the canisters say, as a client reads it.

use candid::{CandidType, Nat, Principal};
use serde::Deserialize;
use serde_bytes::ByteBuf;

/// Those refusals that clients can meet here; any other one is an error when it is decoded, as it must be.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(crate) enum Refusal {
    InProgress { since: u64 },
    OutcomeUnknown { since: u64 },
    SequenceGap { expected: u64 },
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
    Once,
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
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Effect(name) | Self::Call(name, _) => name,
        }
    }

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

#[derive(CandidType, Clone, Debug, Deserialize)]
pub(crate) struct CreditArg {
    pub(crate) request_id: ByteBuf,
    pub(crate) owner: Principal,
    pub(crate) amount: u64,
}

#[derive(CandidType, Clone, Debug, Deserialize)]
pub(crate) struct PayoutArg {
    pub(crate) request_id: ByteBuf,
    pub(crate) to: Principal,
    pub(crate) amount: u64,
}

#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(crate) enum PayoutError {
    InsufficientBalance { balance: u64 },
    NotPaid { reason: String },
    Idempotency(Refusal),
}

pub(crate) type Paid = Result<Nat, PayoutError>;

/// What the payout canister's books say.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct Audit {
    pub(crate) credited: u64,
    pub(crate) balances: u64,
    pub(crate) reserved: u64,
    pub(crate) paid: u64,
    pub(crate) open: u64,
    pub(crate) payments: u64,
    pub(crate) holds: bool,
}

/// A request that waits for an operator.
#[derive(CandidType, Clone, Debug, Deserialize)]
pub(crate) struct Unresolved {
    pub(crate) reason: Option<String>,
}
