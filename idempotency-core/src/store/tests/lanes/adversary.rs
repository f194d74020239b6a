//! One who floods, with many principals and many lanes, and one who works.

use super::{lane_of, request};
use crate::{
    admission::{self, Decision},
    error::IdempotencyError,
    policy::Policy,
    sequence::Sequence,
    store::{Store, tests::harness::TestMemory},
    time::Timestamp,
};
use std::time::Duration;

const MINUTE: u64 = 60_000_000_000;
const WINDOW_MINUTES: u64 = 60;
const QUOTA: u64 = 20;
const VICTIM: u8 = 0;
const NEWCOMER: u8 = 200;

fn policy(principals: u64) -> Policy {
    Policy::new()
        .window(Duration::from_secs(60 * WINDOW_MINUTES))
        .max_reply_bytes(100)
        // Room for the quotas of all.
        .capacity(QUOTA * (principals + 2))
        .quota(QUOTA, 200 * QUOTA)
}

struct World {
    store: Store<TestMemory>,
    minute: u64,
}

impl World {
    fn open(policy: Policy) -> Self {
        let memory = TestMemory::new(u64::MAX);
        let store = Store::open(memory, policy, Timestamp::from_nanos(0)).unwrap();
        Self { store, minute: 1 }
    }

    /// The next call of a lane.
    fn call(&self, caller: u8, lane: u64) -> Result<(), IdempotencyError> {
        let lane = lane_of(caller, lane);
        let sequence = Sequence {
            lane,
            number: self.store.next_number(&lane).unwrap(),
            max_in_flight: 1,
            first_incomplete: None,
            is_shared: false,
        };
        let now = Timestamp::from_nanos(self.minute * MINUTE);
        match admission::admit(&self.store, &request(caller, sequence, 0), now) {
            Decision::Execute(ticket) => {
                self.store.record(&ticket, &[7; 100]).unwrap();
                Ok(())
            }
            Decision::Refuse(error) => Err(error),
            Decision::Replay(_) => panic!("a new number was replayed"),
        }
    }
}

#[derive(Debug, Default)]
struct Count {
    served: u64,
    over_quota: u64,
    full: u64,
}

impl Count {
    fn add(&mut self, answer: Result<(), IdempotencyError>) {
        match answer {
            Ok(()) => self.served += 1,
            Err(IdempotencyError::QuotaExceeded { .. }) => self.over_quota += 1,
            Err(IdempotencyError::Full { .. }) => self.full += 1,
            Err(other) => panic!("{other}"),
        }
    }
}

/// In each minute of `hours` every principal sends 12 calls, each in a lane that was never used before, and one
/// who has one lane sends his call every five minutes. At half time somebody comes who was never there, and tries until he
/// is let in.
fn flood(principals: u8, hours: u64, policy: Policy) -> [Count; 3] {
    let mut world = World::open(policy);
    let [mut flood, mut work, mut newcomer] = <[Count; 3]>::default();
    let mut lane = 0;
    world.call(VICTIM, 0).unwrap();
    for minute in 1..=60 * hours {
        world.minute = minute;
        for principal in 1..=principals {
            for _ in 0..12 {
                lane += 1;
                flood.add(world.call(principal, lane));
            }
        }
        if minute % 5 == 0 {
            work.add(world.call(VICTIM, 0));
        }
        if minute > 30 * hours && newcomer.served == 0 {
            newcomer.add(world.call(NEWCOMER, 0));
        }
    }
    [flood, work, newcomer]
}

#[test]
fn who_works_is_served_whoever_floods() {
    let hours = if cfg!(miri) { 1 } else { 4 };
    for principals in [1, 10, 100] {
        let [flood, work, newcomer] = flood(principals, hours, policy(principals.into()));
        println!(
            "{principals} principals flood: {flood:?}; one works: {work:?}; one comes: {newcomer:?}"
        );
        assert_eq!(work.served, 12 * hours);
        assert_eq!((work.over_quota, work.full), (0, 0));
        assert_eq!((newcomer.served, newcomer.full), (1, 0));
        assert_eq!(flood.full, 0);
        let most = u64::from(principals) * QUOTA * (hours + 1);
        assert!(flood.over_quota > 0 && flood.served <= most);
    }
}

/// Lanes that are opened at will fill what may be known of lanes. Who is known goes on; who comes new is let in only where
/// idle lanes are evicted.
#[test]
fn who_opens_lanes_at_will_keeps_out_nobody_who_is_known() {
    for evicts in [false, true] {
        let policy = policy(10).max_counters(500);
        let policy = if evicts {
            policy.evict_idle_counters()
        } else {
            policy
        };
        let [flood, work, newcomer] = flood(10, 6, policy);
        println!(
            "evicted: {evicts}; 10 principals flood: {flood:?}; one works: {work:?}; one comes: {newcomer:?}"
        );
        assert_eq!(work.served, 72);
        assert!(flood.full > 0 || evicts);
        assert_eq!(newcomer.served == 1, evicts);
    }
}
