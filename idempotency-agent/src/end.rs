//! What a call ends in.

use candid::Nat;
use idempotency_core::{Timestamp, safe_call::TransferError};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The end of a call. The first three are proved; see each for by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub enum End {
    /// It was executed once. The subnet certified the reply, or the answer of the canister's outcome query that holds it.
    Replied(Reply),
    /// It was not executed, and no message of this call can be any more. The subnet certified the refusal.
    Rejected(Refusal),
    /// It was not executed, and no message of this call can be any more.
    NeverRan(Proof),
    /// It may have been executed or not, or may still be. Undo nothing, and don't make the call under another key.
    StillUnknown {
        /// By the subnet's clock, when it makes sense to make the same call again, with the same key. `None` if the same call can't tell
        /// any more: look for the effect, or ask the canister's operators.
        ask_again_after: Option<Timestamp>,
        /// What is known, for people.
        why: String,
    },
}

/// What came of an execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The reply in candid. It may be an error of the method, or of the library in the canister: see `idempotency_core::IdempotencyError`.
    Bytes(#[serde(with = "hex::serde")] Vec<u8>),
    /// The canister no longer has the reply. Look the result up.
    Dropped {
        /// When it began.
        executed_at: Timestamp,
    },
    /// The index of the transfer's block.
    Block(Nat),
}

/// Why a call was not executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The subnet rejected it.
    Reject(Reject),
    /// The ledger refused it, in a certified reply.
    Ledger(TransferError),
}

/// The Internet Computer's reject of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// The reject code, 1 to 5.
    pub code: u8,
    /// The text, for people.
    pub message: String,
    /// Such as `IC0503`, if the replica said.
    pub error_code: Option<String>,
}

/// By what it is proved that a call never ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proof {
    /// No message was sent.
    NotSent,
    /// The canister has no record of it and refuses it from now on, by a certified answer.
    Refused,
    /// The canister had no record of it, by a certified answer, at a time when all messages had expired.
    Expired,
    /// None of the ledger's blocks since it could have been executed is the transfer, by certified answers after all messages had expired.
    Blocks,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reject(reject) => reject.fmt(f),
            Self::Ledger(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reject code {}: {}", self.code, self.message)
    }
}
