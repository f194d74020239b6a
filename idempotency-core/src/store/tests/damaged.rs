//! Memories that something else has written to: whatever they hold, the store refuses them or works, and comes to an end.
//!
//! What it answers may be wrong. That it neither panics nor reads on for ever is the property.

use super::{
    AllAttempts, config,
    harness::{Chapter, LANES, SCALES, START, Scale, TestMemory, any_image, survive},
    seeds,
};
use crate::{
    policy::Policy,
    store::{OpenError, Store},
    time::Timestamp,
};
use ic_stable_structures::Memory;
use proptest::prelude::*;

/// Words of which some lead to a page, some may, and some lead nowhere.
pub(super) fn words() -> impl Strategy<Value = u32> {
    prop_oneof![5 => Just(0), 4 => 0..20u32, 1 => any::<u32>()]
}

/// A memory that begins as a store of a layout version, and goes on with words: made such that it is not refused at once, as
/// it would be for most numbers of pages and of partitions.
pub(super) fn likely_image(version: u8, pages: u8, mut words: Vec<u32>) -> TestMemory {
    // Behind magic and version, in words: pages in use, and partitions of requests and of counters.
    let [in_use, partitions @ ..] = match version {
        2 => [40, 60, 72],
        _ => [48, 68, 72],
    }
    .map(|offset| (offset - 8) / 4);
    let leading = words.iter_mut().filter(|word| **word < 20);
    leading.for_each(|word| *word %= u32::from(pages));
    words[in_use] = words[in_use] % u32::from(pages) + 1;
    for place in partitions {
        words[place] = (words[place] % 4) << 16;
    }
    // Version 2 has none.
    let must_be_known = (88 - 8) / 4;
    words[must_be_known..must_be_known + 2].fill(0);
    let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    any_image(version, pages.into(), &bytes)
}

fn scales() -> impl Strategy<Value = Scale> {
    prop_oneof![3 => prop::sample::select(&SCALES[..]), 1 => Just(LANES)]
}

/// What happens before the damage, and the damage and what happens after it.
fn stories(is_closed: bool) -> impl Strategy<Value = (Scale, [Chapter; 2])> {
    (scales(), seeds(400), seeds(12), seeds(100)).prop_map(
        move |(scale, before, patches, after)| {
            let history = Chapter::new(scale, true, &[], &before);
            let damage = Chapter::new(scale, is_closed, &patches, &after);
            (scale, [history, damage])
        },
    )
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_damaged_store_is_refused_or_works((scale, chapters) in stories(true)) {
        survive::<AllAttempts>(&TestMemory::new(2_000), scale, &chapters);
    }

    /// As if another structure wrote to the memory while the store uses it.
    #[test]
    fn a_store_that_is_damaged_in_use_goes_on((scale, chapters) in stories(false)) {
        survive::<AllAttempts>(&TestMemory::new(2_000), scale, &chapters);
    }

    #[test]
    fn any_memory_that_begins_as_a_store_is_refused_or_works(
        scale in scales(),
        version in 2..=3u8,
        pages in 1..20u8,
        words in prop::collection::vec(words(), 100..1_000),
        patches in seeds(40),
        after in seeds(100),
    ) {
        let memory = likely_image(version, pages, words);
        let chapter = Chapter::new(scale, true, &patches, &after);
        survive::<AllAttempts>(&memory, scale, &[chapter]);
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
