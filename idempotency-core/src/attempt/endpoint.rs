//! A method as its attribute describes it: plain values and functions, which know neither a store nor the IC.

use crate::codec::Encoded;
use crate::{
    error::IdempotencyError,
    identity::{
        Argument, Compared, EarlyName, Identity, Key, LaneKey, LazyFingerprint, RequestKey, Scope,
        TimedKey, Untimed,
    },
    sequence::MOST_IN_FLIGHT,
    time::Timestamp,
};
use candid::Principal;
use std::marker::PhantomData;

/// An idempotent method, as its attribute describes it. `A` is the tuple of its arguments, `R` its reply.
#[allow(missing_debug_implementations)] // it holds functions
pub struct Endpoint<A, R> {
    /// The exported name.
    pub method: &'static str,
    /// The name in the identity: the exported name, unless `name = "…"` gives another.
    pub name: &'static str,
    /// A request without a key is refused.
    pub required: bool,
    /// The anonymous principal may send keys. Without a key anyone may call.
    pub anonymous: bool,
    /// What becomes of an `Err`.
    pub errors: Errors,
    /// Whether the argument is candid: it is, unless `decode_with` decodes it.
    pub is_candid: bool,
    /// How a retry is known before its argument is decoded.
    pub recognise: Recognise,
    /// Decodes the argument.
    pub decode: fn(&[u8]) -> Result<A, candid::Error>,
    /// Evaluates the attribute's expressions.
    pub describe: fn(&A) -> Description,
    /// What a retry must have in common with the original.
    pub compare: Compare<A>,
    /// Encodes the reply.
    pub encode: fn(R) -> Encoded,
    /// Whether the reply is an `Err`.
    pub is_error: fn(&R) -> bool,
    /// Turns a refusal into the method's own reply, or gives it back if its type has no place for it.
    pub refuse: fn(IdempotencyError) -> Result<R, IdempotencyError>,
    /// `on_replay`: maps the bytes of the first reply.
    pub on_replay: Option<fn(&[u8]) -> Encoded>,
    /// `cycles`: what a canister pays for an execution, with or without a key.
    pub cycles: u128,
}

/// What the attribute's expressions say of one call.
#[derive(Debug)]
pub struct Description {
    /// `key` or `sequence`; `None` runs without deduplication.
    pub id: Option<RequestId>,
    /// `created_at`
    pub created_at: Option<Timestamp>,
    /// `scope`
    pub scope: Scope,
}

impl Description {
    /// `key = EXPR, created_at = key`
    pub fn of_timed_key(key: &(impl TimedKey + ?Sized), scope: Scope) -> Self {
        let (id, created_at) = match key.made_at() {
            Ok(made_at) => (RequestId::of_key(key), Some(made_at)),
            Err(Untimed::Absent) => (None, None),
            Err(Untimed::Other) => (Some(RequestId::Untimed), None),
        };
        Self {
            id,
            created_at,
            scope,
        }
    }
}

/// What identifies a request within its scope.
#[derive(Debug)]
pub enum RequestId {
    /// `key = EXPR`
    Key(RequestKey),
    /// `key = args`
    Arguments,
    /// `created_at = key`, and the key bears no time.
    Untimed,
    /// `sequence`
    Number {
        /// `sequence`
        number: u64,
        /// `lane`
        lane: LaneKey,
        /// `max_in_flight`
        max_in_flight: MaxInFlight,
        /// `first_incomplete`
        first_incomplete: Option<u64>,
    },
}

impl RequestId {
    /// `key = EXPR`
    pub fn of_key(key: &(impl Key + ?Sized)) -> Option<Self> {
        RequestKey::of(key).map(Self::Key)
    }

    /// `sequence = EXPR`
    pub fn of_number(
        number: impl Number,
        lane: LaneKey,
        max_in_flight: MaxInFlight,
        first_incomplete: impl Number,
    ) -> Option<Self> {
        Some(Self::Number {
            number: number.number()?,
            lane,
            max_in_flight,
            first_incomplete: first_incomplete.number(),
        })
    }
}

/// `max_in_flight`: how many numbers may be under way at a time.
pub type MaxInFlight = u16;

