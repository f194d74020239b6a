//! What a safe call ends in.

use super::transfer::TransferError;
use crate::{error::IdempotencyError, time::Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The end of a [`SafeCall`](super::SafeCall).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
#[non_exhaustive]
pub enum Outcome<T> {
    /// The callee executed the call, and this is its reply: the first one, if a repeat was answered. Of an ICRC ledger it is the
    /// index of the transfer's block.
    Replied(T),
    /// The callee executed the call, and its reply can't be had: the callee dropped it, or it is not of the type that was asked
    /// for. Look the result up; don't make the call under another key.
    ReplyLost {
        /// When the callee executed it, if the callee said so.
        executed_at: Option<Timestamp>,
        /// What became of the reply, for people.
        message: String,
    },
    /// The callee, or the IC for it, refused the call. It was not executed, and the same call will be refused again. Change it,
    /// or undo what you did for it.
    Rejected(Reason),
    /// The call was not executed, for a reason that may pass. You may make the same call again, with the same key, or undo
    /// what you did for it.
    NotExecuted(Reason),
    /// The call may have been executed or not. Undo nothing, and don't make the call under another key.
    ///
    /// With `until`, the callee can still tell: make the *same* call again by then, after
    /// [`in_doubt_since`](super::SafeCall::in_doubt_since). Without it no repeat can tell, and none may be made: look for the
    /// effect, or ask an operator.
    StillUnknown {
        /// The last instant at which a repeat may be sent.
        until: Option<Timestamp>,
        /// What the last attempt was answered with.
        last: Reason,
    },
}

/// Why a call has no reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// The IC's reject. A refusal with which an idempotent endpoint trapped is one of these, too: its text says which.
    Reject {
        /// The IC's reject code; 0 if the call was not sent, for want of cycles or because the callee's queue is full.
        code: u32,
        /// The IC's text.
        message: String,
    },
    /// The refusal of an idempotent endpoint, in its reply.
    Idempotency(IdempotencyError),
    /// The refusal of an ICRC ledger.
    Ledger(TransferError),
    /// The reply does not decode, so it is not known whether it is a refusal. The text says why.
    Unreadable(String),
    /// No attempt was made: an earlier one is in doubt, and this callee does not recognise a repeat, or not any more.
    NotAsked,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reject { code: 0, message } => write!(f, "not sent: {message}"),
            Self::Reject { code, message } => write!(f, "reject code {code}: {message}"),
            Self::Idempotency(error) => error.fmt(f),
            Self::Ledger(error) => error.fmt(f),
            Self::Unreadable(message) => write!(f, "the reply does not decode: {message}"),
            Self::NotAsked => write!(
                f,
                "not asked: an earlier attempt may have been executed, and the callee would not recognise a repeat"
            ),
        }
    }
}
