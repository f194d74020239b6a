//! A number whose outcome is unknown: what it blocks, for how long, and how an operator frees its lane.

use super::{
    driver::{Answer, Driver, Ended, Happened, Sent},
    lane_identity,
    ops::{Config, End, Op, Run},
};
use crate::{
    error::IdempotencyError, policy::Policy, sequence::FreedLane,
    store::tests::harness::TestMemory, time::Timestamp,
};
use std::time::Duration;

const LANE: u8 = 2;
const WINDOW: u64 = 100;
const IDLE: u64 = 10_000;

fn policy() -> Policy {
    Policy::new()
        .window(Duration::from_nanos(WINDOW))
        .drift(Duration::ZERO)
        .counter_idle(Duration::from_nanos(IDLE))
}

fn open(window: u16) -> Driver {
    let memory = TestMemory::new(u64::MAX);
    Driver::open(&memory, Config::new(policy(), window)).unwrap()
}

fn upgrade(driver: &mut Driver, window: u16) {
    let upgraded = driver.apply(&Op::Upgrade(Config::new(policy(), window)));
    assert!(matches!(upgraded, Some(Happened::Upgraded(_))));
}

fn send(driver: &mut Driver, number: u64, run: Run) -> Answer {
    let sent = Sent {
        lane: LANE,
        number,
        args: 0,
        run,
        first_incomplete: None,
    };
    driver.submit(sent, 8).expect("the memory is not damaged")
}

fn runs(driver: &mut Driver, number: u64) {
    let answer = send(driver, number, Run::Sync);
    assert!(
        matches!(answer, Answer::Executed(_)),
        "{number}: {answer:?}"
    );
}

fn end(driver: &mut Driver, end: End) -> Ended {
    match driver.apply(&Op::End { nth: 0, end }) {
        Some(Happened::Ended(_, _, ended, true)) => ended,
        other => panic!("{other:?}"),
    }
}

/// A number begins, and its attempt is cut off.
fn cut_off(driver: &mut Driver, number: u64, by_upgrade: Option<u16>) {
    assert_eq!(send(driver, number, Run::Async), Answer::Executed(vec![]));
    match by_upgrade {
        Some(window) => upgrade(driver, window),
        None => assert_eq!(end(driver, End::Interrupt), Ended::Interrupted),
    }
}

fn free(driver: &Driver, number: u64) -> FreedLane {
    let lane = lane_identity(LANE);
    driver.store.free_lane(&lane, number).unwrap()
}

fn wait(driver: &mut Driver, nanos: u64) {
    driver.now += nanos;
    driver.store.evict(driver.now(), u32::MAX).unwrap();
}

fn unknown(since: Timestamp) -> Answer {
    Answer::Refused(IdempotencyError::OutcomeUnknown { since })
}

fn gap(expected: u64) -> Answer {
    Answer::Refused(IdempotencyError::SequenceGap { expected })
}

fn too_old(expected: u64) -> Answer {
    Answer::Refused(IdempotencyError::SequenceTooOld { expected })
}

#[test]
fn a_strict_lane_tells_of_an_unknown_outcome_for_as_long_as_it_is_stuck() {
    for by_upgrade in [None, Some(1)] {
        let mut driver = open(1);
        runs(&mut driver, 0);
        let since = driver.now();
        cut_off(&mut driver, 1, by_upgrade);
        // With its record, and long after it.
        for _ in 0..9 {
            assert_eq!(send(&mut driver, 1, Run::Sync), unknown(since));
            assert_eq!(send(&mut driver, 2, Run::Sync), gap(1));
            assert_eq!(driver.store.next_number(&lane_identity(LANE)), Ok(1));
            wait(&mut driver, IDLE / 10);
            upgrade(&mut driver, 1);
        }
        assert_eq!(driver.stats().entries, 0);

        assert_eq!(free(&driver, 1), FreedLane::Freed { since });
        assert_eq!(free(&driver, 1), FreedLane::NotStuck { next: 2 });
        assert_eq!(driver.store.next_number(&lane_identity(LANE)), Ok(2));
        assert_eq!(send(&mut driver, 1, Run::Sync), too_old(2));
        upgrade(&mut driver, 1);
        assert_eq!(send(&mut driver, 1, Run::Sync), too_old(2));
        assert_eq!(send(&mut driver, 3, Run::Sync), gap(2));
        runs(&mut driver, 2);
        runs(&mut driver, 3);
    }
}

