//! The record of a strict lane's last number lies in the lane: whose it is, what it gives way to, and for how long it is there.

use super::{
    driver::{Answer, Driver, Ended, Happened, Sent},
    lane_identity,
    ops::{Config, End, Op, Run},
};
use crate::{
    error::IdempotencyError,
    identity::Identity,
    policy::Policy,
    sequence::Sequence,
    store::{Lookup, tests::harness::TestMemory},
    time::Timestamp,
};
use std::time::Duration;

const LANE: u8 = 5;
const WINDOW: u64 = 100;
const SHORT: usize = 64;
const LONG: usize = 65;

fn policy() -> Policy {
    Policy::new()
        .window(Duration::from_nanos(WINDOW))
        .drift(Duration::from_nanos(10))
        .max_reply_bytes(300)
        .counter_idle(Duration::from_nanos(10_000))
}

fn open(policy: Policy, width: u16) -> Driver {
    let memory = TestMemory::new(u64::MAX);
    Driver::open(&memory, Config::new(policy, width)).unwrap()
}

fn upgrade(driver: &mut Driver, policy: Policy, width: u16) {
    let upgraded = driver.apply(&Op::Upgrade(Config::new(policy, width)));
    assert!(matches!(upgraded, Some(Happened::Upgraded(_))));
}

fn sent(number: u64, run: Run) -> Sent {
    Sent {
        lane: LANE,
        number,
        args: 0,
        run,
        first_incomplete: None,
    }
}

fn send(driver: &mut Driver, sent: Sent, reply_bytes: usize) -> Answer {
    let answer = driver.submit(sent, reply_bytes);
    answer.expect("the memory is not damaged")
}

/// The reply to a new number.
fn run(driver: &mut Driver, number: u64, reply_bytes: usize) -> Vec<u8> {
    match send(driver, sent(number, Run::Sync), reply_bytes) {
        Answer::Executed(reply) => reply,
        other => panic!("{number}: {other:?}"),
    }
}

/// The reply to a new number that ends in a later message.
fn run_async(driver: &mut Driver, number: u64, reply_bytes: usize) -> Vec<u8> {
    let begun = send(driver, sent(number, Run::Async), 0);
    assert_eq!(begun, Answer::Executed(vec![]), "{number}");
    let end = End::Reply(reply_bytes);
    match driver.apply(&Op::End { nth: 0, end }) {
        Some(Happened::Ended(_, _, Ended::Reply(reply), true)) => reply,
        other => panic!("{other:?}"),
    }
}

fn again(driver: &mut Driver, number: u64) -> Answer {
    send(driver, sent(number, Run::Sync), 8)
}

fn replayed(reply: &[u8]) -> Answer {
    Answer::Replayed(reply.to_vec())
}

fn too_old(expected: u64) -> Answer {
    Answer::Refused(IdempotencyError::SequenceTooOld { expected })
}

fn wait(driver: &mut Driver, nanos: u64) {
    driver.now += nanos;
    driver.store.evict(driver.now(), u32::MAX).unwrap();
}

fn last(driver: &Driver) -> Option<u64> {
    let lane = driver.store.lane(&lane_identity(LANE)).unwrap();
    lane.counter.last()
}

#[test]
fn only_the_last_number_is_answered_from_its_lane() {
    let mut driver = open(policy(), 1);
    for number in 0..5 {
        let reply = run(&mut driver, number, 8 + number as usize);
        assert_eq!(again(&mut driver, number), replayed(&reply));
        let other = Sent {
            args: 1,
            ..sent(number, Run::Sync)
        };
        let reused = Answer::Refused(IdempotencyError::KeyReused);
        assert_eq!(send(&mut driver, other, 8), reused);
        upgrade(&mut driver, policy(), 1);
        assert_eq!(again(&mut driver, number), replayed(&reply));
        for older in 0..number {
            assert_eq!(again(&mut driver, older), too_old(number + 1));
        }
        let gap = IdempotencyError::SequenceGap {
            expected: number + 1,
        };
        assert_eq!(again(&mut driver, number + 2), Answer::Refused(gap));
    }
    let stats = driver.stats();
    assert_eq!((stats.entries, stats.bytes, stats.counters), (0, 0, 1));
}