/// `max_in_flight = N`, which is evaluated when the method is compiled.
///
/// # Panics
/// If it is not from 1 to [`MOST_IN_FLIGHT`].
#[track_caller]
pub const fn max_in_flight(max_in_flight: MaxInFlight) -> MaxInFlight {
    assert!(
        1 <= max_in_flight && max_in_flight <= MOST_IN_FLIGHT,
        "`max_in_flight` is how many numbers of a sequence may be under way at a time, from 1 (strict) to 1,024"
    );
    max_in_flight
}

/// What `sequence = EXPR` and `first_incomplete = EXPR` may be.
#[diagnostic::on_unimplemented(
    message = "`sequence` and `first_incomplete` take a `u64` or an `Option<u64>`, not `{Self}`"
)]
pub trait Number {
    /// The number, if there is one.
    fn number(self) -> Option<u64>;
}

impl Number for u64 {
    fn number(self) -> Option<u64> {
        Some(self)
    }
}

impl Number for Option<u64> {
    fn number(self) -> Option<u64> {
        self
    }
}

impl<N: Number + Copy> Number for &N {
    fn number(self) -> Option<u64> {
        (*self).number()
    }
}

/// `fingerprint`: what a retry must have in common with the original.
#[allow(missing_debug_implementations)] // it holds functions
pub enum Compare<A> {
    /// All arguments, by value.
    Arguments,
    /// An expression, or all arguments.
    Expression(fn(&A) -> Compared),
    /// Nothing but the key.
    Nothing,
}

/// How a retry is known before its argument is decoded. In a scope that callers share it is not: what the scope is shows only then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognise {
    /// It is not: `alias = off`, or a scope that is shared.
    Never,
    /// By its [alias](Argument::alias).
    ByAlias,
    /// By its identity: `key = args`.
    ByIdentity,
}

/// `errors`: whether an `Err` is remembered as a reply like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errors {
    /// A retry gets the same `Err` again. The default for async methods.
    Keep,
    /// A retry runs again. The default for sync methods. In an async method only an `Err` from before the first await
    /// is forgotten: later, calls may have had effects.
    Forget,
}

impl<A, R> Endpoint<A, R> {
    /// Whether the caller may not send keys.
    pub(super) fn refuses(&self, caller: &Principal) -> bool {
        *caller == Principal::anonymous() && !self.anonymous
    }

    /// The name by which a call that has ended is recognised before its argument is decoded. Whatever else there is to be said of a call is
    /// said once it is decoded.
    pub(super) fn early_name(
        &self,
        argument: &Argument<'_>,
        caller: &Principal,
    ) -> Option<EarlyName> {
        if self.refuses(caller) {
            return None;
        }
        match self.recognise {
            Recognise::Never => None,
            Recognise::ByAlias => argument.alias().map(EarlyName::Alias),
            Recognise::ByIdentity => {
                let key = RequestKey::of_argument(argument);
                let identity = Identity::new(self.name, &Scope::Caller, caller, &key).ok()?;
                Some(EarlyName::Identity(identity))
            }
        }
    }

    /// What a retry of this call must have in common with it.
    pub(super) fn fingerprint<'a>(
        &self,
        args: &A,
        argument: &'a Argument<'a>,
        description: &'a Description,
    ) -> LazyFingerprint<'a> {
        let compared = match self.compare {
            Compare::Arguments => Compared::Argument,
            Compare::Expression(chosen) => chosen(args),
            Compare::Nothing => Compared::Nothing,
        };
        let Description {
            created_at, scope, ..
        } = description;
        LazyFingerprint::new(argument, compared, *created_at, scope)
            .with_alias(self.recognise == Recognise::ByAlias)
    }

    /// The reply's bytes and whether it is an `Err`; or the text of a trap.
    pub(super) fn encoded(&self, reply: R) -> Result<(Vec<u8>, bool), String> {
        let is_error = (self.is_error)(&reply);
        Ok((self.encode(reply)?, is_error))
    }

    fn encode(&self, reply: R) -> Result<Vec<u8>, String> {
        (self.encode)(reply)
            .map_err(|error| format!("the reply of {} does not encode: {error:#}", self.name))
    }

    /// The bytes that tell the client of an error; or the text of a trap, if the reply's type has no place for one.
    pub(super) fn refused(&self, error: IdempotencyError) -> Result<Vec<u8>, String> {
        match (self.refuse)(error) {
            Ok(reply) => self.encode(reply),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What a retry is answered with, of the bytes of the first reply; or the text of a trap.
    pub(super) fn replayed(&self, reply: Vec<u8>) -> Result<Vec<u8>, String> {
        let Some(on_replay) = self.on_replay else {
            return Ok(reply);
        };
        on_replay(&reply).map_err(|error| {
            format!(
                "on_replay of {} can't read the reply of the first call: {error:#}; keep the reply's type compatible",
                self.name
            )
        })
    }
}

/// What `created_at = EXPR` may be.
#[diagnostic::on_unimplemented(
    message = "`created_at` takes a `Timestamp` or an `Option<Timestamp>`, not `{Self}`",
    note = "say what unit the number has: `Timestamp::from_nanos(…)`, `from_millis` or `from_secs`"
)]
pub trait CreatedAt {
    /// The client's time, if it gave one.
    fn timestamp(self) -> Option<Timestamp>;
}

