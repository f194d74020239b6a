//! What a client is told when its request does not run and no first reply can be sent again.
//!
//! A method that returns `Result<_, E>` with `E: From<IdempotencyError>` answers with the error as its own `Err`. Any
//! other method traps with the text `idempotency: ` and the error's `Display`, which begins with the variant's name.
//!
//! The numbers in the docs of the variants are HTTP status codes, as the IETF draft
//! `draft-ietf-httpapi-idempotency-key-header` uses them. The docs of the type are for clients: candid exports them with
//! the interface, if that is done natively, as a test does it.
//!
//! # How this type may change
//! It stands in replies. There candid lets nobody add a case: a client that was built before the case existed can't decode
//! a reply that carries it, whatever version the canister has. So
//! - no version adds a case: a new kind of refusal is an [`Other`](IdempotencyError::Other) with a `code` of its own;
//! - a later version may add fields to a case, in candid each an `opt`. Old clients ignore them. In Rust that is a breaking
//!   change.
//!
//! | `code` of `Other` | meaning |
//! |---|---|
//! | 1 | the argument is too long for a durable method to keep |
//! | 2 | the reply with which an operator settles a request is too long; no client gets this |
//! | 3 | asked what became of a call: its argument, or the first reply, does not decode |
//! | 4 | asked what became of a call: the canister does not say it of this method |
//! | 5 | the method takes the time out of the key, and the key has none |
//! | 6 | asked for a proof: the store is not certified, or there is no certificate in an update |
//! | 7 | asked for a proof: requests were forgotten since the tree was certified |
//! | 8 | an archive that may hold the request can't be asked now |
//! | 9 | the canister has archives, and did not open them when it was installed or upgraded: a mistake of its authors |
//! | 10 | asked what became of a call: an archive may hold it, and the method that was asked asks none |
//!
//! `tests/wire.rs` shows what today's type makes of replies that a later version may send.

use crate::{documented::documented_natively, table::Damaged, time::Timestamp};
use candid::CandidType;
use serde::{Deserialize, Serialize};
use std::fmt;

