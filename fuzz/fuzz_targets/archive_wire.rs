//! Any bytes as what a canister and its archives say to each other, and as what a canister has noted of its archives: they are refused, or are
//! what they were when they are written again, and what an archive takes it finds.

#![no_main]

use arbitrary::Arbitrary;
use candid::{CandidType, DecoderConfig, Principal, decode_one_with_config, encode_one};
use ic_stable_structures::VectorMemory;
use idempotency_archive::{
    Archive,
    icrc3::Value,
    wire::{AppendBlocks, AppendedBlocks},
};
use idempotency_core::archive::{
    __reads_any_bytes, Id, entry_bytes, sent_bytes,
    wire::{Append, Appended, Found, Install, LookedUp, Position, Status},
};
use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeOwned;
use serde_bytes::{ByteArray, ByteBuf};

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    /// Of any kind.
    Bytes(&'a [u8]),
    /// A message, with changes in its candid.
    Message {
        kind: u8,
        patches: Vec<(u8, u8)>,
        bytes: &'a [u8],
    },
    /// Chunks for one archive that follow one another.
    Chunks {
        keeps_replies: bool,
        chunks: Vec<Chunk<'a>>,
    },
    Blocks(Vec<Blocks<'a>>),
}

#[derive(Arbitrary, Debug)]
struct Chunk<'a> {
    /// As they are kept, one behind the other.
    entries: &'a [u8],
    replies: Vec<&'a [u8]>,
    /// Changes in entries, times and replies, as they are sent.
    patches: Vec<(Part, u8, u8)>,
}

#[derive(Arbitrary, Debug)]
enum Part {
    Entries,
    Times,
    Replies,
}

#[derive(Arbitrary, Debug)]
struct Blocks<'a> {
    from: u64,
    back: u8,
    blocks: Vec<&'a [u8]>,
}

fn patch(bytes: &mut Vec<u8>, at: u8, byte: u8) {
    match bytes.get_mut(usize::from(at)) {
        Some(there) => *there = byte,
        None => bytes.push(byte),
    }
}

fn read<T: CandidType + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    // As canisters do: without a quota what is skipped may take for ever.
    let mut config = DecoderConfig::new();
    config.set_skipping_quota(10_000);
    let read: T = decode_one_with_config(bytes, &config).ok()?;
    let again = encode_one(&read).expect("it was decoded");
    assert_eq!(
        decode_one_with_config(&again, &config).ok().as_ref(),
        Some(&read)
    );
    Some(read)
}

fn install(keeps_replies: bool) -> Install {
    Install {
        owner: Principal::anonymous(),
        keeps_replies,
        capacity: 1_000_000,
        capacity_bytes: 64 << 20,
        cycles: 0u8.into(),
    }
}

fn archive(keeps_replies: bool) -> Archive<VectorMemory> {
    Archive::install(VectorMemory::default(), &install(keeps_replies)).expect("there is memory")
}

/// Whatever an archive takes, it finds. Whether it has taken it.
fn take(archive: &mut Archive<VectorMemory>, append: &Append, keeps_replies: bool) -> bool {
    let before = archive.status(0, 0).position;
    let taken = archive.append(append);
    if !matches!(taken, Appended::Taken(_)) {
        assert_eq!(archive.status(0, 0).position, before);
        return false;
    }
    assert_eq!(archive.append(append), taken);
    let ids: Vec<Id> = (append.entries.chunks(sent_bytes(keeps_replies)))
        .filter_map(|it| it.first_chunk().copied())
        .collect();
    for (found, id) in look_up(archive, &ids).iter().zip(&ids) {
        let found = found.as_ref().expect("it was taken");
        assert_eq!(&found.entry[..16], id);
    }
    true
}

fn look_up(archive: &Archive<VectorMemory>, ids: &[Id]) -> Vec<Option<Found>> {
    let found = archive.look_up(Principal::anonymous(), ids);
    found.expect("it is sound").found
}

/// Chunks as a canister sends them: what is found of each request is one of the entries that were sent, with its reply.
fn take_chunks(keeps_replies: bool, chunks: &[Chunk]) {
    let mut archive = archive(keeps_replies);
    let (mut sent, mut replies) = (vec![], vec![vec![]]);
    for chunk in chunks {
        let entries = chunk.entries.chunks_exact(entry_bytes(keeps_replies));
        let prefixed = chunk.replies.iter().map(|reply| {
            let length = (reply.len() as u32).to_le_bytes();
            [&length, *reply].concat()
        });
        let from = archive.status(0, 0).position;
        let mut append = Append::of(from, entries.clone(), prefixed.collect::<Vec<_>>().concat());
        for (part, at, byte) in &chunk.patches {
            let part = match part {
                Part::Entries => &mut append.entries,
                Part::Times => &mut append.times,
                Part::Replies => &mut append.replies,
            };
            patch(part, *at, *byte);
        }
        if take(&mut archive, &append, keeps_replies) && chunk.patches.is_empty() {
            sent.extend(entries);
            replies.extend(chunk.replies.iter().map(|reply| reply.to_vec()));
        }
    }
    if chunks.iter().any(|chunk| !chunk.patches.is_empty()) {
        return;
    }
    let ids: Vec<Id> = sent
        .iter()
        .filter_map(|it| it.first_chunk().copied())
        .collect();
    for found in look_up(&archive, &ids) {
        let Found { entry, reply } = found.expect("it was taken");
        // Of ids alone the first three bytes are not kept.
        assert!(sent.iter().any(|sent| sent[3..] == entry[3..]));
        assert!(reply.is_none_or(|reply| replies.contains(&reply.into_vec())));
    }
}

