//! An entry: what an archive keeps of a request, the same between canisters as in an archive's memory. Whoever sends it pays for each byte.
//!
//! ```text
//! offset  bytes  field
//!      0     16  id: the last 16 bytes of the identity
//!     16      6  when its execution began, ms since 1970
//!     22      1  bits 0 and 1: what is kept of the reply: 0 nothing, 1 the first reply, 2 the reply for retries, 3 a digest;
//!                bit 2: there is a digest of the argument; bit 3: one of what was chosen; bits 4 and 5: what the former is
//!     23  4, 16  the digest's first bytes; of two digests the first half each
//! ```
//!
//! Integers are little-endian. With 16 bytes of digests it is a *full* entry, as archives have that keep replies or digests of them. With 4 it
//! is a *short* one, in archives of ids alone.
//!
//! An id of 16 bytes is no shorter than what a store compares: see the threat model of [`identity`](crate::identity). Digests are compared
//! with those of requests of one id. In a full entry with two digests of 8 bytes each, it takes whoever may use that id 2^32 hashes to find
//! two requests that are taken for one another, where a store has 2^64. In a short one that takes no time, and shows nothing: there is no
//! reply to be had, and the request does not run.

use crate::{
    identity::{ArgumentIs, Digest, Fingerprint, Identity},
    table::{field, tail},
    time::Timestamp,
};

/// The name of a request in an archive: the last 16 bytes of its identity.
pub type Id = [u8; 16];

/// Bytes of a full entry.
pub const FULL_BYTES: usize = HEAD_BYTES + 16;

/// Bytes of a short one.
pub const SHORT_BYTES: usize = HEAD_BYTES + 4;

/// Bytes of an entry in an archive that keeps replies, or digests of them, or does not.
pub const fn entry_bytes(keeps_replies: bool) -> usize {
    match keeps_replies {
        true => FULL_BYTES,
        false => SHORT_BYTES,
    }
}

const HEAD_BYTES: usize = 23;
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

    /// As it is sent and kept: its [`FULL_BYTES`].
    pub fn full(&self) -> [u8; FULL_BYTES] {
        let mut bytes = [0; FULL_BYTES];
        self.write_head(&mut bytes);
        let Fingerprint {
            argument, chosen, ..
        } = self.fingerprint;
        match (argument, chosen) {
            (Some(argument), Some(chosen)) => {
                bytes[23..31].copy_from_slice(&argument.first(8).to_le_bytes());
                bytes[31..].copy_from_slice(&chosen.first(8).to_le_bytes());
            }
            (one, other) => {
                let only = one.or(other).map_or([0; 16], Digest::bytes);
                bytes[23..].copy_from_slice(&only);
            }
        }
        bytes
    }

    /// As it is sent and kept: its [`SHORT_BYTES`].
    #[inline]
    pub fn short(&self) -> [u8; SHORT_BYTES] {
        let mut bytes = [0; SHORT_BYTES];
        self.write_head(&mut bytes);
        let Fingerprint {
            argument, chosen, ..
        } = self.fingerprint;
        let digests = match (argument, chosen) {
            (Some(argument), Some(chosen)) => argument.first(2) | chosen.first(2) << 16,
            (one, other) => one.or(other).map_or(0, |only| only.first(4)),
        };
        bytes[23..].copy_from_slice(&digests.to_le_bytes()[..4]);
        bytes
    }

    #[inline]
    fn write_head(&self, bytes: &mut [u8]) {
        let Fingerprint {
            argument,
            argument_is,
            chosen,
        } = self.fingerprint;
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
    }

    /// An entry, full or short; `None` of bytes that are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, digests) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let rest = &mut head.as_slice();
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
        let (argument, chosen) = match (flags & HAS_ARGUMENT != 0, flags & HAS_CHOSEN != 0) {
            (true, true) => {
                let (argument, chosen) = digests.split_at_checked(digests.len() / 2)?;
                (Some(first_of(argument)?), Some(first_of(chosen)?))
            }
            (true, false) => (Some(digest_of(digests)?), None),
            (false, true) => (None, Some(digest_of(digests)?)),
            (false, false) => (None, None),
        };
        let is_entry = bytes.len() == FULL_BYTES || bytes.len() == SHORT_BYTES;
        let millis = u64::from_le_bytes(millis);
        is_entry.then_some(Self {
            id,
            executed_at: Timestamp::from_nanos(millis.checked_mul(NANOS_PER_MS)?),
            fingerprint: Fingerprint {
                argument,
                argument_is,
                chosen,
            },
            kept,
        })
    }
}

