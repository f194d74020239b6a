//! Any bytes as the memory of an archive, or an archive's with changes: it refuses them or works, and comes to an end. What a sound one has
//! taken it finds.

#![no_main]

use arbitrary::Arbitrary;
use candid::Principal;
use ic_stable_structures::{Memory, RestrictedMemory, VectorMemory};
use idempotency_archive::{Archive, icrc3::Value, wire::AppendBlocks};
use idempotency_core::archive::{
    Id, entry_bytes,
    wire::{Append, Appended, Install, Position},
};
use libfuzzer_sys::fuzz_target;
use serde_bytes::ByteBuf;
use std::collections::BTreeSet;

/// Pages of a memory, at the most.
const PAGES: u64 = 1_024;
const PAGE_BYTES: u64 = 65_536;

/// Chunks that an archive is sent at the most: enough for merges.
const CHUNKS: u32 = 80;

/// A chunk has less entries; one that is long has so many times as many, which take several pages.
const ENTRIES: u8 = 128;
const LONG: u16 = 12;

#[derive(Arbitrary, Debug)]
struct Input {
    keeps_replies: bool,
    capacity: u16,
    /// The memory grows to so many.
    pages: u16,
    image: Option<Image>,
    chapters: Vec<Chapter>,
}

/// A memory that no archive has written.
#[derive(Arbitrary, Debug)]
struct Image {
    has_magic: bool,
    pages: u8,
    bytes: Vec<u8>,
}

/// What happens to the memory, and what the archive does that is opened then.
#[derive(Arbitrary, Debug)]
struct Chapter {
    patches: Vec<(Place, u8)>,
    ops: Vec<Op>,
}

#[derive(Arbitrary, Debug)]
enum Place {
    Header(u16),
    Table(u16),
    Anywhere(u32),
}

#[derive(Arbitrary, Debug)]
enum Op {
    Append(Chunks),
    Merge(u16),
    LookUp {
        first: u8,
        count: u8,
    },
    AppendBlocks {
        /// Where an archive without blocks begins.
        first: u64,
        back: u8,
        count: u8,
        number: u8,
    },
    GetBlocks {
        start: u64,
        length: u64,
        bytes: u16,
    },
}

/// Chunks that follow one another.
#[derive(Arbitrary, Debug)]
struct Chunks {
    chunks: u8,
    first: u8,
    count: u8,
    /// Long if it is 255: that takes its time.
    length: u8,
    /// So many entries and one have the time and the flags in common.
    alike: u8,
    millis: u32,
    flags: u8,
    /// Bytes of each reply, if replies are kept.
    reply: u8,
}

type Limited = RestrictedMemory<VectorMemory>;

struct World {
    memory: Limited,
    archive: Archive<Limited>,
    keeps_replies: bool,
    chunks_left: u32,
    /// The requests that it must find; `None` of an archive whose memory was changed.
    taken: Option<BTreeSet<u16>>,
}

fn id(number: u16) -> Id {
    u128::from(number)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
        .to_le_bytes()
}

fn numbers(first: u8, count: u16) -> impl Iterator<Item = u16> {
    (0..count).map(move |number| u16::from(first) * 64 + number)
}

impl World {
    /// `None` if there is no archive in the memory.
    fn new(input: &Input) -> Option<Self> {
        let pages = u64::from(input.pages) % PAGES + 1;
        let memory = RestrictedMemory::new(VectorMemory::default(), 0..pages);
        let archive = match &input.image {
            None => {
                let install = Install {
                    owner: Principal::anonymous(),
                    keeps_replies: input.keeps_replies,
                    capacity: input.capacity.into(),
                    capacity_bytes: PAGES * PAGE_BYTES,
                    cycles: 0u8.into(),
                };
                Archive::install(memory.clone(), &install)
            }
            Some(image) => {
                memory.grow(pages.min(u64::from(image.pages) + 1));
                let room = (memory.size() * PAGE_BYTES) as usize;
                memory.write(0, &image.bytes[..image.bytes.len().min(room)]);
                if image.has_magic {
                    memory.write(0, b"IDEMARCH\x01\0\0\0");
                }
                Archive::open(memory.clone())
            }
        };
        Some(Self {
            archive: archive.ok()?,
            memory,
            keeps_replies: input.keeps_replies,
            chunks_left: CHUNKS,
            taken: input.image.is_none().then(BTreeSet::new),
        })
    }

