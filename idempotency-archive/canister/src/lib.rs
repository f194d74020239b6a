//! The archive canister: the endpoints of [`idempotency_archive`].
//!
//! Its owner appends and looks up. It merges in messages of its own, which timers cause; an upgrade in between loses nothing.
#![forbid(unsafe_code)]

use candid::{Decode, Nat};
use ic_cdk::{api, init, inspect_message, post_upgrade, query, update};
use ic_stable_structures::DefaultMemoryImpl;
use idempotency_archive::{
    Archive, Merged, OpenError,
    icrc3::{ArchiveInfo, GetArchivesArgs, GetBlocksArg, GetBlocksResult},
    wire::{AppendBlocks, AppendedBlocks},
};
use idempotency_core::archive::wire::{Append, Appended, Install, LookedUp, Status};
use serde_bytes::ByteArray;
use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

/// Instructions after which a merge goes on in another message.
const MERGE_INSTRUCTIONS: u64 = 1_500_000_000;

/// Rows that are merged before the instructions are looked at again.
const MERGE_ROWS: u64 = 100_000;

/// A timer that has not done its work for so long, in ns, is set again.
const LATE: u64 = 300_000_000_000;

/// Bytes of blocks in an answer, as they are stored: in candid they are a little more, and an answer may have 2 MiB.
const BLOCK_BYTES: usize = 1_500_000;

thread_local! {
    static ARCHIVE: RefCell<Option<Archive<DefaultMemoryImpl>>> = const { RefCell::new(None) };
    /// When the timer was set that merges; 0 if none is.
    static TIMER_SET_AT: Cell<u64> = const { Cell::new(0) };
}

fn with<T>(f: impl FnOnce(&mut Archive<DefaultMemoryImpl>) -> T) -> T {
    ARCHIVE.with_borrow_mut(|archive| match archive {
        Some(archive) => f(archive),
        None => api::trap("the archive is not open"),
    })
}

fn or_trap<T>(result: Result<T, impl std::fmt::Display>) -> T {
    result.unwrap_or_else(|error| api::trap(error.to_string()))
}

fn begin(archive: Result<Archive<DefaultMemoryImpl>, OpenError>) {
    ARCHIVE.set(Some(or_trap(archive)));
    merge_soon();
}

#[init]
fn init(install: Install) {
    begin(Archive::install(DefaultMemoryImpl::default(), &install));
}

#[post_upgrade(decode_with = "optional_install")]
fn post_upgrade(install: Option<Install>) {
    let memory = DefaultMemoryImpl::default();
    begin(match install {
        Some(install) => Archive::install(memory, &install),
        None => Archive::open(memory),
    });
}

/// No bytes are no argument, too.
fn optional_install(bytes: Vec<u8>) -> Option<Install> {
    if bytes.is_empty() {
        None
    } else {
        or_trap(Decode!(&bytes, Option<Install>))
    }
}

fn is_owner() -> Result<(), String> {
    if api::msg_caller() == with(|archive| archive.owner()) {
        Ok(())
    } else {
        Err("this is for the archive's owner".to_owned())
    }
}

fn is_owner_or_controller() -> Result<(), String> {
    if api::is_controller(&api::msg_caller()) {
        Ok(())
    } else {
        is_owner()
    }
}

/// An archive pays for each message from outside of the IC that it accepts.
#[inspect_message]
fn inspect_message() {
    if is_owner_or_controller().is_ok() || api::msg_method_name().starts_with("icrc3_") {
        api::accept_message();
    }
}

/// Takes a chunk of entries, and of the cycles that come with it what it lacks.
#[update(guard = "is_owner")]
fn idempotency_archive_append(append: Append) -> Appended {
    let appended = with(|archive| archive.append(&append));
    if matches!(appended, Appended::Taken(_)) {
        take_cycles();
        merge_soon();
    }
    appended
}

/// Takes blocks of the owner's ledger.
#[update(guard = "is_owner")]
fn idempotency_archive_append_blocks(append: AppendBlocks) -> AppendedBlocks {
    let appended = or_trap(with(|archive| archive.append_blocks(&append)));
    if matches!(appended, AppendedBlocks::Taken(_)) {
        take_cycles();
    }
    appended
}

fn take_cycles() {
    let liquid = api::canister_liquid_cycle_balance();
    let lacking = with(|archive| archive.lacking_cycles(liquid));
    api::msg_cycles_accept(lacking.min(api::msg_cycles_available()));
}

/// What it keeps of ids, in their order.
#[query(guard = "is_owner")]
fn idempotency_archive_look_up(ids: Vec<ByteArray<16>>) -> LookedUp {
    let ids: Vec<_> = ids.into_iter().map(ByteArray::into_array).collect();
    or_trap(with(|archive| {
        archive.look_up(ic_cdk::api::canister_self(), &ids)
    }))
}

/// How it is; for its owner and its controllers.
#[query(guard = "is_owner_or_controller")]
fn idempotency_archive_status() -> Status {
    let balance = api::canister_cycle_balance();
    with(|archive| archive.status(balance, api::canister_liquid_cycle_balance()))
}

/// Of the blocks asked for those that are here, up to what an answer has room for.
#[query]
fn icrc3_get_blocks(args: Vec<GetBlocksArg>) -> GetBlocksResult {
    with(|archive| {
        let mut blocks = vec![];
        let mut bytes = BLOCK_BYTES;
        for GetBlocksArg { start, length } in args {
            // No block has an index that is no u64.
            let Ok(start) = u64::try_from(start.0) else {
                continue;
            };
            let length = u64::try_from(length.0).unwrap_or(u64::MAX);
            blocks.extend(or_trap(archive.get_blocks(start, length, &mut bytes)));
        }
        GetBlocksResult {
            log_length: Nat::from(archive.blocks().end),
            blocks,
            archived_blocks: vec![],
        }
    })
}

/// None: the ledger knows its archives.
#[query]
fn icrc3_get_archives(_: GetArchivesArgs) -> Vec<ArchiveInfo> {
    vec![]
}

/// Sets the timer, if there is something to merge and none is set.
fn merge_soon() {
    let now = api::time();
    if with(|archive| archive.has_to_merge()) && now - TIMER_SET_AT.get() > LATE {
        TIMER_SET_AT.set(now);
        ic_cdk_timers::set_timer(Duration::ZERO, async { merge() });
    }
}

fn merge() {
    TIMER_SET_AT.set(0);
    while api::performance_counter(0u32) < MERGE_INSTRUCTIONS {
        match with(|archive| archive.merge(MERGE_ROWS)) {
            Merged::Rows(_) => {}
            // The next chunk has it try again.
            Merged::Nothing | Merged::NoMemory => return,
        }
    }
    merge_soon();
}

#[cfg(test)]
mod interface;
