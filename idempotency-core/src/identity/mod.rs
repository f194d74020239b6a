//! What makes two requests the same request, and what makes a retry differ from the original.
//!
//! A request's [`Identity`] is a hash of the endpoint's name, the scope (by default the caller) and the key. Its
//! [`Fingerprint`] is a hash of what the retry must repeat: the argument by *value*, as [candid](self#what-is-hashed)
//! defines it, so that another client, or one that is older or newer than the canister, may encode it otherwise; and with
//! `fingerprint = EXPR` also of what that chooses. Either one being equal makes a retry.
//!
//! # Threat model
//!
//! - *An attacker chooses keys and arguments and knows this code and all that the canister stores.* The caller's
//!   principal is inside the identity, 164 bits of BLAKE3 as the store compares them. To hit somebody else's
//!   record he must find a second preimage; even to make two requests of *another* caller collide, whose keys he could
//!   choose, takes 2^82 hashes. No secret is needed for that, so none is kept.
//! - *In a shared scope* (`global`, or an expression) whoever knows a key and what the fingerprint covers gets the reply: that
//!   is what sharing means. Who may use a shared scope is for the method's `guard` to say.
//! - *In a shared scope he makes a request of his own that passes for another's.* Then the other would be answered with what
//!   the attacker paid for, and not run. Fingerprints are 128 bits of BLAKE3 there: for a given argument it takes him 2^128
//!   hashes to find another with its fingerprint, and 2^64 if he has a free hand in both arguments. With `fingerprint = off`,
//!   or an expression that leaves fields out, what is left out is not compared: in a shared scope compare all that counts.
//! - *In his own scope he makes fingerprints collide.* What is compared there is the alias, below; of endpoints that have none it is 128
//!   bits of SipHash with a public key, which guard against mistakes and not against attacks: he deceives himself about a request of his
//!   own. A canister that calls for many users is one caller: it must choose the keys itself, or give each user keys of his own, as two
//!   users with one key would be in each other's way in any case. With `key = args` the arguments are in the identity, and need no fingerprint.
//! - *He fills the store with requests of his own.* Capacity bounds the harm; see [`Policy`](crate::Policy).
//! - *He grinds identities to make the store's index degenerate.* 34 equal bits make a path four nodes deep; from there on
//!   each further collision costs him 2^34 hashes and a call, and a look-up of an identity with the same 34 bits a
//!   twenty-fifth of a bucket, some 40 instructions.
//! - *He sends an argument that is costly to read.* What is hashed is read once, in steps that its length bounds; where it
//!   nests deeper than candid itself decodes, its bytes are hashed instead.
//!
//! - *He makes a call that passes for another before it is decoded.* The alias by which a retry is recognised holds the caller and the
//!   endpoint, so it can only pass for one of his own. It is 128 bits of BLAKE3, all of which are compared: a canister that calls for many
//!   users would have to be made to send two calls for which somebody has done 2^64 hashes.
//!
//! # What is hashed
//!
//! ```text
//! identity   1, length and bytes of the endpoint's name, then 0, length and bytes of the caller
//!                                                        or 1 for all callers
//!                                                        or 2, length and bytes of the scope's parts,
//!            then each part of the key: length and bytes
//! lane       2, then as an identity up to the scope; then each part of the lane
//! number     3, 24 bytes of its lane's identity, 8 bytes
//! scope      4, then as an identity up to the scope
//! caller     5, then 0, length and bytes of the caller
//! argument   6, its values (`values.rs`); or 7 and its bytes, if it is not candid
//! chosen     8, 1 or 0 for whether there is a created_at, 8 bytes of it, then each part of the expression
//! step       9, 24 bytes of its request's identity, its name
//! alias      length and bytes of the endpoint's name, then as an argument; keyed with length and bytes of the caller, and zeros
//! ```
//!
//! The first byte says what it is (an alias is told from all others by its key), and what precedes a field says where it ends, so no two different sequences of fields
//! give the same bytes. A length takes one byte up to 254, and nine above (255, then eight bytes): BLAKE3 takes
//! 64 bytes at a time, and a UUID as key, a name of 14 letters and a user's principal are just one such step.

