//! The memory: as it was written, damaged, and foreign.

use super::super::{
    Keep,
    contents::Contents,
    records::{Archive, InFlight, Making, Progress, State, Step, Unfiltered},
    wire::Position,
};
use crate::{
    store::{Expired, History, OpenError},
    time::Timestamp,
};
use candid::Principal;
use ic_stable_structures::VectorMemory;
use proptest::prelude::*;
use serde_bytes::ByteArray;

fn position(entries: u64) -> Position {
    Position {
        entries,
        digest: ByteArray::new([entries as u8; 16]),
    }
}

fn archive(number: u8, state: State) -> Archive {
    Archive {
        canister: Principal::from_slice(&[number, 2, 3]),
        state,
        keeps_replies: number.is_multiple_of(2),
        is_made: true,
        is_blackholed: number == 3,
        confirmed: position(0x0102_0304),
        since: Timestamp::from_nanos(0x1112_1314_1516_1718),
        module: [0x77; 32],
        capacity: 0x3132_3334,
    }
}

fn progress() -> Progress {
    Progress {
        partition: Expired {
            number: 0x0201,
            until: 0x2122_2324_2526_2728,
        },
        from: Some(0x31_3233),
        in_flight: Some(InFlight {
            next: Some(0x41_4243),
            keep: Keep::Replies,
            after: position(0x0105),
            since: Timestamp::from_nanos(0x51),
        }),
        unfiltered: Some(Unfiltered {
            archive: 0x0706,
            from: Some(0x91_9293),
            count: 0x0A0B,
        }),
    }
}

fn making() -> Making {
    Making {
        canister: Principal::from_slice(&[0xA1]),
        step: Step::IsInstalled,
        keeps_replies: true,
        is_made: true,
        is_blackholed: false,
        was_tried: true,
        since: Timestamp::from_nanos(0x61),
        module: [0x88; 32],
    }
}

/// All that a memory can hold.
fn written() -> VectorMemory {
    let memory = VectorMemory::default();
    let mut contents = Contents::open(memory.clone()).unwrap();
    contents.add(archive(2, State::Current));
    contents.add(archive(3, State::Current));
    contents.set(0, archive(2, State::Behind));
    contents.set_progress(Some(progress()));
    contents.set_making(Some(making()));
    contents.count_lost();
    assert!(contents.meet(&history(0x71, 0x81, false)));
    memory
}

fn history(incarnation: u64, forgotten_until: u64, is_archived: bool) -> History {
    History {
        incarnation,
        forgotten_until: Timestamp::from_nanos(forgotten_until),
        is_archived,
    }
}

/// Whatever a heap without archives may have forgotten is not known.
#[test]
fn what_was_forgotten_without_archives_is_remembered_as_such() {
    for (heaps, expected) in [
        // From the first heap on.
        (&[(1, 0), (2, 50), (2, 51), (3, 60)][..], 0),
        // A store that was there before.
        (&[(4, 40), (5, 50)], 40),
        // Two heaps without archives in between.
        (&[(1, 0), (4, 40), (5, 50), (7, 70)], 70),
    ] {
        let memory = VectorMemory::default();
        for (heap, (incarnation, forgotten)) in heaps.iter().enumerate() {
            let mut contents = Contents::open(memory.clone()).unwrap();
            assert!(contents.meet(&history(*incarnation, *forgotten, heap > 0)));
        }
        let contents = Contents::open(memory).unwrap();
        assert_eq!(
            contents.forgot_until(),
            Timestamp::from_nanos(expected),
            "{heaps:?}"
        );
    }
}

/// With the memory of another store, or a new one, all that was archived would run again.
#[test]
fn a_store_that_had_archives_gets_no_new_ones() {
    let memory = VectorMemory::default();
    let mut contents = Contents::open(memory.clone()).unwrap();
    let before = memory.borrow().clone();
    assert!(!contents.meet(&history(9, 90, true)));
    assert_eq!(*memory.borrow(), before);
}

#[test]
fn what_is_written_is_read_by_the_next_heap() {
    let memory = written();
    let first = Contents::open(memory.clone()).unwrap();
    assert_eq!(
        first.archives(),
        [archive(2, State::Behind), archive(3, State::Current)]
    );
    assert_eq!(first.current(), Some((1, archive(3, State::Current))));
    assert_eq!(first.progress(), Some(progress()));
    assert_eq!(first.making(), Some(making()));
    assert_eq!(first.lost(), 1);
    assert!(!first.is_superseded());
    let second = Contents::open(memory).unwrap();
    assert!(first.is_superseded() && !second.is_superseded());
}

#[test]
fn a_new_archive_closes_the_current_one() {
    let mut contents = Contents::open(VectorMemory::default()).unwrap();
    contents.add(archive(2, State::Current));
    contents.add(archive(4, State::Current));
    assert_eq!(contents.archives()[0], archive(2, State::Closed));
    contents.set(1, archive(4, State::Full));
    assert_eq!(contents.current(), None);
    contents.add(archive(6, State::Current));
    assert_eq!(contents.archives()[1], archive(4, State::Full));
}

