//! Bytes that something else has written, where archives' memory is read, or what archives answer. The property tests try them, and the fuzz
//! target in `fuzz/`.

use super::{
    contents::Contents,
    entry::{Entry, FULL_BYTES, Id},
    generations::Plan,
    look_up::archived,
    policy::ArchivePolicy,
    wire::Found,
};
use ic_stable_structures::{Memory as _, VectorMemory};
use serde_bytes::ByteBuf;

/// The memory's two pages, and one of a filter.
const PAGES: u64 = 3;

/// Where bytes are put: the header, progress and what is being made; the table of generations; the archives.
const PLACES: [u64; 5] = [8, 128, 256, 4_096, 65_536];

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

/// Works with a memory that has them at a place; it is refused if it does not open again.
fn is_contents(bytes: &[u8], place: u64) -> bool {
    let memory = VectorMemory::default();
    let Ok(new) = Contents::open(memory.clone()) else {
        return false;
    };
    drop(new);
    memory.grow(PAGES - memory.size());
    let room = (PAGES * 65_536 - place) as usize;
    memory.write(place, &bytes[..bytes.len().min(room)]);
    let Ok(mut contents) = Contents::open(memory.clone()) else {
        return true;
    };
    let id = [7; 16];
    let _ = contents.hits(&id);
    let (progress, making) = (contents.progress(), contents.making());
    contents.set_progress(progress);
    contents.set_making(making);
    let plan = Plan {
        first_ids: 100,
        ..plan()
    };
    if let Some((number, archive)) = contents.current()
        && contents.reserve(number, 1, &plan).is_ok()
    {
        contents.set(number, archive);
        if contents.insert(number, &[id]).is_err() || !contents.hits(&id).contains(&number) {
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
        first_ids: policy.first_ids,
        archive_ids: policy.capacity,
    }
}
