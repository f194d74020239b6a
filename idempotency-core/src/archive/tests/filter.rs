//! Filters against what they promise: no id denied, a rate kept, few pages written.

use super::*;
use ic_stable_structures::VectorMemory;
use proptest::prelude::*;
use std::{cell::RefCell, collections::BTreeMap};

const OFFSET: u64 = 4_096;

/// An id as there are others: the end of a hash.
fn id(number: u64) -> Id {
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::hash(&number.to_le_bytes()).as_bytes()[..16]);
    id
}

fn ids(numbers: std::ops::Range<u64>) -> Vec<Id> {
    numbers.map(id).collect()
}

fn filter(blocks: u64) -> (VectorMemory, Filter) {
    let memory = VectorMemory::default();
    let bytes = blocks * 64;
    memory.grow((OFFSET + bytes).div_ceil(65_536));
    (memory, Filter::at(OFFSET, bytes).unwrap())
}

/// How often a block with `mean` ids on average is wrong, its ids being Poisson distributed.
fn rate(mean: f64) -> f64 {
    let (mut sum, mut probability) = (0.0, (-mean).exp());
    for ids in 0..1_000 {
        let is_unset = (63.0f64 / 64.0).powi(ids);
        sum += probability * (1.0 - is_unset).powi(8);
        probability *= mean / f64::from(ids + 1);
    }
    sum
}

/// Each entry of the table is the largest that keeps its rate.
#[test]
fn the_table_is_what_it_says() {
    for (bits, ids) in (1..).zip(IDS_TO_16_BLOCKS) {
        let most = 0.5f64.powi(bits);
        assert!(rate(ids as f64 / 16.0) <= most, "{bits}: {ids}");
        assert!(rate((ids + 1) as f64 / 16.0) > most, "{bits}: {ids}");
    }
}

#[test]
fn the_documented_bytes_are_right() {
    let documented = [
        (8, 1.5),
        (10, 2.0),
        (12, 2.5),
        (14, 3.2),
        (16, 4.1),
        (20, 6.6),
    ];
    for (bits, bytes) in documented {
        let each = Filter::bytes_for(1_000_000, bits).unwrap() as f64 / 1e6;
        assert!((each - bytes).abs() < 0.05, "{bits}: {each}");
    }
}

#[test]
fn a_full_filter_is_wrong_as_seldom_as_it_was_made_for() {
    const IDS: u64 = 60_000;
    const OTHERS: u64 = 400_000;
    for bits in [4, 8, 10, 12] {
        let bytes = Filter::bytes_for(IDS, bits).unwrap();
        let (memory, filter) = filter(bytes / 64);
        for chunk in ids(0..IDS).chunks(7_000) {
            filter.insert(&memory, chunk);
        }
        assert!((0..IDS).all(|number| filter.may_hold(&memory, &id(number))));
        let others = IDS..IDS + OTHERS;
        let wrong = others.filter(|number| filter.may_hold(&memory, &id(*number)));
        let (wrong, promised) = (wrong.count() as f64, (OTHERS >> bits) as f64);
        // Four standard deviations: the ids are the same in every run, so this holds always or never.
        let slack = 4.0 * promised.sqrt();
        assert!(wrong < promised + slack, "{bits}: {wrong} of {promised}");
        assert!(
            wrong > 0.8 * promised - slack,
            "{bits}: {wrong} of {promised}"
        );
    }
}

/// What an id sets is a promise to every filter that was ever written.
#[test]
fn the_bits_of_an_id_stay_what_they_are() {
    let (memory, filter) = filter(3);
    // Six bits each, from the lowest of the fourth byte: 1, 2, 4, …, 32, 63, 0.
    let places: u64 = (0..6).map(|number| (1 << number) << (6 * number)).sum();
    let places = places | 63 << 36;
    let mut id = [0xFF; 16];
    id[3..9].copy_from_slice(&places.to_le_bytes()[..6]);
    // Of three blocks, the second begins with 0x55555556, the third with 0xAAAAAAAB.
    id[12..].copy_from_slice(&0x5555_5555_u32.to_le_bytes());
    filter.insert(&memory, &[id]);
    let mut bytes = [0; 192];
    memory.read(OFFSET, &mut bytes);
    let words = [1, 2, 4, 8, 16, 32, 63, 0].map(|place| 1u64 << place);
    let mut expected = [0; 192];
    expected[..64].copy_from_slice(words.map(u64::to_le_bytes).as_flattened());
    assert_eq!(bytes, expected);
    id[12..].copy_from_slice(&0xAAAA_AAAB_u32.to_le_bytes());
    filter.insert(&memory, &[id]);
    memory.read(OFFSET, &mut bytes);
    assert_eq!(bytes[128..], expected[..64]);
    assert_eq!(bytes[64..128], [0; 64]);
    // Its first bytes are not in archives of ids alone.
    id[..3].fill(0);
    assert!(filter.may_hold(&memory, &id));
}

