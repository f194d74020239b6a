//! A million message deliveries with faults, and the library's promises checked all along.
//!
//! Runs in process on `local-replica`. `IDEMPOTENCY_SEED=7` runs that seed alone; a failing run prints its seed and a
//! schedule of faults that fails too, made as short as a few more runs can make it.
#![forbid(unsafe_code)]

mod clients;
mod memory;
mod outcome;
mod run;

use integration_tests::TEST_CANISTER;
use local_replica::faults::Plan;
use outcome::Outcome;
use run::{Failure, Scenario, plan_of, run};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// Messages executed: ingress, calls, callbacks, cleanups and timers, of all seeds.
const DELIVERIES: u64 = 1_000_000;
const SEEDS: u64 = 20;
const THREADS: usize = 2;
/// What shortening a failing schedule may take, in deliveries.
const SHORTENING: u64 = 500_000;
/// What the process may grow by after each thread has done a seed.
const GROWTH_BYTES: u64 = 64 << 20;

/// Shows G1, G2, G3, G4, G6, G8.
#[test]
fn promises_hold_under_faults() {
    let wasm = TEST_CANISTER.read();
    if let Ok(seed) = std::env::var("IDEMPOTENCY_SEED") {
        let seed = seed.parse().expect("IDEMPOTENCY_SEED is a number");
        println!("{}", check(seed, &wasm));
        return;
    }
    let start = Instant::now();
    let next = AtomicUsize::new(1);
    let sum = Mutex::new(Outcome::default());
    let warm = AtomicUsize::new(0);
    let baseline = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed) as u64;
                    if seed > SEEDS {
                        return;
                    }
                    let outcome = check(seed, &wasm);
                    sum.lock().expect("no thread panicked").add(&outcome);
                    if warm.fetch_add(1, Ordering::Relaxed) + 1 == THREADS {
                        *baseline.lock().expect("no thread panicked") = memory::resident();
                    }
                }
            });
        }
    });
    let sum = sum.into_inner().expect("no thread panicked");
    println!("{SEEDS} seeds in {:?}: {sum}", start.elapsed());
    assert!(sum.deliveries >= DELIVERIES);
    sum.assert_varied();
    if let (Some(before), Some(after)) = (
        baseline.into_inner().expect("no thread panicked"),
        memory::resident(),
    ) {
        println!("resident memory: {before} bytes, at the end {after}");
        assert!(after.saturating_sub(before) < GROWTH_BYTES, "memory grows");
    }
}

/// The run of a seed.
fn scenario(seed: u64, wasm: &[u8]) -> Scenario<'_> {
    Scenario {
        seed,
        deliveries: DELIVERIES.div_ceil(SEEDS),
        unprotected: false,
        wasm,
    }
}

/// Runs a seed, and panics with everything needed to see the failure again.
fn check(seed: u64, wasm: &[u8]) -> Outcome {
    let scenario = scenario(seed, wasm);
    run(scenario, plan_of(seed)).unwrap_or_else(|failure| {
        let faults = failure.schedule.0.len();
        let deliveries = failure.deliveries;
        let short = shorten(scenario, failure);
        panic!(
            "{}\nafter {} deliveries ({deliveries} with all {faults} faults), with these faults:\n{}\
             again: IDEMPOTENCY_SEED={seed} cargo test -p integration-tests --test simulation",
            short.what, short.deliveries, short.schedule
        )
    })
}

/// Leaves out ever smaller parts of the schedule as long as the run still fails.
fn shorten(scenario: Scenario<'_>, mut failure: Failure) -> Failure {
    let mut spent = 0;
    let mut part = failure.schedule.0.len();
    while part > 0 {
        let mut start = 0;
        while start < failure.schedule.0.len() {
            let deliveries = failure.deliveries * 2;
            if spent + deliveries > SHORTENING {
                return failure;
            }
            let mut fewer = failure.schedule.clone();
            let end = (start + part).min(fewer.0.len());
            fewer.0.drain(start..end);
            let longer = Scenario {
                deliveries,
                ..scenario
            };
            match run(longer, Plan::Schedule(fewer)) {
                Err(shorter) => {
                    spent += shorter.deliveries;
                    failure = shorter;
                }
                Ok(_) => {
                    spent += deliveries;
                    start += part;
                }
            }
        }
        part /= 2;
    }
    failure
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let wasm = TEST_CANISTER.read();
    let scenario = Scenario {
        deliveries: 5_000,
        ..scenario(99, &wasm)
    };
    let one = || run(scenario, plan_of(99)).map_err(|failure| failure.what);
    let (first, second) = (one(), one());
    assert_eq!(first, second);
    assert!(first.is_ok(), "{first:?}");
}

#[test]
fn an_endpoint_without_the_library_fails_and_its_schedule_shows_it_again() {
    let wasm = TEST_CANISTER.read();
    let scenario = Scenario {
        unprotected: true,
        ..scenario(1, &wasm)
    };
    let failure = run(scenario, plan_of(1)).expect_err("it runs twice");
    let replayed = run(scenario, Plan::Schedule(failure.schedule.clone()));
    let replayed = replayed.expect_err("the schedule fails as the seed does");
    assert_eq!(failure.what, replayed.what);
    assert_eq!(failure.deliveries, replayed.deliveries);
    let short = shorten(scenario, failure);
    assert!(short.schedule.0.is_empty(), "a repeated request is enough");
}
