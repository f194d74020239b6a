//! What the runner asks of the canister, and what it is told.
#![forbid(unsafe_code)]

use candid::{CandidType, Deserialize, Principal};
use std::time::Duration;

/// When request number 0 is made, in seconds since the UNIX epoch: after the genesis of any replica.
pub const EPOCH_SECONDS: u64 = 1_893_456_000;

/// From one request to the next: 200 a second, so that 10,000,000 fit into the window.
pub const STEP: Duration = Duration::from_millis(5);

/// Lanes that there can be, over which the numbers of requests go round.
pub const LANES: u64 = 1 << 20;

/// How long a request is remembered.
pub const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// The memory of the ledger's store too, so that it can be filled for the ledger.
pub const STORE_MEMORY: u8 = 10;

/// One of those that are compared.
#[derive(CandidType, Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Who {
    /// This library.
    Store,
    /// This library, with requests that have aliases.
    Aliased,
    /// Its sequence numbers: request `number` is number `number / LANES` in lane `number % LANES`.
    Sequences,
    /// This library, with a hash tree.
    Certified,
    /// Two `StableBTreeMap`s.
    TwoBtrees,
    /// The heap map and queue of the ICRC ledgers.
    HeapPair,
}

/// What is measured.
#[derive(CandidType, Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Operation {
    /// Only makes the request ready: what a message costs besides.
    Nothing,
    /// Looks up a new request and records it.
    Insert,
    /// Looks up a known request and reads its record.
    Hit,
    /// Looks up an unknown request.
    Miss,
    /// Forgets the oldest request or, where requests are forgotten together, the oldest of such groups.
    Expire,
}

/// What to do in one message.
#[derive(CandidType, Clone, Debug, Deserialize)]
pub struct Work {
    /// With what.
    pub who: Who,
    /// What.
    pub operation: Operation,
    /// The number of the first request. `Expire` happens when this one expires.
    pub first: u64,
    /// How many requests, or steps of `Expire`.
    pub count: u32,
    /// Bytes of the reply that is recorded.
    pub reply_bytes: u32,
}

/// Instructions used by the operations alone.
#[derive(CandidType, Clone, Copy, Debug, Default, Deserialize)]
pub struct Measured {
    /// By all of them.
    pub total: u64,
    /// By the dearest.
    pub dearest: u64,
    /// How many requests were worked on: with `Expire`, those that were forgotten.
    pub requests: u64,
}

/// The room that a contestant takes, in pages of 64 KiB.
#[derive(CandidType, Clone, Copy, Debug, Deserialize)]
pub struct Room {
    /// Of its own stable memories.
    pub stable_pages: u64,
    /// Of the canister's heap.
    pub heap_pages: u64,
}

/// An ICRC-1 account.
#[derive(CandidType, Clone, Debug, Deserialize)]
pub struct Account {
    /// Whose.
    pub owner: Principal,
    /// Which of theirs.
    pub subaccount: Option<serde_bytes::ByteBuf>,
}

/// The argument of ICRC-1's `icrc1_transfer`.
#[derive(CandidType, Clone, Debug, Deserialize)]
pub struct TransferArg {
    /// Which of the caller's accounts pays.
    pub from_subaccount: Option<serde_bytes::ByteBuf>,
    /// Who receives.
    pub to: Account,
    /// How much.
    pub amount: candid::Nat,
    /// The fee the caller expects.
    pub fee: Option<candid::Nat>,
    /// The request id, here.
    pub memo: Option<serde_bytes::ByteBuf>,
    /// When the caller made it, in nanoseconds.
    pub created_at_time: Option<u64>,
}

/// What may hold ids.
#[derive(CandidType, Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Filter {
    /// This library's, as a canister has it.
    Generations,
    /// This library's, in one generation.
    Bloom,
    /// A cuckoo filter in stable memory.
    Cuckoo,
    /// A binary fuse filter, made on the heap, in stable memory.
    Fuse,
}

/// What to do with a filter in one message.
#[derive(CandidType, Clone, Copy, Debug, Deserialize)]
pub struct FilterWork {
    /// Puts ids in; else looks them up.
    pub insert: bool,
    /// The number of the first id.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// What came of it.
#[derive(CandidType, Clone, Debug, Deserialize)]
pub struct FilterWorked {
    /// Instructions used by the filter alone.
    pub instructions: u64,
    /// How many of the ids that were looked up it may hold.
    pub held: u64,
    /// Bytes that the filter takes.
    pub bytes: u64,
    /// Why not all ids are in it.
    pub error: Option<String>,
}
