//! Bytes that something else has written, where archives' memory is read, or what archives answer. The property tests try them, and the fuzz
//! target in `fuzz/`.

use super::{
    contents::Contents,
    entry::{Entry, FULL_BYTES, Id},
    generations::Plan,
    look_up::archived,
    policy::ArchivePolicy,
    records::{Archive, State},
    wire::{Found, Position},
};
use crate::{store::OpenError, time::Timestamp};
use candid::Principal;
use ic_stable_structures::{Memory as _, VectorMemory};
use serde_bytes::ByteBuf;

/// Where bytes are put: the header, progress and what is being made; the table of generations, and its second; the archives, and the second.
const PLACES: [u64; 7] = [8, 128, 256, 4_096, 4_144, 65_536, 65_664];

/// Reads bytes as each kind of those that it may find. They are refused, or whatever is read is written as it was.
#[doc(hidden)]
pub fn __reads_any_bytes(bytes: &[u8]) -> bool {
    is_entry(bytes) && PLACES.iter().all(|place| is_contents(bytes, *place))
}

fn is_entry(bytes: &[u8]) -> bool {
    let (entry, reply) = bytes.split_at(bytes.len().min(FULL_BYTES));
    let id: Id = entry.first_chunk().copied().unwrap_or_default();
    let found = |reply| Found {
        entry: ByteBuf::from(entry),
        reply,
    };
    // Nothing in these is written again; they must not panic.
    let _ = archived(found(None), id);
    let _ = archived(found(Some(ByteBuf::from(reply))), id);
    Entry::from_bytes(entry).is_none_or(|read| {
        let again = [read.full().to_vec(), read.short().to_vec()];
        again
            .iter()
            .any(|again| Entry::from_bytes(again) == Some(read))
    })
}

/// What a canister has noted that has two archives, each with its filter.
fn noted() -> Result<VectorMemory, OpenError> {
    let memory = VectorMemory::default();
    let mut contents = Contents::open(memory.clone())?;
    for number in 0..2 {
        contents.add(Archive {
            canister: Principal::from_slice(&[number]),
            state: State::Current,
            keeps_replies: false,
            is_made: true,
            is_blackholed: false,
            confirmed: Position::default(),
            since: Timestamp::default(),
            module: [0; 32],
            capacity: 1_000_000,
        });
        let reserved = contents.reserve(number.into(), 1, &plan());
        reserved.map_err(|_| OpenError::OutOfMemory)?;
    }
    Ok(memory)
}

/// Works with a memory that has them at a place; it is refused if it does not open again.
fn is_contents(bytes: &[u8], place: u64) -> bool {
    let Ok(memory) = noted() else {
        return false;
    };
    let room = (memory.size() * 65_536 - place) as usize;
    memory.write(place, &bytes[..bytes.len().min(room)]);
    let Ok(mut contents) = Contents::open(memory.clone()) else {
        return true;
    };
    // So many that a page of the filter is written as a whole.
    let ids: Vec<Id> = (0..20).map(|number| [number; 16]).collect();
    let count = ids.len() as u64;
    let _ = contents.hits(&ids[0]);
    let (progress, making) = (contents.progress(), contents.making());
    contents.set_progress(progress);
    contents.set_making(making);
    if let Some((number, archive)) = contents.current()
        && contents.reserve(number, count, &plan()).is_ok()
    {
        contents.set(number, archive);
        let is_in = contents.insert(number, &ids).is_ok();
        if !is_in || !ids.iter().all(|id| contents.hits(id).contains(&number)) {
            return false;
        }
    }
    let archives = contents.archives().to_vec();
    Contents::open(memory).is_ok_and(|again| {
        (again.archives(), again.progress(), again.making()) == (&archives[..], progress, making)
    })
}

fn plan() -> Plan {
    let policy = ArchivePolicy::embedded(&[]);
    Plan {
        rate: policy.rate(),
        first_ids: 100,
        archive_ids: policy.capacity,
    }
}
