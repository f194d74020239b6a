//! What makes two requests the same request, and what makes a retry differ from the original.
//!
//! A request's [`Identity`] is a hash of the endpoint's name, the scope (by default the caller) and the key. Its
//! [`Fingerprint`] is two digests of what the retry must repeat: one of the argument bytes as sent, one of the decoded
//! *values*. Either one being equal makes a retry: the same client's bytes stay equal when an upgrade adds an optional
//! field to the type, another client's values are equal though it encodes them otherwise.
//!
//! # Threat model
//!
//! - *An attacker chooses keys and arguments and knows this code and all that the canister stores.* The caller's
//!   principal is inside the hash, so to hit somebody else's record he must find a second preimage of 256 bits of
//!   BLAKE3. No secret is needed for that, so none is kept here.
//! - *He makes two of his own requests collide.* That takes 2^128 work for an identity and 2^64 for a fingerprint, and
//!   harms his own request only.
//! - *In a shared scope* (`global`, or an expression) whoever knows a key and its arguments gets the reply: that is
//!   what sharing means. Who may use a shared scope is for the method's `guard` to say.
//! - *He fills the store with requests of his own.* Capacity bounds the harm; see [`Policy`](crate::Policy).
//! - *He aims at the buckets of a hash table.* There are none: the store's index is ordered.
//!
//! Every field that goes into a hash is preceded by a tag and, where its length varies, by its length, so no two
//! different sequences of fields give the same input.

mod key;
mod values;

pub use key::{Key, KeyWriter, MAX_KEY_BYTES};
pub use values::{ValueWriter, Values};

use crate::{error::IdempotencyError, time::Timestamp};
use candid::{CandidType, Principal};

/// Who shares the key space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each caller has keys of its own.
    Caller,
    /// All callers of the endpoint share one key space.
    Global,
    /// Requests with an equal value of this share a key space, for example those of an account.
    Of(KeyWriter),
}

impl Scope {
    /// The scope of an expression's value.
    pub fn of(value: &(impl Key + ?Sized)) -> Self {
        Self::Of(KeyWriter::of(value))
    }
}

/// The request id within its endpoint and scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey(KeyWriter);

impl RequestKey {
    /// The key of an expression's value; `None` if the value is `None`: the request brings no key.
    pub fn of(value: &(impl Key + ?Sized)) -> Option<Self> {
        (!value.is_absent()).then(|| Self(KeyWriter::of(value)))
    }

    /// `key = args`: all arguments by value.
    pub fn of_values(values: &impl Values) -> Option<Self> {
        let mut key = KeyWriter::default();
        key.bytes(&Digest::of_values(values).0);
        Some(Self(key))
    }
}

/// The 32-byte name under which a request's record is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity(pub(crate) [u8; 32]);

impl Identity {
    /// The identity of `key` at `endpoint` in `scope`, or the error that says what is wrong with the key.
    pub fn new(
        endpoint: &str,
        scope: &Scope,
        caller: &Principal,
        key: &RequestKey,
    ) -> Result<Self, IdempotencyError> {
        key.0.check()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"idempotency/identity/1");
        hasher.update(&length(endpoint.len()));
        hasher.update(endpoint.as_bytes());
        match scope {
            Scope::Caller => {
                let caller = caller.as_slice();
                hasher
                    .update(&[0])
                    .update(&length(caller.len()))
                    .update(caller);
            }
            Scope::Global => {
                hasher.update(&[1]);
            }
            Scope::Of(value) => {
                value.check()?;
                hasher
                    .update(&[2])
                    .update(&length(value.written().len()))
                    .update(value.written());
            }
        }
        hasher.update(key.0.written());
        Ok(Self(hasher.finalize().into()))
    }
}

/// The first 16 bytes of a BLAKE3 hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub(crate) [u8; 16]);

impl Digest {
    fn finish(hasher: &blake3::Hasher) -> Self {
        let mut digest = [0; 16];
        digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(digest)
    }

    /// Of bytes as they are.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self::finish(
            blake3::Hasher::new()
                .update(b"idempotency/bytes/1")
                .update(bytes),
        )
    }

    /// Of candid values, whatever bytes they came in.
    pub fn of_values(values: &impl Values) -> Self {
        let mut writer = values::ValueWriter::new();
        values.write(&mut writer);
        Self::finish(&writer.into_hasher())
    }

    /// Of one candid value.
    pub fn of_value(value: &impl CandidType) -> Self {
        let mut writer = values::ValueWriter::new();
        writer.value(value);
        Self::finish(&writer.into_hasher())
    }

    /// `created_at` belongs to the request whatever else is compared: a record lives by the `created_at` it was made
    /// with, so a retry that brings a later one would outlive it and run again.
    fn with(self, created_at: Option<Timestamp>) -> Self {
        let Some(created_at) = created_at else {
            return self;
        };
        Self::finish(
            blake3::Hasher::new()
                .update(&self.0)
                .update(&created_at.as_nanos().to_le_bytes()),
        )
    }
}

/// What a retry must have in common with the original: one of two digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    pub(crate) bytes: Digest,
    pub(crate) values: Digest,
}

impl Fingerprint {
    /// From the digests of the argument as sent and of its values. Without values the bytes alone count.
    pub fn new(bytes: Digest, values: Option<Digest>, created_at: Option<Timestamp>) -> Self {
        let bytes = bytes.with(created_at);
        Self {
            bytes,
            values: values.map_or(bytes, |values| values.with(created_at)),
        }
    }

    /// The same request, perhaps encoded otherwise.
    pub fn matches(&self, other: &Self) -> bool {
        self.bytes == other.bytes || self.values == other.values
    }
}

fn length(length: usize) -> [u8; 8] {
    (length as u64).to_le_bytes()
}