/// Counts how often each place is written to.
struct Counting {
    memory: VectorMemory,
    writes: RefCell<BTreeMap<u64, u32>>,
    reads: RefCell<u64>,
}

impl Memory for Counting {
    fn size(&self) -> u64 {
        self.memory.size()
    }

    fn grow(&self, pages: u64) -> i64 {
        self.memory.grow(pages)
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        *self.reads.borrow_mut() += 1;
        self.memory.read(offset, dst);
    }

    fn write(&self, offset: u64, src: &[u8]) {
        for block in offset / 64..(offset + src.len() as u64) / 64 {
            *self.writes.borrow_mut().entry(block).or_default() += 1;
        }
        self.memory.write(offset, src);
    }
}

#[test]
fn pages_that_get_many_ids_are_read_and_written_once() {
    // Two pages and a bit of a third one, in four buckets.
    let (memory, filter) = filter(130);
    let memory = Counting {
        memory,
        writes: RefCell::default(),
        reads: RefCell::default(),
    };
    filter.insert(&memory, &ids(0..1_000));
    assert_eq!(memory.reads.take(), 4);
    assert_eq!(memory.writes.borrow().len(), 130);
    // Two buckets may have a block in common.
    assert!(memory.writes.borrow().values().sum::<u32>() <= 130 + 3);
    memory.writes.take();
    filter.insert(&memory, &ids(1_000..1_010));
    assert_eq!(memory.reads.take(), 10);
    assert_eq!(memory.writes.take().into_values().sum::<u32>(), 10);
    filter.may_hold(&memory, &id(1));
    assert_eq!(memory.reads.take(), 1);
}

#[test]
fn lengths_that_are_none_are_refused() {
    assert_eq!(Filter::at(0, 0), None);
    assert_eq!(Filter::at(0, 63), None);
    assert_eq!(Filter::at(0, 65), None);
    assert_eq!(Filter::at(64, 64), None);
    assert_eq!(Filter::at(0, 1 << 38), None);
    assert_eq!(Filter::at(u64::MAX - 4_095, 8_192), None);
    assert_eq!(Filter::bytes_for(u64::MAX, 10), None);
    assert_eq!(Filter::bytes_for(1 << 38, 20), None);
    assert_eq!(Filter::bytes_for(0, 10), Some(64));
    assert_eq!(Filter::bytes_for(1_000, 0), Filter::bytes_for(1_000, 1));
    assert_eq!(Filter::bytes_for(1_000, 99), Filter::bytes_for(1_000, 20));
}

/// Ids from anywhere, and such as were chosen: the first and last block, one block, the same bits.
fn any_id() -> impl Strategy<Value = Id> {
    prop_oneof![
        any::<u64>().prop_map(id),
        any::<Id>(),
        prop::sample::select(&[[0; 16], [255; 16]][..]),
        any::<[u8; 8]>().prop_map(|back| {
            let mut id = [7; 16];
            id[8..].copy_from_slice(&back);
            id
        }),
    ]
}

proptest! {
    #[test]
    fn what_was_put_in_is_never_denied(
        blocks in 1u64..300,
        chunks in prop::collection::vec(prop::collection::vec(any_id(), 0..200), 0..5),
    ) {
        let (memory, filter) = filter(blocks);
        for chunk in &chunks {
            filter.insert(&memory, chunk);
        }
        for id in chunks.iter().flatten() {
            prop_assert!(filter.may_hold(&memory, id));
        }
        // Nothing was written before or behind the filter.
        let mut around = [0; OFFSET as usize];
        memory.read(0, &mut around);
        prop_assert!(around.iter().all(|byte| *byte == 0));
        let end = OFFSET + blocks * 64;
        let mut behind = vec![0; (memory.size() * 65_536 - end) as usize];
        memory.read(end, &mut behind);
        prop_assert!(behind.iter().all(|byte| *byte == 0));
    }
}
