//! An archive: what it takes, and what it knows.

use crate::{
    blocks::{Blocks, Lost},
    extents::{BrokenChain, EXTENT, Extents, Opening},
    header,
    icrc3::{BlockWithId, Value},
    log::Log,
    row::{self, NARROW, WIDE},
    runs::{MAX_RUNS, Merged, Runs},
    wire::{AppendBlocks, AppendedBlocks},
};
use candid::{Nat, Principal};
use ic_stable_structures::Memory;
use idempotency_core::archive::{
    Id, Stretch, sent_bytes, stretches,
    wire::{Append, Appended, Found, Install, LookedUp, Position, Status},
};
use serde_bytes::{ByteArray, ByteBuf};
use std::ops::Range;

/// The most bytes of entries and replies that a chunk may have.
pub const MAX_CHUNK_BYTES: usize = 10 << 20;

/// Extents of its capacity that an archive leaves to merges.
const FOR_MERGES: u64 = 128;

/// With as many runs an append merges some rows itself.
const MANY_RUNS: usize = 512;

/// So many rows: more than what comes with an append moves up on all levels together.
const ROWS_AT_APPEND: u64 = 2_000_000;

/// Why a memory can't be opened, or installed in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It holds something else.
    #[error("the memory is no archive's")]
    Foreign,
    /// It was written by a later release.
    #[error("the memory has layout {0}, which this release does not know")]
    Version(u32),
    /// It is not what an archive wrote.
    #[error("the archive's memory is damaged: {0}")]
    Damaged(&'static str),
    /// It is empty and can't grow.
    #[error("there is no memory for an archive")]
    NoMemory,
    /// An archive keeps replies from its first entry on, or never.
    #[error("whether an archive keeps replies is decided when it is installed")]
    KeepsReplies,
}

/// What is read is not what an archive wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the archive's memory is damaged")]
pub struct Damaged;

impl From<BrokenChain> for OpenError {
    fn from(_: BrokenChain) -> Self {
        Self::Damaged("the extents of a file are in disorder")
    }
}

impl From<Lost> for Damaged {
    fn from(_: Lost) -> Self {
        Self
    }
}

/// How an archive was installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) owner: Principal,
    pub(crate) keeps_replies: bool,
    pub(crate) capacity: u64,
    pub(crate) capacity_bytes: u64,
    pub(crate) cycles: u128,
}

impl From<&Install> for Config {
    fn from(install: &Install) -> Self {
        Self {
            owner: install.owner,
            keeps_replies: install.keeps_replies,
            capacity: install.capacity,
            capacity_bytes: install.capacity_bytes,
            cycles: (&install.cycles.0).try_into().unwrap_or(u128::MAX),
        }
    }
}

/// What the header tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) config: Config,
    pub(crate) position: Position,
    /// Before the last chunk: if its answer was lost, it comes again from here.
    pub(crate) before: Position,
    pub(crate) replies: Log,
    pub(crate) blocks: Blocks,
    pub(crate) runs: Runs,
}

/// An archive in a memory, which is its alone.
///
/// All that it knows is in the memory after each call, but for lists of extents (4 bytes for 64 KiB) that [`open`](Self::open) reads. A call
/// that ends in a trap must leave the memory as it was before, as a canister's messages do.
pub struct Archive<M> {
    extents: Extents<M>,
    contents: Contents,
}

impl<M> std::fmt::Debug for Archive<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (f.debug_struct("Archive"))
            .field("config", &self.contents.config)
            .field("position", &self.contents.position)
            .finish_non_exhaustive()
    }
}

impl<M: Memory> Archive<M> {
    /// Makes an archive in an empty memory; opens the one that is there otherwise, and changes how it is installed.
    ///
    /// # Errors
    /// As [`open`](Self::open); if an empty memory can't grow; if the archive that is there is to keep replies and did not, or the other way
    /// round. Nothing is written then.
    pub fn install(memory: M, install: &Install) -> Result<Self, OpenError> {
        let config = Config::from(install);
        let mut archive = if memory.size() == 0 {
            if memory.grow(1) < 0 {
                return Err(OpenError::NoMemory);
            }
            let width = if config.keeps_replies { WIDE } else { NARROW };
            Self {
                extents: Opening::new(memory).done()?,
                contents: Contents {
                    config: config.clone(),
                    position: Position::default(),
                    before: Position::default(),
                    replies: Log::default(),
                    blocks: Blocks::default(),
                    runs: Runs {
                        width,
                        list: vec![],
                    },
                },
            }
        } else {
            Self::open(memory)?
        };
        if archive.contents.config.keeps_replies != config.keeps_replies {
            return Err(OpenError::KeepsReplies);
        }
        archive.contents.config = config;
        archive.save();
        Ok(archive)
    }