documented_natively! {
/// Why this call did not run the method. It has changed nothing in the canister. Times are in nanoseconds since the UNIX
/// epoch; the numbers in parentheses are the HTTP status codes with the same meaning.
#[derive(CandidType, Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdempotencyError {
    /// The method requires a request key, and the request has none (400). Send a key.
    MissingKey,
    /// The request key can't be used (400): it is empty, or one of its parts is longer than `max` bytes. Send another key.
    InvalidKey {
        /// The length of the longest part, in bytes.
        length: u64,
        /// The greatest length that is allowed, in bytes.
        max: u64,
    },
    /// The anonymous caller may not send a request key (401), because all anonymous callers would share it. Call with an
    /// identity.
    AnonymousRefused,
    /// The key belongs to an earlier request that has other arguments (422). The earlier request is not affected. Use a new
    /// key for a new request.
    KeyReused,
    /// The first call with this key is still running (409). Send the same request again later, with the same key.
    InProgress {
        /// The time at which the first call began.
        since: Timestamp,
    },
    /// Nobody knows what the first call with this key did (409): a trap or an upgrade interrupted it, or it has run for
    /// longer than the canister remembers requests. Its effects stand, and the canister does not run it again. Find out what
    /// it did before you send the request under another key.
    /// A strict lane of sequence numbers accepts no other number until an operator of the canister frees it.
    OutcomeUnknown {
        /// The time at which the first call began.
        since: Timestamp,
    },
    /// The request ran, and the canister no longer has its reply (410). Look the result up.
    ReplyDropped {
        /// The time at which the request ran.
        executed_at: Timestamp,
    },
    /// `created_at` is so old that the canister may have forgotten the request (412), so it does not run it. Find out
    /// whether it ran before you create it anew.
    TooOld,
    /// `created_at` is too far ahead of the canister's clock (412). Check its unit and your clock.
    CreatedInFuture {
        /// The canister's time.
        now: Timestamp,
    },
    /// The canister can't remember one more request (503). It still answers retries of earlier requests.
    Full {
        /// The time after which some requests are forgotten. Send the same request again then.
        retry_after: Timestamp,
    },
    /// The canister remembers as many requests of this caller, or of those who share its quota, as it may (429). It still
    /// answers retries of earlier requests.
    QuotaExceeded {
        /// The time after which some of these requests are forgotten. Send the same request again then.
        retry_after: Timestamp,
    },
    /// The sequence number can't be used any more (410): a request with this number ran and the canister no longer has its
    /// reply, or the number was skipped. In a strict lane the canister need not have the reply to a number when a higher one has begun.
    SequenceTooOld {
        /// The number with which the lane goes on: the lowest one that no request has used, or in a strict lane the one whose
        /// request has not ended.
        expected: u64,
    },
    /// The sequence number is too far ahead of its lane (409). Send the requests with lower numbers first.
    SequenceGap {
        /// The number with which the lane goes on: the lowest one that no request has used, or in a strict lane the one whose
        /// request has not ended.
        expected: u64,
    },
    /// The caller is a canister and attached fewer cycles than an execution costs (402).
    CyclesRequired {
        /// The number of cycles to attach. They are refunded if the request turns out to be a retry.
        cycles: u64,
    },
    /// The canister's memory of requests is damaged (500), so it can't tell whether the request ran. Tell its operators.
    StoreDamaged,
    /// Any other refusal, so that later versions can report new kinds of refusal to clients that exist today. A client that
    /// does not know `code` shows `message`, and does not send the request under another key.
    Other {
        /// The kind of refusal. A number never changes its meaning.
        code: u32,
        /// The reason, for people.
        message: String,
        /// The time after which the same request may be sent again, if the canister knows one.
        retry_after: Option<Timestamp>,
    },
}
}

impl IdempotencyError {
    /// A durable method keeps the argument until the request ends.
    pub(crate) fn argument_too_long(length: usize, max_journal_bytes: u32) -> Self {
        Self::Other {
            code: 1,
            message: format!(
                "ArgumentTooLong: the canister would have to keep the argument of {length} bytes, and max_journal_bytes is \
                 {max_journal_bytes}; send a shorter one"
            ),
            retry_after: None,
        }
    }

    /// What became of a call can't be said.
    pub(crate) fn undecodable(why: &str) -> Self {
        Self::Other {
            code: 3,
            message: format!("Undecodable: what became of the call can't be said: {why}"),
            retry_after: None,
        }
    }

    /// What became of calls of this method is not said.
    pub(crate) fn not_offered(method: &str) -> Self {
        let method: String = method.chars().take(100).collect();
        Self::Other {
            code: 4,
            message: format!(
                "NotOffered: the canister does not say what became of calls of {method:?}; ask about a method that it names"
            ),
            retry_after: None,
        }
    }

    /// `created_at = key`, and the key bears no time.
    pub(crate) fn key_without_time() -> Self {
        Self::Other {
            code: 5,
            message: "KeyWithoutTime: the key must say when it was made; send a UUIDv7, or a ULID as text".into(),
            retry_after: None,
        }
    }

    /// There is no certificate to prove anything with.
    pub(crate) fn not_certified(why: &str) -> Self {
        Self::Other {
            code: 6,
            message: format!("NotCertified: nothing is proved here: {why}"),
            retry_after: None,
        }
    }

    /// What would prove it is being made.
    pub(crate) fn not_certified_yet() -> Self {
        Self::Other {
            code: 7,
            message: "NotCertifiedYet: requests were forgotten since the tree was certified; ask again in some seconds"
                .to_owned(),
            retry_after: None,
        }
    }