/// A digest, all of it or its first bytes.
fn digest_of(bytes: &[u8]) -> Option<Digest> {
    match bytes.try_into() {
        Ok(all) => Digest::from_bytes(all),
        Err(_) => first_of(bytes),
    }
}

fn first_of(bytes: &[u8]) -> Option<Digest> {
    let mut first = [0; 8];
    first.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Digest::from_first(u64::from_le_bytes(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Fingerprinted as _;
    use proptest::prelude::*;

    /// Some of which end in zeros, or are zeros in front.
    fn digests() -> impl Strategy<Value = Option<Digest>> {
        let ends = prop::sample::select(&[0usize, 2, 4, 8, 16][..]);
        (any::<Option<[u8; 16]>>(), ends.clone(), ends).prop_map(|(bytes, from, to)| {
            let mut bytes = bytes?;
            bytes[from.min(to)..from.max(to)].fill(0);
            Digest::from_bytes(bytes)
        })
    }

    fn entries() -> impl Strategy<Value = Entry> {
        const ARGUMENT_IS: [ArgumentIs; 3] =
            [ArgumentIs::Itself, ArgumentIs::Alias, ArgumentIs::AliasOnly];
        const KEPT: [Kept; 4] = [Kept::Nothing, Kept::First, Kept::ForRetries, Kept::Digest];
        let (argument_is, kept) = (
            prop::sample::select(&ARGUMENT_IS[..]),
            prop::sample::select(&KEPT[..]),
        );
        (
            any::<Id>(),
            0u64..1 << 44,
            digests(),
            digests(),
            argument_is,
            kept,
        )
            .prop_map(|(id, millis, argument, chosen, argument_is, kept)| Entry {
                id,
                executed_at: Timestamp::from_nanos(millis * NANOS_PER_MS),
                fingerprint: Fingerprint {
                    argument,
                    argument_is,
                    chosen,
                },
                kept,
            })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entry in entries()) {
            for bytes in [&entry.full()[..], &entry.short()] {
                let read = Entry::from_bytes(bytes).unwrap();
                let others = (read.id, read.executed_at, read.kept, read.fingerprint.argument_is);
                prop_assert_eq!(others, (entry.id, entry.executed_at, entry.kept, entry.fingerprint.argument_is));
                let again = [read.full().to_vec(), read.short().to_vec()];
                prop_assert!(again.iter().any(|again| again == bytes));
                // Whoever was a retry of the request is one of its entry.
                let fingerprint = entry.fingerprint;
                prop_assert_eq!(fingerprint.matches(&read.fingerprint), fingerprint.matches(&fingerprint));
            }
        }

        #[test]
        fn other_digests_are_told_apart(one: u64, other: u64) {
            prop_assume!(one as u32 != other as u32);
            let entry = |first: u64| {
                let mut digest = [7; 16];
                digest[..8].copy_from_slice(&first.to_le_bytes());
                let argument = Digest::from_bytes(digest);
                let fingerprint = Fingerprint { argument, argument_is: ArgumentIs::Itself, chosen: None };
                Entry { id: [0; 16], executed_at: Timestamp::from_nanos(0), fingerprint, kept: Kept::Nothing }
            };
            let (one, other) = (entry(one | 0x1_0000), entry(other | 0x1_0000));
            prop_assume!(one.short() != other.short());
            for bytes in [&one.full()[..], &one.short()] {
                let read = Entry::from_bytes(bytes).unwrap();
                prop_assert!(one.fingerprint.matches(&read.fingerprint));
                prop_assert!(!other.fingerprint.matches(&read.fingerprint));
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            if let Some(entry) = Entry::from_bytes(&bytes) {
                let again = if bytes.len() == FULL_BYTES { entry.full().to_vec() } else { entry.short().to_vec() };
                prop_assert_eq!(Entry::from_bytes(&again), Some(entry));
            }
        }
    }
}
