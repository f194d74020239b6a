//! The store and the model, side by side.

use super::{
    AllAttempts, config,
    harness::{self, Driver, Op, Outcome as CameTo, SCALES, Scale, TestMemory},
    model::Model,
    seeds,
};
use crate::{
    admission::Request,
    error::IdempotencyError,
    outcome::{self, Outcome, Verdict},
    store::OpenError,
    time::Timestamp,
};
use ic_stable_structures::Memory;
use proptest::prelude::*;

/// What is said of a request before it comes, if what is to happen is that it comes.
fn ask(store: &Driver<AllAttempts>, op: &Op) -> Option<(Request, Outcome)> {
    let Op::Submit {
        key,
        args,
        created_at,
        ..
    } = *op
    else {
        return None;
    };
    let request = harness::request::<AllAttempts>(key, args, created_at, store.now);
    let now = Timestamp::from_nanos(store.now);
    let place = (&request.identity, request.sequence);
    let asked = outcome::outcome(&store.store, place, request.created_at, now);
    let (outcome, _) = asked.expect("the memory is sound");
    Some((request, outcome))
}

/// Whether what was said of a request agrees with what then came of it.
fn is_right(said: &Outcome, came_to: &CameTo, has_run: bool) -> bool {
    use IdempotencyError as E;
    match (said, came_to) {
        (Outcome::Done { reply, .. }, CameTo::Replayed(again)) => **reply == **again,
        // Of one with other arguments.
        (Outcome::Absent { .. }, CameTo::Refused(E::KeyReused)) => false,
        (_, CameTo::Refused(E::KeyReused)) => true,
        (Outcome::ReplyDropped { executed_at, .. }, CameTo::Refused(error)) => {
            *error
                == E::ReplyDropped {
                    executed_at: *executed_at,
                }
        }
        (Outcome::Pending { since, .. }, CameTo::Refused(error)) => {
            *error == E::InProgress { since: *since }
        }
        (Outcome::Unknown { since, .. }, CameTo::Refused(error)) => {
            *error == E::OutcomeUnknown { since: *since }
        }
        (Outcome::Absent { verdict, .. }, CameTo::Refused(E::TooOld)) => match verdict {
            Verdict::NeverRan => !has_run,
            Verdict::MayHaveRun => true,
            Verdict::CanStillRun { .. } => false,
        },
        (Outcome::Absent { verdict, .. }, CameTo::Refused(_) | CameTo::Executed) => {
            matches!(verdict, Verdict::CanStillRun { .. })
        }
        _ => false,
    }
}

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
        let asked = ask(&store, op);
        let came_to = (store.apply(op), store.stats());
        if let (Some((request, said)), Some(came_to)) = (&asked, &came_to.0) {
            let has_run = model.has_run(request);
            prop_assert!(
                is_right(said, came_to, has_run),
                "{said:?}, {came_to:?}, {has_run}"
            );
        }
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
