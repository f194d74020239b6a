use super::*;
use crate::{
    icrc3::Value,
    wire::{AppendBlocks, AppendedBlocks},
};
use proptest::prelude::*;

fn block(number: u64) -> ByteBuf {
    let value = Value::map([
        ("number", Value::nat(number)),
        (
            "memo",
            Value::blob(vec![number as u8; (number % 300) as usize]),
        ),
    ]);
    ByteBuf::from(value.to_bytes().unwrap())
}

fn append(from: u64, to: u64) -> AppendBlocks {
    AppendBlocks {
        from,
        blocks: (from..to).map(block).collect(),
    }
}

fn held(archive: &Archive<VectorMemory>, start: u64, length: u64) -> Vec<u64> {
    let blocks = archive
        .get_blocks(start, length, &mut usize::MAX.clone())
        .unwrap();
    let numbers = blocks.iter().map(|it| {
        let number = u64::try_from(it.id.0.clone()).unwrap();
        assert_eq!(it.block, Value::from_bytes(&block(number)).unwrap());
        number
    });
    numbers.collect()
}

#[test]
fn blocks_are_taken_once_and_in_order() {
    let mut archive = archive(false);
    let mut take = |from, to| archive.append_blocks(&append(from, to)).unwrap();
    assert_eq!(take(100, 103), AppendedBlocks::Taken(103));
    assert_eq!(take(100, 103), AppendedBlocks::Taken(103));
    // What is there is not taken again, what follows it is.
    assert_eq!(take(101, 110), AppendedBlocks::Taken(110));
    assert_eq!(take(110, 110), AppendedBlocks::Taken(110));
    assert_eq!(take(111, 113), AppendedBlocks::OutOfPlace(110));
    assert_eq!(take(99, 101), AppendedBlocks::OutOfPlace(110));
    let different = AppendBlocks {
        from: 105,
        blocks: vec![block(105), block(7), block(107)],
    };
    assert_eq!(
        archive.append_blocks(&different),
        Ok(AppendedBlocks::Different(106))
    );
    assert_eq!(archive.blocks(), 100..110);
    assert_eq!(held(&archive, 0, u64::MAX), (100..110).collect::<Vec<_>>());
    assert_eq!(held(&archive, 108, 1), [108]);
    assert!(held(&archive, 110, 1).is_empty());
}

#[test]
fn what_is_no_block_is_refused_with_those_around_it() {
    let mut archive = archive(false);
    let mut blocks = append(0, 3);
    blocks.blocks[1].push(0);
    let refused = archive.append_blocks(&blocks).unwrap();
    assert!(
        matches!(refused, AppendedBlocks::Malformed(_)),
        "{refused:?}"
    );
    let endless = AppendBlocks {
        from: u64::MAX,
        blocks: vec![block(0)],
    };
    let refused = archive.append_blocks(&endless).unwrap();
    assert!(
        matches!(refused, AppendedBlocks::Malformed(_)),
        "{refused:?}"
    );
    assert_eq!(archive.blocks(), 0..0);
}

#[test]
fn an_answer_has_as_many_blocks_as_there_are_bytes_for() {
    let mut archive = archive(false);
    archive.append_blocks(&append(0, 50)).unwrap();
    let mut bytes = block(0).len() + block(1).len() + 1;
    let blocks = archive.get_blocks(0, 50, &mut bytes).unwrap();
    assert_eq!((blocks.len(), bytes), (3, 0));
    assert_eq!(archive.get_blocks(3, 50, &mut bytes).unwrap(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// With chunks in between, and a new heap before each call.
    #[test]
    fn blocks_lie_beside_entries(first: u32, calls in prop::collection::vec((0u64..400, 0u64..30, 0u64..3000), 1..12)) {
        let memory = VectorMemory::default();
        Archive::install(memory.clone(), &install(false)).unwrap();
        let first = u64::from(first);
        let (mut next, mut position) = (first, Position::default());
        for (blocks, again, entries) in calls {
            let mut archive = Archive::open(memory.clone()).unwrap();
            let from = next.saturating_sub(again).max(first);
            let appended = archive.append_blocks(&append(from, next + blocks)).unwrap();
            next += blocks;
            prop_assert_eq!(appended, AppendedBlocks::Taken(next));
            let from = position.entries;
            position = taken(archive.append(&ids(position, from..from + entries)));
        }
        let archive = Archive::open(memory).unwrap();
        if next > first {
            prop_assert_eq!(held(&archive, first, u64::MAX), (first..next).collect::<Vec<_>>());
        }
        let all: Vec<_> = (0..position.entries).map(id).collect();
        prop_assert!(archive.look_up(candid::Principal::anonymous(), &all).unwrap().found.iter().all(Option::is_some));
    }
}
