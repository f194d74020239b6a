//! What makes two requests the same request, and what makes a retry differ from the original.
//!
//! A request's [`Identity`] is a hash of the endpoint's name, the scope (by default the caller) and the key. Its
//! [`Fingerprint`] is two short digests of what the retry must repeat: one of the argument bytes as sent, one of the decoded
//! *values*. Either one being equal makes a retry: the same client's bytes stay equal when an upgrade adds an optional
//! field to the type, another client's values are equal though it encodes them otherwise.
//!
//! # Threat model
//!
//! - *An attacker chooses keys and arguments and knows this code and all that the canister stores.* The caller's
//!   principal is inside the identity, 164 bits of BLAKE3 as the store compares them. To hit somebody else's
//!   record he must find a second preimage; even to make two requests of *another* caller collide, whose keys he could
//!   choose, takes 2^82 hashes. No secret is needed for that, so none is kept.
//! - *He makes fingerprints collide.* They are short and quick, 64 bits of SipHash with a public key, because they guard
//!   against mistakes, not against attacks: they are compared only within one identity, so he deceives himself about a
//!   request of his own. With `key = args` the arguments are in the identity, and need no fingerprint.
//! - *In a shared scope* (`global`, or an expression) whoever knows a key gets the reply: that is what sharing means. Who
//!   may use a shared scope is for the method's `guard` to say.
//! - *He fills the store with requests of his own.* Capacity bounds the harm; see [`Policy`](crate::Policy).
//! - *He grinds identities to make the store's index degenerate.* 34 equal bits make a path four nodes deep; from there on
//!   each further collision costs him 2^34 hashes and a call, and a look-up of an identity with the same 34 bits a
//!   twenty-fifth of a bucket, some 40 instructions.
//!
//! Every field that goes into a hash is preceded by a tag and, where its length varies, by its length, so no two
//! different sequences of fields give the same input.

mod key;
mod values;

pub use key::{Key, KeyWriter, MAX_KEY_BYTES};
pub use values::{ValueWriter, Values};

use crate::{error::IdempotencyError, time::Timestamp};
use candid::{CandidType, Principal};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

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
        let mut writer = ValueWriter::default();
        values.write(&mut writer);
        let mut key = KeyWriter::default();
        key.bytes(blake3::hash(writer.written()).as_bytes());
        Some(Self(key))
    }
}

/// The name under which a request's record is stored: 24 bytes of a BLAKE3 hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity(pub(crate) [u8; 24]);

impl Identity {
    /// The first 8 bytes: the store's index goes by the first 36 bits of them.
    pub(crate) fn head(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// The other 16 bytes.
    pub(crate) fn tail(&self) -> [u8; 16] {
        let mut tail = [0; 16];
        tail.copy_from_slice(&self.0[8..]);
        tail
    }

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
        let mut identity = [0; 24];
        identity.copy_from_slice(&hasher.finalize().as_bytes()[..24]);
        Ok(Self(identity))
    }
}

/// 8 bytes of SipHash-1-3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub(crate) [u8; 8]);

impl Digest {
    /// Of bytes as they are.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let mut hasher = SipHasher13::new_with_keys(1, 0);
        hasher.write(bytes);
        Self(hasher.finish().to_le_bytes())
    }

    /// Of candid values, whatever bytes they came in.
    pub fn of_values(values: &impl Values) -> Self {
        let mut writer = ValueWriter::default();
        values.write(&mut writer);
        Self::of_written(&writer)
    }

    /// Of one candid value.
    pub fn of_value(value: &impl CandidType) -> Self {
        let mut writer = ValueWriter::default();
        writer.value(value);
        Self::of_written(&writer)
    }

    fn of_written(writer: &ValueWriter) -> Self {
        let mut hasher = SipHasher13::new_with_keys(2, 0);
        hasher.write(writer.written());
        Self(hasher.finish().to_le_bytes())
    }

    /// `created_at` belongs to the request whatever else is compared: a record lives by the `created_at` it was made
    /// with, so a retry that brings a later one would outlive it and run again.
    fn with(self, created_at: Option<Timestamp>) -> Self {
        let Some(created_at) = created_at else {
            return self;
        };
        let mut hasher = SipHasher13::new_with_keys(3, created_at.as_nanos());
        hasher.write(&self.0);
        Self(hasher.finish().to_le_bytes())
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