/// A record that does not fit has a place of its own, as those of async methods; neither is ever taken for the other.
#[test]
fn each_number_has_its_own_reply_wherever_that_lies() {
    type Execute = fn(&mut Driver, u64, usize) -> Vec<u8>;
    let kinds: [(Execute, usize, bool); 3] = [
        (run, SHORT, true),
        (run, LONG, false),
        (run_async, 8, false),
    ];
    let mut driver = open(policy(), 1);
    let mut replies = vec![];
    for number in 0..27 {
        // Each kind after each other, and after itself.
        let nth = number as usize;
        let (execute, reply_bytes, is_in_lane) = kinds[[nth, nth / 3, nth / 9][nth % 3] % 3];
        replies.push((execute(&mut driver, number, reply_bytes), is_in_lane));
        assert_eq!(last(&driver), is_in_lane.then_some(number));
        let newest = replies.len() - 1;
        for (older, (reply, is_in_lane)) in replies.iter().enumerate() {
            let expected = match *is_in_lane && older < newest {
                true => too_old(number + 1),
                false => replayed(reply),
            };
            assert_eq!(
                again(&mut driver, older as u64),
                expected,
                "{older} of {number}"
            );
        }
    }
    wait(&mut driver, 3 * WINDOW);
    for number in 0..27 {
        let answer = again(&mut driver, number);
        let is_kept = last(&driver) == Some(number);
        assert!(is_kept || answer == too_old(27), "{number}: {answer:?}");
    }
}

/// G6 and G7: while it is promised, and afterwards for as long as the lane is known.
#[test]
fn it_is_there_as_long_as_was_promised() {
    let policy = policy()
        .max_counters(2)
        .evict_idle_counters()
        .counter_idle(Duration::ZERO);
    let mut driver = open(policy, 1);
    let reply = run(&mut driver, 0, SHORT);
    let made = driver.now;
    let sequence = Sequence {
        lane: lane_identity(LANE),
        number: 0,
        max_in_flight: 1,
        first_incomplete: None,
        is_shared: false,
    };
    let identity = Identity::of_number(&sequence.lane, 0);
    let until = |driver: &Driver| {
        let until = driver.store.number_guaranteed_until(&identity, &sequence);
        until.unwrap().map(Timestamp::as_nanos)
    };
    let promised = until(&driver).unwrap();
    assert!(promised >= made + WINDOW + 20);
    let flood = |driver: &mut Driver| {
        for lane in 0..4 {
            let other = Sent {
                lane,
                ..sent(0, Run::Sync)
            };
            send(driver, other, 8);
        }
    };
    // A shorter window takes nothing away.
    upgrade(
        &mut driver,
        policy.window(Duration::from_nanos(WINDOW / 4)),
        1,
    );
    for at in [made + WINDOW, promised] {
        driver.now = at;
        flood(&mut driver);
        assert_eq!(again(&mut driver, 0), replayed(&reply), "{at}");
    }
    driver.now = promised + 1;
    assert_eq!(again(&mut driver, 0), replayed(&reply), "there was no need");
    flood(&mut driver);
    assert_eq!(until(&driver), None);
    let answer = again(&mut driver, 0);
    assert!(
        matches!(answer, Answer::Refused(IdempotencyError::SequenceTooOld { expected }) if expected > 0),
        "{answer:?}"
    );
}

/// Where numbers don't wait for each other, the next one says nothing of the reply to this one.
#[test]
fn a_lane_that_becomes_pipelined_takes_no_reply_away() {
    for then_first_incomplete in [None, Some(1)] {
        let mut driver = open(policy(), 1);
        let reply = run(&mut driver, 0, SHORT);
        upgrade(&mut driver, policy(), 4);
        assert_eq!(again(&mut driver, 0), replayed(&reply));
        assert_eq!(driver.stats().entries, 0);
        run(&mut driver, 2, 8);
        assert_eq!(driver.stats().entries, 2, "it has a record of its own now");
        assert_eq!(again(&mut driver, 0), replayed(&reply));
        let third = Sent {
            first_incomplete: then_first_incomplete,
            ..sent(3, Run::Sync)
        };
        let third = send(&mut driver, third, 8);
        assert!(matches!(third, Answer::Executed(_)), "{third:?}");
        let first = |expected| match then_first_incomplete {
            None => replayed(&reply),
            Some(_) => too_old(expected),
        };
        assert_eq!(again(&mut driver, 0), first(1));
        // And back: 2 and 3 block nobody.
        upgrade(&mut driver, policy(), 1);
        assert_eq!(again(&mut driver, 0), first(1));
        let reply = run(&mut driver, 1, 8);
        assert_eq!(last(&driver), None, "the lane goes on at 4");
        assert_eq!(again(&mut driver, 1), replayed(&reply));
        let reply = run(&mut driver, 4, 8);
        assert_eq!(last(&driver), Some(4));
        assert_eq!(again(&mut driver, 4), replayed(&reply));
        assert_eq!(again(&mut driver, 0), first(5));
        wait(&mut driver, 3 * WINDOW);
        assert_eq!(again(&mut driver, 0), too_old(5));
        assert_eq!(again(&mut driver, 4), replayed(&reply));
    }
}

