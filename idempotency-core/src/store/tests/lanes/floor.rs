//! What the floor is for: a lane that is forgotten and comes back does not begin at its old numbers.

use super::{
    driver::{Answer, Driver, Sent},
    lane_identity,
    ops::{Config, Run},
};
use crate::{
    error::IdempotencyError,
    policy::Policy,
    sequence::MOST_IN_FLIGHT,
    store::{Store, tests::harness::TestMemory},
};
use std::time::Duration;

/// Where the header has the floor of sequences.
const FLOOR: std::ops::Range<usize> = 40..48;

const LANE: u8 = 3;

fn send(driver: &mut Driver, number: u64) -> Answer {
    let sent = Sent {
        lane: LANE,
        number,
        args: 0,
        run: Run::Sync,
        first_incomplete: None,
    };
    driver.submit(sent, 8).expect("the memory is not damaged")
}

fn has_run(answer: &Answer) -> bool {
    matches!(answer, Answer::Executed(_))
}

/// Runs a few numbers, lets everything be forgotten, upgrades, and sends the very first again. With `with_floor` as it is,
/// and without it as if there were none.
fn answer_to_an_old_request(window: u16, with_floor: bool) -> (Answer, u64) {
    let policy = Policy::new()
        .window(Duration::from_nanos(100))
        .drift(Duration::from_nanos(10))
        .counter_idle(Duration::ZERO);
    let memory = TestMemory::new(u64::MAX);
    let mut driver = Driver::open(&memory, Config::new(policy, window)).unwrap();
    for number in 0..5 {
        assert!(has_run(&send(&mut driver, number)));
    }
    driver.now += 1_000;
    // A strict lane's last record lies in it.
    let partitions = if window == 1 { 1 } else { 2 };
    assert_eq!(driver.store.evict(driver.now(), u32::MAX), Ok(partitions));
    assert!(driver.store.lane(&lane_identity(LANE)).unwrap().is_new());
    if !with_floor {
        memory.edit(|bytes| bytes[FLOOR].fill(0));
    }
    driver.store = Store::open(memory, policy, driver.now()).unwrap();
    let next = driver.store.next_number(&lane_identity(LANE)).unwrap();
    (send(&mut driver, 0), next)
}

#[test]
fn an_old_request_of_a_forgotten_lane_does_not_run_again() {
    for window in [1, 8, MOST_IN_FLIGHT] {
        let (answer, expected) = answer_to_an_old_request(window, true);
        assert!(expected >= 5);
        let too_old = IdempotencyError::SequenceTooOld { expected };
        assert_eq!(answer, Answer::Refused(too_old), "{window}");
    }
}

#[test]
fn without_the_floor_it_would() {
    for window in [1, 8, MOST_IN_FLIGHT] {
        let (answer, expected) = answer_to_an_old_request(window, false);
        assert_eq!(expected, 0);
        assert!(has_run(&answer), "{window}: {answer:?}");
    }
}

/// The floor is for all lanes together: also for one that never was, and however often lanes come and go.
#[test]
fn each_time_that_lanes_are_forgotten_the_floor_rises() {
    let policy = Policy::new()
        .window(Duration::from_nanos(100))
        .drift(Duration::from_nanos(10))
        .counter_idle(Duration::ZERO);
    let memory = TestMemory::new(u64::MAX);
    let mut driver = Driver::open(&memory, Config::new(policy, 1)).unwrap();
    let mut sent = vec![];
    for _ in 0..50 {
        let next = driver.store.next_number(&lane_identity(LANE)).unwrap();
        for number in next..next + 3 {
            assert!(has_run(&send(&mut driver, number)));
            sent.push(number);
        }
        driver.now += 1_000;
        driver.store.evict(driver.now(), u32::MAX).unwrap();
        assert!(driver.store.inner.borrow().sequence_floor() > next + 2);
        for number in &sent {
            assert!(!has_run(&send(&mut driver, *number)), "{number}");
        }
    }
}
