//! Hands the ledger's old blocks to its archives.
//!
//! A chunk of blocks goes to one archive at a time, which is named by the index of its first block. Until the archive has confirmed it, the
//! ledger keeps the blocks, and sends them again if it hears nothing: an archive knows which ones it has. So nothing has to be stored of a
//! chunk that is under way, and an answer that is lost, a trap or an upgrade in between loses no block and doubles none.

pub(crate) mod drive;

use candid::Principal;
use ic_stable_structures::Memory;
use idempotency_archive::wire::{AppendBlocks, AppendedBlocks};
use serde_bytes::ByteBuf;
use thiserror::Error;

use crate::{log::Log, state::Ledger};

/// The most blocks in a chunk.
pub const CHUNK_BLOCKS: u64 = 2_000;

/// About how many bytes of blocks are in a chunk: half of what fits into a message.
const CHUNK_BYTES: usize = 1_000_000;

/// Blocks on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// To which archive.
    pub archive: Principal,
    /// Themselves.
    pub append: AppendBlocks,
}

impl Chunk {
    /// The block after its last one.
    fn end(&self) -> u64 {
        self.append.from + self.append.blocks.len() as u64
    }
}

/// Why blocks stay where they are.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Trouble {
    /// There are none, or those that there are take no more blocks.
    #[error("no archive takes more blocks")]
    NoArchive,
    /// The archive did not answer.
    #[error("archive {archive}: {reason}")]
    Unreachable {
        /// The archive.
        archive: Principal,
        /// What came instead.
        reason: String,
    },
    /// The archive has lost blocks, or has those of another ledger. No block goes there until this has changed.
    #[error("archive {archive} has other blocks, or lacks some: {reason}")]
    Inconsistent {
        /// The archive.
        archive: Principal,
        /// Its answer.
        reason: String,
    },
}

/// What the answer to a chunk says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The archive has it, and the ledger no longer.
    Confirmed,
    /// The archive takes no more blocks.
    Full,
}

impl<M: Memory> Ledger<M> {
    /// The next blocks to archive, if there are any: those before the last `keep` ones. `archives` are filled in their order, and those that
    /// are `full` take no more.
    pub fn next_chunk(
        &self,
        keep: u64,
        archives: &[Principal],
        full: &[Principal],
    ) -> Result<Option<Chunk>, Trouble> {
        let log = self.log();
        let blocks = log.to_archive(keep, CHUNK_BLOCKS, CHUNK_BYTES);
        if blocks.is_empty() {
            return Ok(None);
        }
        let archive = choose(log, archives, full).ok_or(Trouble::NoArchive)?;
        let append = AppendBlocks {
            from: log.first(),
            blocks: blocks.into_iter().map(ByteBuf::from).collect(),
        };
        Ok(Some(Chunk { archive, append }))
    }

    /// The answer to a chunk, or why there is none, however late it comes.
    pub fn settle(
        &mut self,
        chunk: &Chunk,
        answer: Result<AppendedBlocks, String>,
    ) -> Result<Settled, Trouble> {
        let (archive, from) = (chunk.archive, chunk.append.from);
        let inconsistent = |answer: &AppendedBlocks| Trouble::Inconsistent {
            archive,
            reason: format!("{answer:?} is its answer to blocks from {from} on"),
        };
        match answer.map_err(|reason| Trouble::Unreachable { archive, reason })? {
            AppendedBlocks::Taken(next) if next >= chunk.end() => {
                self.confirm_archived(archive, chunk.end());
                Ok(Settled::Confirmed)
            }
            // What came before, and was not heard of, it has.
            AppendedBlocks::Full(next) if next >= from => {
                self.confirm_archived(archive, next.min(chunk.end()));
                Ok(Settled::Full)
            }
            other => Err(inconsistent(&other)),
        }
    }
}

/// The archive that has the last blocks which were archived, or the next one that takes some. None is begun a second time: the blocks of
/// an archive follow one another.
fn choose<M: Memory>(
    log: &Log<M>,
    archives: &[Principal],
    full: &[Principal],
) -> Option<Principal> {
    let archived = log.archived();
    let last = archived.last().map(|it| it.canister);
    let is_over = |archive: &Principal| {
        full.contains(archive)
            || (Some(*archive) != last && archived.iter().any(|it| it.canister == *archive))
    };
    archives.iter().find(|archive| !is_over(archive)).copied()
}
