//! The canister with archives, `tests/archived`: how it is installed, and what it answers.

use candid::{CandidType, Principal};
use idempotency_core::IdempotencyError;
use serde::Deserialize;
use serde_bytes::ByteBuf;

/// What archives keep: ids.
pub const IDS: u8 = 0;
/// Digests of replies, too.
pub const DIGESTS: u8 = 1;
/// Replies, too.
pub const REPLIES: u8 = 2;
/// There are no archives.
pub const NOTHING: u8 = 3;

/// How it is installed; its own type says more.
#[derive(CandidType, Clone, Debug, Deserialize)]
pub struct Settings {
    /// [`IDS`], [`DIGESTS`], [`REPLIES`] or [`NOTHING`].
    pub keep: u8,
    /// In seconds.
    pub window: u64,
    /// Requests that the store holds.
    pub capacity: u64,
    /// One in so many new requests is taken for an old one.
    pub one_in: u32,
    /// Those that are given; without any, it makes its own.
    pub archives: Vec<Principal>,
    /// The hash of the module of those.
    pub module: ByteBuf,
    /// How many ids one of its own may hold.
    pub archive_capacity: u64,
    /// It forgets to install its archives.
    pub is_forgotten: bool,
}

/// Why there is no number.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub enum Failure {
    /// The function says so.
    Own(String),
    /// The library does.
    Idempotency(IdempotencyError),
}

/// What its methods answer.
pub type Answer = Result<u64, Failure>;