    /// Opens the archive in a memory. It costs some 20 instructions for each 64 KiB.
    ///
    /// # Errors
    /// If the memory is no archive's, or one's of a later layout, or damaged so that it shows; nothing is guessed.
    pub fn open(memory: M) -> Result<Self, OpenError> {
        let page = header::read(&memory)?;
        let mut opening = Opening::new(memory);
        let contents = header::contents(&page, &mut opening)?;
        let extents = opening.done()?;
        Ok(Self { extents, contents })
    }

    fn save(&self) {
        (self.extents.memory()).write(0, &header::write(&self.contents));
    }

    /// The canister whose entries it keeps.
    pub fn owner(&self) -> Principal {
        self.contents.config.owner
    }

    /// The cycles that it lacks, if it can spend so many.
    pub fn lacking_cycles(&self, liquid: u128) -> u128 {
        self.contents.config.cycles.saturating_sub(liquid)
    }

    /// Bytes of memory that it has taken.
    pub fn bytes(&self) -> u64 {
        self.extents.memory().size() * EXTENT as u64
    }

    /// How it is. It does not know its balance, in cycles, and how much of it the IC lets it spend.
    pub fn status(&self, balance: u128, liquid: u128) -> Status {
        let Contents {
            config,
            position,
            runs,
            ..
        } = &self.contents;
        Status {
            owner: config.owner,
            position: *position,
            capacity: config.capacity,
            bytes: self.bytes(),
            runs: runs.list.len() as u32,
            cycles: Nat::from(balance),
            lacking_cycles: Nat::from(self.lacking_cycles(liquid)),
        }
    }

    /// Takes a chunk, if it follows what was taken before; where it is then, the chunk says. The last chunk is known when it comes again. A chunk
    /// may be empty.
    ///
    /// It is full at its capacity of entries (those of one id count each); when what it uses and 8 MiB for merges reach its capacity in bytes;
    /// and when the memory can't grow. A smaller chunk may fit then.
    pub fn append(&mut self, append: &Append) -> Appended {
        let keeps_replies = self.contents.config.keeps_replies;
        let Append {
            from,
            after,
            entries,
            times,
            replies,
        } = append;
        let count = append.count(keeps_replies) as u64;
        if entries.len() % sent_bytes(keeps_replies) != 0 {
            return malformed("the entries' length is no multiple of an entry's");
        }
        if from.entries.checked_add(count) != Some(after.entries) {
            return malformed("the positions are not so many entries apart");
        }
        if entries.len() + times.len() + replies.len() > MAX_CHUNK_BYTES {
            return malformed("there are too many bytes");
        }
        let Contents {
            position, before, ..
        } = self.contents;
        if *from != position {
            let is_again = *from == before && *after == position;
            return if is_again {
                Appended::Taken(position)
            } else {
                Appended::OutOfPlace(position)
            };
        }
        let Some(stretches) = stretches(times, count as usize) else {
            return malformed("the times are not those of the entries");
        };
        let places = match self.places(&stretches, replies) {
            Ok(places) => places,
            Err(reason) => return malformed(reason),
        };
        let runs = &self.contents.runs;
        let needed =
            runs.extents_of(count) + self.contents.replies.extents_for(replies.len() as u64);
        let fits = after.entries <= self.contents.config.capacity;
        if self.contents.runs.list.len() >= MANY_RUNS {
            self.contents.runs.merge(&mut self.extents, ROWS_AT_APPEND);
        }
        // A run more, and the output of a merge that begins.
        let has_slots = self.contents.runs.list.len() + 2 <= MAX_RUNS;
        if !fits || !has_slots || !has_room(&self.contents.config, &mut self.extents, needed) {
            self.save();
            return Appended::Full(position);
        }
        self.contents.replies.append(&mut self.extents, replies);
        (self.contents.runs).add(&mut self.extents, entries, &stretches, &places);
        self.contents.before = position;
        self.contents.position = *after;
        self.save();
        Appended::Taken(self.contents.position)
    }