mod argument;
mod digest;
mod encoding;
mod fingerprint;
mod key;
mod request_key;
mod scope;
mod timed_key;
mod types;
mod values;

pub use argument::Argument;
pub use digest::Digest;
pub(crate) use fingerprint::ArgumentIs;
pub use fingerprint::{Compared, Fingerprint, Fingerprinted, LazyFingerprint};
pub use key::{Key, KeyWriter, MAX_KEY_BYTES};
pub use request_key::{LaneKey, RequestKey};
pub use scope::Scope;
pub use timed_key::{TimedKey, Untimed};

use crate::error::IdempotencyError;
use candid::{
    CandidType, Principal,
    types::{Serializer, Type},
};
use encoding::{CALLER, LANE, NUMBER, REQUEST, SCOPE, STEP, put_sized};
use serde::Deserialize;
use siphasher::sip::SipHasher13;

/// The name under which a record is stored: 24 bytes of a BLAKE3 hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity(pub(crate) [u8; 24]);

/// A name of a request that is known before its argument is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyName {
    /// What [`Argument::alias`] says.
    Alias(Digest),
    /// All arguments are the key.
    Identity(Identity),
}

/// A blob of 24 bytes.
impl CandidType for Identity {
    fn _ty() -> Type {
        <serde_bytes::Bytes as CandidType>::_ty()
    }

    fn idl_serialize<S: Serializer>(&self, serializer: S) -> Result<(), S::Error> {
        serializer.serialize_blob(&self.0)
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_bytes::ByteArray::deserialize(deserializer).map(|bytes| Self(bytes.into_array()))
    }
}

impl Identity {
    /// As the store's table knows it.
    pub(crate) fn name(&self) -> &[u8; 24] {
        &self.0
    }

    /// The identity of `key` at `endpoint` in `scope`, or the error that says what is wrong with the key.
    pub fn new(
        endpoint: &str,
        scope: &Scope,
        caller: &Principal,
        key: &RequestKey,
    ) -> Result<Self, IdempotencyError> {
        key.0.check()?;
        let mut hashed = start(REQUEST, scope, caller, Some(endpoint))?;
        hashed.extend_from_slice(key.0.written());
        Ok(Self::of(&hashed))
    }

    /// The identity of a lane of sequence numbers; without `lane = EXPR` that of [`LaneKey::default`].
    pub fn of_lane(
        endpoint: &str,
        scope: &Scope,
        caller: &Principal,
        lane: &LaneKey,
    ) -> Result<Self, IdempotencyError> {
        if !lane.0.is_absent() {
            lane.0.check()?;
        }
        let mut hashed = start(LANE, scope, caller, Some(endpoint))?;
        hashed.extend_from_slice(lane.0.written());
        Ok(Self::of(&hashed))
    }

    /// The identity of a request by its number in a lane.
    pub fn of_number(lane: &Self, number: u64) -> Self {
        let mut hashed = [NUMBER; 33];
        hashed[1..25].copy_from_slice(&lane.0);
        hashed[25..].copy_from_slice(&number.to_le_bytes());
        Self::of(&hashed)
    }

    /// The identity of a scope, by which its quota is counted: a caller's over all endpoints of a store, any other at its own
    /// endpoint, as the same bytes may stand for something else at another, which lets in others.
    pub fn of_scope(
        endpoint: &str,
        scope: &Scope,
        caller: &Principal,
    ) -> Result<Self, IdempotencyError> {
        Self::hashed_scope(endpoint, scope, caller).map(|hashed| Self::of(&hashed))
    }

    fn hashed_scope(
        endpoint: &str,
        scope: &Scope,
        caller: &Principal,
    ) -> Result<Vec<u8>, IdempotencyError> {
        match scope {
            Scope::Caller => start(CALLER, scope, caller, None),
            Scope::Global | Scope::Of(_) => start(SCOPE, scope, caller, Some(endpoint)),
        }
    }

