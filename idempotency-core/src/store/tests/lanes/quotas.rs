//! Quotas: what a scope is charged for, and what that keeps it from doing to others.

use super::{
    charges::Charges,
    driver::{Answer, Driver, Happened, Sent},
    lane_identity,
    ops::{CALLERS, Config, MAX_REPLY_BYTES, Op, Run},
};
use crate::{
    error::IdempotencyError,
    policy::Policy,
    quota::Usage,
    sequence::MOST_IN_FLIGHT,
    store::tests::{config, harness::TestMemory, seeds},
    time::Timestamp,
};
use proptest::prelude::*;
use std::time::Duration;

const ENTRIES: u64 = 6;
/// Used up by three of the largest: now the one runs out first and now the other.
const REPLY_BYTES: u64 = 1_000;

fn windowed(window: u64) -> Policy {
    Policy::new()
        .window(Duration::from_nanos(window))
        .drift(Duration::from_nanos(10))
        .max_reply_bytes(MAX_REPLY_BYTES)
}

fn with_quota(window: u64) -> Policy {
    windowed(window).quota(ENTRIES, REPLY_BYTES)
}

/// As it is read again after it was written.
fn read(usage: &Usage, now: Timestamp) -> Usage {
    let mut bytes = [0xAA; Usage::BYTES];
    usage.write(&mut bytes);
    Usage::from_bytes(&bytes, now)
}

/// Sends a new request in a lane of each caller that takes any number.
fn send(driver: &mut Driver, caller: u8, reply_bytes: usize) -> Answer {
    let lane = caller * super::LANES_OF_A_CALLER;
    let number = driver.store.next_number(&lane_identity(lane)).unwrap();
    let sent = Sent {
        lane,
        number,
        args: 0,
        run: Run::Sync,
        first_incomplete: None,
    };
    (driver.submit(sent, reply_bytes)).expect("the memory is not damaged")
}

proptest! {
    #![proptest_config(config())]

    /// Whatever becomes of the window, and though there are only so many buckets.
    #[test]
    fn a_scope_is_charged_for_what_is_remembered(
        requests in prop::collection::vec(
            (0..40u64, prop::sample::select(vec![100, 101, 250, 1_000, 9_000]), 0..=100u64, 0..=300u64, any::<bool>()),
            1..200,
        ),
    ) {
        let mut now = 1_000_000;
        let mut usage = Usage::new(Timestamp::from_nanos(now));
        let mut charges = Charges::default();
        for (wait, window, percent, bytes, is_async) in requests {
            now += wait;
            let policy = windowed(window);
            // A partition is kept for up to a thirty-second longer than any request in it.
            let reach = policy.reach() + policy.reach() / 32;
            let until = now + reach * percent / 100;
            let at = Timestamp::from_nanos(until);
            usage = read(&usage, Timestamp::from_nanos(now));
            if is_async {
                let counted_until = usage.add(at, 0, &policy);
                prop_assert!(counted_until >= until);
                usage.end(counted_until, at, bytes, &policy);
            } else {
                usage.add(at, bytes, &policy);
            }
            charges.count(now, until, 1, bytes, &policy);
            prop_assert!(usage.counts_until() >= until);
            for later in [now, now + 1, now + reach / 7, until, until + 1, usage.counts_until()] {
                let usage = read(&usage, Timestamp::from_nanos(later));
                let (taken, [least, most]) = (usage.taken(later), charges.at(later));
                prop_assert!(least.0 <= taken.0 && least.1 <= taken.1);
                prop_assert!(taken.0 <= most.0 && taken.1 <= most.1);
            }
        }
    }

    /// Whatever the others do, and for however long it runs, a request of a scope that is within its quota finds room.
    #[test]
    fn nobody_takes_what_is_anothers(seeds in seeds(400)) {
        let callers = u64::from(CALLERS);
        let policy = with_quota(600)
            .capacity(callers * ENTRIES)
            // Records, and as much again for what says where they come from.
            .capacity_bytes(callers * (ENTRIES * 2 * 128 + REPLY_BYTES));
        let memory = TestMemory::new(u64::MAX);
        let mut driver = Driver::open(&memory, Config::new(policy, MOST_IN_FLIGHT)).unwrap();
        for op in seeds.into_iter().map(Op::from) {
            if matches!(op, Op::Upgrade(_) | Op::Limit { .. }) {
                continue;
            }
            let happened = driver.apply(&op);
            if let Some(Happened::Answered(sent, Answer::Refused(error))) = &happened {
                let is_full = matches!(error, IdempotencyError::Full { .. });
                prop_assert!(!is_full, "{sent:?}: {error}");
            }
        }
    }

    /// Not a moment before the time that it names, and certainly then.
    #[test]
    fn whoever_waits_as_long_as_he_is_told_is_admitted(
        requests in prop::collection::vec((0..120u64, 0..=MAX_REPLY_BYTES as usize), 1..100),
    ) {
        let memory = TestMemory::new(u64::MAX);
        let mut driver = Driver::open(&memory, Config::new(with_quota(600), 1)).unwrap();
        for (wait, bytes) in requests {
            driver.now += wait;
            match send(&mut driver, 0, bytes) {
                Answer::Executed(_) => (),
                Answer::Refused(IdempotencyError::QuotaExceeded { retry_after }) => {
                    driver.now = retry_after.as_nanos() - 1;
                    let again = send(&mut driver, 0, bytes);
                    prop_assert_eq!(
                        again,
                        Answer::Refused(IdempotencyError::QuotaExceeded { retry_after })
                    );
                    driver.now += 1;
                    let admitted = send(&mut driver, 0, bytes);
                    prop_assert!(matches!(admitted, Answer::Executed(_)), "{admitted:?}");
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}

#[test]
fn a_quota_is_used_up_and_comes_back() {
    let memory = TestMemory::new(u64::MAX);
    let mut driver = Driver::open(&memory, Config::new(with_quota(600), 1)).unwrap();
    let served = |driver: &mut Driver| {
        (0..20)
            .filter(|_| matches!(send(driver, 0, 8), Answer::Executed(_)))
            .count() as u64
    };
    assert_eq!(served(&mut driver), ENTRIES);
    assert!(matches!(send(&mut driver, 1, 8), Answer::Executed(_)));
    // Window and drift, a thirty-second for its partition and a sixth for its bucket.
    driver.now += 620 + 620 / 32 + 620 / 6 + 2;
    assert_eq!(served(&mut driver), ENTRIES);
}

#[test]
fn who_comes_new_is_told_when_he_may_push_out_an_idle_lane() {
    let policy = windowed(600).max_counters(2).evict_idle_counters();
    let memory = TestMemory::new(u64::MAX);
    let mut driver = Driver::open(&memory, Config::new(policy, 1)).unwrap();
    for caller in [0, 1] {
        assert!(matches!(send(&mut driver, caller, 8), Answer::Executed(_)));
    }
    let Answer::Refused(IdempotencyError::Full { retry_after }) = send(&mut driver, 2, 8) else {
        panic!("there was room for a third");
    };
    // None that was used within the reach; the time is counted in thirty-seconds of it.
    let waits = retry_after.as_nanos() - driver.now;
    assert!((policy.reach() + 1..=policy.reach() * 33 / 32 + 1).contains(&waits));
    driver.now = retry_after.as_nanos() - 1;
    let again = IdempotencyError::Full { retry_after };
    assert_eq!(send(&mut driver, 2, 8), Answer::Refused(again));
    driver.now += 1;
    assert!(matches!(send(&mut driver, 2, 8), Answer::Executed(_)));
}
