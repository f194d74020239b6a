//! An entry: what an archive keeps of a request. It is sent without what it has in common with others: `packed.rs`.
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
    table::tail,
    time::Timestamp,
};

/// The name of a request in an archive: the last 16 bytes of its identity.
pub type Id = [u8; 16];

/// Bytes of a full entry.
pub const FULL_BYTES: usize = ID_BYTES + Head::BYTES + 16;

/// Bytes of a short one.
pub const SHORT_BYTES: usize = ID_BYTES + Head::BYTES + 4;

/// Bytes of an entry in an archive that keeps replies, or digests of them, or does not.
pub const fn entry_bytes(keeps_replies: bool) -> usize {
    match keeps_replies {
        true => FULL_BYTES,
        false => SHORT_BYTES,
    }
}

/// Bytes that are sent of an entry of so many, in the order of its fields but for the head: see `packed.rs`.
pub const fn sent_bytes(entry_bytes: usize) -> usize {
    entry_bytes - Head::BYTES
}

const ID_BYTES: usize = 16;
const MILLIS_BITS: u32 = 48;
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

    /// As it is kept: its [`FULL_BYTES`].
    pub fn full(&self) -> [u8; FULL_BYTES] {
        self.bytes(full_digests(&self.fingerprint))
    }

    /// As it is kept: its [`SHORT_BYTES`].
    pub fn short(&self) -> [u8; SHORT_BYTES] {
        self.bytes(short_digests(&self.fingerprint))
    }

    fn bytes<const DIGESTS: usize, const ALL: usize>(&self, digests: [u8; DIGESTS]) -> [u8; ALL] {
        let mut bytes = [0; ALL];
        let (id, rest) = bytes.split_at_mut(ID_BYTES);
        let (head, rest) = rest.split_at_mut(Head::BYTES);
        id.copy_from_slice(&self.id);
        head.copy_from_slice(&Head::of(self.executed_at, &self.fingerprint, self.kept).bytes());
        rest.copy_from_slice(&digests);
        bytes
    }

    /// An entry, full or short; `None` of bytes that are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (head, digests) = rest.split_first_chunk()?;
        let head = Head::from_bytes(*head);
        let flags = head.flags();
        if !are_flags(flags) {
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
        is_entry.then_some(Self {
            id: *id,
            executed_at: Timestamp::from_nanos(head.millis().checked_mul(NANOS_PER_MS)?),
            fingerprint: Fingerprint {
                argument,
                argument_is,
                chosen,
            },
            kept,
        })
    }
}

/// When a request was executed, and what its entry says of the rest, as they lie in the entry: a number whose low 48 bits are the milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head(u64);

impl Head {
    /// Bytes of it.
    pub const BYTES: usize = 7;

    pub(super) const fn new(millis: u64, flags: u8) -> Self {
        Self(millis & !(u64::MAX << MILLIS_BITS) | (flags as u64) << MILLIS_BITS)
    }

    /// That of a request.
    #[inline(always)]
    pub(super) fn of(executed_at: Timestamp, fingerprint: &Fingerprint, kept: Kept) -> Self {
        let kept = match kept {
            Kept::Nothing => 0,
            Kept::First => 1,
            Kept::ForRetries => 2,
            Kept::Digest => 3,
        };
        let is_alias = match fingerprint.argument_is {
            ArgumentIs::Itself => 0,
            ArgumentIs::Alias => IS_ALIAS,
            ArgumentIs::AliasOnly => IS_ALIAS | IS_ALIAS_ONLY,
        };
        let has = |digest: Option<Digest>, bit| digest.map_or(0, |_| bit);
        let has_argument = has(fingerprint.argument, HAS_ARGUMENT);
        let flags = kept | is_alias | has_argument | has(fingerprint.chosen, HAS_CHOSEN);
        Self::new(executed_at.as_nanos() / NANOS_PER_MS, flags)
    }

    pub(super) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let mut all = [0; 8];
        all[..Self::BYTES].copy_from_slice(&bytes);
        Self(u64::from_le_bytes(all))
    }

    /// As it lies in an entry.
    pub fn bytes(self) -> [u8; Self::BYTES] {
        let [bytes @ .., _] = self.0.to_le_bytes();
        bytes
    }

    pub(super) const fn millis(self) -> u64 {
        self.0 & !(u64::MAX << MILLIS_BITS)
    }

    pub(super) const fn flags(self) -> u8 {
        (self.0 >> MILLIS_BITS) as u8
    }

    /// Whether a reply is kept, or its digest.
    pub const fn has_reply(self) -> bool {
        self.flags() & 3 != 0
    }
}

/// Whether a byte can be the flags of an entry.
pub(super) const fn are_flags(byte: u8) -> bool {
    byte < 64 && byte & (IS_ALIAS | IS_ALIAS_ONLY) != IS_ALIAS_ONLY
}

/// The digests of a full entry.
pub(super) fn full_digests(fingerprint: &Fingerprint) -> [u8; 16] {
    match (fingerprint.argument, fingerprint.chosen) {
        (Some(argument), Some(chosen)) => {
            let both = [argument, chosen].map(|digest| u128::from(digest.first(8)));
            (both[0] | both[1] << 64).to_le_bytes()
        }
        (one, other) => one.or(other).map_or([0; 16], Digest::bytes),
    }
}

/// The digests of a short one.
#[inline(always)]
pub(super) fn short_digests(fingerprint: &Fingerprint) -> [u8; 4] {
    let digests = match (fingerprint.argument, fingerprint.chosen) {
        (Some(argument), Some(chosen)) => argument.first(2) | chosen.first(2) << 16,
        (one, other) => one.or(other).map_or(0, |only| only.first(4)),
    };
    (digests as u32).to_le_bytes()
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
