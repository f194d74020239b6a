//! What a retry must have in common with the original.

use super::{Argument, CHOSEN, Key, KeyWriter};
use crate::time::Timestamp;

/// 16 bytes of a BLAKE3 hash. To find two arguments with one digest takes 2^64 hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub(crate) [u8; 16]);

impl Digest {
    /// Of an argument as it was sent, by value.
    pub fn of_argument(argument: &Argument<'_>) -> Self {
        Self::first_bytes(argument.hash())
    }

    /// Of what `fingerprint = EXPR` chose, and of the request's `created_at`: a record lives by the `created_at` it was made
    /// with, so a retry that brings a later one would outlive it and run again.
    fn of_chosen(chosen: &KeyWriter, created_at: Option<Timestamp>) -> Self {
        let mut hashed = vec![CHOSEN, u8::from(created_at.is_some())];
        hashed.extend(created_at.map_or(0, Timestamp::as_nanos).to_le_bytes());
        hashed.extend_from_slice(chosen.written());
        Self::first_bytes(blake3::hash(&hashed).as_bytes())
    }

    fn first_bytes(hash: &[u8; 32]) -> Self {
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash[..16]);
        Self(digest)
    }
}

/// What is kept of a request to know its retries by. One without any digest was made with `fingerprint = off`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    pub(crate) argument: Option<Digest>,
    pub(crate) chosen: Option<Digest>,
}

impl Fingerprint {
    /// With this argument, `fingerprint = args`.
    pub fn of_argument(argument: &Argument<'_>) -> Self {
        Self {
            argument: Some(Digest::of_argument(argument)),
            chosen: None,
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
        let are_equal = |one: Option<Digest>, other| one.is_some() && one == other;
        are_equal(self.chosen, stored.chosen) || are_equal(self.argument, stored.argument)
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
}

impl<'a> LazyFingerprint<'a> {
    /// Of a request with this argument.
    pub fn new(
        argument: &'a Argument<'a>,
        compared: Compared,
        created_at: Option<Timestamp>,
    ) -> Self {
        Self {
            argument,
            compared,
            created_at,
        }
    }

    fn chosen(&self) -> Option<Digest> {
        match (&self.compared, self.created_at) {
            (Compared::Chosen(chosen), created_at) => Some(Digest::of_chosen(chosen, created_at)),
            (Compared::Nothing, Some(_)) => {
                Some(Digest::of_chosen(&KeyWriter::default(), self.created_at))
            }
            (Compared::Argument | Compared::Nothing, _) => None,
        }
    }
}

impl Fingerprinted for LazyFingerprint<'_> {
    fn matches(&self, stored: &Fingerprint) -> bool {
        let is_off = matches!(self.compared, Compared::Nothing) && self.created_at.is_none();
        match (stored.argument, stored.chosen) {
            _ if is_off => true,
            (None, None) => true,
            // Made with `fingerprint = off`, under which `created_at` alone counts.
            (None, Some(chosen)) => {
                let of_created_at = Digest::of_chosen(&KeyWriter::default(), self.created_at);
                self.created_at.is_none() || chosen == of_created_at
            }
            (Some(argument), chosen) => {
                (chosen.is_some() && chosen == self.chosen())
                    || argument == Digest::of_argument(self.argument)
            }
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        let argument = match self.compared {
            Compared::Argument | Compared::Chosen(_) => Some(Digest::of_argument(self.argument)),
            Compared::Nothing => None,
        };
        Fingerprint {
            argument,
            chosen: self.chosen(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        check: impl FnOnce(&LazyFingerprint<'_>) -> T,
    ) -> T {
        let bytes = candid::encode_args((first, second, created_at)).unwrap();
        let argument = Argument::new(&bytes);
        let compared = match endpoint {
            Endpoint::Args => Compared::Argument,
            Endpoint::First => Compared::chosen(&first),
            Endpoint::Off => Compared::Nothing,
        };
        let created_at = created_at.filter(|_| reads_created_at);
        check(&LazyFingerprint::new(&argument, compared, created_at))
    }

    const ENDPOINTS: [Endpoint; 3] = [Endpoint::Args, Endpoint::First, Endpoint::Off];

    #[test]
    fn equal_bytes_are_a_retry_whatever_was_compared_and_is() {
        for was in ENDPOINTS {
            for is in ENDPOINTS {
                for (read, reads) in [(false, false), (false, true), (true, false), (true, true)] {
                    let call = (1, 2, T);
                    let stored = check(was, call, read, |it| it.fingerprint());
                    let is_retry = check(is, call, reads, |it| it.matches(&stored));
                    assert!(is_retry, "{was:?} {read} then {is:?} {reads}");
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
                let stored = check(endpoint, original, true, |it| it.fingerprint());
                let matches = check(endpoint, other, true, |it| it.matches(&stored));
                assert_eq!(matches, is_retry, "{endpoint:?} {other:?}");
            }
        }
    }
}
