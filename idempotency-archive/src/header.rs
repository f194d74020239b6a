//! The memory's first page: what it is, how it was installed, where it is, and where its files begin.
//!
//! ```text
//! offset  bytes  field
//!      0      8  "IDEMARCH"
//!      8      4  version of the layout: 1
//!     12      4  bytes of a row
//!     16     30  the owner: its length and its bytes
//!     46      8  capacity in entries
//!     54      8  capacity in bytes
//!     62     16  the balance that is wanted, in cycles
//!     78     24  position: entries and digest
//!    102     24  position before the last chunk
//!    126     12  log of replies: its first extent, its length in bytes
//!    138      8  index of the first block
//!    146      8  number of blocks
//!    154     12  log of the blocks' ends: its first extent, its length in bytes
//!    166     12  log of blocks: the same
//!    178      4  number of runs
//!    182     22  of each run: kind (1 whole, 2 source, 3 output), level of its merge, first extent, first row, end of its rows
//! ```
//!
//! Integers are little-endian. An extent is given as in a table of extents.

use crate::{
    archive::{Config, Contents, OpenError},
    blocks::Blocks,
    extents::{EXTENT, Opening},
    log::Log,
    row::{self, NARROW, WIDE},
    runs::{MAX_RUNS, Run, Runs, State},
};
use candid::Principal;
use ic_stable_structures::Memory;
use idempotency_core::archive::wire::Position;
use serde_bytes::ByteArray;

const MAGIC: [u8; 8] = *b"IDEMARCH";
const VERSION: u32 = 1;
const BEFORE_RUNS: usize = 182;
const RUN: usize = 22;
const _: () = assert!(BEFORE_RUNS + MAX_RUNS * RUN <= EXTENT);

/// The header's bytes.
pub(crate) fn write(contents: &Contents) -> Vec<u8> {
    let Contents {
        config,
        position,
        before,
        replies,
        blocks,
        runs,
    } = contents;
    let mut bytes = Vec::with_capacity(BEFORE_RUNS + RUN * runs.list.len());
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((runs.width as u32).to_le_bytes());
    let mut owner = [0; 30];
    let principal = config.owner.as_slice();
    owner[0] = principal.len() as u8;
    owner[1..=principal.len()].copy_from_slice(principal);
    bytes.extend(owner);
    bytes.extend(config.capacity.to_le_bytes());
    bytes.extend(config.capacity_bytes.to_le_bytes());
    bytes.extend(config.cycles.to_le_bytes());
    for position in [position, before] {
        bytes.extend(position.entries.to_le_bytes());
        bytes.extend(position.digest.as_slice());
    }
    let log = |log: &Log| {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&log.file.head().to_le_bytes());
        bytes[4..].copy_from_slice(&log.length.to_le_bytes());
        bytes
    };
    bytes.extend(log(replies));
    bytes.extend(blocks.first.to_le_bytes());
    bytes.extend(blocks.count.to_le_bytes());
    bytes.extend(log(&blocks.ends));
    bytes.extend(log(&blocks.data));
    bytes.extend((runs.list.len() as u32).to_le_bytes());
    for run in &runs.list {
        bytes.extend(match run.state {
            State::Whole => [1, 0],
            State::Source(level) => [2, level],
            State::Output(level) => [3, level],
        });
        bytes.extend(run.file.head().to_le_bytes());
        bytes.extend(run.from.to_le_bytes());
        bytes.extend(run.to.to_le_bytes());
    }
    bytes
}

/// Bytes that are read one field after the other; zeros beyond their end.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().unwrap_or((&[0; N], &[]));
        self.0 = rest;
        *field
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    fn position(&mut self) -> Position {
        Position {
            entries: self.u64(),
            digest: ByteArray::new(self.bytes()),
        }
    }

    fn log<M: Memory>(&mut self, opening: &mut Opening<M>) -> Result<Log, OpenError> {
        let (head, length) = (self.u32(), self.u64());
        let file = opening.file(head, length.div_ceil(EXTENT as u64))?;
        Ok(Log { file, length })
    }

    fn run<M: Memory>(&mut self, width: usize, opening: &mut Opening<M>) -> Result<Run, OpenError> {
        let state = match self.bytes() {
            [1, 0] => State::Whole,
            [2, level @ 0..64] => State::Source(level),
            [3, level @ 0..64] => State::Output(level),
            _ => return Err(OpenError::Damaged("a run is of no kind")),
        };
        let (head, from, to) = (self.u32(), self.u64(), self.u64());
        let per_extent = row::per_extent(width);
        let is_new = matches!(state, State::Output(_)) && to == 0;
        if from >= per_extent || from > to || (from == to && !is_new) {
            return Err(OpenError::Damaged("a run has no rows"));
        }
        let file = opening.file(head, to.div_ceil(per_extent))?;
        Ok(Run {
            file,
            from,
            to,
            state,
        })
    }
}

/// What a memory's header says; each of its files is opened.
pub(crate) fn read<M: Memory>(memory: &M) -> Result<Vec<u8>, OpenError> {
    let mut page = vec![0; EXTENT];
    if memory.size() > 0 {
        memory.read(0, &mut page);
    }
    if page[..8] != MAGIC {
        return Err(OpenError::Foreign);
    }
    Ok(page)
}

/// The contents that a header tells of.
pub(crate) fn contents<M: Memory>(
    page: &[u8],
    opening: &mut Opening<M>,
) -> Result<Contents, OpenError> {
    let mut fields = Fields(page);
    let _: [u8; 8] = fields.bytes();
    let version = fields.u32();
    if version != VERSION {
        return Err(OpenError::Version(version));
    }
    let width = fields.u32() as usize;
    if width != NARROW && width != WIDE {
        return Err(OpenError::Damaged("rows have another width"));
    }
    let owner: [u8; 30] = fields.bytes();
    let owner = (owner[1..].get(..usize::from(owner[0])))
        .and_then(|bytes| Principal::try_from_slice(bytes).ok())
        .ok_or(OpenError::Damaged("the owner is no principal"))?;
    let config = Config {
        owner,
        keeps_replies: width == WIDE,
        capacity: fields.u64(),
        capacity_bytes: fields.u64(),
        cycles: u128::from_le_bytes(fields.bytes()),
    };
    let (position, before) = (fields.position(), fields.position());
    let replies = fields.log(opening)?;
    let (first, count) = (fields.u64(), fields.u64());
    let (ends, data) = (fields.log(opening)?, fields.log(opening)?);
    if count.checked_mul(8) != Some(ends.length) || first.checked_add(count).is_none() {
        return Err(OpenError::Damaged("blocks are missing"));
    }
    let blocks = Blocks {
        first,
        count,
        ends,
        data,
    };
    let count = fields.u32() as usize;
    if count > MAX_RUNS {
        return Err(OpenError::Damaged("there are too many runs"));
    }
    let list = (0..count)
        .map(|_| fields.run(width, opening))
        .collect::<Result<Vec<_>, _>>()?;
    let runs = Runs { width, list };
    if !runs.is_sound() {
        return Err(OpenError::Damaged("a merge has lost its runs"));
    }
    Ok(Contents {
        config,
        position,
        before,
        replies,
        blocks,
        runs,
    })
}