    /// `None` if it does not open again.
    fn live(&mut self, chapter: &Chapter) -> Option<()> {
        let end = self.memory.size() * PAGE_BYTES;
        for (place, byte) in &chapter.patches {
            let at = match *place {
                Place::Header(at) => u64::from(at) % 1_024,
                Place::Table(at) => PAGE_BYTES + u64::from(at) % 1_024,
                Place::Anywhere(at) => at.into(),
            };
            self.memory.write(at % end, &[*byte]);
            self.taken = None;
        }
        let opened = Archive::open(self.memory.clone());
        assert!(opened.is_ok() || self.taken.is_none());
        self.archive = opened.ok()?;
        for op in &chapter.ops {
            self.apply(op);
        }
        Some(())
    }

    fn apply(&mut self, op: &Op) {
        let archive = &mut self.archive;
        match *op {
            Op::Append(ref chunks) => self.append(chunks),
            Op::Merge(rows) => {
                let _ = archive.merge(rows.into());
            }
            Op::LookUp { first, count } => self.look_up(numbers(first, u16::from(count % 32))),
            Op::AppendBlocks {
                first,
                back,
                count,
                number,
            } => {
                let block = Value::nat(number).to_bytes().expect("a number is small");
                let here = archive.blocks();
                let from = match here.is_empty() {
                    true => first,
                    false => here.end.saturating_sub(back.into()),
                };
                let blocks = vec![ByteBuf::from(block); count.into()];
                let appended = archive.append_blocks(&AppendBlocks { from, blocks });
                assert!(appended.is_ok() || self.taken.is_none());
            }
            Op::GetBlocks {
                start,
                length,
                bytes,
            } => {
                let blocks = archive.get_blocks(start, length, &mut bytes.into());
                assert!(blocks.is_ok() || self.taken.is_none());
            }
        }
    }

    fn append(&mut self, chunks: &Chunks) {
        for chunk in 0..=chunks.chunks % 40 {
            let Some(left) = self.chunks_left.checked_sub(1) else {
                return;
            };
            self.chunks_left = left;
            let first = chunks.first.wrapping_add(chunk);
            let from = self.archive.status(0, 0).position;
            let append = chunks.append(from, first, self.keeps_replies);
            match self.archive.append(&append) {
                Appended::Taken(_) => {
                    if let Some(taken) = &mut self.taken {
                        taken.extend(chunks.numbers(first));
                    }
                }
                Appended::Full(_) => return,
                other => assert!(self.taken.is_none(), "{other:?}"),
            }
        }
    }

    fn look_up(&self, numbers: impl Iterator<Item = u16>) {
        let numbers: Vec<_> = numbers.collect();
        let ids: Vec<_> = numbers.iter().copied().map(id).collect();
        let found = self.archive.look_up(Principal::anonymous(), &ids);
        assert!(found.is_ok() || self.taken.is_none());
        let found = found.map_or(vec![], |found| found.found);
        if let Some(taken) = &self.taken {
            let found: Vec<_> = found.iter().map(Option::is_some).collect();
            let expected: Vec<_> = numbers.iter().map(|it| taken.contains(it)).collect();
            assert_eq!(found, expected);
        }
    }
}

impl Chunks {
    fn numbers(&self, first: u8) -> impl Iterator<Item = u16> {
        let times = if self.length == u8::MAX { LONG } else { 1 };
        numbers(first, u16::from(self.count % ENTRIES) * times)
    }

    fn append(&self, from: Position, first: u8, keeps_replies: bool) -> Append {
        let mut replies = vec![];
        let entries = self.numbers(first).enumerate().map(|(at, number)| {
            let stretch = at / (usize::from(self.alike) + 1);
            let millis = u64::from(self.millis.rotate_left(stretch as u32));
            let kept = self.flags.wrapping_add(stretch as u8) % 4;
            let mut entry = vec![self.flags; entry_bytes(keeps_replies)];
            entry[..16].copy_from_slice(&id(number));
            entry[16..22].copy_from_slice(&millis.to_le_bytes()[..6]);
            entry[22] = self.flags & 12;
            if keeps_replies && kept > 0 {
                entry[22] |= kept;
                replies.extend(u32::from(self.reply).to_le_bytes());
                replies.resize(replies.len() + usize::from(self.reply), kept);
            }
            entry
        });
        let entries: Vec<_> = entries.collect();
        Append::of(from, entries, replies)
    }
}

fuzz_target!(|input: Input| {
    let Some(mut world) = World::new(&input) else {
        return;
    };
    for chapter in &input.chapters {
        if world.live(chapter).is_none() {
            return;
        }
    }
    if let Some(taken) = &world.taken {
        // Of all of them some, as each is looked for in each run.
        world.look_up(taken.iter().copied().step_by(13));
    }
});
