//! Users who retry, a canister that calls for users, and the canister under test.

mod clients;
mod outcome;
mod run;

use integration_tests::TEST_CANISTER;
use local_replica::faults::Plan;

use crate::seeds::{Counts, Failure, Simulation, alone, assert_reproducible, shorten, simulate};
use run::{Scenario, plan_of, run};

const DELIVERIES: u64 = 1_000_000;
const SEEDS: u64 = 20;

/// Users call the endpoints, or one without the library.
struct Plain {
    wasm: Vec<u8>,
    unprotected: bool,
}

impl Plain {
    fn new(unprotected: bool) -> Self {
        let wasm = TEST_CANISTER.read();
        Self { wasm, unprotected }
    }
}

impl Simulation for Plain {
    const NAME: &'static str = "promises_hold_under_faults";

    fn plan(&self, seed: u64) -> Plan {
        plan_of(seed)
    }

    fn run(&self, seed: u64, deliveries: u64, plan: Plan) -> Result<Counts, Failure> {
        let scenario = Scenario {
            seed,
            deliveries,
            unprotected: self.unprotected,
            wasm: &self.wasm,
        };
        run(scenario, plan).map(|outcome| outcome.counts())
    }
}

/// Shows G1, G2, G3, G4, G6, G8.
#[test]
fn promises_hold_under_faults() {
    let Some(sum) = simulate(&Plain::new(false), SEEDS, DELIVERIES) else {
        return;
    };
    sum.assert_more_than(
        500,
        &[
            "faults",
            "upgrades",
            "executions",
            "executions to the end",
            "in progress",
            "unknown",
            "rejected",
            "refused at once",
            "given up",
        ],
    );
    assert!(sum.get("done") > sum.get("executions to the end"), "{sum}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_reproducible(&Plain::new(false));
}

#[test]
fn an_endpoint_without_the_library_fails_and_its_schedule_shows_it_again() {
    let _alone = alone();
    let plain = Plain::new(true);
    let run = |plan| plain.run(1, DELIVERIES / SEEDS, plan);
    let failure = run(plain.plan(1)).expect_err("it runs twice");
    let replayed = run(Plan::Schedule(failure.schedule.clone()));
    let replayed = replayed.expect_err("the schedule fails as the seed does");
    assert_eq!(failure.what, replayed.what);
    assert_eq!(failure.deliveries, replayed.deliveries);
    let short = shorten(&plain, 1, failure);
    assert!(short.schedule.0.is_empty(), "a repeated request is enough");
}
