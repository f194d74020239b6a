//! Digests: what stands for arguments in records.

use super::scope::Scope;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::{hash::Hasher, num::NonZeroU64};

/// 16 bytes of a hash, the first eight of which are not all zeros. As two numbers it is compared and copied in no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(NonZeroU64, u64);

impl Digest {
    /// Whoever finds two arguments with one digest deceives all who share his scope, so there it is BLAKE3, of which that
    /// takes 2^64 hashes. In a scope of his own he deceives himself: there it is SipHash, at a quarter of the cost.
    pub(super) fn of(hashed: &[u8], scope: &Scope) -> Self {
        let digest = match scope {
            Scope::Caller => {
                let mut hasher = SipHasher13::new();
                hasher.write(hashed);
                hasher.finish128().as_bytes()
            }
            Scope::Global | Scope::Of(_) => return Self::of_blake3(blake3::hash(hashed)),
        };
        Self::of_hash(digest)
    }

    /// Its first half.
    pub(super) fn of_blake3(hash: blake3::Hash) -> Self {
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash.as_bytes()[..16]);
        Self::of_hash(digest)
    }

    fn of_hash(hash: [u8; 16]) -> Self {
        let (first, second) = halves(hash);
        Self(NonZeroU64::new(first).unwrap_or(NonZeroU64::MIN), second)
    }

    /// As the name of a row: its place in the index, and all of it.
    pub(crate) fn name(self) -> [u8; 24] {
        let bytes = self.bytes();
        let mut name = [0; 24];
        name[..8].copy_from_slice(&bytes[..8]);
        name[8..].copy_from_slice(&bytes);
        name
    }

    /// As [`bytes`](Self::bytes) gives it; `None` of zeros.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let (first, second) = halves(bytes);
        NonZeroU64::new(first).map(|first| Self(first, second))
    }

    pub(crate) fn bytes(self) -> [u8; 16] {
        let both = u128::from(self.1) << 64 | u128::from(self.0.get());
        both.to_le_bytes()
    }

    /// Its first 12, 24 or 64 bits as a number, which stand for it where there is no room for more. It is not zero.
    #[inline(always)]
    pub(crate) fn first(self, bits: u32) -> u64 {
        (self.0.get() & u64::MAX >> (64 - bits)).max(1)
    }

    /// A digest of which only [`first`](Self::first) was kept; `None` of zero.
    #[cfg(feature = "archive")]
    pub(crate) fn from_first(first: u64) -> Option<Self> {
        NonZeroU64::new(first).map(|first| Self(first, 0))
    }

    /// Whether what was kept stands for it: all of it, or its first bits. Of those that end in zeros fewer are compared.
    pub(super) fn is(self, kept: Self) -> bool {
        match kept.0.get() {
            _ if kept.1 != 0 => self == kept,
            first @ ..0x1000 => self.first(12) == first,
            first @ ..0x100_0000 => self.first(24) == first,
            first => self.0.get() == first,
        }
    }
}

fn halves(bytes: [u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(bytes);
    (both as u64, (both >> 64) as u64)
}
