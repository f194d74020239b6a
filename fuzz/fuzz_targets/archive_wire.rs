//! Any bytes as what a canister and its archives say to each other, and as what a canister has noted of its archives: they are refused, or are
//! what they were when they are written again.

#![no_main]

use candid::{CandidType, Principal, decode_one, encode_one};
use ic_stable_structures::VectorMemory;
use idempotency_archive::{Archive, icrc3::Value, wire::AppendBlocks};
use idempotency_core::archive::{
    __reads_any_bytes, sent_bytes,
    wire::{Append, Appended, Install, LookedUp, Position, Status},
};
use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeOwned;
use serde_bytes::{ByteArray, ByteBuf};

fn read<T: CandidType + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let read: T = decode_one(bytes).ok()?;
    let again = encode_one(&read).expect("it was decoded");
    assert_eq!(decode_one(&again).ok().as_ref(), Some(&read));
    Some(read)
}

fn archive(keeps_replies: bool) -> Archive<VectorMemory> {
    let install = Install {
        owner: Principal::anonymous(),
        keeps_replies,
        capacity: 1_000_000,
        capacity_bytes: 64 << 20,
        cycles: 0u8.into(),
    };
    Archive::install(VectorMemory::default(), &install).expect("there is memory")
}

/// Whatever an archive takes, it finds.
fn take(append: &Append) {
    for keeps_replies in [false, true] {
        let mut archive = archive(keeps_replies);
        let before = archive.status(0, 0).position;
        match archive.append(append) {
            Appended::Taken(after) => {
                assert_eq!(archive.append(append), Appended::Taken(after));
                let ids: Vec<[u8; 16]> = append
                    .entries
                    .chunks(sent_bytes(keeps_replies))
                    .filter_map(|it| it.first_chunk().copied())
                    .collect();
                let found = archive
                    .look_up(Principal::anonymous(), &ids)
                    .expect("it is sound");
                assert!(found.found.iter().all(Option::is_some));
            }
            _ => assert_eq!(archive.status(0, 0).position, before),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    assert!(__reads_any_bytes(bytes));
    let _ = read::<Appended>(bytes);
    let _ = read::<LookedUp>(bytes);
    let _ = read::<Status>(bytes);
    let _ = read::<Install>(bytes);
    let _: Option<Vec<ByteArray<16>>> = decode_one(bytes).ok();
    if let Some(append) = read::<Append>(bytes) {
        take(&append);
    }
    if let Some(append) = read::<AppendBlocks>(bytes) {
        let _ = archive(false).append_blocks(&append);
    }
    // As entries, times and replies, without candid around them.
    if let Some(([count, of_entries, of_times], rest)) = bytes.split_first_chunk() {
        let part = |rest: &[u8], share: &u8| rest.len() * usize::from(*share) / 255;
        let (entries, rest) = rest.split_at(part(rest, of_entries));
        let (times, replies) = rest.split_at(part(rest, of_times));
        let [entries, times, replies] = [entries, times, replies].map(ByteBuf::from);
        take(&Append {
            from: Position::default(),
            after: Position {
                entries: u64::from(*count),
                ..Position::default()
            },
            entries,
            times,
            replies,
        });
    }
    let _ = Value::from_bytes(bytes);
});
