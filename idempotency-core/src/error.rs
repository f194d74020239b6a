//! What a client is told when a request is neither executed nor answered with its first reply.
//!
//! A method that returns `Result<_, E>` with `E: From<IdempotencyError>` answers with the error as its own `Err`; any
//! other method traps with the text `idempotency: ` and the error's `Display`, which begins with the variant's name.
//!
//! The variants follow the status codes of the IETF draft `draft-ietf-httpapi-idempotency-key-header` and OASIS
//! Repeatable Requests. The docs of the type are for clients: candid exports them with the interface.

use crate::{table::Damaged, time::Timestamp};
use candid::CandidType;
use serde::Deserialize;
use std::fmt;

/// Why a request was refused. Nothing has changed by it. Times are nanoseconds since the UNIX epoch.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub enum IdempotencyError {
    /// The method requires a key and the request has none (400). Send one.
    MissingKey,
    /// The key is empty, or a part of it is longer than `max` bytes (400). Send a shorter one.
    InvalidKey {
        /// Length of the offending part in bytes.
        length: u64,
        /// Longest length that is taken, in bytes.
        max: u64,
    },
    /// The anonymous principal shares its keys with everybody, so it may not send any (401). Call with an identity.
    AnonymousRefused,
    /// The key was used before for a request with other arguments, which stands as it was (422).
    /// Use a new key for a new request.
    KeyReused,
    /// The first call with this key is still running (409). Ask again later; don't use another key.
    InProgress {
        /// When it began.
        since: Timestamp,
    },
    /// The first call with this key was interrupted after it began, by a trap or an upgrade, or has run for longer than
    /// requests are remembered for. What it has done stands, and it is not run again (409). Find out what happened before you
    /// send the request under another key.
    /// A strict lane of sequence numbers stays at it until the canister's operators free it.
    OutcomeUnknown {
        /// When it began.
        since: Timestamp,
    },
    /// The request was executed, and its reply is not held any more (410).
    ReplyDropped {
        /// When it was executed.
        executed_at: Timestamp,
    },
    /// `created_at` is before the window: whether the request ran can't be told any more, so it does not run (412).
    TooOld,
    /// `created_at` is further in the future than clocks may drift (412). Check its unit and your clock.
    CreatedInFuture {
        /// The canister's time.
        now: Timestamp,
    },
    /// The store holds as many requests as it may (503). Retries of earlier requests are still answered.
    Full {
        /// The next record expires at this time. Until then new requests are refused.
        retry_after: Timestamp,
    },
    /// The caller, or whoever shares its scope, has as many requests remembered as one may (429). Retries are still answered.
    QuotaExceeded {
        /// Some of them expire at this time. Until then new requests are refused, unless one that is running ends.
        retry_after: Timestamp,
    },
    /// The sequence number was used and its reply is not held any more, or was never used and never can be (410).
    SequenceTooOld {
        /// The first number of the lane that was not used, or that has not ended.
        expected: u64,
    },
    /// The sequence number is too far ahead (409). Send the requests with lower numbers first.
    SequenceGap {
        /// The first number of the lane that was not used, or that has not ended.
        expected: u64,
    },
    /// The canister charges callers that are canisters for each execution, and fewer cycles came with the call (402).
    CyclesRequired {
        /// Cycles to attach. They come back if the request turns out to be a retry.
        cycles: u64,
    },
    /// The canister's memory of requests is damaged, so it can't be told whether this one ran (500). Tell its operators.
    StoreDamaged,
}

impl fmt::Display for IdempotencyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingKey => write!(
                f,
                "MissingKey: this method requires a request key; send one"
            ),
            Self::InvalidKey { length: 0, .. } => {
                write!(
                    f,
                    "InvalidKey: the request key is empty; send a unique one, such as a UUID"
                )
            }
            Self::InvalidKey { length, max } => write!(
                f,
                "InvalidKey: the request key is {length} bytes long, at most {max} are taken; send a shorter one"
            ),
            Self::AnonymousRefused => write!(
                f,
                "AnonymousRefused: the anonymous caller can't be told from others; call with an identity"
            ),
            Self::KeyReused => write!(
                f,
                "KeyReused: the key belongs to an earlier request with other arguments; use a new key for a new request"
            ),
            Self::InProgress { since } => write!(
                f,
                "InProgress: the first call with this key is still running since {since}; ask again later with the same key"
            ),
            Self::OutcomeUnknown { since } => write!(
                f,
                "OutcomeUnknown: the first call with this key began at {since}, and was interrupted or has run for too long; it is not run again, \
                 find out what it did before you use another key"
            ),
            Self::ReplyDropped { executed_at } => write!(
                f,
                "ReplyDropped: the request was executed at {executed_at} and its reply is not held any more"
            ),
            Self::TooOld => write!(
                f,
                "TooOld: created_at is before the window; find out whether the request was executed before you create it anew"
            ),
            Self::CreatedInFuture { now } => write!(
                f,
                "CreatedInFuture: created_at is in the future of the canister's clock, {now}; check its unit and your clock"
            ),
            Self::Full { retry_after } => write!(
                f,
                "Full: no more requests can be remembered at present; send it again after {retry_after}"
            ),
            Self::QuotaExceeded { retry_after } => write!(
                f,
                "QuotaExceeded: as many of your requests are remembered as one caller may have; send it again after \
                 {retry_after}"
            ),
            Self::SequenceTooOld { expected } => write!(
                f,
                "SequenceTooOld: the number was used, and its reply is not held any more; the lane goes on at {expected}"
            ),
            Self::SequenceGap { expected } => write!(
                f,
                "SequenceGap: the number is too far ahead; the lane goes on at {expected}, send that first"
            ),
            Self::CyclesRequired { cycles } => write!(
                f,
                "CyclesRequired: attach {cycles} cycles; they come back if the request is a retry"
            ),
            Self::StoreDamaged => write!(f, "StoreDamaged: {Damaged}"),
        }
    }
}

impl std::error::Error for IdempotencyError {}

impl From<Damaged> for IdempotencyError {
    fn from(_: Damaged) -> Self {
        Self::StoreDamaged
    }
}
