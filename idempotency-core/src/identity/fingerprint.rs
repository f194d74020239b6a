//! What a retry must have in common with the original.

use super::{ValueWriter, Values};
use crate::time::Timestamp;
use candid::CandidType;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

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
}

/// A fingerprint, or what it takes to make one.
pub trait Fingerprinted {
    /// The same request, perhaps encoded otherwise.
    fn matches(&self, stored: &Fingerprint) -> bool;

    /// As it is stored with a new request.
    fn fingerprint(&self) -> Fingerprint;
}

impl Fingerprinted for Fingerprint {
    fn matches(&self, stored: &Fingerprint) -> bool {
        self.bytes == stored.bytes || self.values == stored.values
    }

    fn fingerprint(&self) -> Fingerprint {
        *self
    }
}

/// A fingerprint whose values are hashed when they are needed: by a new request, and by a retry in other bytes, but not by
/// the usual retry.
#[allow(missing_debug_implementations)] // it holds a function
pub struct LazyFingerprint<'a> {
    /// Of the argument as sent.
    pub(crate) bytes: Digest,
    /// The digest of the values, if they count.
    pub(crate) values: &'a dyn Fn() -> Option<Digest>,
    pub(crate) created_at: Option<Timestamp>,
}

impl Fingerprinted for LazyFingerprint<'_> {
    fn matches(&self, stored: &Fingerprint) -> bool {
        self.bytes.with(self.created_at) == stored.bytes || self.fingerprint().matches(stored)
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new(self.bytes, (self.values)(), self.created_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const NONE: Option<Timestamp> = None;

    fn digest(number: u8) -> Digest {
        Digest::of_bytes(&[number])
    }

    #[test]
    fn the_usual_retry_needs_no_values() {
        let stored = Fingerprint::new(digest(1), Some(digest(2)), NONE);
        let hashed = Cell::new(0);
        let values = || {
            hashed.set(hashed.get() + 1);
            Some(digest(2))
        };
        let retry = |bytes| LazyFingerprint {
            bytes,
            values: &values,
            created_at: NONE,
        };
        assert!(retry(digest(1)).matches(&stored));
        assert_eq!(hashed.get(), 0);
        assert!(retry(digest(9)).matches(&stored));
        assert_eq!(hashed.get(), 1);
    }

    #[test]
    fn lazy_or_not_the_fingerprint_is_the_same() {
        let times = [
            NONE,
            Some(Timestamp::from_nanos(5)),
            Some(Timestamp::from_nanos(6)),
        ];
        let all = times.into_iter().flat_map(|created_at| {
            [1, 2].into_iter().flat_map(move |bytes| {
                [None, Some(1), Some(2)]
                    .map(|values| (digest(bytes), values.map(digest), created_at))
            })
        });
        let all: Vec<_> = all.collect();
        for &(bytes, values, created_at) in &all {
            let eager = Fingerprint::new(bytes, values, created_at);
            let lazy = LazyFingerprint {
                bytes,
                values: &|| values,
                created_at,
            };
            assert_eq!(lazy.fingerprint(), eager);
            for &(bytes, values, created_at) in &all {
                let stored = Fingerprint::new(bytes, values, created_at);
                assert_eq!(lazy.matches(&stored), eager.matches(&stored), "{stored:?}");
            }
        }
    }
}
