//! What is said of archives, for operators.

use super::records::State;
use crate::time::Timestamp;
use candid::{CandidType, Principal};
use serde::Deserialize;
use std::fmt;

/// How the archives of a store are.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overview {
    /// The archives, in the order in which they were filled.
    pub archives: Vec<ArchiveStatus>,
    /// The number of requests that have expired, and that the store keeps because no archive has confirmed them yet. They count against its
    /// capacity.
    pub waiting: u64,
    /// The chunk that is under way.
    pub chunk: Option<ChunkStatus>,
    /// The archive that is being made, or taken into use.
    pub making: Option<MakingStatus>,
    /// Why nothing is shipped, if that is so.
    pub trouble: Option<Trouble>,
    /// Archives that were perhaps made: an upgrade or a trap came before the answer that would have named them. Each would have been
    /// controlled by this canister, and have the cycles of a new one.
    pub lost: u32,
    /// Bytes of stable memory that the filter and this list take.
    pub bytes: u64,
}

/// An archive.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveStatus {
    /// Its canister.
    pub canister: Principal,
    /// What becomes of it.
    pub state: ArchiveState,
    /// Requests that it has confirmed. Some may count twice.
    pub requests: u64,
    /// Whether it keeps replies, or digests of them.
    pub keeps_replies: bool,
    /// Whether this canister has made it.
    pub is_made: bool,
    /// Whether nobody controls it, as far as this canister knows.
    pub is_blackholed: bool,
    /// Since when it is in use.
    pub since: Timestamp,
    /// What it has lacked, and was given. `None` if it was not asked yet, in this heap.
    pub top_up: Option<TopUp>,
}

/// Once a day each archive is asked whether it lacks cycles, and given these.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopUp {
    /// When it was asked.
    pub at: Timestamp,
    /// Its balance then, in cycles; `None` if it has not said it.
    pub balance: Option<u128>,
    /// The cycles that it was given.
    pub given: u128,
    /// Why it was given none, if it lacks some or has not said whether it does. It is asked again a day later.
    pub problem: Option<Problem>,
}

/// What becomes of an archive.
#[derive(CandidType, Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArchiveState {
    /// What expires is shipped to it.
    Current,
    /// It is full.
    Full,
    /// It was rolled back or reinstalled, and has lost requests that it had confirmed. Nothing is shipped to it any more. Requests that it
    /// alone might know are refused until it has again what it had: restore the last snapshot.
    Behind,
    /// Nothing more is shipped to it, as the policy keeps something else since.
    Closed,
}

impl From<State> for ArchiveState {
    fn from(state: State) -> Self {
        match state {
            State::Current => Self::Current,
            State::Full => Self::Full,
            State::Behind => Self::Behind,
            State::Closed => Self::Closed,
        }
    }
}

/// A chunk that is under way, or whose answer was lost.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChunkStatus {
    /// Requests that the archive will have confirmed with it.
    pub requests: u64,
    /// When it was first sent.
    pub since: Timestamp,
}

/// An archive that is being made, or taken into use.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct MakingStatus {
    /// Its canister, when that is there.
    pub canister: Option<Principal>,
    /// Since when.
    pub since: Timestamp,
}

/// Why nothing is shipped.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trouble {
    /// What is wrong.
    pub problem: Problem,
    /// Since when it is, in this heap.
    pub since: Timestamp,
    /// How often it was tried since.
    pub tries: u32,
    /// When it is tried again.
    pub again: Timestamp,
}

/// What is wrong. The store keeps what it can't ship; it goes on by itself when that has passed.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The archive does not answer, or rejects the call: it is stopped, deleted or out of cycles.
    Unreachable {
        /// Its canister.
        archive: Principal,
        /// What the call ended with.
        why: String,
    },
    /// The archive's answer makes no sense.
    Nonsense {
        /// Its canister.
        archive: Principal,
        /// What is wrong with it.
        why: String,
    },
    /// The archive belongs to another canister.
    ForeignArchive {
        /// Its canister.
        archive: Principal,
        /// Whose entries it keeps.
        owner: Principal,
    },
    /// All archives that were given are full, or of no more use: give another one in an upgrade.
    NoArchive,
    /// A new archive can't be made.
    NotMade {
        /// What the call ended with.
        why: String,
    },
    /// An archive lacks cycles, and was not given them.
    NoCycles {
        /// Its canister.
        archive: Principal,
        /// Cycles.
        lacking: u128,
        /// What the call ended with.
        why: String,
    },
    /// Stable memory can't grow for the filter.
    NoMemory,
    /// The store has no room for moving requests that have not ended.
    NoRoom,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { archive, why } => {
                write!(f, "archive {archive} can't be reached: {why}")
            }
            Self::Nonsense { archive, why } => {
                write!(f, "the answer of archive {archive} makes no sense: {why}")
            }
            Self::ForeignArchive { archive, owner } => {
                write!(f, "archive {archive} belongs to {owner}")
            }
            Self::NoArchive => f.write_str("all archives that were given are used up"),
            Self::NotMade { why } => write!(f, "no archive can be made: {why}"),
            Self::NoCycles {
                archive,
                lacking,
                why,
            } => write!(
                f,
                "archive {archive} lacks {lacking} cycles, and was not given them: {why}"
            ),
            Self::NoMemory => f.write_str("stable memory can't grow for the filter"),
            Self::NoRoom => {
                f.write_str("the store has no room for moving requests that have not ended")
            }
        }
    }
}
