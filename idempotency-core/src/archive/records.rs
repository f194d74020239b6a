//! The records of [`Contents`](super::contents::Contents), and their bytes.
//!
//! ```text
//! offset  bytes  archive
//!      0     30  principal: its length, and its bytes
//!     30      1  state: 1 current, 2 full, 3 behind, 4 no more is sent
//!     31      1  bit 0: it keeps replies; bit 1: this canister has made it; bit 2: it has no controllers
//!     32     24  its confirmed position: entries, digest
//!     56      8  since when it is known, ns
//!     64     32  SHA-256 of its module, or zeros
//!     96      8  the number of requests at which it is full
//!
//! offset  bytes  progress
//!      0      1  bit 0: a partition is being shipped; bit 1: a chunk is under way; bit 2: it is the partition's last one
//!      1      1  what is kept of replies: 0 nothing, 1 digests, 2 all; of the chunk that is under way
//!      2      2  partition
//!      8      8  until when the store keeps it, ns: numbers come round
//!     16      8  where in its log the chunk begins that is next or under way; 0 at the beginning
//!     24      8  where the one behind it begins
//!     32     24  position of the archive behind the chunk that is under way
//!     56      8  since when it is, ns
//!     64      8  where in its log those begin that an archive has confirmed and the filter lacks; 0 at the beginning
//!     72      8  how many these are
//!     80      4  which archive
//!
//! offset  bytes  the archive that is being made
//!      0     30  principal, if it is known
//!     30      1  step: 0 none, 1 is created, 2 was created, 3 is installed, 4 was installed, 5 its controllers are given up, 6 is asked
//!     31      1  bits as of an archive; bit 3: it was tried to be installed
//!     32      8  since when, ns
//!     64     32  SHA-256 of its module, or zeros
//! ```
//!
//! Integers are little-endian.

use super::wire::Position;
use crate::{policy::Keep, store::Expired, table::field, time::Timestamp};
use candid::Principal;
use serde_bytes::ByteArray;

pub(super) const RECORD_BYTES: usize = 128;

pub(super) type Record = [u8; RECORD_BYTES];

/// What becomes of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is sent what expires.
    Current,
    /// It takes no more.
    Full,
    /// It has lost what it had confirmed.
    Behind,
    /// It is sent no more, as the policy has changed.
    Closed,
}

/// An archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Archive {
    pub(super) canister: Principal,
    pub(super) state: State,
    pub(super) keeps_replies: bool,
    /// This canister has made it.
    pub(super) is_made: bool,
    pub(super) is_blackholed: bool,
    /// It has taken so much, for certain.
    pub(super) confirmed: Position,
    pub(super) since: Timestamp,
    pub(super) module: [u8; 32],
    /// It is full with so many entries.
    pub(super) capacity: u64,
}

/// A chunk that may be with the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InFlight {
    /// Where the next one begins; `None` if it is the partition's last one.
    pub(super) next: Option<u64>,
    pub(super) keep: Keep,
    /// The archive's position with it.
    pub(super) after: Position,
    pub(super) since: Timestamp,
}

/// How far a partition is shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) partition: Expired,
    /// Where the next chunk begins; `None` at the beginning.
    pub(super) from: Option<u64>,
    pub(super) in_flight: Option<InFlight>,
    pub(super) unfiltered: Option<Unfiltered>,
}

/// Ids that an archive has confirmed, and that are not in the filter yet: those before [`Progress::from`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unfiltered {
    pub(super) archive: u32,
    /// Where they begin in the partition's log; `None` at its beginning.
    pub(super) from: Option<u64>,
    pub(super) count: u64,
}

/// How far an archive is that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// `create_canister` is under way.
    IsCreated,
    WasCreated,
    /// `install_code` is under way.
    IsInstalled,
    WasInstalled,
    /// `update_settings` is under way.
    IsSealed,
    /// It is asked how it is.
    IsAsked,
}

/// An archive that is being made, or taken into use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Making {
    /// Anonymous before it is known.
    pub(super) canister: Principal,
    pub(super) step: Step,
    pub(super) keeps_replies: bool,
    pub(super) is_made: bool,
    pub(super) is_blackholed: bool,
    /// An attempt to install it may have been executed.
    pub(super) was_tried: bool,
    pub(super) since: Timestamp,
    pub(super) module: [u8; 32],
}

fn write_principal(bytes: &mut Record, principal: &Principal) {
    let principal = principal.as_slice();
    bytes[0] = principal.len() as u8;
    bytes[1..=principal.len()].copy_from_slice(principal);
}

fn read_principal(bytes: &Record) -> Option<Principal> {
    Principal::try_from_slice(bytes.get(1..=usize::from(bytes[0]))?).ok()
}

fn write_position(bytes: &mut [u8], position: &Position) {
    bytes[..8].copy_from_slice(&position.entries.to_le_bytes());
    bytes[8..24].copy_from_slice(position.digest.as_slice());
}

fn read_position(rest: &mut &[u8]) -> Position {
    Position {
        entries: u64::from_le_bytes(field(rest)),
        digest: ByteArray::new(field(rest)),
    }
}

fn bit(is_set: bool, bit: u8) -> u8 {
    if is_set { 1 << bit } else { 0 }
}

impl Archive {
    /// Entries that it has room for.
    pub(super) fn room(&self) -> u64 {
        self.capacity.saturating_sub(self.confirmed.entries)
    }

