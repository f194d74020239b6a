//! Memories with lanes and quotas that something else has written to: the store refuses them or works, and comes to an end.

use super::{
    driver::Driver,
    ops::{Config, Op},
};
use crate::store::tests::{
    config,
    damaged::{likely_image, words},
    harness::{Patch, Seed, TestMemory},
    seeds,
};
use proptest::prelude::*;

/// Of the header: from the number of the oldest partition to that of the live partitions of counters; and the table of those.
const FIELDS: std::ops::Range<usize> = 68..76;
const TABLE: std::ops::Range<usize> = 256..256 + 16 * 64;

#[derive(Clone, Debug)]
enum Damage {
    Any(Patch),
    /// Bytes of what the header says of counters.
    Counters {
        at: usize,
        bytes: Vec<u8>,
    },
}

impl Damage {
    fn apply(&self, memory: &TestMemory) {
        match self {
            Self::Any(patch) => patch.apply(memory),
            Self::Counters { at, bytes } => memory.edit(|memory| {
                if let Some(place) = memory.get_mut(*at..*at + bytes.len()) {
                    place.copy_from_slice(bytes);
                }
            }),
        }
    }
}

fn damages(most: usize) -> impl Strategy<Value = Vec<Damage>> {
    let bytes = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        any::<u32>().prop_map(|word| word.to_le_bytes().to_vec()),
        (0..40u32).prop_map(|word| word.to_le_bytes().to_vec()),
        Just(vec![0; 8]),
        Just(vec![u8::MAX; 8]),
    ];
    let counters =
        (prop_oneof![FIELDS, TABLE], bytes).prop_map(|(at, bytes)| Damage::Counters { at, bytes });
    let any = any::<Seed>().prop_map(|seed| Damage::Any(seed.into()));
    prop::collection::vec(prop_oneof![any, counters], 0..=most)
}

fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    seeds(most).prop_map(|seeds| seeds.into_iter().map(Op::from).collect())
}

fn configs() -> impl Strategy<Value = Config> {
    any::<Seed>().prop_map(Config::from)
}

fn apply_all(driver: &mut Driver, ops: &[Op]) {
    for op in ops {
        driver.apply(op);
        driver.stats();
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_damaged_store_is_refused_or_works(
        config in configs(),
        before in ops(300),
        damages in damages(8),
        after in ops(100),
    ) {
        let memory = TestMemory::new(u64::MAX);
        let mut driver = Driver::open(&memory, config.clone()).unwrap();
        apply_all(&mut driver, &before);
        let now = driver.now;
        drop(driver);
        for damage in &damages {
            damage.apply(&memory);
        }
        if let Ok(mut driver) = Driver::open(&memory, config) {
            // What the counters say of times is as old as it was.
            driver.now = now;
            apply_all(&mut driver, &after);
        }
    }

    /// As if another structure wrote to the memory while the store uses it.
    #[test]
    fn a_store_that_is_damaged_in_use_goes_on(
        config in configs(),
        before in ops(300),
        damages in damages(8),
        after in ops(100),
    ) {
        let memory = TestMemory::new(u64::MAX);
        let mut driver = Driver::open(&memory, config).unwrap();
        apply_all(&mut driver, &before);
        // A memory in use does not shrink.
        let shrinks = |damage: &&Damage| matches!(damage, Damage::Any(Patch::Truncate { .. }));
        for damage in damages.iter().filter(|damage| !shrinks(damage)) {
            damage.apply(&memory);
        }
        apply_all(&mut driver, &after);
    }

    #[test]
    fn any_memory_that_begins_as_a_store_is_refused_or_works(
        config in configs(),
        version in 2..=3u8,
        pages in 1..12u8,
        words in prop::collection::vec(words(), 2_000..2_240),
        damages in damages(20),
        after in ops(100),
    ) {
        let memory = likely_image(version, pages, words);
        for damage in &damages {
            damage.apply(&memory);
        }
        if let Ok(mut driver) = Driver::open(&memory, config) {
            apply_all(&mut driver, &after);
        }
    }
}
