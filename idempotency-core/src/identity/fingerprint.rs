//! What a retry must have in common with the original.

use super::{
    argument::Argument,
    digest::Digest,
    encoding::CHOSEN,
    key::{Key, KeyWriter},
    scope::Scope,
};
use crate::time::Timestamp;

impl Digest {
    /// Of an argument as it was sent, by value.
    fn of_argument(argument: &Argument<'_>, scope: &Scope) -> Self {
        Self::of(argument.hashed(), scope)
    }

    /// Of what `fingerprint = EXPR` chose, and of the request's `created_at`: a record lives by the `created_at` it was made
    /// with, so a retry that brings a later one would outlive it and run again.
    fn of_chosen(chosen: &KeyWriter, created_at: Option<Timestamp>, scope: &Scope) -> Self {
        let mut hashed = vec![CHOSEN, u8::from(created_at.is_some())];
        hashed.extend(created_at.map_or(0, Timestamp::as_nanos).to_le_bytes());
        hashed.extend_from_slice(chosen.written());
        Self::of(&hashed, scope)
    }
}

/// What is kept of a request to know its retries by. One without any digest that is compared was made with `fingerprint = off`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    pub(crate) argument: Option<Digest>,
    pub(crate) argument_is: ArgumentIs,
    pub(crate) chosen: Option<Digest>,
}

/// What the digest of an argument is. The numbers are bits of what is kept of requests: records and entries of archives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ArgumentIs {
    /// Of the argument alone.
    #[default]
    Itself = 0,
    /// The request's alias: the argument, by whom it was sent, and to which endpoint.
    Alias = 32,
    /// The request's alias, which is not compared with that of a request of the same identity.
    AliasOnly = 48,
}

impl ArgumentIs {
    /// The bits that say it.
    pub(crate) const BITS: u8 = Self::AliasOnly as u8;

    /// What the bits among others say; `None` if they say nothing.
    #[inline(always)]
    pub(crate) const fn of(bits: u8) -> Option<Self> {
        match bits & Self::BITS {
            0 => Some(Self::Itself),
            32 => Some(Self::Alias),
            48 => Some(Self::AliasOnly),
            _ => None,
        }
    }
}

impl Fingerprint {
    /// What there is of it, without the digests.
    #[cfg(feature = "archive")]
    #[inline(always)]
    pub(crate) fn shape(&self) -> (ArgumentIs, bool, bool) {
        (
            self.argument_is,
            self.argument.is_some(),
            self.chosen.is_some(),
        )
    }

    /// The name by which the request is found before its argument is decoded.
    pub(crate) fn alias(&self) -> Option<Digest> {
        match self.argument_is {
            ArgumentIs::Itself => None,
            ArgumentIs::Alias | ArgumentIs::AliasOnly => self.argument,
        }
    }

    /// What another argument is compared with.
    fn compared(&self) -> Option<Digest> {
        match self.argument_is {
            ArgumentIs::Itself | ArgumentIs::Alias => self.argument,
            ArgumentIs::AliasOnly => None,
        }
    }
}

/// What a retry must have in common with the original, as the endpoint says now.
#[derive(Clone, Debug)]
pub enum Compared {
    /// All arguments, by value.
    Argument,
    /// All arguments, or these.
    Chosen(KeyWriter),
    /// Nothing but the key.
    Nothing,
}

impl Compared {
    /// `fingerprint = EXPR`
    pub fn chosen(value: &(impl Key + ?Sized)) -> Self {
        Self::Chosen(KeyWriter::of(value))
    }
}

/// A request that may be a retry: what is hashed of it depends on what it is compared with.
pub trait Fingerprinted {
    /// The same request, perhaps encoded otherwise.
    fn matches(&self, stored: &Fingerprint) -> bool;

    /// As it is stored with a new request.
    fn fingerprint(&self) -> Fingerprint;
}

