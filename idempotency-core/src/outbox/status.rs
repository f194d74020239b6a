//! What an outbox says of its messages and of itself.

use super::{
    error::RequestError,
    message::{Message, State},
    outcome::{Ended, MessageId},
};
use crate::{table::Damaged, time::Timestamp};
use candid::CandidType;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How far a message is.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
#[non_exhaustive]
pub enum Status {
    /// It waits: for its turn in its lane, for its host, for the time of its next attempt, or for cycles.
    Waiting {
        /// Attempts that were made.
        attempts: u32,
        /// One of them may have been executed.
        is_in_doubt: bool,
        /// The time of the next one, if it is its turn then.
        due: Timestamp,
    },
    /// An outcall is under way: the message itself, or a question to its server.
    UnderWay {
        /// Attempts that were made, this one included.
        attempts: u32,
    },
    /// It has ended.
    Ended(Ended),
}

impl Status {
    pub(super) fn of_open(message: &Message) -> Self {
        let attempts = message.attempts.into();
        match message.state {
            State::UnderWay => Self::UnderWay { attempts },
            State::Waiting | State::Ended => Self::Waiting {
                attempts,
                is_in_doubt: message.flags.is_in_doubt,
                due: message.due,
            },
        }
    }
}

/// The canister has too few cycles for the next outcall, so none is made. The outbox looks again each minute, and goes on by itself.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Parked {
    /// The message that can't be sent.
    pub message: MessageId,
    /// Cycles that the canister may spend, at the last look.
    pub available: u128,
    /// Cycles that there must be, with those that [`Policy::cycles_kept`](super::Policy::cycles_kept) leaves for everything else.
    pub needed: u128,
    /// Since when.
    pub since: Timestamp,
}

/// What an outbox holds.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overview {
    /// Messages that have not ended.
    pub waiting: u64,
    /// Those of them that are under way.
    pub under_way: u64,
    /// Messages that ended as Dead or Unknown, and were not dismissed.
    pub dead_letters: u64,
    /// All messages that it holds, those included that have ended.
    pub messages: u64,
    /// What they are charged with, in bytes.
    pub bytes: u64,
    /// Why nothing is sent, if that is so.
    pub parked: Option<Parked>,
}

/// Why a message was not taken. The outbox is as it was before.
#[derive(CandidType, Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The IC would not send it, or it contradicts itself.
    Request(RequestError),
    /// The outbox holds as many messages or bytes as its policy allows, and none of them has ended; or the memory can't grow.
    Full,
    /// The message's scope has as many messages or bytes that have not ended as the policy allows.
    QuotaExceeded,
    /// The message has a `verify`, and nothing says what the answer means: see [`Outbox::verify`](super::Outbox::verify).
    NoVerifier,
    /// The message was sent, and its end is forgotten: see [`Steps::send`](crate::Steps::send).
    Forgotten,
    /// Something else has written to the outbox's memory, or another outbox was opened on it.
    Damaged,
}

impl From<Damaged> for SendError {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

impl From<RequestError> for SendError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(error) => error.fmt(f),
            Self::Full => f.write_str("the outbox is full; send again when messages have ended, or dismiss dead letters"),
            Self::QuotaExceeded => f.write_str("this scope has as many messages in the outbox as it may; send again when some have ended"),
            Self::NoVerifier => f.write_str("the message has a verify, and the outbox was made without a function that reads the answer"),
            Self::Forgotten => f.write_str("the message was sent, and the outbox has forgotten how it ended"),
            Self::Damaged => Damaged.fmt(f),
        }
    }
}

impl std::error::Error for SendError {}