/// What he has not looked into, an operator does not settle: not by a call that comes twice either.
#[test]
fn only_the_number_that_is_named_is_settled() {
    let mut driver = open(1);
    assert_eq!(free(&driver, 0), FreedLane::NotStuck { next: 0 });
    runs(&mut driver, 0);
    cut_off(&mut driver, 1, None);
    let since = driver.now();
    for number in [0, 2, u64::MAX] {
        assert_eq!(free(&driver, number), FreedLane::NotStuck { next: 1 });
    }
    assert_eq!(free(&driver, 1), FreedLane::Freed { since });
    assert_eq!(
        send(&mut driver, 1, Run::Sync),
        unknown(since),
        "its record says more"
    );
    cut_off(&mut driver, 2, None);
    assert_eq!(free(&driver, 1), FreedLane::NotStuck { next: 2 });
    assert_eq!(send(&mut driver, 3, Run::Sync), gap(2));
}

#[test]
fn what_runs_is_not_settled_by_an_operator() {
    let mut driver = open(1);
    let since = driver.now();
    assert_eq!(send(&mut driver, 0, Run::Async), Answer::Executed(vec![]));
    for windows in 0..5 {
        assert_eq!(free(&driver, 0), FreedLane::Running { since });
        let again = send(&mut driver, 0, Run::Sync);
        let in_progress = Answer::Refused(IdempotencyError::InProgress { since });
        let is_overdue = windows > 1;
        assert_eq!(
            again,
            if is_overdue {
                unknown(since)
            } else {
                in_progress
            }
        );
        assert_eq!(send(&mut driver, 1, Run::Sync), gap(0));
        wait(&mut driver, WINDOW);
    }
    assert!(matches!(end(&mut driver, End::Reply(8)), Ended::Reply(_)));
    assert_eq!(free(&driver, 0), FreedLane::NotStuck { next: 1 });
    runs(&mut driver, 1);
}

#[test]
fn a_pipelined_lane_waits_for_nobody() {
    const WIDTH: u64 = 4;
    let mut driver = open(WIDTH as u16);
    let since = driver.now();
    cut_off(&mut driver, 0, None);
    assert_eq!(send(&mut driver, 0, Run::Sync), unknown(since));
    // 1 was lost, and all that the window takes beside it is used.
    for number in 2..=WIDTH {
        runs(&mut driver, number);
    }
    assert_eq!(send(&mut driver, WIDTH + 1, Run::Sync), gap(1));
    assert_eq!(free(&driver, 0), FreedLane::NotStuck { next: 1 });
    wait(&mut driver, 2 * WINDOW);
    assert_eq!(
        send(&mut driver, 0, Run::Sync),
        too_old(1),
        "and that is true: the lane goes on at 1"
    );
    runs(&mut driver, 1);
    runs(&mut driver, WIDTH + 1);
}

/// What blocked nobody does not begin to.
#[test]
fn a_pipelined_lane_that_becomes_strict_is_not_stuck() {
    let mut driver = open(64);
    runs(&mut driver, 1);
    cut_off(&mut driver, 0, Some(1));
    wait(&mut driver, 2 * WINDOW);
    assert_eq!(free(&driver, 0), FreedLane::NotStuck { next: 2 });
    assert_eq!(send(&mut driver, 0, Run::Sync), too_old(2));
    assert_eq!(send(&mut driver, 1, Run::Sync), too_old(2));
    runs(&mut driver, 2);
}

#[test]
fn a_strict_lane_that_becomes_pipelined_is_not_stuck() {
    let mut driver = open(1);
    cut_off(&mut driver, 0, Some(64));
    wait(&mut driver, 2 * WINDOW);
    assert_eq!(send(&mut driver, 0, Run::Sync), too_old(1));
    runs(&mut driver, 1);
}
