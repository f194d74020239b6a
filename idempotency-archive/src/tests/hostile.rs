//! Chunks that are none, ids that were chosen, and memories that something else has written to.

use super::*;
use crate::{MAX_CHUNK_BYTES, OpenError, wire::AppendBlocks};
use ic_stable_structures::Memory;
use proptest::prelude::*;

fn refused(archive: &mut Archive<VectorMemory>, append: &Append) -> String {
    let before = archive.status(0, 0);
    let appended = archive.append(append);
    assert_eq!(archive.status(0, 0), before);
    match appended {
        Appended::Malformed(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chunk_that_is_none_changes_nothing() {
    let mut keeps = archive(true);
    let start = Position::default();
    let whole = chunk(
        start,
        &[
            (entry::<FULL_BYTES>(id(1), 1, 1), vec![1, 2, 3]),
            (entry::<FULL_BYTES>(id(2), 1, 3), vec![4]),
        ],
    );
    let with = |change: fn(&mut Append)| {
        let mut append = whole.clone();
        change(&mut append);
        append
    };
    for append in [
        with(|it| it.entries.truncate(63)),
        with(|it| it.entries.push(0)),
        with(|it| it.replies.clear()),
        with(|it| it.replies.truncate(11)),
        with(|it| it.replies.push(0)),
        with(|it| it.replies[3] = 255),
        with(|it| it.replies[0] = 2),
        with(|it| it.after.entries += 1),
        with(|it| it.times.clear()),
        with(|it| it.times.push(0)),
        with(|it| it.times[0] = 2),
        with(|it| it.times[2] = 0),
        with(|it| it.times[2] |= 64),
        with(|it| it.times.resize(MAX_CHUNK_BYTES, 0)),
        with(|it| it.entries.truncate(32)),
        with(|it| it.replies.resize(MAX_CHUNK_BYTES, 0)),
    ] {
        refused(&mut keeps, &append);
    }
    taken(keeps.append(&whole));

    let mut keeps_none = archive(false);
    refused(&mut keeps_none, &whole);
    for kept in [0, 1, 3] {
        let entry = entry::<SHORT_BYTES>(id(1), 1, kept);
        let mut append = chunk(start, &[(entry, vec![5])]);
        if kept != 0 {
            refused(&mut keeps_none, &append);
            append.replies.clear();
            refused(&mut keeps_none, &append);
        } else {
            append.replies.push(0);
            refused(&mut keeps_none, &append);
        }
    }
}

#[test]
fn a_chunk_that_does_not_follow_is_told_where_the_archive_is() {
    let mut archive = archive(false);
    let start = Position::default();
    let first = taken(archive.append(&ids(start, 0..10)));
    let second = taken(archive.append(&ids(first, 10..20)));
    // Only the last is known, and only if it is the same.
    assert_eq!(archive.append(&ids(first, 10..20)), Appended::Taken(second));
    for append in [
        ids(first, 10..21),
        ids(first, 20..30),
        ids(start, 0..10),
        ids(start, 0..20),
        ids(
            Position {
                entries: 21,
                ..second
            },
            20..30,
        ),
        ids(
            Position {
                entries: 20,
                ..first
            },
            20..30,
        ),
    ] {
        assert_eq!(archive.append(&append), Appended::OutOfPlace(second));
    }
    // An empty one is one like others.
    let empty = ids(second, 0..0);
    let third = taken(archive.append(&empty));
    assert_eq!(archive.append(&empty), Appended::Taken(third));
    assert_eq!((third.entries, archive.status(0, 0).runs), (20, 2));
}

/// Ids that all begin alike, or are spread so that a guess is as wrong as can be: a look-up reads no more than a binary search and a few rows.
#[test]
fn chosen_ids_make_no_look_up_long() {
    use std::{cell::Cell, rc::Rc};
    #[derive(Clone, Default)]
    struct Counting(VectorMemory, Rc<Cell<u64>>);
    impl Memory for Counting {
        fn size(&self) -> u64 {
            self.0.size()
        }
        fn grow(&self, pages: u64) -> i64 {
            self.0.grow(pages)
        }
        fn read(&self, offset: u64, into: &mut [u8]) {
            self.1.set(self.1.get() + 1);
            self.0.read(offset, into);
        }
        fn write(&self, offset: u64, bytes: &[u8]) {
            self.0.write(offset, bytes);
        }
    }

    let alike = |n: u128| 7 << 100 | n;
    let exponential = |n: u128| (1u128 << 127) >> (n % 110) | n;
    let random = |n: u128| u128::from_le_bytes(id(n as u64));
    for (key, most) in [
        (&alike as &dyn Fn(u128) -> u128, 24),
        (&exponential, 24),
        (&random, 13),
    ] {
        let memory = Counting::default();
        let mut archive = Archive::install(memory.clone(), &install(false)).unwrap();
        let entries: Vec<_> = (0..65_536)
            .map(|n| (entry::<SHORT_BYTES>(key(n).to_le_bytes(), 0, 0), vec![]))
            .collect();
        taken(archive.append(&chunk(Position::default(), &entries)));
        let mut reads = 0;
        for n in (0..65_600).step_by(77) {
            memory.1.set(0);
            let found = archive
                .look_up(candid::Principal::anonymous(), &[key(n).to_le_bytes()])
                .unwrap()
                .found;
            assert_eq!(found[0].is_some(), n < 65_536);
            reads = reads.max(memory.1.get());
        }
        assert!(reads <= most, "{reads}");
    }
}

/// Of all kinds of things something, with a merge under way.
fn populated() -> VectorMemory {
    let memory = VectorMemory::default();
    let mut archive = Archive::install(memory.clone(), &install(true)).unwrap();
    let mut position = Position::default();
    for first in (0..40 * 200).step_by(200) {
        let entries: Vec<_> = (first..first + 200)
            .map(|n| {
                (
                    entry::<FULL_BYTES>(id(n), n, (n % 4) as u8),
                    vec![n as u8; 9],
                )
            })
            .collect();
        position = taken(archive.append(&chunk(position, &entries)));
    }
    archive.merge(3000);
    assert!(archive.has_to_merge());
    let block = ByteBuf::from(crate::icrc3::Value::nat(5u8).to_bytes().unwrap());
    let blocks = AppendBlocks {
        from: 3,
        blocks: vec![block; 100],
    };
    archive.append_blocks(&blocks).unwrap();
    memory
}

/// Whatever it answers, or whether it opens: it does not panic.
fn use_it(memory: VectorMemory) -> Result<(), OpenError> {
    let mut archive = Archive::open(memory)?;
    let asked: Vec<_> = (0..9000).step_by(7).map(id).collect();
    let _ = archive.look_up(candid::Principal::anonymous(), &asked);
    let _ = archive.get_blocks(0, 200, &mut usize::MAX.clone());
    let position = archive.status(0, 0).position;
    let more: Vec<_> = (9000..9100)
        .map(|n| (entry::<FULL_BYTES>(id(n), n, 1), vec![3; 5]))
        .collect();
    let _ = archive.append(&chunk(position, &more));
    let blocks = AppendBlocks {
        from: archive.blocks().end.saturating_sub(1),
        blocks: vec![ByteBuf::from(crate::icrc3::Value::nat(5u8).to_bytes().unwrap()); 2],
    };
    let _ = archive.append_blocks(&blocks);
    for _ in 0..100 {
        archive.merge(1000);
    }
    let _ = archive.look_up(candid::Principal::anonymous(), &asked);
    Ok(())
}

fn flipped(original: &VectorMemory, changes: &[(u64, u8)]) -> VectorMemory {
    let memory = VectorMemory::default();
    memory.grow(original.size());
    let mut bytes = vec![0; original.size() as usize * 65_536];
    original.read(0, &mut bytes);
    for &(at, by) in changes {
        bytes[at as usize] ^= by;
    }
    memory.write(0, &bytes);
    memory
}

#[test]
fn each_byte_of_the_header_may_be_another() {
    let original = populated();
    assert_eq!(use_it(flipped(&original, &[])), Ok(()));
    let mut refused = 0;
    for at in 0..182 + 22 * 12 {
        for by in [1, 255] {
            refused += u32::from(use_it(flipped(&original, &[(at, by)])).is_err());
        }
    }
    assert!(refused > 200, "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_may_be_others(changes in prop::collection::vec(
        prop_oneof![
            // The header, the table, anywhere.
            (0u64..1200, 1u8..),
            (65_536u64..65_536 + 300, 1u8..),
            (65_536u64..20 * 65_536, 1u8..),
        ],
        1..6,
    )) {
        let original = populated();
        let end = original.size() * 65_536;
        let changes: Vec<_> = changes.into_iter().filter(|it| it.0 < end).collect();
        let _ = use_it(flipped(&original, &changes));
    }

    #[test]
    fn any_memory_may_be_opened(bytes: Vec<u8>, is_begun: bool) {
        let memory = VectorMemory::default();
        memory.grow(2);
        memory.write(0, &bytes);
        if is_begun {
            memory.write(0, b"IDEMARCH\x01\0\0\0");
        }
        let _ = use_it(memory);
    }
}

#[test]
fn another_memory_is_refused_and_stays_as_it_was() {
    let foreign = VectorMemory::default();
    foreign.grow(1);
    foreign.write(0, b"MGR\x01");
    let refusal = Archive::install(foreign.clone(), &install(false)).unwrap_err();
    assert_eq!(refusal, OpenError::Foreign);
    assert_eq!(
        Archive::open(foreign.clone()).unwrap_err(),
        OpenError::Foreign
    );
    assert_eq!(foreign.borrow()[..4], *b"MGR\x01");
    assert_eq!(
        Archive::open(VectorMemory::default()).unwrap_err(),
        OpenError::Foreign
    );

    let later = populated();
    later.write(8, &[2]);
    assert_eq!(Archive::open(later).unwrap_err(), OpenError::Version(2));

    let keeps = populated();
    let refusal = Archive::install(keeps.clone(), &install(false)).unwrap_err();
    assert_eq!(refusal, OpenError::KeepsReplies);
    // The owner may change.
    let mut other = install(true);
    other.owner = Principal::from_slice(&[9]);
    assert_eq!(
        Archive::install(keeps.clone(), &other).unwrap().owner(),
        other.owner
    );
    assert_eq!(Archive::open(keeps).unwrap().owner(), other.owner);
}
