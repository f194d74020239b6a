//! Memories that something else has written to: whatever they hold, the store refuses them or works, and comes to an end.
//!
//! What it answers may be wrong. That it neither panics nor reads on for ever is the property.

use super::{
    AllAttempts, config,
    harness::{Driver, Op, Patch, SCALES, START, Scale, Seed, TestMemory, any_image, survive},
    seeds,
};
use crate::{
    policy::Policy,
    store::{OpenError, Store},
    time::Timestamp,
};
use ic_stable_structures::Memory;
use proptest::prelude::*;

/// Where the header has the pages in use and the number of slices, in words after magic and version.
const PAGES_WORD: usize = (40 - 8) / 4;
const SLICES_WORD: usize = (60 - 8) / 4;

fn ops(scale: Scale, seeds: Vec<Seed>) -> Vec<Op> {
    seeds.into_iter().map(|seed| scale.op(seed)).collect()
}

fn patches(most: usize) -> impl Strategy<Value = Vec<Patch>> {
    let patch = any::<Seed>().prop_map(Patch::from);
    prop::collection::vec(patch, 0..=most)
}

/// Words of which some lead to a page, some may, and some lead nowhere.
fn words() -> impl Strategy<Value = u32> {
    prop_oneof![5 => Just(0), 4 => 0..20u32, 1 => any::<u32>()]
}

/// A scale, what happens before the damage, and what happens after it.
fn stories() -> impl Strategy<Value = (Scale, Vec<Op>, Vec<Op>)> {
    (prop::sample::select(&SCALES[..]), seeds(400), seeds(100))
        .prop_map(|(scale, before, after)| (scale, ops(scale, before), ops(scale, after)))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_damaged_store_is_refused_or_works((scale, before, after) in stories(), patches in patches(12)) {
        let memory = TestMemory::new(u64::MAX);
        let mut driver = Driver::<AllAttempts>::open(&memory, scale.policy()).unwrap();
        for op in &before {
            driver.apply(op);
        }
        drop(driver);
        survive::<AllAttempts>(&memory, scale, &patches, &after);
    }

    /// As if another structure wrote to the memory while the store uses it.
    #[test]
    fn a_store_that_is_damaged_in_use_goes_on((scale, before, after) in stories(), patches in patches(12)) {
        let memory = TestMemory::new(u64::MAX);
        let mut driver = Driver::<AllAttempts>::open(&memory, scale.policy()).unwrap();
        for op in &before {
            driver.apply(op);
        }
        for patch in &patches {
            patch.apply(&memory);
        }
        for op in &after {
            driver.apply(op);
            driver.stats();
        }
    }

    #[test]
    fn any_memory_that_begins_as_a_store_is_refused_or_works(
        scale in prop::sample::select(&SCALES[..]),
        pages in 1..20u8,
        words in prop::collection::vec(words(), 100..1_000),
        patches in patches(40),
        after in seeds(100),
    ) {
        let mut words = words;
        words.iter_mut().filter(|word| **word < 20).for_each(|word| *word %= u32::from(pages));
        // Most numbers of pages and of slices are refused at once, which other tests show.
        words[PAGES_WORD] = words[PAGES_WORD] % u32::from(pages) + 1;
        words[SLICES_WORD] = (words[SLICES_WORD] % 4) << 16;
        let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        let memory = any_image(pages.into(), &bytes);
        survive::<AllAttempts>(&memory, scale, &patches, &ops(scale, after));
    }

    #[test]
    fn any_other_memory_is_refused_and_left_alone(first in prop::collection::vec(any::<u8>(), 0..100)) {
        let memory = TestMemory::new(u64::MAX);
        memory.grow(1);
        memory.write(0, &first);
        let opened = Store::open(memory.clone(), Policy::new(), Timestamp::from_nanos(START));
        let refused = matches!(opened, Err(OpenError::Foreign { .. }));
        prop_assert!(refused);
        let mut after = vec![0; first.len()];
        memory.read(0, &mut after);
        prop_assert_eq!(after, first);
    }
}
