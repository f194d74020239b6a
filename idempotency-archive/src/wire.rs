//! What a ledger and its archive say to each other of blocks. What they say of entries is in [`idempotency_core::archive::wire`].

use candid::CandidType;
use serde::Deserialize;
use serde_bytes::ByteBuf;

/// The method of an archive by which its owner appends blocks: `(AppendBlocks) -> (AppendedBlocks)`.
pub const APPEND_BLOCKS: &str = "idempotency_archive_append_blocks";

/// Blocks that follow one another.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct AppendBlocks {
    /// The index of the first. The first call says with which block the archive begins.
    pub from: u64,
    /// Each as [`Value::to_bytes`](crate::icrc3::Value::to_bytes) gives it.
    pub blocks: Vec<ByteBuf>,
}

/// What became of blocks.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub enum AppendedBlocks {
    /// They are kept, now or since an earlier time. The next block has this index.
    Taken(u64),
    /// Others are missing before them, or came before the archive's first. Nothing has changed. The next block has this index.
    OutOfPlace(u64),
    /// The archive holds another block of this index. Nothing has changed.
    Different(u64),
    /// The archive takes no more blocks. Nothing has changed. The next block would have this index.
    Full(u64),
    /// They are no blocks, for this reason. Nothing has changed.
    Malformed(String),
}
