//! A year in which the window is one day, and faults happen to the canister and to its archives all the time.

use crate::world::{Answer, DAY, Failure, REPLIES, World};
use idempotency_core::IdempotencyError;
use integration_tests::Faults;
use local_replica::faults::{Plan, Rates};
use std::collections::BTreeMap;

const DAYS: u64 = 365;

/// Of a million messages and answers, how many each fault happens to.
const RATE: u32 = 12_000;

struct Year {
    world: World,
    random: fastrand::Rng,
    /// The first reply to each key, if there was one.
    known: BTreeMap<u64, Option<u64>>,
    next: u64,
    late: u64,
}

impl Year {
    fn send(&mut self, key: u64) {
        self.known.entry(key).or_default();
        let answer = self.world.call(1, "pay", (key, 1u64));
        // A reject says nothing of what became of it.
        let Ok(answer) = answer else {
            return;
        };
        self.check(key, answer);
    }

    fn check(&mut self, key: u64, answer: Answer) {
        let known = self.known.entry(key).or_default();
        match answer {
            Ok(number) => {
                let first = *known.get_or_insert(number);
                assert_eq!(number, first, "key {key}");
            }
            Err(Failure::Idempotency(
                IdempotencyError::Full { .. } | IdempotencyError::Other { code: 8, .. },
            )) => {}
            Err(other) => panic!("key {key}: {other:?}"),
        }
    }

    fn day(&mut self) {
        for _ in 0..4 {
            for _ in 0..self.random.u32(0..4) {
                let key = self.next;
                self.next += 1;
                self.send(key);
            }
            for _ in 0..self.random.u32(0..4) {
                let key = self.random.u64(0..self.next.max(1));
                self.late += 1;
                if self.known.contains_key(&key) {
                    self.send(key);
                }
            }
            self.world.pass(DAY / 4, 1);
            for _ in 0..self.random.usize(0..4) {
                self.world.pass(1, 1);
                if self.random.u8(0..20) == 0 {
                    // A canister that is being stopped can't be, and one whose hook traps is not.
                    let _ = self.world.upgrade(None);
                }
            }
        }
    }

    /// Without faults everybody gets an answer.
    fn end(mut self) {
        // A trap in the very message that runs the timers of ic-cdk-timers leaves a canister without any until it is upgraded.
        self.world.upgrade(None).expect("it is upgraded");
        self.world.ship();
        let paid = self.world.paid();
        assert!(paid.values().all(|times| *times == 1), "{paid:?}");
        let keys: Vec<_> = self.known.keys().copied().collect();
        for key in keys {
            let answer = self.world.pay(key);
            assert!(answer.is_ok(), "key {key}: {answer:?}");
            self.check(key, answer);
        }
        assert!(self.world.paid().values().all(|times| *times == 1));
        let shipped = self.world.shipped().0;
        eprintln!(
            "{} payments, {} retries, {shipped} archived, {} archives",
            self.next,
            self.late,
            self.world.overview().archives.len()
        );
        assert!(shipped > 500);
    }
}

fn year(seed: u64, world: World, canisters: Vec<candid::Principal>) {
    let rates = Rates {
        canisters,
        // The client of these tests can't do without an answer.
        lose_ingress_answer: 0,
        // These come between rounds: see `shipment.rs`.
        upgrade: 0,
        ..Rates::all(RATE)
    };
    let faults = Faults::install(&world.replica, &Plan::Seeded { seed, rates });
    let mut year = Year {
        world,
        random: fastrand::Rng::with_seed(seed),
        known: BTreeMap::new(),
        next: 0,
        late: 0,
    };
    for _ in 0..DAYS {
        year.day();
    }
    if let Some(faults) = faults {
        let applied = faults.report().applied.0.len();
        eprintln!("seed {seed}: {applied} faults");
        assert!(applied > 100);
        faults.stop();
    }
    year.end();
}

#[test]
fn no_id_is_missing_and_none_runs_twice_with_archives_that_were_given() {
    let world = World::given(REPLIES, 1);
    let canisters = vec![world.canister, world.archive(0)];
    year(1, world, canisters);
}

/// Faults happen to all canisters: also to the archives that are made on the way.
#[test]
fn no_id_is_missing_and_none_runs_twice_with_archives_that_are_made() {
    let world = World::making(REPLIES, |settings| settings.archive_capacity = 200);
    year(2, world, vec![]);
}
