//! A ledger before and after it has the attribute. Before, it keeps a map on the heap, as the ICRC ledgers do: the hash of each
//! transfer leads to its block. What was hashed stands in the block, from which `post_upgrade` builds the map again.

use crate::state::{Memory, memory};
use candid::{CandidType, Deserialize, Principal};
use ic_stable_structures::StableBTreeMap;
use idempotency_core::{
    IdempotencyError, Policy, Store, Timestamp, idempotent, import,
    import::{Arguments, Executed, Imported},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

/// For how long a transfer stays in the map: window and drift, ns.
const REMEMBERED: u64 = (24 * 60 + 1) * 60 * 1_000_000_000;

thread_local! {
    /// The ledger itself, which is there before and after.
    static BLOCKS: RefCell<StableBTreeMap<u64, Vec<u8>, Memory>> = RefCell::new(StableBTreeMap::init(memory(8)));

    /// What the ledger had before: the transfers of the last window.
    static SEEN: RefCell<BTreeMap<u64, u64>> = RefCell::default();

    /// What it has after.
    static TRANSFERS: Store<Memory> = Store::new(memory(9), Policy::new());

    /// The next block to be imported. After an upgrade it is the first one again, and those that were imported are known.
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

#[derive(CandidType, Clone, Deserialize, Hash)]
struct TransferArg {
    to: Principal,
    amount: u64,
    created_at_time: Option<u64>,
}

#[derive(CandidType, Clone, Deserialize)]
struct Block {
    from: Principal,
    arg: TransferArg,
    timestamp: u64,
}

#[derive(CandidType, Debug, Deserialize)]
enum TransferError {
    Duplicate { duplicate_of: u64 },
    Refused(IdempotencyError),
}

impl From<IdempotencyError> for TransferError {
    fn from(error: IdempotencyError) -> Self {
        Self::Refused(error)
    }
}

fn hash(from: Principal, arg: &TransferArg) -> u64 {
    let mut hasher = DefaultHasher::new();
    (from, arg).hash(&mut hasher);
    hasher.finish()
}

/// Moves the tokens, and gives the index of the new block.
fn append(from: Principal, arg: &TransferArg) -> u64 {
    let block = Block {
        from,
        arg: arg.clone(),
        timestamp: ic_cdk::api::time(),
    };
    let bytes = candid::encode_one(block).expect("a block encodes");
    BLOCKS.with_borrow_mut(|blocks| {
        let index = blocks.len();
        blocks.insert(index, bytes);
        index
    })
}

fn block(index: u64) -> Block {
    let bytes = BLOCKS.with_borrow(|blocks| blocks.get(&index));
    candid::decode_one(&bytes.expect("it is there")).expect("a block decodes")
}

fn remember(from: Principal, arg: &TransferArg, index: u64) {
    if arg.created_at_time.is_some() {
        SEEN.with_borrow_mut(|seen| seen.insert(hash(from, arg), index));
    }
}

fn seen(from: Principal, arg: &TransferArg) -> Option<u64> {
    arg.created_at_time?;
    SEEN.with_borrow(|seen| seen.get(&hash(from, arg)).copied())
}

pub(crate) fn install() {
    idempotency_core::install(&TRANSFERS);
    let since = ic_cdk::api::time().saturating_sub(REMEMBERED);
    for index in 0..BLOCKS.with_borrow(StableBTreeMap::len) {
        let Block {
            from,
            arg,
            timestamp,
        } = block(index);
        if timestamp >= since {
            remember(from, &arg, index);
        }
    }
}

/// The method before it had the attribute.
#[ic_cdk::update]
fn transfer_before(arg: TransferArg) -> Result<u64, TransferError> {
    let caller = ic_cdk::api::msg_caller();
    if let Some(duplicate_of) = seen(caller, &arg) {
        return Err(TransferError::Duplicate { duplicate_of });
    }
    let index = append(caller, &arg);
    remember(caller, &arg, index);
    Ok(index)
}

/// As many calls of `transfer_before`, by one caller and of different amounts.
#[ic_cdk::update]
fn transfers_before(count: u64) {
    for amount in 0..count {
        let arg = TransferArg {
            to: Principal::management_canister(),
            amount,
            created_at_time: Some(ic_cdk::api::time()),
        };
        transfer_before(arg).expect("it is a new one");
    }
}

/// The method after the upgrade. Until everything is imported it looks into the map, and does not write to it.
#[idempotent(
    store = TRANSFERS,
    key = arg.created_at_time.map(|created_at| (created_at, arg.to, arg.amount)),
    created_at = arg.created_at_time.map(Timestamp::from_nanos),
    fingerprint = off,
    on_replay = duplicate,
)]
#[ic_cdk::update]
fn transfer_after(arg: TransferArg) -> Result<u64, TransferError> {
    let caller = ic_cdk::api::msg_caller();
    if let Some(duplicate_of) = seen(caller, &arg) {
        return Err(TransferError::Duplicate { duplicate_of });
    }
    Ok(append(caller, &arg))
}

fn duplicate(first: Result<u64, TransferError>) -> Result<u64, TransferError> {
    first.and_then(|duplicate_of| Err(TransferError::Duplicate { duplicate_of }))
}

/// Imports the transfers of as many blocks: what became of them, whether there are more blocks, and the instructions that the
/// import took without reading them.
#[ic_cdk::update]
fn import_transfers(most: u64) -> (Imported, bool, u64) {
    let all = BLOCKS.with_borrow(StableBTreeMap::len);
    let indices = NEXT.get()..all.min(NEXT.get() + most);
    let calls = indices.clone().filter_map(|index| {
        let block = block(index);
        block.arg.created_at_time?;
        Some(Executed {
            caller: block.from,
            arguments: Arguments::Whole((block.arg,)),
            executed_at: Timestamp::from_nanos(block.timestamp),
            reply: Ok(index),
        })
    });
    let calls: Vec<_> = calls.collect();
    let before = ic_cdk::api::instruction_counter();
    let imported = import!(transfer_after, calls, most);
    let instructions = ic_cdk::api::instruction_counter() - before;
    let imported = imported.unwrap_or_else(|error| ic_cdk::trap(error.to_string()));
    NEXT.set(indices.end);
    (imported, indices.end < all, instructions)
}

/// What a later upgrade does, when everything is imported.
#[ic_cdk::update]
fn forget_what_was_seen() {
    SEEN.take();
}

#[ic_cdk::query]
fn blocks() -> u64 {
    BLOCKS.with_borrow(StableBTreeMap::len)
}