/// The layout is what later versions must read.
#[test]
fn the_layout_is_as_documented() {
    let memory = written();
    let memory = memory.borrow();
    assert_eq!(memory[..8], *b"IDMPARC\x01");
    assert_eq!(memory[8..16], 1u64.to_le_bytes());
    assert_eq!(memory[16..32], [0; 16]);
    assert_eq!(memory[32..40], [2, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(memory[40..48], 0x71u64.to_le_bytes());
    assert_eq!(memory[48..56], 0x81u64.to_le_bytes());
    assert!(memory[56..128].iter().all(|byte| *byte == 0));
    let progress = &memory[128..256];
    assert_eq!(progress[..4], [3, 2, 1, 2]);
    assert_eq!(progress[8..16], 0x2122_2324_2526_2728u64.to_le_bytes());
    assert_eq!(progress[16..24], 0x31_3233u64.to_le_bytes());
    assert_eq!(progress[24..32], 0x41_4243u64.to_le_bytes());
    assert_eq!(progress[32..40], 0x0105u64.to_le_bytes());
    assert_eq!(progress[40..56], [5; 16]);
    assert_eq!(progress[56..64], 0x51u64.to_le_bytes());
    assert_eq!(progress[64..72], 0x91_9293u64.to_le_bytes());
    assert_eq!(progress[72..80], 0x0A0Bu64.to_le_bytes());
    assert_eq!(progress[80..84], 0x0706u32.to_le_bytes());
    let making = &memory[256..384];
    assert_eq!(making[..2], [1, 0xA1]);
    assert_eq!(making[30..32], [3, 0b1011]);
    assert_eq!(making[32..40], 0x61u64.to_le_bytes());
    assert_eq!(making[64..96], [0x88; 32]);
    let archive = &memory[65_536..65_664];
    assert_eq!(archive[..4], [3, 2, 2, 3]);
    assert_eq!(archive[30..32], [3, 0b011]);
    assert_eq!(archive[32..40], 0x0102_0304u64.to_le_bytes());
    assert_eq!(archive[40..56], [4; 16]);
    assert_eq!(archive[56..64], 0x1112_1314_1516_1718u64.to_le_bytes());
    assert_eq!(archive[64..96], [0x77; 32]);
    assert_eq!(memory[65_664 + 30..65_664 + 32], [1, 0b110]);
}

#[test]
fn what_is_something_else_is_refused_and_unchanged() {
    let foreign = VectorMemory::default();
    foreign.borrow_mut().resize(2 * 65_536, 7);
    let found = [7; 8];
    let refused = |memory: &VectorMemory, at: usize, byte: u8| {
        memory.borrow_mut()[at] = byte;
        let before = memory.borrow().clone();
        let error = Contents::open(memory.clone()).err();
        assert_eq!(*memory.borrow(), before);
        error
    };
    assert_eq!(refused(&foreign, 9, 9), Some(OpenError::Foreign { found }));
    let unknown = OpenError::UnknownVersion { found: 2, known: 1 };
    assert_eq!(refused(&written(), 7, 2), Some(unknown));
    let features = OpenError::UnknownFeatures { found: 4 };
    assert_eq!(refused(&written(), 16, 4), Some(features));
    // What may be ignored is.
    assert_eq!(refused_not(&written(), 24), None);
    for (at, byte) in [
        (128, 2),         // in flight, and nothing is shipped
        (128, 8),         // a bit that means nothing
        (129, 3),         // kept how?
        (256, 30),        // a principal of 30 bytes
        (286, 7),         // no step
        (33, 0xFF),       // more archives than have a place
        (32, 3),          // one that was never written
        (65_536, 255),    // a principal of 255 bytes
        (65_536 + 30, 1), // two are current
        (65_536 + 30, 9), // no state
        (4_097, 2),       // more generations than there are
    ] {
        assert_eq!(
            refused(&written(), at, byte),
            Some(OpenError::Damaged),
            "byte {at}"
        );
    }
}

fn refused_not(memory: &VectorMemory, at: usize) -> Option<OpenError> {
    memory.borrow_mut()[at] = 1;
    Contents::open(memory.clone()).err()
}

proptest! {
    #[test]
    fn damaged_bytes_are_refused_or_read(
        changes in prop::collection::vec((prop_oneof![0usize..384, 4_096usize..4_200, 65_536usize..65_800], any::<u8>()), 1..8),
    ) {
        let memory = written();
        for (at, byte) in changes {
            memory.borrow_mut()[at] = byte;
        }
        if let Ok(contents) = Contents::open(memory) {
            let _ = contents.hits(&[7; 16]);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(super::super::__reads_any_bytes(&bytes));
    }

    /// Those of numbers that are small, as most that are sound have.
    #[test]
    fn small_numbers_are_read_without_a_panic(bytes in prop::collection::vec(0u8..8, 0..300)) {
        prop_assert!(super::super::__reads_any_bytes(&bytes));
    }
}
