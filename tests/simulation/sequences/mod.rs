//! Requests by number, in lanes: sync and strict, with replies that lie in the lane and others; sync and pipelined; async and strict.

mod lane;
mod run;
mod types;

use integration_tests::TEST_CANISTER;
use local_replica::faults::{Plan, Rates};

use crate::seeds::{Counts, Failure, Simulation, assert_reproducible, simulate};

const DELIVERIES: u64 = 500_000;
const SEEDS: u64 = 20;

struct Sequences {
    wasm: Vec<u8>,
}

impl Simulation for Sequences {
    const NAME: &'static str = "lanes_go_on_number_by_number";

    fn plan(&self, seed: u64) -> Plan {
        let rates = Rates {
            overtake: 100_000,
            upgrade: 6_000,
            upgrade_trap: 2_000,
            stop: 600,
            out_of_cycles: 400,
            trap_at_call: 30_000,
            trap_at_instruction: 30_000,
            delay_answer: 50_000,
            reject_answer: 20_000,
            lose_ingress_answer: 50_000,
            max_call: 80,
            max_instruction: 400_000,
            ..Rates::default()
        };
        Plan::Seeded { seed, rates }
    }

    fn run(&self, seed: u64, deliveries: u64, plan: Plan) -> Result<Counts, Failure> {
        run::run(&self.wasm, seed, deliveries, plan)
    }
}

/// Shows G1, G2, G3, G4.
#[test]
fn lanes_go_on_number_by_number() {
    let wasm = TEST_CANISTER.read();
    let Some(sum) = simulate(&Sequences { wasm }, SEEDS, DELIVERIES) else {
        return;
    };
    sum.assert_more_than(
        500,
        &[
            "upgrades",
            "traps",
            "overtaken",
            "executed",
            "replays",
            "gaps",
            "too old",
            "keys reused",
            "in progress",
            "unknown",
            "lanes freed",
            "rejected",
            "given up",
        ],
    );
}

#[test]
fn the_same_seed_gives_the_same_run_of_lanes() {
    let wasm = TEST_CANISTER.read();
    assert_reproducible(&Sequences { wasm });
}