    /// Of each entry where its reply will lie, if the archive keeps replies.
    fn places(&self, stretches: &[Stretch], replies: &[u8]) -> Result<Vec<u64>, &'static str> {
        if !self.contents.config.keeps_replies {
            let has_reply = |stretch: &Stretch| stretch.head.has_reply();
            return if !replies.is_empty() || stretches.iter().any(has_reply) {
                Err("this archive keeps no replies")
            } else {
                Ok(vec![])
            };
        }
        let mut rest = replies;
        let mut places = vec![];
        for Stretch { count, head } in stretches {
            for _ in 0..*count {
                if !head.has_reply() {
                    places.push(0);
                    continue;
                }
                places.push(self.contents.replies.length + (replies.len() - rest.len()) as u64);
                let after = (rest.split_first_chunk())
                    .and_then(|(length, rest)| rest.get(u32::from_le_bytes(*length) as usize..));
                rest = after.ok_or("a reply is missing")?;
            }
        }
        if rest.is_empty() {
            Ok(places)
        } else {
            Err("there are more replies than entries that have one")
        }
    }

    /// What it keeps of ids, in the order in which they are asked for. `archive` is the canister that answers. Of each run some 10 rows are
    /// looked at for each id, and never more than a binary search and 6 more: some 2,500 instructions.
    ///
    /// # Errors
    /// If what it finds is not what it wrote.
    pub fn look_up(&self, archive: Principal, ids: &[Id]) -> Result<LookedUp, Damaged> {
        let width = self.contents.runs.width;
        let keys = ids.iter().map(|id| row::key_of(id, width));
        let mut order: Vec<_> = keys.zip(0..ids.len()).collect();
        order.sort_unstable();
        let keys: Vec<_> = order.iter().map(|&(key, _)| key).collect();
        let mut found = vec![None; ids.len()];
        let rows = self.contents.runs.look_up(&self.extents, &keys);
        for (row, (_, index)) in rows.into_iter().zip(order) {
            found[index] = row.map(|row| self.found(row, &ids[index])).transpose()?;
        }
        Ok(LookedUp {
            archive,
            asked: ids.iter().copied().map(ByteArray::new).collect(),
            position: self.contents.position,
            found,
        })
    }

    fn found(&self, row: [u8; WIDE], id: &Id) -> Result<Found, Damaged> {
        let reply = if row::kept(&row) != 0 && self.contents.config.keeps_replies {
            Some(self.reply(row::place(&row)).ok_or(Damaged)?)
        } else {
            None
        };
        let entry = row::entry(&row, id, self.contents.runs.width);
        Ok(Found {
            entry: ByteBuf::from(entry),
            reply: reply.map(ByteBuf::from),
        })
    }

    fn reply(&self, place: u64) -> Option<Vec<u8>> {
        let replies = &self.contents.replies;
        let length = replies.read(&self.extents, place, 4)?;
        let length = u32::from_le_bytes(length.try_into().ok()?);
        replies.read(&self.extents, place + 4, length.into())
    }

    /// Merges up to so many rows. A row costs some 500 instructions, and each call what is to be read ahead: up to 800,000.
    pub fn merge(&mut self, rows: u64) -> Merged {
        let merged = self.contents.runs.merge(&mut self.extents, rows);
        if merged != Merged::Nothing {
            self.save();
        }
        merged
    }

    /// Whether there is something to merge.
    pub fn has_to_merge(&self) -> bool {
        self.contents.runs.has_to_merge()
    }

    /// Takes blocks that follow those taken before. Blocks that are there are compared, byte by byte; those after them are taken.
    ///
    /// # Errors
    /// If blocks that were taken are not what they were.
    pub fn append_blocks(&mut self, append: &AppendBlocks) -> Result<AppendedBlocks, Damaged> {
        let config = &self.contents.config;
        let appended =
            (self.contents.blocks).append(&mut self.extents, append, |extents, needed| {
                has_room(config, extents, needed)
            })?;
        self.save();
        Ok(appended)
    }

    /// The indexes of the blocks that are here.
    pub fn blocks(&self) -> Range<u64> {
        self.contents.blocks.first..self.contents.blocks.next()
    }

    /// Those of so many blocks from an index on that are here, up to so many bytes as they are stored. What they take is taken off `bytes`,
    /// and a block may take all the rest.
    ///
    /// # Errors
    /// If a block is not what was taken.
    pub fn get_blocks(
        &self,
        start: u64,
        length: u64,
        bytes: &mut usize,
    ) -> Result<Vec<BlockWithId>, Damaged> {
        let here = self.blocks();
        let end = start.saturating_add(length).min(here.end);
        let mut blocks = vec![];
        for index in start.max(here.start)..end {
            if *bytes == 0 {
                break;
            }
            let block = self.contents.blocks.get(&self.extents, index)?;
            let block = block.ok_or(Damaged)?;
            *bytes = bytes.saturating_sub(block.len());
            blocks.push(BlockWithId {
                id: Nat::from(index),
                block: Value::from_bytes(&block).map_err(|_| Damaged)?,
            });
        }
        Ok(blocks)
    }
}

fn malformed(reason: &str) -> Appended {
    Appended::Malformed(reason.to_owned())
}

/// Whether so many extents more may be used, and are there.
fn has_room<M: Memory>(config: &Config, extents: &mut Extents<M>, needed: u64) -> bool {
    let used = Extents::<M>::bytes_of(extents.used() + needed + FOR_MERGES);
    needed == 0 || used <= config.capacity_bytes && extents.reserve(needed)
}
