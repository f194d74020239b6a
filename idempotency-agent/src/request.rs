//! What is to be done, and what may be assumed of the method that does it.

use candid::Principal;
use idempotency_core::{Timestamp, safe_call::Transfer};
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};
use uuid::Uuid;

/// Names one call in the journal, for good: a call that is made again with the same key goes on, or ends as it did.
///
/// It is the client's own name for the call. That the canister recognises the request follows from the argument, so put the same
/// key into it if the method takes one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(#[serde(with = "hex::serde")] Vec<u8>);

impl Key {
    /// Any bytes that no other call of this journal has.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// A UUIDv7 that bears `time`. Take it from [`SafeAgent::time`](crate::SafeAgent::time): the canister compares it with its own clock.
    pub fn at(time: Timestamp) -> Self {
        let (seconds, nanos) = (
            time.as_nanos() / 1_000_000_000,
            (time.as_nanos() % 1_000_000_000) as u32,
        );
        let time = uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos);
        Uuid::new_v7(time).into()
    }

    /// The key of a part of what this key names.
    pub(crate) fn part(&self, name: &str) -> Self {
        Self([self.as_bytes(), b" ", name.as_bytes()].concat())
    }

    /// The bytes, as they go into an argument.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Uuid> for Key {
    fn from(uuid: Uuid) -> Self {
        Self(uuid.into_bytes().into())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Uuid::from_slice(&self.0) {
            Ok(uuid) => uuid.fmt(f),
            Err(_) => f.write_str(&hex::encode(&self.0)),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A call that is to be executed once, as the journal keeps it. It never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its name in the journal.
    pub key: Key,
    /// In whose name it is made.
    pub sender: Principal,
    /// The canister.
    pub canister: Principal,
    /// The method.
    pub method: String,
    /// The argument, in candid. Every message of this call carries the same bytes.
    #[serde(with = "hex::serde")]
    pub arg: Vec<u8>,
    /// What may be assumed of the method.
    pub terms: Terms,
}

/// What may be assumed of a method. A claim that rests on one of these is as good as that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Whether it recognises a request that is sent again.
    pub repeats: Repeats,
    /// The query that says what became of a call, `(vec Asked) -> (vec Result)`; asked as an update.
    pub outcomes: Option<String>,
    /// The update, or composite query, that says so and asks the canister's archives; asked if `outcomes` does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes_ever: Option<String>,
    /// A call that the method ended with a trap or a reject has done nothing. True of methods that don't await, and don't reject after
    /// they have changed something. Of others it is false: what they did before the await stands.
    pub rejects_undo: bool,
    /// The method is `icrc1_transfer` of a ledger, and this is the transfer.
    pub ledger: Option<Transfer>,
}

impl Terms {
    /// Nothing is assumed.
    pub(crate) const PLAIN: Self = Self {
        repeats: Repeats::Never,
        outcomes: None,
        outcomes_ever: None,
        rejects_undo: false,
        ledger: None,
    };
}

/// Whether a method recognises a request that is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Repeats {
    /// It does not, and would execute it again.
    Never,
    /// For so long after it executed it: the window of the canister's policy. Later it would execute it again.
    Within(Duration),
    /// For as long as it accepts it: the request bears a time (`created_at`, or a UUIDv7 key that is read so), and is refused later.
    Dated,
}