impl Fingerprinted for Fingerprint {
    fn matches(&self, stored: &Fingerprint) -> bool {
        let are_equal = |one: Option<Digest>, kept: Option<Digest>| {
            (one.zip(kept)).is_some_and(|(one, kept)| one.is(kept))
        };
        are_equal(self.chosen, stored.chosen)
            || self.argument_is == stored.argument_is
                && are_equal(self.compared(), stored.compared())
    }

    fn fingerprint(&self) -> Fingerprint {
        *self
    }
}

/// What an endpoint compares, with the request at hand.
///
/// An equal argument is always a retry, whatever the endpoint compared when the record was made and compares now: so a
/// deploy that changes `fingerprint` or adds `created_at` does not turn a retry away.
#[derive(Debug)]
pub struct LazyFingerprint<'a> {
    argument: &'a Argument<'a>,
    compared: Compared,
    created_at: Option<Timestamp>,
    scope: &'a Scope,
    has_alias: bool,
}

impl<'a> LazyFingerprint<'a> {
    /// Of a request with this argument.
    pub fn new(
        argument: &'a Argument<'a>,
        compared: Compared,
        created_at: Option<Timestamp>,
        scope: &'a Scope,
    ) -> Self {
        Self {
            argument,
            compared,
            created_at,
            scope,
            has_alias: false,
        }
    }

    /// A request that is found by its argument, too, if that is [of a call](Argument::of_call).
    #[must_use]
    pub fn with_alias(mut self, has_alias: bool) -> Self {
        self.has_alias = has_alias;
        self
    }

    fn argument(&self) -> Digest {
        Digest::of_argument(self.argument, self.scope)
    }

    /// Whether the argument is that of which a digest is stored.
    fn is_argument(&self, stored: &Fingerprint, digest: Digest) -> bool {
        match stored.argument_is {
            ArgumentIs::Itself => self.argument().is(digest),
            ArgumentIs::Alias | ArgumentIs::AliasOnly => {
                self.argument.alias().is_some_and(|alias| alias.is(digest))
            }
        }
    }

    fn of_chosen(&self, chosen: &KeyWriter) -> Digest {
        Digest::of_chosen(chosen, self.created_at, self.scope)
    }

    fn chosen(&self) -> Option<Digest> {
        match (&self.compared, self.created_at) {
            (Compared::Chosen(chosen), _) => Some(self.of_chosen(chosen)),
            (Compared::Nothing, Some(_)) => Some(self.of_chosen(&KeyWriter::default())),
            (Compared::Argument | Compared::Nothing, _) => None,
        }
    }
}

