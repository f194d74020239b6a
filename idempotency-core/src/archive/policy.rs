//! Where archives come from, and what they are like.

use super::generations::{FIRST_IDS, OneIn};
use candid::Principal;
use std::fmt;

/// The most bytes of entries, times and replies in a chunk: with what candid adds, the message is under 2 MB.
pub(super) const MOST_BYTES: usize = 1_990_000;

/// How long a chunk may be. It has one entry at the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Most {
    /// Entries.
    pub(super) entries: u64,
    /// Bytes of entries, times and replies.
    pub(super) bytes: usize,
}

impl Most {
    /// Whether there is anything.
    pub(super) const ONE: Self = Self {
        entries: 1,
        bytes: 0,
    };

    /// As long as it is.
    pub(super) const ALL: Self = Self {
        entries: u64::MAX,
        bytes: usize::MAX,
    };
}

/// Where the archives of a store come from, what they are like, and how often the filter may be wrong. What they keep of a request says
/// [`Policy::archive`](crate::Policy::archive).
///
/// An upgrade may change all of it. What an archive was made with stays with it: its capacity, its controllers, and whether it keeps
/// replies. The next one is made with what the policy says then.
#[derive(Clone)]
pub struct ArchivePolicy {
    pub(super) source: Source,
    pub(super) cycles: u128,
    pub(super) capacity: u64,
    pub(super) capacity_bytes: u64,
    pub(super) also_controlled_by: Vec<Principal>,
    pub(super) is_blackholed: bool,
    pub(super) one_in: u32,
    /// How many bytes of entries and replies a chunk has at the most.
    pub(super) chunk_bytes: usize,
    /// How many ids the filter is for at first.
    pub(super) first_ids: u64,
}

/// Where archives come from.
#[derive(Clone)]
pub(super) enum Source {
    /// They are there.
    Given(Vec<Principal>),
    /// They are made, of this module.
    Embedded(&'static [u8]),
    /// They are made, of the module with this hash, whose chunks lie in this canister's own chunk store.
    Stored {
        hash: [u8; 32],
        chunks: Vec<[u8; 32]>,
    },
}

impl ArchivePolicy {
    /// Archives that you have made: canisters with the module of `idempotency-archive`, each installed with this canister as its owner. They
    /// are filled in this order, and nothing is shipped when the last one is full: append more in an upgrade. Whether they keep replies
    /// must be as [`Policy::archive`](crate::Policy::archive) says; and what they say they lack in cycles, this canister
    /// gives them.
    pub fn given(canisters: impl Into<Vec<Principal>>) -> Self {
        Self::from(Source::Given(canisters.into()))
    }

    /// This canister makes archives when it needs them, on its own subnet, of a module that is a part of its own:
    /// `ArchivePolicy::embedded(include_bytes!("idempotency_archive.wasm.gz"))`. The module may have up to 2 MB.
    pub fn embedded(module: &'static [u8]) -> Self {
        Self::from(Source::Embedded(module))
    }

    /// As [`embedded`](Self::embedded), of a module that its controller has uploaded to this canister's own chunk store (`upload_chunk` of the
    /// management canister): its SHA-256, and those of its chunks in their order.
    pub fn stored(hash: [u8; 32], chunks: impl Into<Vec<[u8; 32]>>) -> Self {
        let chunks = chunks.into();
        Self::from(Source::Stored { hash, chunks })
    }

    fn from(source: Source) -> Self {
        Self {
            source,
            cycles: 2_000_000_000_000,
            capacity: 1_000_000_000,
            capacity_bytes: 100 << 30,
            also_controlled_by: vec![],
            is_blackholed: false,
            one_in: 1_024,
            chunk_bytes: MOST_BYTES,
            first_ids: FIRST_IDS,
        }
    }

    /// The balance that a new archive gets, besides what creating it costs, and that it is kept at, beyond what the IC keeps back for its
    /// freezing threshold. Once a day each archive is asked what it lacks, and given that, up to all of this; and with each chunk it is sent up
    /// to a tenth of this, and takes what it lacks. Default: 2 T cycles.
    #[must_use]
    pub fn cycles(mut self, cycles: u128) -> Self {
        self.cycles = cycles;
        self
    }

    /// The number of requests at which an archive that this canister makes is full, and the most that are sent at once. Default: 1 billion.
    #[must_use]
    pub fn capacity(mut self, requests: u64) -> Self {
        self.capacity = requests;
        self
    }

    /// The number of bytes of stable memory at which an archive that this canister makes is full. Default: 100 GiB.
    #[must_use]
    pub fn capacity_bytes(mut self, bytes: u64) -> Self {
        self.capacity_bytes = bytes;
        self
    }

    /// Who controls the archives that this canister makes, besides itself: up to nine. Whoever controls an archive can change what retries
    /// are answered with. Default: nobody.
    #[must_use]
    pub fn also_controlled_by(mut self, controllers: impl Into<Vec<Principal>>) -> Self {
        self.also_controlled_by = controllers.into();
        self
    }

    /// Archives that this canister makes have no controllers, once they are installed: nobody can change what they keep, stop them, or
    /// upgrade them. Default: they are controlled by this canister, and [`upgrade_archives`](super::upgrade_archives) upgrades them.
    #[must_use]
    pub fn blackholed(mut self) -> Self {
        self.is_blackholed = true;
        self
    }

    /// How often the filter may take a new request for one that may have been archived: once in so many. An archive is asked then, before
    /// the request runs; it changes no answer. The rarer, the more stable memory it takes: see [`OneIn`]. Applies to parts of the filter that
    /// are begun later. Default: once in 1,024, with 3.2 bytes for each archived request.
    #[must_use]
    pub fn one_in(mut self, requests: u32) -> Self {
        self.one_in = requests;
        self
    }

    /// How much is sent at once to an archive that has room for so many entries.
    pub(super) fn most_of_chunk(&self, room: u64) -> Most {
        Most {
            entries: self.capacity.min(room),
            bytes: self.chunk_bytes,
        }
    }

    pub(super) fn rate(&self) -> OneIn {
        OneIn::new(self.one_in)
    }

    /// What is wrong with it, if anything.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.capacity == 0 || self.capacity_bytes == 0 {
            return Err("an archive of no capacity could hold nothing");
        }
        if self.also_controlled_by.len() > 9 {
            return Err("a canister has ten controllers at the most, and this one is one of them");
        }
        if self.is_blackholed && !self.also_controlled_by.is_empty() {
            return Err("an archive that is blackholed has no controllers");
        }
        match &self.source {
            Source::Given(canisters) if canisters.is_empty() => {
                Err("there are no archives: give at least one")
            }
            Source::Embedded(module) if module.len() > 2_000_000 => {
                Err("the archive's module is over 2 MB: compress it, or use `stored`")
            }
            Source::Stored { chunks, .. } if chunks.is_empty() => {
                Err("the archive's module has no chunks")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for ArchivePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchivePolicy")
            .field("source", &self.source)
            .field("cycles", &self.cycles)
            .field("capacity", &self.capacity)
            .field("capacity_bytes", &self.capacity_bytes)
            .field("also_controlled_by", &self.also_controlled_by)
            .field("is_blackholed", &self.is_blackholed)
            .field("one_in", &self.one_in)
            .finish()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(canisters) => f.debug_tuple("Given").field(canisters).finish(),
            Self::Embedded(module) => write!(f, "Embedded({} bytes)", module.len()),
            Self::Stored { chunks, .. } => write!(f, "Stored({} chunks)", chunks.len()),
        }
    }
}
