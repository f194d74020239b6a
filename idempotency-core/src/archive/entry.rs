//! An entry: what an archive keeps of a request. It is sent without what it has in common with others: `packed.rs`.
//!
//! ```text
//! offset  bytes  field
//!      0     16  id: the last 16 bytes of the identity
//!     16      6  when its execution began, ms since 1970
//!     22      1  bits 0 and 1: what is kept of the reply: 0 nothing, 1 the first reply, 2 the reply for retries, 3 a digest;
//!                bit 2: there is a digest of the argument; bit 3: one of what was chosen; bits 4 and 5: what the former is
//!     23  3, 16  the digest's first bits; of two digests half as many of each
//! ```
//!
//! Integers are little-endian. With 16 bytes of digests it is a *full* entry, as archives have that keep replies or digests of them. With 3 it
//! is a *short* one, in archives of ids alone. Of its id these compare the last 13 bytes, and put the digests in the place of the others. So it
//! has 23 bytes there, and is sent as 16.
//!
//! # What that is worth
//! An id of 16 bytes is no shorter than what a store compares: see the threat model of [`identity`](crate::identity). With 13 bytes, that is 104
//! bits of BLAKE3, it takes 2^104 hashes to find a request that is taken for a given one of somebody else, and 2^74 for any one of a billion that
//! somebody else is going to make; it would have to be executed first, and the other be told that it ran, without a reply. Two requests of one's
//! own are found by 2^52, and deceive nobody else.
//!
//! Digests are compared with those of requests of one id. In a full entry with two digests of 8 bytes each, it takes whoever may use that
//! id 2^32 hashes to find two requests that are taken for one another, where a store has 2^64. In a short one that takes no time, and shows
//! nothing: there is no reply to be had, and the request does not run.

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
pub const SHORT_BYTES: usize = ID_BYTES + Head::BYTES + SHORT_DIGESTS;

/// Bytes of an entry in an archive that keeps replies, or digests of them, or does not.
pub const fn entry_bytes(keeps_replies: bool) -> usize {
    match keeps_replies {
        true => FULL_BYTES,
        false => SHORT_BYTES,
    }
}

/// Bytes of an entry as it is sent, with what it does not have in common with others: of a full one its id and its digests, of a short one its
/// digests and the last 13 bytes of its id.
pub const fn sent_bytes(keeps_replies: bool) -> usize {
    match keeps_replies {
        true => ID_BYTES + 16,
        false => ID_BYTES,
    }
}

/// The part of an id, as a number in little-endian order, that archives of ids alone compare.
pub const COMPARED: u128 = u128::MAX << (8 * SHORT_DIGESTS);

/// Bytes of digests in a short entry.
pub(super) const SHORT_DIGESTS: usize = 3;

const ID_BYTES: usize = 16;
const MILLIS_BITS: u32 = 48;
const NANOS_PER_MS: u64 = 1_000_000;
const HAS_ARGUMENT: u8 = 4;
const HAS_CHOSEN: u8 = 8;

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
        let [digests @ .., _] = short_digests(&self.fingerprint).to_le_bytes();
        self.bytes(digests)
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
        if bytes.len() != FULL_BYTES && bytes.len() != SHORT_BYTES {
            return None;
        }
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
        let argument_is = ArgumentIs::of(flags)?;
        let (argument, chosen) = match (flags & HAS_ARGUMENT != 0, flags & HAS_CHOSEN != 0) {
            (true, true) => {
                let (argument, chosen) = both_of(digests);
                (
                    Some(Digest::from_first(argument)?),
                    Some(Digest::from_first(chosen)?),
                )
            }
            (true, false) => (Some(digest_of(digests)?), None),
            (false, true) => (None, Some(digest_of(digests)?)),
            (false, false) => (None, None),
        };
        Some(Self {
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
        let has = |digest: Option<Digest>, bit| digest.map_or(0, |_| bit);
        let has_argument = has(fingerprint.argument, HAS_ARGUMENT);
        let argument_is = fingerprint.argument_is as u8;
        let flags = kept | argument_is | has_argument | has(fingerprint.chosen, HAS_CHOSEN);
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
    byte < 64 && ArgumentIs::of(byte).is_some()
}

/// The digests of a full entry.
pub(super) fn full_digests(fingerprint: &Fingerprint) -> [u8; 16] {
    match (fingerprint.argument, fingerprint.chosen) {
        (Some(argument), Some(chosen)) => {
            let both = [argument, chosen].map(|digest| u128::from(digest.first(64)));
            (both[0] | both[1] << 64).to_le_bytes()
        }
        (one, other) => one.or(other).map_or([0; 16], Digest::bytes),
    }
}

/// The digests of a short one.
#[inline(always)]
pub(super) fn short_digests(fingerprint: &Fingerprint) -> u32 {
    let digests = match (fingerprint.argument, fingerprint.chosen) {
        (Some(argument), Some(chosen)) => argument.first(12) | chosen.first(12) << 12,
        (one, other) => one.or(other).map_or(0, |only| only.first(24)),
    };
    digests as u32
}

/// A short entry as it is sent.
#[inline(always)]
pub(super) fn short_as_sent(id: Id, digests: u32) -> [u8; 16] {
    (u128::from_le_bytes(id) & COMPARED | u128::from(digests)).to_le_bytes()
}

fn number(bytes: &[u8]) -> u128 {
    let numbers = bytes.iter().rev();
    numbers.fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// The first bits of two digests: half of 3 or 16 bytes each.
fn both_of(bytes: &[u8]) -> (u64, u64) {
    let (both, bits) = (number(bytes), 4 * bytes.len() as u32);
    ((both & !(u128::MAX << bits)) as u64, (both >> bits) as u64)
}

/// A digest, all of it or its first bits.
fn digest_of(bytes: &[u8]) -> Option<Digest> {
    match bytes.try_into() {
        Ok(all) => Digest::from_bytes(all),
        Err(_) => Digest::from_first(number(bytes) as u64),
    }
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
            let entry = |first: u64| {
                let mut digest = [7; 16];
                digest[..8].copy_from_slice(&first.to_le_bytes());
                let argument = Digest::from_bytes(digest);
                let fingerprint = Fingerprint { argument, argument_is: ArgumentIs::Itself, chosen: None };
                Entry { id: [0; 16], executed_at: Timestamp::from_nanos(0), fingerprint, kept: Kept::Nothing }
            };
            let (one, other) = (entry(one | 0x80_0000), entry(other | 0x80_0000));
            prop_assume!(one.short() != other.short());
            for bytes in [&one.full()[..], &one.short()] {
                let read = Entry::from_bytes(bytes).unwrap();
                prop_assert!(one.fingerprint.matches(&read.fingerprint));
                prop_assert!(!other.fingerprint.matches(&read.fingerprint));
            }
        }

        /// Both digests, and more of them than an entry has.
        #[test]
        fn more_bytes_than_an_entry_has_are_none(more in 40usize..80) {
            let mut bytes = vec![1; more];
            bytes[22] = HAS_ARGUMENT | HAS_CHOSEN;
            prop_assert_eq!(Entry::from_bytes(&bytes), None);
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
