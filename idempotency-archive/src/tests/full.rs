use super::*;
use crate::{
    Merged, OpenError,
    wire::{AppendBlocks, AppendedBlocks},
};
use ic_stable_structures::Memory;
use std::{cell::Cell, rc::Rc};

/// A memory that grows to so many pages and no further.
#[derive(Clone, Default)]
struct Small {
    memory: VectorMemory,
    most: Rc<Cell<u64>>,
}

impl Memory for Small {
    fn size(&self) -> u64 {
        self.memory.size()
    }

    fn grow(&self, pages: u64) -> i64 {
        if self.size() + pages > self.most.get() {
            return -1;
        }
        self.memory.grow(pages)
    }

    fn read(&self, offset: u64, into: &mut [u8]) {
        self.memory.read(offset, into);
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        self.memory.write(offset, bytes);
    }
}

#[test]
fn it_is_full_at_its_capacity_of_entries() {
    let memory = VectorMemory::default();
    let mut small = install(false);
    small.capacity = 100;
    let mut archive = Archive::install(memory.clone(), &small).unwrap();
    let position = taken(archive.append(&ids(Position::default(), 0..60)));
    let chunk = ids(position, 60..101);
    assert_eq!(archive.append(&chunk), Appended::Full(position));
    assert_eq!(
        archive
            .look_up(candid::Principal::anonymous(), &[id(60)])
            .unwrap()
            .found,
        [None]
    );
    // A smaller one fits.
    let before = position;
    let position = taken(archive.append(&ids(before, 60..100)));
    assert_eq!(
        archive.append(&ids(position, 100..101)),
        Appended::Full(position)
    );
    // The last chunk is known, full or not.
    let again = ids(before, 60..100);
    assert_eq!(archive.append(&again), Appended::Taken(position));
    // It can be made larger.
    small.capacity = 101;
    let mut archive = Archive::install(memory, &small).unwrap();
    taken(archive.append(&ids(position, 100..101)));
}

#[test]
fn it_is_full_at_its_capacity_of_bytes() {
    let memory = VectorMemory::default();
    let mut small = install(false);
    small.capacity_bytes = 10 << 20;
    let mut archive = Archive::install(memory, &small).unwrap();
    let mut position = Position::default();
    let full = loop {
        let first = position.entries;
        match archive.append(&ids(position, first..first + 1000)) {
            Appended::Taken(next) => position = next,
            other => break other,
        }
        while archive.has_to_merge() {
            assert_ne!(archive.merge(500), Merged::NoMemory);
        }
    };
    assert_eq!(full, Appended::Full(position));
    // Header, table, 128 pages for merges, and a page for each chunk.
    assert_eq!(position.entries, 30_000);
    assert!(archive.bytes() <= small.capacity_bytes);
    let blocks = AppendBlocks {
        from: 0,
        blocks: vec![ByteBuf::from(
            crate::icrc3::Value::blob(vec![0; 1 << 20])
                .to_bytes()
                .unwrap(),
        )],
    };
    assert_eq!(archive.append_blocks(&blocks), Ok(AppendedBlocks::Full(0)));
}

/// At every number of pages at which memory can end.
#[test]
fn a_memory_that_does_not_grow_is_a_full_archive() {
    let none = Small::default();
    assert_eq!(
        Archive::install(none, &install(true)).unwrap_err(),
        OpenError::NoMemory
    );
    for most in 1..20 {
        let memory = Small::default();
        memory.most.set(most);
        let mut archive = Archive::install(memory.clone(), &install(true)).unwrap();
        let mut position = Position::default();
        let mut stalled = 0;
        for chunk_number in 0..50 {
            let entries: Vec<_> = (0..600)
                .map(|n| {
                    (
                        entry::<FULL_BYTES>(id(chunk_number * 600 + n), 1, 1),
                        vec![7; 10],
                    )
                })
                .collect();
            let append = chunk(position, &entries);
            match archive.append(&append) {
                Appended::Taken(next) => position = next,
                Appended::Full(at) => assert_eq!(at, position),
                other => panic!("{other:?}"),
            }
            if archive.merge(5000) == Merged::NoMemory {
                stalled += 1;
            }
            archive = Archive::open(memory.clone()).unwrap();
            assert_eq!(archive.status(0, 0).position, position);
        }
        assert!(position.entries < 50 * 600, "{most}");
        let known: Vec<_> = (0..position.entries).map(id).collect();
        let found = archive
            .look_up(candid::Principal::anonymous(), &known)
            .unwrap()
            .found;
        assert!(
            found
                .iter()
                .flatten()
                .all(|it| it.reply.as_deref() == Some(&vec![7; 10]))
        );
        assert_eq!(found.iter().flatten().count() as u64, position.entries);
        // With more memory it goes on, and what was stalled, too.
        memory.most.set(1000);
        let from = position.entries;
        taken(archive.append(&chunk(
            position,
            &[(entry::<FULL_BYTES>(id(from), 1, 0), vec![])],
        )));
        while archive.has_to_merge() {
            assert_ne!(archive.merge(1000), Merged::NoMemory, "{stalled}");
        }
        let found = archive
            .look_up(candid::Principal::anonymous(), &known)
            .unwrap()
            .found;
        assert_eq!(found.iter().flatten().count() as u64, from);
    }
}

/// Nobody merges but the appends themselves.
#[test]
fn there_is_a_slot_for_each_run() {
    let mut archive = archive(false);
    let mut position = Position::default();
    let mut most = 0;
    for number in 0..6000 {
        position = taken(archive.append(&ids(position, number..number + 1)));
        most = most.max(archive.status(0, 0).runs);
    }
    assert!((500..600).contains(&most), "{most}");
    let all: Vec<_> = (0..6000).map(id).collect();
    assert!(
        archive
            .look_up(candid::Principal::anonymous(), &all)
            .unwrap()
            .found
            .iter()
            .all(Option::is_some)
    );
}
