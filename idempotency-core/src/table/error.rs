//! Why a memory is not a store.

use std::fmt;

/// Why a memory could not be opened as a store. The memory is unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The memory holds something else.
    Foreign {
        /// Its first bytes.
        found: [u8; 8],
    },
    /// The memory holds a store of a layout that this version of the library does not know.
    UnknownVersion {
        /// The layout version found.
        found: u8,
        /// The layout version that this library reads and writes.
        known: u8,
    },
    /// The memory holds a store with features that this version of the library does not know, and must not ignore.
    UnknownFeatures {
        /// A bit for each of them.
        found: u64,
    },
    /// The memory holds an outbox where a store is opened, or a store where an outbox is.
    OtherPurpose,
    /// The memory begins like that of a store, and its header contradicts itself.
    Damaged,
    /// The memory could not grow to hold an empty store.
    OutOfMemory,
    /// The policy contradicts itself.
    InvalidPolicy(&'static str),
}

/// The store's memory contradicts itself, or another store was opened on it: something else has written to it. A request that
/// meets the damage is refused with [`IdempotencyError::StoreDamaged`](crate::IdempotencyError::StoreDamaged), and not taken
/// for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the store's memory contradicts itself, or a second store was opened on it; give each store a MemoryId that nothing else uses; to repair this one, restore a snapshot, or give it a new MemoryId and lose its records"
        )
    }
}

impl std::error::Error for Damaged {}

impl From<Damaged> for OpenError {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { found } => write!(
                f,
                "the store's memory begins with {found:02x?}, so it belongs to something else; give the store a MemoryId that nothing else uses"
            ),
            Self::UnknownVersion { found, known } => write!(
                f,
                "the store has layout version {found}, and this library knows version {known}; deploy the version of the library that wrote the store, or a later one"
            ),
            Self::UnknownFeatures { found } => write!(
                f,
                "the store has features {found:#x}, which this library does not know; deploy the version of the library that wrote the store, or a later one"
            ),
            Self::OtherPurpose => write!(
                f,
                "the memory holds an outbox where a store is opened, or a store where an outbox is; give each a MemoryId that nothing else uses"
            ),
            Self::Damaged => write!(
                f,
                "the store's memory does not hold what its header describes, so something else wrote to it; restore a snapshot, or give the store a new MemoryId and lose its records"
            ),
            Self::OutOfMemory => write!(
                f,
                "the store's memory can't grow; free stable memory, or raise the canister's limit"
            ),
            Self::InvalidPolicy(why) => write!(f, "the store's policy can't work: {why}"),
        }
    }
}

impl std::error::Error for OpenError {}
