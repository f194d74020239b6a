//! The store and the model, side by side.

use super::{
    driver::Driver,
    model::Model,
    ops::{Config, Op},
};
use crate::store::tests::{
    config,
    harness::{Seed, TestMemory},
    seeds,
};
use proptest::prelude::*;

/// Applies `ops` to both; what the model has seen.
fn compare(config: Config, ops: &[Op]) -> Result<Model, TestCaseError> {
    let memory = TestMemory::new(u64::MAX);
    let mut driver = Driver::open(&memory, config).unwrap();
    let mut model = Model::new(&driver);
    for op in ops {
        let Some(happened) = driver.apply(op) else {
            return Err(TestCaseError::fail(format!("{op:?} found damage")));
        };
        model.check(&driver, happened)?;
    }
    Ok(model)
}

fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    seeds(most).prop_map(|seeds| seeds.into_iter().map(Op::from).collect())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn as_the_model(config in any::<Seed>().prop_map(Config::from), ops in ops(400)) {
        compare(config, &ops)?;
    }
}

/// Seeds as a history of thousands of operations needs them, the same each time.
fn many_seeds(history: u64) -> impl Iterator<Item = Seed> {
    (0..).map(move |nth: u64| {
        let hash = blake3::hash(&[history.to_le_bytes(), nth.to_le_bytes()].concat());
        let mut seed = [0; 8];
        seed.copy_from_slice(&hash.as_bytes()[..8]);
        seed
    })
}

#[test]
fn in_thousands_of_operations_nothing_runs_twice() {
    let (histories, operations) = if cfg!(miri) { (1, 100) } else { (6, 2_500) };
    let (mut executed, mut forgotten) = (0, 0);
    for history in 0..histories {
        let mut seeds = many_seeds(history);
        let config = Config::from(seeds.next().unwrap());
        let ops: Vec<Op> = seeds.take(operations).map(Op::from).collect();
        let model = compare(config, &ops).unwrap();
        executed += model.executed.len();
        forgotten += model.forgotten;
    }
    println!("{executed} numbers ran, none twice; {forgotten} times a lane was forgotten");
    assert!(cfg!(miri) || executed > 1_000 && forgotten > 100);
}
