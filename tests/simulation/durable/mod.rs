//! Durable requests: what was accepted ends by itself, in the outcome that it would have had without faults.

mod books;
mod clients;
mod requests;
mod run;
mod types;

use integration_tests::DURABLE_CANISTER;
use local_replica::faults::{Plan, Rates};

use crate::seeds::{Counts, Failure, Simulation, assert_reproducible, simulate};
use run::{Scenario, run};

const DELIVERIES: u64 = 500_000;
const SEEDS: u64 = 50;
const SECOND_NS: u64 = 1_000_000_000;

/// All kinds of faults. Some clients retry.
struct Durable {
    wasm: Vec<u8>,
}

impl Simulation for Durable {
    const NAME: &'static str = "durable_requests_end_as_without_faults";

    fn plan(&self, seed: u64) -> Plan {
        let rates = Rates {
            overtake: 50_000,
            upgrade: 6_000,
            upgrade_trap: 3_000,
            stop: 2_000,
            out_of_cycles: 400,
            clock: 500,
            trap_at_call: 15_000,
            trap_at_instruction: 15_000,
            lose_answer: 30_000,
            delay_answer: 50_000,
            reject_answer: 20_000,
            lose_ingress_answer: 50_000,
            max_call: 80,
            max_instruction: 400_000,
            clock_jumps_ns: [1, 30, 300].map(|seconds| seconds * SECOND_NS).to_vec(),
            ..Rates::default()
        };
        Plan::Seeded { seed, rates }
    }

    fn run(&self, seed: u64, deliveries: u64, plan: Plan) -> Result<Counts, Failure> {
        let scenario = Scenario {
            seed,
            deliveries,
            is_left_alone: false,
            wasm: &self.wasm,
        };
        run(scenario, plan)
    }
}

/// Shows G2, G12, G13, G15.
#[test]
fn durable_requests_end_as_without_faults() {
    let wasm = DURABLE_CANISTER.read();
    let Some(sum) = simulate(&Durable { wasm }, SEEDS, DELIVERIES) else {
        return;
    };
    sum.assert_more_than(
        500,
        &[
            "upgrades",
            "upgrades that failed",
            "traps",
            "stops",
            "overtaken",
            "executed to the end",
            "ended by themselves",
            "parked in the end",
            "done",
            "in progress",
            "gaps",
            "rejected",
            "given up",
        ],
    );
}

/// The canister is upgraded all the time, with calls in flight, and is never stopped. Nobody retries.
struct Upgraded {
    wasm: Vec<u8>,
}

impl Simulation for Upgraded {
    const NAME: &'static str =
        "a_canister_that_is_upgraded_every_few_rounds_ends_every_durable_request";

    fn plan(&self, seed: u64) -> Plan {
        let rates = Rates {
            overtake: 50_000,
            upgrade: 10_000,
            delay_answer: 100_000,
            ..Rates::default()
        };
        Plan::Seeded { seed, rates }
    }

    fn run(&self, seed: u64, deliveries: u64, plan: Plan) -> Result<Counts, Failure> {
        let scenario = Scenario {
            seed,
            deliveries,
            is_left_alone: true,
            wasm: &self.wasm,
        };
        run(scenario, plan)
    }
}

/// Shows G12.
#[test]
fn a_canister_that_is_upgraded_every_few_rounds_ends_every_durable_request() {
    let wasm = DURABLE_CANISTER.read();
    let Some(sum) = simulate(&Upgraded { wasm }, 10, 100_000) else {
        return;
    };
    sum.assert_more_than(100, &["upgrades", "ended by themselves"]);
    // A message or two go astray with each, but no request.
    assert_eq!(sum.get("parked in the end"), 0, "{sum}");
}

#[test]
fn the_same_seed_gives_the_same_run_of_durable_requests() {
    let wasm = DURABLE_CANISTER.read();
    assert_reproducible(&Durable { wasm });
}
