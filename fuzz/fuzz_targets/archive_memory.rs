//! Any bytes as the memory of an archive, or an archive's with changes: it refuses them or works, and comes to an end.

#![no_main]

use arbitrary::Arbitrary;
use candid::Principal;
use ic_stable_structures::{Memory, VectorMemory};
use idempotency_archive::{Archive, icrc3::Value, wire::AppendBlocks};
use idempotency_core::archive::{
    Id, entry_bytes,
    wire::{Append, Install},
};
use libfuzzer_sys::fuzz_target;
use serde_bytes::ByteBuf;

/// Pages of a memory, at the most.
const PAGES: u64 = 64;

#[derive(Arbitrary, Debug)]
struct Input {
    keeps_replies: bool,
    image: Option<Image>,
    before: Vec<Op>,
    patches: Vec<(u32, u8)>,
    after: Vec<Op>,
}

#[derive(Arbitrary, Debug)]
struct Image {
    has_magic: bool,
    pages: u8,
    bytes: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
enum Op {
    /// So many requests, each with a reply of so many bytes if replies are kept.
    Append {
        first: u8,
        count: u8,
        reply: u8,
    },
    Merge(u16),
    LookUp {
        first: u8,
        count: u8,
    },
    AppendBlocks {
        back: u8,
        count: u8,
    },
    GetBlocks {
        start: u64,
        length: u64,
        bytes: u16,
    },
    Open,
}

fn id(number: u16) -> Id {
    u128::from(number)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
        .to_le_bytes()
}

fn numbers(first: u8, count: u8) -> impl Iterator<Item = u16> {
    (0..u16::from(count)).map(move |number| u16::from(first) * 64 + number)
}

fn append(
    archive: &mut Archive<VectorMemory>,
    keeps_replies: bool,
    (first, count): (u8, u8),
    reply: u8,
) {
    let mut replies = vec![];
    let entries = numbers(first, count).map(|number| {
        let mut entry = vec![0; entry_bytes(keeps_replies)];
        entry[..16].copy_from_slice(&id(number));
        if keeps_replies {
            entry[22] = 1;
            replies.extend(u32::from(reply).to_le_bytes());
            replies.resize(replies.len() + usize::from(reply), 7);
        }
        entry
    });
    let entries: Vec<_> = entries.collect();
    let from = archive.status(0, 0).position;
    let _ = archive.append(&Append::of(from, entries, replies));
}

/// `None` if it does not open again.
fn work(
    mut archive: Archive<VectorMemory>,
    memory: &VectorMemory,
    input: &Input,
    ops: &[Op],
) -> Option<()> {
    for op in ops {
        match *op {
            Op::Append {
                first,
                count,
                reply,
            } => {
                append(&mut archive, input.keeps_replies, (first, count), reply);
            }
            Op::Merge(rows) => {
                let _ = archive.merge(rows.into());
            }
            Op::LookUp { first, count } => {
                let ids: Vec<_> = numbers(first, count).map(id).collect();
                if let Ok(found) = archive.look_up(Principal::anonymous(), &ids) {
                    assert_eq!(found.found.len(), ids.len());
                }
            }
            Op::AppendBlocks { back, count } => {
                let block = Value::nat(count).to_bytes().expect("a number is small");
                let append = AppendBlocks {
                    from: archive.blocks().end.saturating_sub(back.into()),
                    blocks: vec![ByteBuf::from(block); count.into()],
                };
                let _ = archive.append_blocks(&append);
            }
            Op::GetBlocks {
                start,
                length,
                bytes,
            } => {
                let _ = archive.get_blocks(start, length, &mut bytes.into());
            }
            Op::Open => archive = Archive::open(memory.clone()).ok()?,
        }
    }
    Some(())
}

fuzz_target!(|input: Input| {
    let memory = VectorMemory::default();
    let archive = match &input.image {
        None => {
            let install = Install {
                owner: Principal::anonymous(),
                keeps_replies: input.keeps_replies,
                capacity: 1_000_000,
                capacity_bytes: PAGES << 20,
                cycles: 0u8.into(),
            };
            Archive::install(memory.clone(), &install).ok()
        }
        Some(image) => {
            let pages = u64::from(image.pages) % PAGES + 1;
            memory.grow(pages);
            let room = (pages * 65_536) as usize;
            memory.write(0, &image.bytes[..image.bytes.len().min(room)]);
            if image.has_magic {
                memory.write(0, b"IDEMARCH\x01\0\0\0");
            }
            Archive::open(memory.clone()).ok()
        }
    };
    let Some(archive) = archive else {
        return;
    };
    if work(archive, &memory, &input, &input.before).is_none() {
        return;
    }
    let end = memory.size() * 65_536;
    for (at, byte) in &input.patches {
        // Half of them go to the header and to the table of extents.
        let at = u64::from(at / 2)
            % if at % 2 == 0 {
                end
            } else {
                end.min(2 * 65_536)
            };
        memory.write(at, &[*byte]);
    }
    if let Ok(archive) = Archive::open(memory.clone()) {
        work(archive, &memory, &input, &input.after);
    }
});