impl CreatedAt for Timestamp {
    fn timestamp(self) -> Option<Timestamp> {
        Some(self)
    }
}

impl CreatedAt for Option<Timestamp> {
    fn timestamp(self) -> Option<Timestamp> {
        self
    }
}

/// Arguments are references.
impl<T: CreatedAt + Copy> CreatedAt for &T {
    fn timestamp(self) -> Option<Timestamp> {
        (*self).timestamp()
    }
}

/// A method's reply type. Its own methods are those of a `Result`, and win over those of [`PlainReply`] where the type is
/// one: so a type alias of a `Result` is seen through.
#[derive(Debug)]
pub struct ReplyType<R>(PhantomData<R>);

impl<R> ReplyType<R> {
    /// There is one value.
    pub const NEW: Self = Self(PhantomData);
}

impl<T, E> ReplyType<Result<T, E>> {
    /// Whether the reply is an `Err`.
    pub fn is_error(&self, reply: &Result<T, E>) -> bool {
        reply.is_err()
    }
}

impl<T, E: From<IdempotencyError>> ReplyType<Result<T, E>> {
    /// The refusal as the method's own `Err`.
    pub fn refuse(&self, error: IdempotencyError) -> Result<Result<T, E>, IdempotencyError> {
        Ok(Err(error.into()))
    }
}

/// What holds for a reply that is no `Result` with a place for our errors.
pub trait PlainReply<R> {
    /// It is never an error.
    fn is_error(&self, _reply: &R) -> bool {
        false
    }

    /// There is no place for the error.
    fn refuse(&self, error: IdempotencyError) -> Result<R, IdempotencyError> {
        Err(error)
    }
}

impl<R> PlainReply<R> for ReplyType<R> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec, identity::Fingerprinted};

    const ENDPOINT: Endpoint<(u64,), ()> = Endpoint {
        method: "pay",
        name: "pay",
        required: false,
        anonymous: false,
        errors: Errors::Keep,
        is_candid: true,
        recognise: Recognise::Never,
        decode: codec::decode,
        describe: |_| unreachable!("the test describes the call"),
        compare: Compare::Expression(|args| Compared::chosen(&args.0)),
        encode: codec::encode_one,
        is_error: |_| false,
        refuse: Err,
        on_replay: None,
        cycles: 0,
    };

    /// With those of a caller's own scope an attacker could pass off a request of his in a shared one.
    #[test]
    fn digests_are_those_of_the_requests_scope() {
        let bytes = candid::encode_one(7u64).unwrap();
        let argument = Argument::new(&bytes);
        let fingerprint_in = |scope: Scope| {
            let description = Description {
                id: None,
                created_at: None,
                scope: scope.clone(),
            };
            let is = ENDPOINT.fingerprint(&(7,), &argument, &description);
            let should = LazyFingerprint::new(&argument, Compared::chosen(&7u64), None, &scope);
            assert_eq!(is.fingerprint(), should.fingerprint());
            is.fingerprint()
        };
        let shared = fingerprint_in(Scope::Global);
        assert_eq!(fingerprint_in(Scope::of("account")), shared);
        assert!(!fingerprint_in(Scope::Caller).matches(&shared));
    }
}