impl Fingerprinted for LazyFingerprint<'_> {
    fn matches(&self, stored: &Fingerprint) -> bool {
        let is_off = matches!(self.compared, Compared::Nothing) && self.created_at.is_none();
        match (stored.compared(), stored.chosen) {
            _ if is_off => true,
            (None, None) => true,
            // Made with `fingerprint = off`, under which `created_at` alone counts.
            (None, Some(chosen)) => {
                self.created_at.is_none() || self.of_chosen(&KeyWriter::default()).is(chosen)
            }
            (Some(argument), chosen) => {
                (self.chosen().zip(chosen)).is_some_and(|(own, chosen)| own.is(chosen))
                    || self.is_argument(stored, argument)
            }
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        let is_compared = !matches!(self.compared, Compared::Nothing);
        let chosen = self.chosen();
        if let Some(alias) = self.has_alias.then(|| self.argument.alias()).flatten() {
            return Fingerprint {
                argument: Some(alias),
                argument_is: match is_compared {
                    true => ArgumentIs::Alias,
                    false => ArgumentIs::AliasOnly,
                },
                chosen,
            };
        }
        Fingerprint {
            argument: is_compared.then(|| self.argument()),
            argument_is: ArgumentIs::Itself,
            chosen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candid::Principal;

    const T: Option<Timestamp> = Some(Timestamp::from_nanos(5));
    const LATER: Option<Timestamp> = Some(Timestamp::from_nanos(6));

    /// What an endpoint may compare; the expression sees the first of the two arguments only.
    #[derive(Clone, Copy, Debug)]
    enum Endpoint {
        Args,
        First,
        Off,
    }

    /// A call with two arguments; `created_at`, where the endpoint reads one, is a third.
    fn check<T>(
        endpoint: Endpoint,
        (first, second, created_at): (u8, u8, Option<Timestamp>),
        reads_created_at: bool,
        has_alias: bool,
        check: impl FnOnce(&LazyFingerprint<'_>) -> T,
    ) -> T {
        let bytes = candid::encode_args((first, second, created_at)).unwrap();
        let caller = Principal::anonymous();
        let argument = Argument::of_call(&bytes, "pay", &caller);
        let scope = Scope::Caller;
        let compared = match endpoint {
            Endpoint::Args => Compared::Argument,
            Endpoint::First => Compared::chosen(&first),
            Endpoint::Off => Compared::Nothing,
        };
        let created_at = created_at.filter(|_| reads_created_at);
        let fingerprint = LazyFingerprint::new(&argument, compared, created_at, &scope);
        check(&fingerprint.with_alias(has_alias))
    }

    /// Of the call that is stored, and of the one that is compared with it.
    const ALIASES: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

    const ENDPOINTS: [Endpoint; 3] = [Endpoint::Args, Endpoint::First, Endpoint::Off];

    #[test]
    fn equal_bytes_are_a_retry_whatever_was_compared_and_is() {
        for was in ENDPOINTS {
            for is in ENDPOINTS {
                for (read, reads) in [(false, false), (false, true), (true, false), (true, true)] {
                    for (had_alias, has_alias) in ALIASES {
                        let call = (1, 2, T);
                        let stored = check(was, call, read, had_alias, |it| it.fingerprint());
                        assert_eq!(stored.alias().is_some(), had_alias);
                        let is_retry = check(is, call, reads, has_alias, |it| it.matches(&stored));
                        assert!(
                            is_retry,
                            "{was:?} {read} {had_alias} then {is:?} {reads} {has_alias}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn other_arguments_are_a_retry_only_where_they_are_not_compared() {
        let original = (1, 2, T);
        let others = [
            // Whether the endpoint takes it for a retry: all arguments, the first, none.
            ((1, 3, T), [false, true, true]),
            ((9, 2, T), [false, false, true]),
            ((1, 2, LATER), [false, false, false]),
            ((1, 2, None), [false, false, true]),
        ];
        for (other, are_retries) in others {
            for (endpoint, is_retry) in ENDPOINTS.into_iter().zip(are_retries) {
                for (had_alias, has_alias) in ALIASES {
                    let stored = check(endpoint, original, true, had_alias, |it| it.fingerprint());
                    let matches = check(endpoint, other, true, has_alias, |it| it.matches(&stored));
                    assert_eq!(matches, is_retry, "{endpoint:?} {other:?} {had_alias}");
                }
            }
        }
    }

    /// Two arguments of `(key, to, amount, memo)` that an attacker found in two billion trials to have one digest of 64 bits.
    #[test]
    fn what_was_ground_for_a_shorter_digest_differs() {
        let [one, other] = [
            (42u64, "mally", 1_000_000u64, 0xd917_2dd8_7f61_d8d7u64),
            (42u64, "alice", 10u64, 0x8808_2be7_6f88_ada4u64),
        ]
        .map(|arguments| candid::encode_args(arguments).unwrap());
        for scope in [Scope::Caller, Scope::Global, Scope::of("account")] {
            let [one, other] =
                [&one, &other].map(|bytes| Digest::of_argument(&Argument::new(bytes), &scope));
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_shared_scope_has_digests_that_cannot_be_ground() {
        let argument = Argument::new(b"any");
        let blake3 = |hashed: &[u8]| blake3::hash(hashed).as_bytes()[..16].to_vec();
        for scope in [Scope::Global, Scope::of("account")] {
            let digest = Digest::of_argument(&argument, &scope);
            assert_eq!(digest.bytes()[..], blake3(argument.hashed()));
        }
        let own = Digest::of_argument(&argument, &Scope::Caller);
        assert_ne!(own.bytes()[..], blake3(argument.hashed()));
    }
}
