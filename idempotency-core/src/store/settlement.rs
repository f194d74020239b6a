//! What is said of requests whose outcome is unknown, and by whom.

use crate::{identity::Identity, time::Timestamp};
use candid::CandidType;
use serde::Deserialize;
use serde_bytes::ByteBuf;

/// A request whose outcome is unknown, or which was parked.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownRequest {
    /// The number of its last attempt: [`Store::unknown`](crate::Store::unknown) goes on after it.
    pub number: u64,
    /// Its identity, for [`Store::resolve`](crate::Store::resolve).
    pub identity: Identity,
    /// The name of its endpoint; empty if the store has no room for more names, or the request ran on after its record had expired.
    pub endpoint: String,
    /// A digest of its scope, as [`Identity::scope_digest`] gives it: whose it is, for who knows whose it may be.
    pub scope: ByteBuf,
    /// The time at which it began.
    pub since: Timestamp,
    /// The step of a durable request that began last, if any did.
    pub last_step: Option<String>,
    /// Why a durable request was parked.
    pub reason: Option<String>,
}

/// What an operator has found out about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It was executed, and this is its first reply as candid encodes it: every retry gets these bytes, or what `on_replay` makes of
    /// them. Nobody checks that they are of the type that the method returns.
    Done(Vec<u8>),
    /// It has certainly done nothing. The store forgets it, so a retry runs.
    NotExecuted,
}

/// The result of [`Store::resolve`](crate::Store::resolve).
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resolved {
    /// The request is settled as was said. A lane that waited for it goes on.
    Settled {
        /// The time at which it began.
        since: Timestamp,
    },
    /// It is running, or may be. Nothing has changed.
    Running {
        /// The time at which it began.
        since: Timestamp,
    },
    /// It had ended before. Nothing has changed.
    HasEnded {
        /// The time at which it began.
        since: Timestamp,
    },
    /// The store does not know it. Nothing has changed.
    NotKnown,
}
