//! What a canister and its archives say to each other.
//!
//! An archive takes entries in order. Its [`Position`] says how many it has taken, and which: a canister that has lost an answer sends the
//! same chunk again, and learns that it was taken.

use super::entry::sent_bytes;
use candid::{CandidType, Principal};
use serde::Deserialize;
use serde_bytes::{ByteArray, ByteBuf};
use twox_hash::XxHash3_128;

/// The methods of an archive that its owner calls.
pub mod method {
    /// `(Append) -> (Appended)`
    pub const APPEND: &str = "idempotency_archive_append";
    /// `(vec blob) -> (LookedUp) query`
    pub const LOOK_UP: &str = "idempotency_archive_look_up";
    /// `() -> (Status) query`
    pub const STATUS: &str = "idempotency_archive_status";
}

/// How an archive is installed. At an upgrade without an argument it stays as it is.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Install {
    /// The canister whose entries it keeps: no other one may append, or look up.
    pub owner: Principal,
    /// Whether it keeps replies, or digests of them, besides entries.
    pub keeps_replies: bool,
    /// The number of entries at which it is full.
    pub capacity: u64,
    /// The number of bytes of stable memory at which it is full.
    pub capacity_bytes: u64,
    /// The cycles that it is to have beyond what the IC keeps back for its freezing threshold: of those that come with a chunk it takes what it
    /// lacks.
    pub cycles: candid::Nat,
}

/// How many entries an archive has taken, and which.
#[derive(CandidType, Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Position {
    /// Their number.
    pub entries: u64,
    /// A digest of all of them, and of what came with them, which the owner works out. It tells one history from another, and protects against
    /// nobody: the IC says who calls.
    pub digest: ByteArray<16>,
}

/// A chunk of entries. `packed.rs` says how they are sent.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Append {
    /// Where the archive is before it.
    pub from: Position,
    /// Where it is with it: the digest of this history, which its owner has worked out.
    pub after: Position,
    /// Of each entry its id of 16 bytes and its digests of 16 bytes in an archive that keeps replies; in others its digests of 3 bytes, and the
    /// last 13 bytes of its id.
    pub entries: ByteBuf,
    /// When they were executed, and what is kept of each: said once of all that follow one another and have it in common.
    pub times: ByteBuf,
    /// Of each entry that has a reply or a digest, in their order: its length in bytes, as 4 bytes in little-endian order, and itself.
    pub replies: ByteBuf,
}

impl Append {
    /// How many entries it has, for an archive that keeps replies or does not.
    pub fn count(&self, keeps_replies: bool) -> usize {
        self.entries.len() / sent_bytes(keeps_replies)
    }
}

impl Position {
    /// Where an archive is that was here and has taken so many entries as they are sent, their times and replies.
    pub(super) fn after(&self, count: u64, parts: [&[u8]; 3]) -> Self {
        let digests = parts.map(|part| XxHash3_128::oneshot(part).to_le_bytes());
        let lengths = parts.map(|part| (part.len() as u64).to_le_bytes());
        let all = [
            self.digest.as_slice(),
            digests.as_flattened(),
            lengths.as_flattened(),
        ];
        let digest = XxHash3_128::oneshot(&all.concat()).to_le_bytes();
        Self {
            entries: self.entries.saturating_add(count),
            digest: ByteArray::new(digest),
        }
    }
}

/// What became of a chunk.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub enum Appended {
    /// It is kept, now or since an earlier time. This is where the archive is now.
    Taken(Position),
    /// The archive is elsewhere: here. Nothing has changed.
    OutOfPlace(Position),
    /// The archive takes no more entries. Nothing has changed.
    Full(Position),
    /// It is no chunk, for this reason. Nothing has changed.
    Malformed(String),
}

/// What an archive knows of some ids.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct LookedUp {
    /// Who answers, and what it was asked: an answer that comes after an upgrade of who asked can wake another one's call, and is not taken for
    /// the answer to that.
    pub archive: Principal,
    /// The ids.
    pub asked: Vec<ByteArray<16>>,
    /// Where the archive is: it has looked through so many entries.
    pub position: Position,
    /// Of each id, in the order in which they were asked for.
    pub found: Vec<Option<Found>>,
}

/// What an archive keeps of one id.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Found {
    /// The [`Entry`](super::Entry).
    pub entry: ByteBuf,
    /// Its reply, or the reply's digest, as the entry says.
    pub reply: Option<ByteBuf>,
}

/// How an archive is.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Status {
    /// Whose entries it keeps.
    pub owner: Principal,
    /// Where it is.
    pub position: Position,
    /// The number of entries at which it is full.
    pub capacity: u64,
    /// Bytes of stable memory that it has taken.
    pub bytes: u64,
    /// Sorted runs in which the entries lie: a look-up looks into each.
    pub runs: u32,
    /// Its balance, in cycles.
    pub cycles: candid::Nat,
    /// How many it lacks.
    pub lacking_cycles: candid::Nat,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_of_all_that_was_sent() {
        let (start, none) = (Position::default(), &[][..]);
        let after = start.after(2, [&[1; 32], &[4; 3], &[2; 3]]);
        assert_eq!(after.entries, 2);
        for other in [
            start.after(2, [&[3; 32], &[4; 3], &[2; 3]]),
            start.after(2, [&[1; 32], &[5; 3], &[2; 3]]),
            start.after(2, [&[1; 32], &[4; 3], &[3; 3]]),
            start.after(2, [&[1; 32], &[4; 3], none]),
            // The same bytes, parted elsewhere.
            start.after(2, [&[1; 32], &[4, 4, 4, 2, 2, 2], none]),
            (start.after(1, [&[1; 16], none, none])).after(1, [&[1; 16], &[4; 3], &[2; 3]]),
            after.after(2, [&[1; 32], &[4; 3], &[2; 3]]),
            after.after(0, [none; 3]),
        ] {
            assert_ne!(other.digest, after.digest, "{other:?}");
        }
    }
}
