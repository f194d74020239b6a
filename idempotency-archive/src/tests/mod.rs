mod blocks;
mod full;
mod hostile;
mod model;
mod size;

use crate::Archive;
use candid::Principal;
use ic_stable_structures::VectorMemory;
use idempotency_core::archive::{
    FULL_BYTES, Id, SHORT_BYTES,
    wire::{Append, Appended, Install, Position},
};
use serde_bytes::ByteBuf;

/// Pseudo-random numbers: splitmix64.
#[derive(Clone)]
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut n = self.0;
        n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        n ^ (n >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The id of a number: like a hash's.
pub(crate) fn id(number: u64) -> Id {
    let mut numbers = Numbers(number);
    (u128::from(numbers.next()) << 64 | u128::from(numbers.next())).to_be_bytes()
}

pub(crate) fn install(keeps_replies: bool) -> Install {
    Install {
        owner: Principal::from_slice(&[1, 2, 3]),
        keeps_replies,
        capacity: u64::MAX,
        capacity_bytes: u64::MAX,
        cycles: 5u8.into(),
    }
}

pub(crate) fn archive(keeps_replies: bool) -> Archive<VectorMemory> {
    Archive::install(VectorMemory::default(), &install(keeps_replies)).unwrap()
}

/// An entry of an id, full or short, of which a reply is kept or not: 0 to 3.
pub(crate) fn entry<const N: usize>(id: Id, millis: u64, kept: u8) -> [u8; N] {
    let mut entry = [0; N];
    entry[..16].copy_from_slice(&id);
    entry[16..22].copy_from_slice(&millis.to_le_bytes()[..6]);
    entry[22] = kept;
    entry
}

/// A chunk of entries and the replies of those that have one.
pub(crate) fn chunk(from: Position, entries: &[(impl AsRef<[u8]>, Vec<u8>)]) -> Append {
    let mut replies = vec![];
    for (entry, reply) in entries {
        if entry.as_ref()[22] & 3 != 0 {
            replies.extend((reply.len() as u32).to_le_bytes());
            replies.extend(reply);
        }
    }
    Append::of(from, entries.iter().map(|(entry, _)| entry), replies)
}

/// A chunk of the ids of numbers, for an archive of ids.
pub(crate) fn ids(from: Position, numbers: impl Iterator<Item = u64>) -> Append {
    let entries = numbers.map(|number| entry::<SHORT_BYTES>(id(number), 0, 0));
    Append::of(from, entries, vec![])
}

pub(crate) fn taken(appended: Appended) -> Position {
    match appended {
        Appended::Taken(position) => position,
        other => panic!("{other:?}"),
    }
}