    /// What tells operators the scope of a request whose outcome is unknown: 8 bytes of SipHash with no key, of what
    /// [`of_scope`](Self::of_scope) hashes. Nothing is decided by it.
    ///
    /// # Errors
    /// As [`of_scope`](Self::of_scope).
    pub fn scope_digest(
        endpoint: &str,
        scope: &Scope,
        caller: &Principal,
    ) -> Result<[u8; 8], IdempotencyError> {
        let hashed = Self::hashed_scope(endpoint, scope, caller)?;
        Ok(SipHasher13::new().hash(&hashed).to_le_bytes())
    }

    /// By what a callee knows a step of this request.
    pub(crate) fn step_key(&self, name: &[u8]) -> [u8; 32] {
        let mut hashed = Vec::with_capacity(25 + name.len());
        hashed.push(STEP);
        hashed.extend_from_slice(&self.0);
        hashed.extend_from_slice(name);
        *blake3::hash(&hashed).as_bytes()
    }

    fn of(hashed: &[u8]) -> Self {
        let mut identity = [0; 24];
        identity.copy_from_slice(&blake3::hash(hashed).as_bytes()[..24]);
        Self(identity)
    }
}

/// What an identity begins with. In one piece: a hasher that is fed by and by has two kilobytes of state to clear.
fn start(
    kind: u8,
    scope: &Scope,
    caller: &Principal,
    endpoint: Option<&str>,
) -> Result<Vec<u8>, IdempotencyError> {
    let mut hashed = Vec::with_capacity(192);
    hashed.push(kind);
    if let Some(endpoint) = endpoint {
        put_sized(&mut hashed, endpoint.as_bytes());
    }
    match scope {
        Scope::Caller => {
            hashed.push(0);
            put_sized(&mut hashed, caller.as_slice());
        }
        Scope::Global => hashed.push(1),
        Scope::Of(value) => {
            if !value.is_absent() {
                value.check()?;
            }
            hashed.push(2);
            put_sized(&mut hashed, value.written());
        }
    }
    Ok(hashed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::encoding::put_length;
    use std::collections::BTreeSet;

    fn identity(endpoint: &str, scope: &Scope, caller: &Principal, key: &impl Key) -> Identity {
        let key = RequestKey::of(key).expect("there is a key");
        Identity::new(endpoint, scope, caller, &key).expect("the key is valid")
    }

    #[test]
    fn no_field_runs_into_the_next() {
        let (one, other) = (Principal::from_slice(&[1]), Principal::from_slice(&[1, 1]));
        let identities = [
            identity("pay", &Scope::Caller, &one, &"ab"),
            identity("pay", &Scope::Caller, &other, &"ab"),
            identity("pa", &Scope::Caller, &one, &"ab"),
            identity("pay", &Scope::Caller, &one, &("a", "b")),
            identity("pay", &Scope::Caller, &one, &("", "ab")),
            identity("pay", &Scope::Global, &one, &"ab"),
            identity("pay", &Scope::Global, &one, &([1u8], "ab")),
            identity("pay", &Scope::of(&[1u8]), &one, &"ab"),
            identity("pay", &Scope::of(&([1u8], [1u8])), &one, &"ab"),
            identity("pay", &Scope::of(&([1u8], "ab")), &one, &"ab"),
            identity("pay", &Scope::of(&[1u8]), &one, &("ab", "ab")),
        ];
        let different: BTreeSet<_> = identities.iter().collect();
        assert_eq!(different.len(), identities.len());
        assert_eq!(
            identity("pay", &Scope::Global, &one, &"ab"),
            identity("pay", &Scope::Global, &other, &"ab")
        );
    }

    #[test]
    fn what_stands_alone_may_become_optional() {
        let caller = Principal::from_slice(&[1]);
        let with =
            |scope: Scope, lane: LaneKey| Identity::of_lane("pay", &scope, &caller, &lane).unwrap();
        assert_eq!(
            RequestKey::of(&[7u8; 16]),
            RequestKey::of(&Some(vec![7u8; 16]))
        );
        assert_eq!(RequestKey::of(&None::<u64>), None);
        assert_eq!(
            with(Scope::of(&5u64), LaneKey::of("a")),
            with(Scope::of(&Some(5u64)), LaneKey::of(&Some("a")))
        );
        assert_eq!(
            with(Scope::Caller, LaneKey::of(&None::<u64>)),
            with(Scope::Caller, LaneKey::default())
        );
        // Nobody can choose a value that passes for none.
        for value in [vec![0u8], vec![1, 0], vec![]] {
            assert_ne!(RequestKey::of(&value), None);
            assert_ne!(LaneKey::of(&value), LaneKey::default());
            assert_ne!(Scope::of(&value), Scope::of(&None::<u8>));
        }
        assert!(Identity::of_lane("pay", &Scope::of(""), &caller, &LaneKey::default()).is_err());
        assert!(Identity::of_lane("pay", &Scope::Caller, &caller, &LaneKey::of("")).is_err());
    }

    #[test]
    fn an_argument_that_is_not_candid_stands_for_itself() {
        let hash = |bytes: &[u8]| Argument::new(bytes).hashed().to_vec();
        let candid = candid::encode_one(7u64).unwrap();
        let cut = &candid[..candid.len() - 1];
        let hashes = [
            hash(&candid),
            hash(cut),
            hash(b"{}"),
            hash(b"{} "),
            hash(b"DIDL"),
            hash(b""),
        ];
        assert_eq!(hashes.iter().collect::<BTreeSet<_>>().len(), hashes.len());
        assert_eq!(hash(b""), hash(b"DIDL\0\0"));
    }

    #[test]
    fn an_alias_is_of_endpoint_caller_and_values() {
        let callers = [[1; 29], [2; 29]].map(|caller| Principal::from_slice(&caller));
        let short = Principal::from_slice(&[1; 28]);
        let alias = |bytes: &[u8], endpoint, caller| {
            Argument::of_call(bytes, endpoint, caller).alias().unwrap()
        };
        let one = candid::encode_args((1u64, "a")).unwrap();
        let is = alias(&one, "pay", &callers[0]);
        let longer = candid::encode_args((1u64, "a", None::<u8>)).unwrap();
        assert_eq!(alias(&longer, "pay", &callers[0]), is);
        let others = [
            alias(&one, "pay", &callers[1]),
            alias(&one, "pay", &short),
            alias(&one, "pa", &callers[0]),
            alias(
                &candid::encode_args((1u64, "b")).unwrap(),
                "pay",
                &callers[0],
            ),
            alias(
                &candid::encode_args((1u64, "a", Some(1u8))).unwrap(),
                "pay",
                &callers[0],
            ),
            alias(b"DIDL", "pay", &callers[0]),
            Digest::of_blake3(blake3::hash(Argument::new(&one).hashed())),
        ];
        let different: BTreeSet<_> = others.iter().chain([&is]).map(|it| it.bytes()).collect();
        assert_eq!(different.len(), others.len() + 1);
        assert!(Argument::new(&one).alias().is_none());
        // As identities below, it must stay what it is.
        let (key, hashed) = (
            [&[29][..], &[1; 29], &[0, 0]].concat(),
            [&[3][..], b"pay", Argument::new(&one).hashed()].concat(),
        );
        let hash = blake3::keyed_hash(key[..].try_into().unwrap(), &hashed);
        assert_eq!(is.bytes(), hash.as_bytes()[..16]);
    }

    #[test]
    fn a_length_says_where_it_ends() {
        let written = |length| {
            let mut bytes = vec![];
            put_length(&mut bytes, length);
            bytes
        };
        assert_eq!(written(0), [0]);
        assert_eq!(written(254), [254]);
        assert_eq!(written(255), [255, 255, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(written(65_536), [255, 0, 0, 1, 0, 0, 0, 0, 0]);
    }

    /// Another value here makes every record on a canister that is upgraded a stranger: give it another first byte.
    #[test]
    fn identities_stay_what_they_are() {
        let caller = Principal::from_slice(&[7; 29]);
        let identity = identity("pay", &Scope::Caller, &caller, &"request 1");
        let hashed = [&[1, 3][..], b"pay", &[0, 29], &[7; 29], &[9], b"request 1"].concat();
        assert_eq!(identity.0, blake3::hash(&hashed).as_bytes()[..24]);
    }
}
