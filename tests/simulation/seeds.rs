//! What all simulations share: seeds, on all cores, with what is needed to see a failure again.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::panic::Location;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use local_replica::faults::{Plan, Schedule};
use local_replica::in_process::InProcess;

use crate::memory;

const THREADS: usize = 2;
/// What shortening a failing schedule may take, in deliveries.
const SHORTENING: u64 = 500_000;
/// What the process may grow by after each thread has done a seed.
const GROWTH_BYTES: u64 = 64 << 20;
/// A simulation takes all cores, and looks at the memory of the process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A promise broken.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) deliveries: u64,
    pub(crate) schedule: Schedule,
}

impl Failure {
    /// Of a run that came to its end with `what`.
    pub(crate) fn unless_kept(what: Result<(), String>, host: &InProcess) -> Result<(), Self> {
        let report = host.replica.faults.report();
        what.map_err(|what| Self {
            what,
            deliveries: report.messages,
            schedule: report.applied.clone(),
        })
    }
}

/// What happened in a run, or in several, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts(pub(crate) BTreeMap<&'static str, u64>);

impl Counts {
    pub(crate) fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub(crate) fn add(&mut self, what: &'static str, number: u64) {
        *self.0.entry(what).or_default() += number;
    }

    pub(crate) fn get(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// A run in which nothing happens proves nothing.
    #[track_caller]
    pub(crate) fn assert_more_than(&self, least: u64, of: &[&str]) {
        let place = Location::caller();
        for what in of {
            assert!(self.get(what) > least, "{place}: few {what}: {self}");
        }
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let numbers = self
            .0
            .iter()
            .map(|(what, number)| format!("{number} {what}"));
        f.write_str(&numbers.collect::<Vec<_>>().join(", "))
    }
}

/// Messages executed: ingress, calls, callbacks, cleanups and timers.
pub(crate) const DELIVERIES: &str = "deliveries";

/// Users, canisters and faults: a seed decides on all choices.
pub(crate) trait Simulation: Sync {
    /// The test, to run a seed again.
    const NAME: &'static str;

    /// The faults of a seed.
    fn plan(&self, seed: u64) -> Plan;

    /// Runs a seed with these faults until so many messages were executed.
    fn run(&self, seed: u64, deliveries: u64, plan: Plan) -> Result<Counts, Failure>;
}

/// Waits until no other simulation runs, and keeps others waiting.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    // One that failed has been told of.
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs so many seeds with so many deliveries in all, and prints what happened. `None` if `IDEMPOTENCY_SEED` asked for one of them.
pub(crate) fn simulate(
    simulation: &impl Simulation,
    seeds: u64,
    deliveries: u64,
) -> Option<Counts> {
    let _alone = alone();
    let each = deliveries.div_ceil(seeds);
    if let Ok(seed) = std::env::var("IDEMPOTENCY_SEED") {
        let seed = seed.parse().expect("IDEMPOTENCY_SEED is a number");
        println!("seed {seed}: {}", check(simulation, seed, each));
        return None;
    }
    let start = Instant::now();
    let next = AtomicU64::new(1);
    let sum = Mutex::new(Counts::default());
    let warm = AtomicUsize::new(0);
    let baseline = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > seeds {
                        return;
                    }
                    let counts = check(simulation, seed, each);
                    let mut sum = sum.lock().expect("no thread panicked");
                    for (what, number) in counts.0 {
                        sum.add(what, number);
                    }
                    if warm.fetch_add(1, Ordering::Relaxed) + 1 == THREADS {
                        *baseline.lock().expect("no thread panicked") = memory::resident();
                    }
                }
            });
        }
    });
    let sum = sum.into_inner().expect("no thread panicked");
    println!("{seeds} seeds in {:.1?}: {sum}", start.elapsed());
    assert!(sum.get(DELIVERIES) >= deliveries);
    if let (Some(before), Some(after)) = (
        baseline.into_inner().expect("no thread panicked"),
        memory::resident(),
    ) {
        println!("resident memory: {before} bytes, at the end {after}");
        assert!(after.saturating_sub(before) < GROWTH_BYTES, "memory grows");
    }
    Some(sum)
}

/// A seed that fails is worth nothing if it doesn't fail again.
pub(crate) fn assert_reproducible(simulation: &impl Simulation) {
    let _alone = alone();
    let one = || {
        let run = simulation.run(99, 5_000, simulation.plan(99));
        run.map_err(|failure| failure.what)
    };
    let (first, second) = (one(), one());
    assert_eq!(first, second);
    assert!(first.is_ok(), "{first:?}");
}

/// Runs a seed, and panics with everything needed to see the failure again.
fn check<S: Simulation>(simulation: &S, seed: u64, deliveries: u64) -> Counts {
    let run = simulation.run(seed, deliveries, simulation.plan(seed));
    run.unwrap_or_else(|failure| {
        let faults = failure.schedule.0.len();
        let deliveries = failure.deliveries;
        eprintln!("seed {seed}, with all faults: {}", failure.what);
        let short = shorten(simulation, seed, failure);
        panic!(
            "seed {seed}: {}\nafter {} deliveries ({deliveries} with all {faults} faults), with these faults:\n{}\
             again: IDEMPOTENCY_SEED={seed} cargo test --workspace --test simulation -- {}",
            short.what,
            short.deliveries,
            short.schedule,
            S::NAME
        )
    })
}

/// Leaves out ever smaller parts of the schedule as long as the run still fails.
pub(crate) fn shorten(simulation: &impl Simulation, seed: u64, mut failure: Failure) -> Failure {
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
            match simulation.run(seed, deliveries, Plan::Schedule(fewer)) {
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
