//! An entry: what an archive keeps of a request, in 39 bytes, the same between canisters as in an archive's memory.
//!
//! ```text
//! offset  bytes  field
//!      0     16  id: the last 16 bytes of the identity
//!     16      6  when its execution began, ms since 1970
//!     22      1  bits 0 and 1: what is kept of the reply: 0 nothing, 1 the first reply, 2 the reply for retries, 3 a digest;
//!                bit 2: there is a digest of the argument; bit 3: one of what was chosen; bits 4 and 5: what the former is
//!     23     16  the digest; of two digests the first 8 bytes of each
//! ```
//!
//! Integers are little-endian. An id of 16 bytes is no shorter than what a store compares: see the threat model of
//! [`identity`](crate::identity). A digest of 8 bytes is compared only with requests of one id, so it takes whoever may use that id 2^63
//! hashes to pass another argument off as the first.

use crate::{
    identity::{ArgumentIs, Digest, Fingerprint, Identity},
    table::{field, tail},
    time::Timestamp,
};

/// The name of a request in an archive: the last 16 bytes of its identity.
pub type Id = [u8; 16];

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 39;

const NANOS_PER_MS: u64 = 1_000_000;
const HAS_ARGUMENT: u8 = 4;
const HAS_CHOSEN: u8 = 8;
const IS_ALIAS: u8 = 16;
const IS_ALIAS_ONLY: u8 = 32;

/// What is kept of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nothing.
    Nothing,
    /// The reply that the first caller was sent.
    First,
    /// The reply for retries, as `on_replay` made it.
    ForRetries,
    /// The digest of the reply: its SHA-256.
    Digest,
}

/// What an archive keeps of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub id: Id,
    /// When its execution began; an archive keeps the milliseconds.
    pub executed_at: Timestamp,
    /// What a retry must have in common with it.
    pub fingerprint: Fingerprint,
    /// What is kept of its reply.
    pub kept: Kept,
}

impl Entry {
    /// The id of a request.
    pub fn id_of(identity: &Identity) -> Id {
        tail(identity.name())
    }

    /// As it is sent and kept.
    pub fn to_bytes(&self) -> [u8; ENTRY_BYTES] {
        let Fingerprint {
            argument,
            argument_is,
            chosen,
        } = self.fingerprint;
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..16].copy_from_slice(&self.id);
        let millis = self.executed_at.as_nanos() / NANOS_PER_MS;
        bytes[16..22].copy_from_slice(&millis.to_le_bytes()[..6]);
        let kept = match self.kept {
            Kept::Nothing => 0,
            Kept::First => 1,
            Kept::ForRetries => 2,
            Kept::Digest => 3,
        };
        let is_alias = match argument_is {
            ArgumentIs::Itself => 0,
            ArgumentIs::Alias => IS_ALIAS,
            ArgumentIs::AliasOnly => IS_ALIAS | IS_ALIAS_ONLY,
        };
        let has = |digest: Option<Digest>, bit| digest.map_or(0, |_| bit);
        bytes[22] = kept | is_alias | has(argument, HAS_ARGUMENT) | has(chosen, HAS_CHOSEN);
        match (argument, chosen) {
            (Some(argument), Some(chosen)) => {
                bytes[23..31].copy_from_slice(&argument.bytes()[..8]);
                bytes[31..].copy_from_slice(&chosen.bytes()[..8]);
            }
            (one, other) => {
                let only = one.or(other).map_or([0; 16], Digest::bytes);
                bytes[23..].copy_from_slice(&only);
            }
        }
        bytes
    }

    /// As [`to_bytes`](Self::to_bytes) gives it; `None` of bytes that are none.
    pub fn from_bytes(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let rest = &mut bytes.as_slice();
        let id = field(rest);
        let mut millis = [0; 8];
        millis[..6].copy_from_slice(&field::<6>(rest));
        let [flags] = field(rest);
        if flags >= 64 {
            return None;
        }
        let kept = match flags & 3 {
            0 => Kept::Nothing,
            1 => Kept::First,
            2 => Kept::ForRetries,
            _ => Kept::Digest,
        };
        let argument_is = match flags & (IS_ALIAS | IS_ALIAS_ONLY) {
            0 => ArgumentIs::Itself,
            IS_ALIAS => ArgumentIs::Alias,
            IS_ALIAS_ONLY => return None,
            _ => ArgumentIs::AliasOnly,
        };
        let digests: [u8; 16] = field(rest);
        let half = |bytes: &[u8]| {
            let mut whole = [0; 16];
            whole[..8].copy_from_slice(bytes);
            Digest::from_bytes(whole)
        };
        let (argument, chosen) = match (flags & HAS_ARGUMENT != 0, flags & HAS_CHOSEN != 0) {
            (true, true) => (Some(half(&digests[..8])?), Some(half(&digests[8..])?)),
            (true, false) => (Some(Digest::from_bytes(digests)?), None),
            (false, true) => (None, Some(Digest::from_bytes(digests)?)),
            (false, false) => (None, None),
        };
        Some(Self {
            id,
            executed_at: Timestamp::from_nanos(
                u64::from_le_bytes(millis).checked_mul(NANOS_PER_MS)?,
            ),
            fingerprint: Fingerprint {
                argument,
                argument_is,
                chosen,
            },
            kept,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Fingerprinted as _;
    use proptest::prelude::*;

    fn digests() -> impl Strategy<Value = Option<Digest>> {
        any::<Option<[u8; 16]>>().prop_map(|bytes| bytes.and_then(Digest::from_bytes))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            id: [u8; 16],
            millis in 0u64..1 << 44,
            (argument, chosen) in (digests(), digests()),
            argument_is in prop::sample::select(&[ArgumentIs::Itself, ArgumentIs::Alias, ArgumentIs::AliasOnly][..]),
            kept in prop::sample::select(&[Kept::Nothing, Kept::First, Kept::ForRetries, Kept::Digest][..]),
        ) {
            let fingerprint = Fingerprint { argument, argument_is, chosen };
            let executed_at = Timestamp::from_nanos(millis * NANOS_PER_MS);
            let entry = Entry { id, executed_at, fingerprint, kept };
            let read = Entry::from_bytes(&entry.to_bytes()).unwrap();
            let halved = argument.is_some() && chosen.is_some();
            let kept_of = |digest: Option<Digest>| digest.map(|it| if halved { it.half() } else { it });
            let expected = Fingerprint { argument: kept_of(argument), argument_is, chosen: kept_of(chosen) };
            prop_assert_eq!(read, Entry { fingerprint: expected, ..entry });
            prop_assert_eq!(read.to_bytes(), entry.to_bytes());
            // Whoever was a retry of the request is one of its entry.
            prop_assert_eq!(fingerprint.matches(&read.fingerprint), fingerprint.matches(&fingerprint));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: [u8; ENTRY_BYTES]) {
            if let Some(entry) = Entry::from_bytes(&bytes) {
                let again = entry.to_bytes();
                prop_assert_eq!(Entry::from_bytes(&again), Some(entry));
            }
        }
    }
}
