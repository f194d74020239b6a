//! The store and the model, side by side.

use super::{
    AllAttempts, config,
    harness::{Driver, Op, SCALES, Scale, TestMemory},
    model::Model,
    seeds,
};
use crate::store::OpenError;
use ic_stable_structures::Memory;
use proptest::prelude::*;

/// Applies `ops` to both and compares every answer and the statistics after each.
///
/// How many pages a store takes is no part of the contract, so the model is told how many times the memory failed to
/// grow: there must be a number, up to that of refusals, with which it does the same. Nor whether there is room for the record
/// of an attempt that ends when its first one has gone.
fn compare(scale: Scale, first_pages: u64, ops: &[Op]) -> Result<(), TestCaseError> {
    let memory = TestMemory::new(first_pages);
    let mut store = match Driver::<AllAttempts>::open(&memory, scale.policy()) {
        Err(error) => {
            prop_assert_eq!(error, OpenError::OutOfMemory);
            prop_assert_eq!(memory.size(), 0);
            memory.limit(u64::MAX);
            Driver::open(&memory, scale.policy()).expect("there is room now")
        }
        Ok(store) => store,
    };
    let mut model = Model::new(scale.policy());
    for op in ops {
        let came_to = (store.apply(op), store.stats());
        let refused_grows = memory.refused_grows.get();
        let alternatives =
            (0..=refused_grows).flat_map(|failures| [(failures, false), (failures, true)]);
        let agreeing = alternatives
            .into_iter()
            .find_map(|(failures, has_no_memory)| {
                let mut model = model.clone();
                (model.failures, model.has_no_memory) = (failures, has_no_memory);
                let expected = (Some(model.apply(op)), model.stats());
                (expected == came_to && model.failures == 0).then_some(model)
            });
        match agreeing {
            Some(agreeing) => model = agreeing,
            None => {
                let expected = (Some(model.apply(op)), model.stats());
                prop_assert_eq!(
                    came_to,
                    expected,
                    "{:?}, {} refused grows",
                    op,
                    refused_grows
                );
                prop_assert!(
                    refused_grows == 0,
                    "{op:?} failed to grow and gave up nothing"
                );
            }
        }
    }
    Ok(())
}

fn ops() -> impl Strategy<Value = (Scale, Vec<Op>)> {
    let scale = prop_oneof![6 => Just(SCALES[0]), 2 => Just(SCALES[1]), 1 => Just(SCALES[2])];
    (scale, seeds(800)).prop_map(|(scale, seeds)| {
        let ops = seeds.into_iter().map(|seed| scale.op(seed)).collect();
        (scale, ops)
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn as_the_model((scale, ops) in ops(), first_pages in 0..40u64) {
        compare(scale, first_pages, &ops)?;
    }
}
