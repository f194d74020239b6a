//! What `cargo xtask bench` measures of archives: the structures alone, so that each message can measure itself.
#![forbid(unsafe_code)]

use candid::{Decode, Encode};
use ic_cdk::{api, init, update};
use ic_stable_structures::DefaultMemoryImpl;
use idempotency_archive::{Archive, Merged};
use idempotency_core::archive::{
    Id, entry_bytes,
    wire::{Append, Appended, Install},
};
use std::cell::RefCell;

thread_local! {
    static ARCHIVE: RefCell<Option<Archive<DefaultMemoryImpl>>> = const { RefCell::new(None) };
}

fn with<T>(f: impl FnOnce(&mut Archive<DefaultMemoryImpl>) -> T) -> T {
    ARCHIVE.with_borrow_mut(|archive| f(archive.as_mut().expect("it is installed")))
}

#[init]
fn init(keeps_replies: bool) {
    let install = Install {
        owner: api::canister_self(),
        keeps_replies,
        capacity: u64::MAX,
        capacity_bytes: u64::MAX,
        cycles: 0u8.into(),
    };
    let archive = Archive::install(DefaultMemoryImpl::default(), &install);
    ARCHIVE.set(Some(archive.expect("the memory is empty")));
}

/// The id of a number, like a hash's.
fn id(number: u64) -> Id {
    let mut state = number;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let n = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        n ^ (n >> 31)
    };
    (u128::from(next()) << 64 | u128::from(next())).to_be_bytes()
}

fn counter() -> u64 {
    api::performance_counter(0u32)
}

/// Appends the ids of so many numbers, with replies of so many bytes if the archive keeps them: the instructions for decoding the chunk, and
/// for taking it.
#[update]
fn append(first: u64, count: u64, reply: Option<u32>) -> (u64, u64) {
    let mut replies = vec![];
    let entries = (first..first + count).map(|number| {
        if let Some(length) = reply {
            replies.extend(length.to_le_bytes());
            replies.resize(replies.len() + length as usize, 2);
        }
        let mut entry = vec![1; entry_bytes(reply.is_some())];
        entry[..16].copy_from_slice(&id(number));
        // A hundred in a block.
        entry[16..22].copy_from_slice(&(number / 100 * 500).to_le_bytes()[..6]);
        entry[22] = u8::from(reply.is_some());
        entry
    });
    let entries: Vec<_> = entries.collect();
    let from = with(|archive| archive.status(0, 0).position);
    let chunk = Append::of(from, entries, replies);
    let sent = Encode!(&chunk).expect("a chunk is encoded");
    drop(chunk);
    let begun = counter();
    let chunk = Decode!(&sent, Append).expect("a chunk is decoded");
    let decoded = counter();
    let appended = with(|archive| archive.append(&chunk));
    let ended = counter();
    assert!(matches!(appended, Appended::Taken(_)), "{appended:?}");
    (decoded - begun, ended - decoded)
}

/// Merges up to so many rows: how many, and the instructions.
#[update]
fn merge(rows: u64) -> (u64, u64) {
    let begun = counter();
    let merged = with(|archive| archive.merge(rows));
    let instructions = counter() - begun;
    match merged {
        Merged::Rows(rows) => (rows, instructions),
        Merged::Nothing => (0, instructions),
        Merged::NoMemory => api::trap("there is no memory"),
    }
}

/// Looks up the ids of so many numbers at once: how many are there, and the instructions.
#[update]
fn look_up(first: u64, count: u64) -> (u64, u64) {
    let ids: Vec<_> = (first..first + count).map(id).collect();
    let begun = counter();
    let found = with(|archive| archive.look_up(candid::Principal::anonymous(), &ids))
        .expect("nothing is damaged");
    let instructions = counter() - begun;
    (found.found.iter().flatten().count() as u64, instructions)
}

/// Opens the archive again: the instructions.
#[update]
fn open() -> u64 {
    let begun = counter();
    let archive = Archive::open(DefaultMemoryImpl::default()).expect("an archive");
    let instructions = counter() - begun;
    ARCHIVE.set(Some(archive));
    instructions
}

/// Bytes of the memory, and runs.
#[update]
fn held() -> (u64, u32) {
    with(|archive| (archive.bytes(), archive.status(0, 0).runs))
}
