//! A day without calls: everything has expired when the next one comes.

use crate::{
    Progress,
    results::{Results, grouped},
    subject::{REPLY_BYTES, Subject, replica_at_epoch, time_of},
};
use bench_work::{Operation, STEP, WINDOW, Who};
use integration_tests::user;

/// Rounds after which a timer that still has work left is stuck.
const MOST_ROUNDS: u32 = 10_000;

pub(crate) fn run(entries: u64, results: &mut Results, progress: &Progress) {
    calls(entries, results, progress);
    timer(entries, results, progress);
}

/// Calls alone: no timer is set.
fn calls(entries: u64, results: &mut Results, progress: &Progress) {
    progress.say(&format!(
        "{} requests, an idle day, and then calls",
        grouped(entries)
    ));
    let replica = replica_at_epoch();
    let subject = Subject::new(&replica, Who::Store);
    subject.fill(entries, REPLY_BYTES, progress);

    let day = (WINDOW.as_nanos() / STEP.as_nanos()) as u64;
    let after = subject.singles(Operation::Insert, entries + day + 1, 1);
    results.add(
        "store/first_after_idle_day",
        entries,
        after.first(),
        after.first(),
        None,
    );
    results.add(
        "store/insert_after_idle_day",
        entries,
        after.median(),
        after.max(),
        None,
    );
}

/// The timer alone.
fn timer(entries: u64, results: &mut Results, progress: &Progress) {
    progress.say(&format!(
        "{} requests, an idle day, and then the timer",
        grouped(entries)
    ));
    let replica = replica_at_epoch();
    let subject = Subject::new(&replica, Who::Store);
    subject.fill(entries, REPLY_BYTES, progress);
    replica.advance_time(time_of(entries) + WINDOW * 2);
    // What storage cost meanwhile is charged now, and not among the timer's runs.
    (0..3).for_each(|_| replica.tick());
    let held = || -> u64 {
        subject
            .canister
            .query(user(1), "entries", ())
            .expect("the canister answers")
    };
    assert_eq!(held(), entries, "no timer has run");
    let ((), cycles) = subject.canister.cycles_charged(|| {
        subject
            .canister
            .update::<()>(user(1), "start_timer", ())
            .expect("the timer is set");
        let mut rounds = 0;
        while held() > 0 {
            replica.tick();
            rounds += 1;
            assert!(rounds < MOST_ROUNDS, "the timer forgets what has expired");
        }
    });
    let each = (cycles as u64).div_ceil(entries);
    results.add("store/timer", entries, each, each, None);
}
