//! Why a memory is not a store.

use std::fmt;

/// Why a memory could not be opened as a store. Nothing in it was changed.
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
    /// The memory begins as a store, and its header contradicts itself.
    Damaged,
    /// The memory could not grow to hold an empty store.
    OutOfMemory,
    /// The policy contradicts itself.
    InvalidPolicy(&'static str),
}

/// What the store's memory holds contradicts itself, or another store was opened on the same memory: something else writes to
/// it. Where this is returned a request is refused
/// rather than taken for a new one. [`IdempotencyError::StoreDamaged`](crate::IdempotencyError::StoreDamaged) tells the
/// client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the memory of the store contradicts itself, or a second store was opened on it: something else wrote to it; give each store a MemoryId of its own; restore a snapshot, or give this one a new MemoryId and lose its records"
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
                "the memory given to the store begins with {found:02x?}: it belongs to something else; give the store a MemoryId that nothing else uses"
            ),
            Self::UnknownVersion { found, known } => write!(
                f,
                "the store was written in layout version {found}, this library knows version {known}; deploy the version of the library that wrote it, or a later one"
            ),
            Self::UnknownFeatures { found } => write!(
                f,
                "the store has features that this library does not know, {found:#x}; deploy the version of the library that wrote it, or a later one"
            ),
            Self::Damaged => write!(
                f,
                "the memory given to the store has its header but not what the header describes: something else wrote to it; restore a snapshot, or give the store a new MemoryId and lose its records"
            ),
            Self::OutOfMemory => write!(
                f,
                "the store's memory can't grow; free stable memory or raise its limit"
            ),
            Self::InvalidPolicy(why) => write!(f, "the store's policy can't work: {why}"),
        }
    }
}

impl std::error::Error for OpenError {}