/// As entries, times and replies, without candid around them.
fn take_parts(bytes: &[u8]) {
    let Some(([of_entries, of_times], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let part = |rest: &[u8], share: &u8| rest.len() * usize::from(*share) / 255;
    let (entries, rest) = rest.split_at(part(rest, of_entries));
    let (times, replies) = rest.split_at(part(rest, of_times));
    let [entries, times, replies] = [entries, times, replies].map(ByteBuf::from);
    for keeps_replies in [false, true] {
        let mut append = Append {
            from: Position::default(),
            after: Position::default(),
            entries: entries.clone(),
            times: times.clone(),
            replies: replies.clone(),
        };
        append.after.entries = append.count(keeps_replies) as u64;
        take(&mut archive(keeps_replies), &append, keeps_replies);
    }
}

fn take_blocks(all: &[Blocks]) {
    let mut archive = archive(false);
    for Blocks { from, back, blocks } in all {
        let here = archive.blocks();
        let append = AppendBlocks {
            from: match here.is_empty() {
                true => *from,
                false => here.end.wrapping_sub((*back).into()),
            },
            blocks: blocks.iter().copied().map(ByteBuf::from).collect(),
        };
        let appended = archive.append_blocks(&append).expect("it is sound");
        if matches!(appended, AppendedBlocks::Taken(_)) {
            let got = archive.get_blocks(append.from, u64::MAX, &mut usize::MAX.clone());
            let got = got.expect("it is sound").into_iter().map(|got| got.block);
            let sent = append.blocks.iter();
            let sent = sent.map(|block| Value::from_bytes(block).expect("it was taken"));
            assert!(sent.zip(got).all(|(sent, got)| sent == got));
        } else {
            assert_eq!(archive.blocks(), here);
        }
    }
}

/// One of the messages, with bytes in it.
fn message(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let position = Position {
        entries: bytes.len() as u64,
        digest: ByteArray::default(),
    };
    let text = || String::from_utf8_lossy(bytes).into_owned();
    let blob = || ByteBuf::from(bytes);
    let found = || Found {
        entry: blob(),
        reply: Some(blob()),
    };
    let encoded = match kind % 8 {
        0 => encode_one(Appended::Taken(position)),
        1 => encode_one(Appended::Malformed(text())),
        2 => encode_one(LookedUp {
            archive: Principal::anonymous(),
            asked: vec![ByteArray::default()],
            position,
            found: vec![Some(found()), None],
        }),
        3 => encode_one(Status {
            owner: Principal::anonymous(),
            position,
            capacity: 0,
            bytes: 0,
            runs: 0,
            cycles: 0u8.into(),
            lacking_cycles: 0u8.into(),
        }),
        4 => encode_one(install(true)),
        5 => encode_one(vec![ByteArray::<16>::default()]),
        6 => encode_one(AppendBlocks {
            from: 0,
            blocks: vec![blob(), blob()],
        }),
        _ => encode_one(Append {
            from: Position::default(),
            after: position,
            entries: blob(),
            times: blob(),
            replies: blob(),
        }),
    };
    encoded.expect("it has a type")
}

fn read_all(bytes: &[u8]) {
    let _ = read::<Appended>(bytes);
    let _ = read::<LookedUp>(bytes);
    let _ = read::<Status>(bytes);
    let _ = read::<AppendedBlocks>(bytes);
    let _ = read::<Vec<ByteArray<16>>>(bytes);
    if let Some(install) = read::<Install>(bytes) {
        let _ = Archive::install(VectorMemory::default(), &install);
    }
    if let Some(append) = read::<Append>(bytes) {
        for keeps_replies in [false, true] {
            take(&mut archive(keeps_replies), &append, keeps_replies);
        }
    }
    if let Some(append) = read::<AppendBlocks>(bytes) {
        let _ = archive(false).append_blocks(&append);
    }
}

/// As a block: what is read is read again when it is written.
fn read_value(bytes: &[u8]) {
    if let Ok(value) = Value::from_bytes(bytes) {
        let again = value.to_bytes().expect("it is not too deep");
        assert_eq!(Value::from_bytes(&again).as_ref(), Ok(&value));
        let _ = value.hash();
    }
}

fuzz_target!(|input: Input| {
    match input {
        Input::Bytes(bytes) => {
            assert!(__reads_any_bytes(bytes));
            read_all(bytes);
            take_parts(bytes);
            read_value(bytes);
        }
        Input::Message {
            kind,
            patches,
            bytes,
        } => {
            let mut message = message(kind, bytes);
            for (at, byte) in patches {
                patch(&mut message, at, byte);
            }
            read_all(&message);
        }
        Input::Chunks {
            keeps_replies,
            chunks,
        } => take_chunks(keeps_replies, &chunks),
        Input::Blocks(blocks) => take_blocks(&blocks),
    }
});
