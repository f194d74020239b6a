//! What a message ends in.

use super::response::Response;
use crate::{documented::documented_natively, time::Timestamp};
use candid::CandidType;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The number of a message in its outbox: rising in the order of `send`, with gaps after upgrades.
#[derive(
    CandidType, Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash,
)]
pub struct MessageId(u64);

impl MessageId {
    /// From what [`as_u64`](Self::as_u64) gave.
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The end of a message.
#[derive(CandidType, Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Outcome {
    /// The server has done what it was asked for. This is its answer, or that with which `verify` showed it.
    Acknowledged(Response),
    /// It was not done, as far as the server can be believed, and will not be: no attempt follows, and none is in doubt.
    Dead {
        /// Why the last attempt did not succeed.
        reason: Reason,
        /// What forbids another attempt; `None` if it would end in the same way.
        limit: Option<Limit>,
        /// What the server last said.
        answer: Option<Response>,
    },
    /// It may have been done or not. No attempt follows. Look for the effect before you send the same under another key.
    Unknown {
        /// Why it is not known.
        reason: Reason,
        /// What forbids another attempt.
        limit: Option<Limit>,
        /// What the server last said.
        answer: Option<Response>,
    },
}

documented_natively! {
/// Why an attempt did not succeed.
#[derive(CandidType, Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The server refused the request for good, with a status of 300 to 499; see the answer.
    Refused,
    /// The request was not sent.
    NotSent {
        /// What the IC says.
        message: String,
    },
    /// The request was not sent, as it takes more cycles.
    TooFewCycles {
        /// What the IC says.
        message: String,
    },
    /// There was no answer in time; or the server gave up waiting for the request (408).
    TimedOut,
    /// The connection to the server was not made, or was lost.
    ConnectionFailed {
        /// What the IC says.
        message: String,
    },
    /// The replicas got different answers.
    NoConsensus {
        /// What the IC says: how many had the same.
        message: String,
    },
    /// The answer was longer than `max_response_bytes`, or had more headers than the IC takes.
    AnswerTooLarge {
        /// What the IC says.
        message: String,
    },
    /// The server's answer came, and the canister's transform did not deal with it.
    TransformFailed {
        /// What the IC says.
        message: String,
    },
    /// The server failed, or may have, with a status of 500 or above; see the answer.
    ServerError,
    /// The server is still at work on a request with this key (409).
    InProgress,
    /// The server does not want to act on a request that may be a replay of an earlier one (425).
    TooEarly,
    /// The server was asked too often (429).
    TooManyRequests,
    /// The canister was upgraded, or trapped, before the answer was there.
    Interrupted,
    /// What verifies showed that the effect is not there.
    NotThere,
    /// What verifies did not show whether the effect is there.
    NotVerified,
    /// What was to be sent can't be read: another version wrote it, or something else has written to the outbox's memory.
    Unreadable,
    /// Another reject of the IC.
    Rejected {
        /// The IC's reject code.
        code: u32,
        /// What the IC says.
        message: String,
    },
}
}

documented_natively! {
/// What forbids another attempt.
#[derive(CandidType, Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// There were as many attempts as there may be.
    Attempts,
    /// The message is as old as it may be.
    Age,
    /// The server would not recognise a repetition: there is no key, and nothing that verifies.
    NotRepeatable,
}
}

/// A message that has ended.
#[derive(CandidType, Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Ended {
    /// Which message.
    pub id: MessageId,
    /// What it ended in.
    pub outcome: Outcome,
    /// How many attempts there were.
    pub attempts: u32,
    /// When it was sent, in nanoseconds since the UNIX epoch.
    pub created_at: Timestamp,
    /// When it ended, in nanoseconds since the UNIX epoch.
    pub ended_at: Timestamp,
    /// What [`Request::about`](super::request::Request::about) said.
    #[serde(with = "serde_bytes")]
    pub about: Vec<u8>,
}

/// The first byte of a stored outcome: how the rest is written.
const CBOR: u8 = 1;

impl Outcome {
    /// The bytes that are kept: a byte for the way of writing, then CBOR.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![CBOR];
        // A vector takes all that is written, and each part of an outcome can be.
        let _ = ciborium::into_writer(self, &mut bytes);
        bytes
    }

    /// Whether somebody should look at it.
    pub(crate) fn is_dead_letter(&self) -> bool {
        !matches!(self, Self::Acknowledged(_))
    }

    /// The bytes that are kept, at most so many: what the server said is left out if they would be more.
    pub(crate) fn bytes_within(mut self, most: usize) -> Vec<u8> {
        let bytes = self.bytes();
        if bytes.len() <= most {
            return bytes;
        }
        match &mut self {
            Self::Acknowledged(answer) => {
                answer.headers.clear();
                answer.body.clear();
            }
            Self::Dead { answer, .. } | Self::Unknown { answer, .. } => *answer = None,
        }
        self.bytes()
    }

    /// `None` if a later version wrote them, with what this one does not know; or none did.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (&CBOR, mut rest) = bytes.split_first()? else {
            return None;
        };
        let outcome = ciborium::from_reader(&mut rest).ok()?;
        rest.is_empty().then_some(outcome)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => write!(f, "the server refused the request"),
            Self::NotSent { message } => write!(f, "the request was not sent: {message}"),
            Self::TooFewCycles { message } => {
                write!(
                    f,
                    "there were too few cycles to send the request: {message}"
                )
            }
            Self::TimedOut => write!(f, "there was no answer in time"),
            Self::ConnectionFailed { message } => write!(f, "the connection failed: {message}"),
            Self::NoConsensus { message } => {
                write!(f, "the replicas got different answers: {message}")
            }
            Self::AnswerTooLarge { message } => write!(f, "the answer was too large: {message}"),
            Self::TransformFailed { message } => write!(f, "the transform failed: {message}"),
            Self::ServerError => write!(f, "the server failed"),
            Self::InProgress => write!(f, "the server is still at work on it"),
            Self::TooEarly => write!(f, "the server will not act on it yet"),
            Self::TooManyRequests => write!(f, "the server was asked too often"),
            Self::Interrupted => write!(f, "the canister was interrupted before the answer came"),
            Self::NotThere => write!(f, "the effect is not there"),
            Self::NotVerified => write!(f, "it could not be verified whether the effect is there"),
            Self::Unreadable => write!(f, "what was to be sent can't be read"),
            Self::Rejected { code, message } => write!(f, "reject code {code}: {message}"),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attempts => "no attempt is left",
            Self::Age => "no time is left",
            Self::NotRepeatable => "it can't be repeated without a key",
        })
    }
}
