//! Slots that lead to rows of a kind which this version does not know: they are nobody's to take.

use super::{
    super::{
        kind::Kind,
        layout::{BUCKET_BYTES, SEGMENT_BYTES, UNIT_BYTES},
        slot::{SLOT_BYTES, Slot},
    },
    Content, M, Side, open,
};
use ic_stable_structures::Memory;
use std::collections::BTreeMap;

/// All that may be a slot in so many pages, and where it stands.
fn slots(memory: &M, pages: u32) -> BTreeMap<[u8; SLOT_BYTES], u64> {
    let mut bytes = vec![0; pages as usize * SEGMENT_BYTES as usize];
    memory.read(0, &mut bytes);
    let buckets = (0..).zip(bytes.chunks_exact(UNIT_BYTES as usize));
    let starts = buckets.map(|(unit, _)| unit * UNIT_BYTES as usize);
    starts
        .flat_map(|start| (start..start + BUCKET_BYTES - SLOT_BYTES).step_by(SLOT_BYTES))
        .filter_map(|at| Some((*bytes.get(at..)?.first_chunk()?, at as u64)))
        .collect()
}

#[test]
#[cfg_attr(miri, ignore = "it would take an hour")]
fn slots_of_kinds_that_are_not_known_stay() {
    let memory = M::default();
    let (mut table, first, _) = open(&memory);
    let mut side = Side::new(first);
    let content = || Content::new(false, [0; 3]);
    let keys = 0..100;
    for key in keys.clone() {
        side.put(&mut table, 1, key, 0, content());
    }
    let known = slots(&memory, table.segments.header.pages);
    let unknown: Vec<_> = keys
        .zip([1, 2, 3, 5, 6, 7].into_iter().cycle())
        .map(|(key, kind)| {
            let (occupied, _) = side.find(&mut table, key).occupied().unwrap();
            let kind = Kind::from_bits(kind);
            let slot = Slot {
                kind,
                ..occupied.slot
            }
            .bytes();
            memory.write(known[&occupied.slot.bytes()], &slot);
            slot
        })
        .collect();
    let (mut table, mut first, _) = open(&memory);
    // Their numbers live no more, whichever family they would be of.
    table.forget_oldest(&mut first);
    table.segments.write_header();
    let mut side = Side::new(first);
    for key in 0..=u8::MAX {
        side.put(&mut table, 2, key, 0, content());
    }
    for key in 0..=u8::MAX {
        assert!(side.find(&mut table, key).occupied().is_some());
    }
    let slots = slots(&memory, table.segments.header.pages);
    assert!(unknown.iter().all(|slot| slots.contains_key(slot)));
}