    pub(super) fn to_bytes(self) -> Record {
        let mut bytes = [0; RECORD_BYTES];
        write_principal(&mut bytes, &self.canister);
        bytes[30] = match self.state {
            State::Current => 1,
            State::Full => 2,
            State::Behind => 3,
            State::Closed => 4,
        };
        bytes[31] = bit(self.keeps_replies, 0) | bit(self.is_made, 1) | bit(self.is_blackholed, 2);
        write_position(&mut bytes[32..56], &self.confirmed);
        bytes[56..64].copy_from_slice(&self.since.as_nanos().to_le_bytes());
        bytes[64..96].copy_from_slice(&self.module);
        bytes[96..104].copy_from_slice(&self.capacity.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &Record) -> Option<Self> {
        let mut rest = &bytes[32..];
        Some(Self {
            canister: read_principal(bytes)?,
            state: match bytes[30] {
                1 => State::Current,
                2 => State::Full,
                3 => State::Behind,
                4 => State::Closed,
                _ => return None,
            },
            keeps_replies: bytes[31] & 1 != 0,
            is_made: bytes[31] & 2 != 0,
            is_blackholed: bytes[31] & 4 != 0,
            confirmed: read_position(&mut rest),
            since: Timestamp::from_nanos(u64::from_le_bytes(field(&mut rest))),
            module: field(&mut rest),
            capacity: u64::from_le_bytes(field(&mut rest)),
        })
    }
}

impl Progress {
    pub(super) fn to_bytes(self) -> Record {
        let mut bytes = [0; RECORD_BYTES];
        bytes[0] = 1;
        bytes[2..4].copy_from_slice(&self.partition.number.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.partition.until.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.from.unwrap_or(0).to_le_bytes());
        if let Some(in_flight) = self.in_flight {
            bytes[0] |= 2 | bit(in_flight.next.is_none(), 2);
            bytes[1] = match in_flight.keep {
                Keep::Ids => 0,
                Keep::Digests => 1,
                Keep::Replies => 2,
            };
            bytes[24..32].copy_from_slice(&in_flight.next.unwrap_or(0).to_le_bytes());
            write_position(&mut bytes[32..56], &in_flight.after);
            bytes[56..64].copy_from_slice(&in_flight.since.as_nanos().to_le_bytes());
        }
        if let Some(unfiltered) = self.unfiltered {
            bytes[64..72].copy_from_slice(&unfiltered.from.unwrap_or(0).to_le_bytes());
            bytes[72..80].copy_from_slice(&unfiltered.count.to_le_bytes());
            bytes[80..84].copy_from_slice(&unfiltered.archive.to_le_bytes());
        }
        bytes
    }

    /// `None` of what is no progress, `Some(None)` if there is none.
    pub(super) fn from_bytes(bytes: &Record) -> Option<Option<Self>> {
        let (flags, keep) = (bytes[0], bytes[1]);
        if flags == 0 {
            return Some(None);
        }
        let number = u16::from_le_bytes(field(&mut &bytes[2..]));
        let rest = &mut &bytes[8..];
        let [until, from, next] = [(); 3].map(|()| u64::from_le_bytes(field(rest)));
        let after = read_position(rest);
        let since = Timestamp::from_nanos(u64::from_le_bytes(field(rest)));
        let [unfiltered_from, count] = [(); 2].map(|()| u64::from_le_bytes(field(rest)));
        let archive = u32::from_le_bytes(field(rest));
        let keep = match keep {
            0 => Keep::Ids,
            1 => Keep::Digests,
            2 => Keep::Replies,
            _ => return None,
        };
        let in_flight = |is_last: bool| InFlight {
            next: (!is_last).then_some(next),
            keep,
            after,
            since,
        };
        let in_flight = match flags {
            1 => None,
            3 if next != 0 => Some(in_flight(false)),
            7 => Some(in_flight(true)),
            _ => return None,
        };
        Some(Some(Self {
            partition: Expired { number, until },
            from: (from != 0).then_some(from),
            in_flight,
            unfiltered: (count != 0).then_some(Unfiltered {
                archive,
                from: (unfiltered_from != 0).then_some(unfiltered_from),
                count,
            }),
        }))
    }
}

impl Making {
    pub(super) fn to_bytes(self) -> Record {
        let mut bytes = [0; RECORD_BYTES];
        write_principal(&mut bytes, &self.canister);
        bytes[30] = match self.step {
            Step::IsCreated => 1,
            Step::WasCreated => 2,
            Step::IsInstalled => 3,
            Step::WasInstalled => 4,
            Step::IsSealed => 5,
            Step::IsAsked => 6,
        };
        bytes[31] = bit(self.keeps_replies, 0)
            | bit(self.is_made, 1)
            | bit(self.is_blackholed, 2)
            | bit(self.was_tried, 3);
        bytes[32..40].copy_from_slice(&self.since.as_nanos().to_le_bytes());
        bytes[64..96].copy_from_slice(&self.module);
        bytes
    }

    /// `None` of what is none, `Some(None)` if there is none.
    pub(super) fn from_bytes(bytes: &Record) -> Option<Option<Self>> {
        let step = match bytes[30] {
            0 => return Some(None),
            1 => Step::IsCreated,
            2 => Step::WasCreated,
            3 => Step::IsInstalled,
            4 => Step::WasInstalled,
            5 => Step::IsSealed,
            6 => Step::IsAsked,
            _ => return None,
        };
        Some(Some(Self {
            canister: read_principal(bytes)?,
            step,
            keeps_replies: bytes[31] & 1 != 0,
            is_made: bytes[31] & 2 != 0,
            is_blackholed: bytes[31] & 4 != 0,
            was_tried: bytes[31] & 8 != 0,
            since: Timestamp::from_nanos(u64::from_le_bytes(field(&mut &bytes[32..]))),
            module: field(&mut &bytes[64..]),
        }))
    }
}
