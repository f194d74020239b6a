//! The store and the model, side by side.

use super::{ops::Op, world::World, *};
use crate::store::tests::seeds;
use proptest::prelude::*;

fn policies() -> impl Strategy<Value = Policy> {
    let tight = policy().capacity(14).capacity_bytes(70_000).max_counters(2);
    prop_oneof![
        2 => Just(policy()),
        1 => Just(tight),
        1 => Just(policy().quota(1_000, 1 << 20)),
        1 => Just(tight.preallocate().retention(Duration::from_nanos(WINDOW))),
    ]
}

proptest! {
    #![proptest_config(config())]

    /// Also if no heap lives for longer than an operation.
    #[test]
    fn as_the_model(policy in policies(), is_short_lived: bool, seeds in seeds(300)) {
        let mut world = World::new(policy);
        for op in seeds.into_iter().map(Op::from) {
            world.apply(op)?;
            if is_short_lived {
                world.apply(Op::Reopen)?;
            }
        }
    }
}