    /// An archive that may hold the request can't be asked, so it is not known whether the request ran.
    #[cfg(feature = "archive")]
    pub(crate) fn archive_unreachable(why: &str, retry_after: Timestamp) -> Self {
        Self::Other {
            code: 8,
            message: format!(
                "ArchiveUnreachable: an archive may hold the request and can't be asked: {why}; send the same request again later"
            ),
            retry_after: Some(retry_after),
        }
    }

    /// The policy has an archive, and this heap has not opened it.
    #[cfg(feature = "archive")]
    pub(crate) fn archive_not_installed() -> Self {
        Self::Other {
            code: 9,
            message: "ArchiveNotInstalled: the canister did not call archive::install in init or post_upgrade; tell its authors"
                .to_owned(),
            retry_after: None,
        }
    }

    /// What became of the request an archive may know, and it is not asked here.
    #[cfg(feature = "archive")]
    pub(crate) fn archive_not_asked() -> Self {
        Self::Other {
            code: 10,
            message: "ArchiveNotAsked: an archive may hold the request, and is not asked here; ask the method that asks archives"
                .to_owned(),
            retry_after: None,
        }
    }

    /// An operator settles a request with a reply that the method could not have given.
    pub(crate) fn reply_too_long(length: usize, max_reply_bytes: u32) -> Self {
        Self::Other {
            code: 2,
            message: format!(
                "ReplyTooLong: the reply takes {length} bytes, and max_reply_bytes is {max_reply_bytes}; settle the request with a \
                 shorter one, or raise max_reply_bytes"
            ),
            retry_after: None,
        }
    }
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
                "InvalidKey: a part of the request key is {length} bytes long, and at most {max} are allowed; send a shorter one"
            ),
            Self::AnonymousRefused => write!(
                f,
                "AnonymousRefused: the anonymous caller may not send a request key; call with an identity"
            ),
            Self::KeyReused => write!(
                f,
                "KeyReused: the key belongs to an earlier request with other arguments; use a new key for a new request"
            ),
            Self::InProgress { since } => write!(
                f,
                "InProgress: the first call with this key has been running since {since}; send the same request again later"
            ),
            Self::OutcomeUnknown { since } => write!(
                f,
                "OutcomeUnknown: the first call with this key began at {since} and was interrupted, or has run for too long; it \
                 does not run again; find out what it did before you use another key"
            ),
            Self::ReplyDropped { executed_at } => write!(
                f,
                "ReplyDropped: the request ran at {executed_at}, and its reply is no longer held; look the result up"
            ),
            Self::TooOld => write!(
                f,
                "TooOld: created_at is before the window; find out whether the request ran before you create it anew"
            ),
            Self::CreatedInFuture { now } => write!(
                f,
                "CreatedInFuture: created_at is ahead of the canister's clock, which is at {now}; check its unit and your clock"
            ),
            Self::Full { retry_after } => write!(
                f,
                "Full: the canister can't remember one more request; send it again after {retry_after}"
            ),
            Self::QuotaExceeded { retry_after } => write!(
                f,
                "QuotaExceeded: the canister remembers as many of your requests as it may; send it again after {retry_after}"
            ),
            Self::SequenceTooOld { expected } => write!(
                f,
                "SequenceTooOld: the number was used and its reply is no longer held, or it was skipped; the lane goes on at \
                 {expected}"
            ),
            Self::SequenceGap { expected } => write!(
                f,
                "SequenceGap: the number is too far ahead of its lane; send number {expected} first"
            ),
            Self::CyclesRequired { cycles } => write!(
                f,
                "CyclesRequired: attach {cycles} cycles; they are refunded if the request is a retry"
            ),
            Self::StoreDamaged => write!(f, "StoreDamaged: {Damaged}"),
            Self::Other { code, message, .. } => write!(f, "Other: {message} (code {code})"),
        }
    }
}

impl std::error::Error for IdempotencyError {}

impl From<Damaged> for IdempotencyError {
    fn from(_: Damaged) -> Self {
        Self::StoreDamaged
    }
}
