//! The block log: the last blocks, and who keeps those before them.
//!
//! The blocks that the ledger keeps itself lie in two append-only logs, an older and a newer one. When all of the older one are archived
//! it is emptied and becomes the newer one. So their memory is used again, and no block ever moves.

use std::{collections::VecDeque, fmt, ops::Range};

use candid::{CandidType, Principal};
use ic_stable_structures::{Memory, StableCell, StableLog};
use idempotency_archive::icrc3::Value;
use serde::Deserialize;

use crate::blocks::{Block, Hash};

/// Each entry ends with the hash of its block.
const HASH_BYTES: usize = 32;

/// The blocks of a ledger.
pub struct Log<M: Memory> {
    stored: StableCell<Vec<u8>, M>,
    state: State,
    /// The older and the newer one.
    logs: VecDeque<StableLog<Vec<u8>, M, M>>,
    /// The hash of the last block.
    tip: Option<Hash>,
}

/// Stored in candid, which lets later versions add fields.
#[derive(CandidType, Deserialize, Clone, Debug, Default)]
struct State {
    /// Whether the second pair of memories has the older blocks.
    is_turned: bool,
    /// The index of the first block that was appended to the older log, and to the newer one.
    starts: (u64, u64),
    /// In the order of their blocks, without a gap from block 0 on.
    archived: Vec<Archived>,
}

/// Blocks that an archive has.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// The archive.
    pub canister: Principal,
    /// Its first block.
    pub start: u64,
    /// The block after its last one.
    pub end: u64,
}

/// The memories of a log.
#[derive(Debug)]
pub struct Memories<M> {
    /// For what is known of the blocks.
    pub state: M,
    /// For the blocks: the index of a log and its entries, twice.
    pub logs: [(M, M); 2],
}

impl<M: Memory> Log<M> {
    /// The log in these memories, or an empty one.
    pub fn init(memories: Memories<M>) -> Self {
        let stored = StableCell::init(memories.state, encoded(&State::default()));
        let state: State =
            candid::decode_one(stored.get()).expect("the cell holds what this type wrote");
        let mut logs: VecDeque<StableLog<Vec<u8>, M, M>> = memories
            .logs
            .map(|(index, data)| StableLog::init(index, data))
            .into();
        if state.is_turned {
            logs.swap(0, 1);
        }
        let last = logs.iter().rev().find(|log| !log.is_empty());
        let tip = last
            .and_then(|log| log.get(log.len() - 1))
            .map(|entry| *hash_of(&entry).1);
        Self {
            stored,
            state,
            logs,
            tip,
        }
    }

    /// The number of blocks, archived ones included.
    pub fn len(&self) -> u64 {
        self.state.starts.1 + self.logs[1].len()
    }

    /// Whether there is no block.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The index and the hash of the last block.
    pub fn tip(&self) -> Option<(u64, Hash)> {
        Some((self.len().checked_sub(1)?, self.tip?))
    }

    /// The first block that the ledger keeps itself.
    pub fn first(&self) -> u64 {
        self.state.archived.last().map_or(0, |last| last.end)
    }

    /// Which archives have the blocks before [`first`](Self::first).
    pub fn archived(&self) -> &[Archived] {
        &self.state.archived
    }

    /// The block with that index, if the ledger keeps it itself.
    pub fn get(&self, index: u64) -> Option<Value> {
        let entry = self.entry(index)?;
        let (bytes, _) = hash_of(&entry);
        Some(Value::from_bytes(bytes).expect("the log holds what this type wrote"))
    }

    /// Adds a block and gives its index. Its parent is the last one.
    ///
    /// # Panics
    /// If there is no memory left. The message is undone, then.
    pub fn append(&mut self, block: &Block) -> u64 {
        let value = block.to_value(self.tip);
        let hash = value.hash();
        let mut entry = value.to_bytes().expect("a block is four deep");
        entry.extend(hash);
        let number = self.logs[1]
            .append(&entry)
            .expect("no stable memory left for the transaction log; the transaction is undone");
        self.tip = Some(hash);
        self.state.starts.1 + number
    }

    /// Whether there are blocks before the last `keep`.
    pub fn is_to_archive(&self, keep: u64) -> bool {
        self.first() < self.len().saturating_sub(keep.max(1))
    }

    /// Blocks to archive next, as they are stored: from the first one that the ledger keeps, at most `most` and about `most_bytes`, and
    /// none of the last `keep`. The last block always stays: the next one needs its hash.
    pub fn to_archive(&self, keep: u64, most: u64, most_bytes: usize) -> Vec<Vec<u8>> {
        let first = self.first();
        let end = self.len().saturating_sub(keep.max(1));
        let mut bytes = 0;
        let mut blocks = vec![];
        for index in first..end.min(first.saturating_add(most)) {
            let Some(mut entry) = self.entry(index).filter(|_| bytes < most_bytes) else {
                break;
            };
            entry.truncate(entry.len() - HASH_BYTES);
            bytes += entry.len();
            blocks.push(entry);
        }
        blocks
    }

    /// An archive has the blocks before `end`: the ledger forgets them. What it doesn't have, and the last block, stay.
    pub fn confirm(&mut self, canister: Principal, end: u64) {
        let first = self.first();
        let end = end.min(self.len().saturating_sub(1));
        if end <= first {
            return;
        }
        match self.state.archived.last_mut() {
            Some(last) if last.canister == canister => last.end = end,
            _ => self.state.archived.push(Archived {
                canister,
                start: first,
                end,
            }),
        }
        // The newer log has the last block, so the older one has nothing that is still needed.
        if self.state.starts.1 < end {
            self.turn();
        }
        self.stored.set(encoded(&self.state));
    }

    fn turn(&mut self) {
        if let Some(older) = self.logs.pop_front() {
            let (index, data) = older.into_memories();
            let length = self.state.starts.1 + self.logs[0].len();
            self.logs.push_back(StableLog::new(index, data));
            self.state.starts = (self.state.starts.1, length);
            self.state.is_turned = !self.state.is_turned;
        }
    }

    fn entry(&self, index: u64) -> Option<Vec<u8>> {
        if index < self.first() {
            return None;
        }
        let (older, newer) = self.state.starts;
        match index.checked_sub(newer) {
            Some(number) => self.logs[1].get(number),
            None => self.logs[0].get(index.checked_sub(older)?),
        }
    }

    /// The parts of a range that the ledger keeps itself, and that archives have, in order.
    pub(crate) fn parts(
        &self,
        range: Range<u64>,
    ) -> impl Iterator<Item = (Range<u64>, Option<Principal>)> {
        let own = (self.first()..self.len(), None);
        let archived = self.state.archived.iter();
        archived
            .map(|it| (it.start..it.end, Some(it.canister)))
            .chain([own])
            .map(move |(part, canister)| {
                (
                    part.start.max(range.start)..part.end.min(range.end),
                    canister,
                )
            })
            .filter(|(part, _)| !part.is_empty())
    }
}

impl<M: Memory> fmt::Debug for Log<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("state", &self.state)
            .field("tip", &self.tip())
            .finish_non_exhaustive()
    }
}

/// An entry: the block as it is stored, and its hash.
fn hash_of(entry: &[u8]) -> (&[u8], &Hash) {
    entry
        .split_last_chunk::<HASH_BYTES>()
        .expect("each entry ends with a hash")
}

fn encoded(state: &State) -> Vec<u8> {
    candid::encode_one(state).expect("plain data")
}