#[test]
fn where_there_is_no_room_for_it_beside_another_the_other_waits() {
    let mut driver = open(policy().capacity(1), 1);
    let reply = run(&mut driver, 0, SHORT);
    upgrade(&mut driver, policy().capacity(1), 4);
    for _ in 0..2 {
        let answer = again(&mut driver, 1);
        assert!(
            matches!(answer, Answer::Refused(IdempotencyError::Full { .. })),
            "{answer:?}"
        );
        assert_eq!(again(&mut driver, 0), replayed(&reply));
    }
    wait(&mut driver, 3 * WINDOW);
    run(&mut driver, 1, 8);
    assert_eq!(again(&mut driver, 0), too_old(2));
}

/// A number in a lane takes no room, but whether its reply will fit nobody knows before it has run.
#[test]
fn a_full_store_refuses_numbers_too() {
    let mut driver = open(policy().capacity(2), 1);
    let replies = [0, 1].map(|number| run(&mut driver, number, LONG));
    let answer = again(&mut driver, 2);
    assert!(
        matches!(answer, Answer::Refused(IdempotencyError::Full { .. })),
        "{answer:?}"
    );
    for (number, reply) in (0..).zip(&replies) {
        assert_eq!(again(&mut driver, number), replayed(reply));
    }
}

/// G10: what a scope may take in a window counts numbers wherever their records lie.
#[test]
fn a_number_in_its_lane_counts_against_the_quota() {
    let mut driver = open(policy().quota(3, 10_000), 1);
    for number in 0..3 {
        run(&mut driver, number, 8);
    }
    assert_eq!(driver.stats().entries, 0);
    let answer = again(&mut driver, 3);
    assert!(
        matches!(
            answer,
            Answer::Refused(IdempotencyError::QuotaExceeded { .. })
        ),
        "{answer:?}"
    );
    wait(&mut driver, 2 * WINDOW);
    run(&mut driver, 3, 8);
}

/// A tree is over records: a store that has one keeps a record of each number, also where a lane held one before.
#[test]
fn a_store_with_a_tree_has_a_record_for_each_number() {
    let mut driver = open(policy(), 1);
    let first = run(&mut driver, 0, 8);
    let expires_at = driver.now + WINDOW;
    upgrade(&mut driver, policy().certify(Duration::ZERO), 1);
    assert_eq!(again(&mut driver, 0), replayed(&first));
    driver.store.renew_tree(driver.now()).unwrap();
    let (_, watermark) = driver.store.whole_tree();
    let covered_after = watermark.covered_after.as_nanos();
    assert!(covered_after >= expires_at, "no proof that it is absent");
    let second = run(&mut driver, 1, 8);
    assert_eq!((last(&driver), driver.stats().entries), (None, 1));
    let identity = Identity::of_number(&lane_identity(LANE), 1);
    let known = driver.store.lookup(&identity).unwrap();
    assert!(matches!(known, Lookup::Known(_)));
    assert_eq!(again(&mut driver, 0), too_old(2));
    upgrade(&mut driver, policy(), 1);
    assert_eq!(again(&mut driver, 1), replayed(&second));
    run(&mut driver, 2, 8);
    assert_eq!(last(&driver), Some(2));
    assert_eq!(again(&mut driver, 1), replayed(&second));
}

/// Its row is written over where it lies: the record is longer than the one before once, and then there is room for any.
#[test]
fn a_lane_grows_once() {
    let mut driver = open(policy(), 1);
    let address = |driver: &Driver| {
        let lane = driver.store.lane(&lane_identity(LANE)).unwrap();
        let (occupied, _) = lane.entry.occupied().expect("it is known");
        occupied.slot.address
    };
    run(&mut driver, 0, 8);
    let first = address(&driver);
    run(&mut driver, 1, 8);
    assert_eq!(address(&driver), first);
    run(&mut driver, 2, 9);
    let second = address(&driver);
    assert_ne!(second, first);
    for (number, reply_bytes) in (3..).zip((8..=SHORT).chain([8])) {
        let reply = run(&mut driver, number, reply_bytes);
        assert_eq!(address(&driver), second);
        assert_eq!(again(&mut driver, number), replayed(&reply));
    }
    assert_eq!(driver.stats().counters, 1);
}
