//! Single cases: attempts that are over, settlements, room, quotas and lanes.

use super::*;
use crate::{
    error::IdempotencyError,
    identity::{LaneKey, Scope},
    sequence::{FreedLane, Sequence},
    store::open::MOST_TRIES,
};
use ic_stable_structures::Memory;

#[test]
fn only_the_attempt_that_runs_changes_a_request() {
    let memory = TestMemory::new(u64::MAX);
    let store = open(&memory, policy(), START);
    let stale = begin(&store, &numbered(1), b"argument", START);
    let ticket = store.resumed(stale).unwrap().unwrap().ticket;
    store.append_step(stale, b"one").unwrap();
    store.cut_off(stale, at(START)).unwrap();
    let check = |later: Option<Attempt>| {
        assert_eq!(store.append_step(stale, b"x"), Err(NotRecorded::Damaged));
        store.park(stale, "stale").unwrap();
        store.sleep(stale, at(START + 9)).unwrap();
        store.restart(stale, at(START)).unwrap();
        store.cut_off(stale, at(START)).unwrap();
        assert_eq!(store.complete(&ticket, stale, None, at(START)), Ok(false));
        assert_eq!(store.interrupt(&ticket, stale, at(START)), Ok(false));
        assert_eq!(store.release(&ticket, stale), Ok(false));
        assert!(store.start(stale).unwrap().is_none());
        let last = later.unwrap_or(stale);
        assert_eq!(known(&store, last).steps, [b"one"]);
        let is_running = phase(&store, last) == Some(Phase::Running);
        assert_eq!(is_running, later.is_some());
    };
    // Cut off, it is over already.
    check(None);
    let later = store.go_on(stale).unwrap().unwrap();
    assert_eq!(store.go_on(stale).unwrap(), None);
    assert_eq!(store.go_on(later).unwrap(), None);
    check(Some(later));
    let done = store.complete(&ticket, later, Some(Reply::first(b"reply")), at(START));
    assert_eq!(done, Ok(true));
    assert_eq!(store.go_on(later).unwrap(), None);
    assert_eq!(store.complete(&ticket, later, None, at(START)), Ok(false));
    let replay = Decision::Replay(Reply::first(b"reply".to_vec()));
    assert_eq!(admission::admit(&store, &numbered(1), at(START)), replay);
}

/// An attempt whose heap has gone is over, whoever still has its number.
#[test]
fn an_attempt_of_an_earlier_heap_is_over() {
    let memory = TestMemory::new(u64::MAX);
    let store = open(&memory, policy(), START);
    let first = begin(&store, &numbered(1), b"argument", START);
    let ticket = store.resumed(first).unwrap().unwrap().ticket;
    let store = open(&memory, policy(), START);
    assert_eq!(store.append_step(first, b"x"), Err(NotRecorded::Damaged));
    assert_eq!(store.complete(&ticket, first, None, at(START)), Ok(false));
    assert!(store.start(first).unwrap().is_none());
    assert_eq!(
        store.take_due(at(START), 5).unwrap(),
        [(first, "pay".to_owned())]
    );
    let second = store.go_on(first).unwrap().unwrap();
    assert!(second > first);
    let resumed = store.start(second).unwrap().unwrap();
    assert_eq!(resumed.kept, Some((caller(), b"argument".to_vec())));
}

/// As with `on_unknown`, which is asked at each retry and says the same each time, or something else each time.
#[test]
fn a_request_that_is_parked_again_and_again_takes_no_more_than_its_journal() {
    for is_same in [true, false] {
        let memory = TestMemory::new(u64::MAX);
        let mut store = open(&memory, policy(), START);
        let mut attempt = begin(&store, &numbered(1), b"argument", START);
        let mut sizes = vec![];
        for round in 0..200 {
            let reason = format!(
                "{} {}",
                "long ".repeat(100),
                if is_same { 0 } else { round }
            );
            store.park(attempt, &reason).unwrap();
            if round % 50 == 7 {
                store = open(&memory, policy(), START);
            }
            let note = known(&store, attempt).note.unwrap();
            assert!(!is_same && round > 0 || note == reason.as_bytes());
            sizes.push(store.inner.borrow().journal_bytes);
            attempt = store.acquire_unknown(&key(1)).unwrap().unwrap();
        }
        let most = if is_same { sizes[0] } else { 8_192 };
        assert!(*sizes.last().unwrap() <= most, "{sizes:?}");
        assert!(memory.size() < 40, "{} pages", memory.size());
        assert_eq!(known(&store, attempt).kept.unwrap().1, b"argument");
    }
}

#[test]
fn a_request_that_begins_anew_again_and_again_keeps_its_argument_without_a_copy() {
    let memory = TestMemory::new(u64::MAX);
    let mut store = open(&memory, policy(), START);
    let argument = vec![9; 5_000];
    let mut attempt = begin(&store, &numbered(1), &argument, START);
    let before = store.inner.borrow().journal_bytes;
    for round in 0..50 {
        if round == 20 {
            store = open(&memory, policy(), START);
            attempt = store.go_on(attempt).unwrap().unwrap();
        }
        store.restart(attempt, at(START)).unwrap();
        attempt = store.go_on(attempt).unwrap().unwrap();
        let resumed = store.start(attempt).unwrap().unwrap();
        assert_eq!(resumed.kept, Some((caller(), argument.clone())));
        assert!(resumed.steps.is_empty());
    }
    // But for a note each time.
    assert!(store.inner.borrow().journal_bytes <= before + 50 * 128);
    store.append_step(attempt, b"step").unwrap();
    assert_eq!(known(&store, attempt).steps, [b"step"]);
}

#[test]
fn a_journal_is_full_before_it_takes_more_than_the_policy_says() {
    let memory = TestMemory::new(u64::MAX);
    let store = open(&memory, policy(), START);
    let too_long = store.make_room_for_durable(&[0; 8_000], at(START));
    assert!(
        matches!(too_long, Err(IdempotencyError::Other { .. })),
        "{too_long:?}"
    );
    let mut attempt = begin(&store, &numbered(1), &[1; 100], START);
    let mut steps = vec![];
    loop {
        let step = vec![steps.len() as u8; 300];
        let has_room = store.has_room_for_steps(attempt, &[300]);
        match store.append_step(attempt, &step) {
            Ok(()) => steps.push(step),
            Err(error) => {
                assert_eq!((error, has_room), (NotRecorded::Full, false));
                break;
            }
        }
        assert!(has_room);
        // Also where a later heap has not read what there is.
        if steps.len() == 10 {
            store.cut_off(attempt, at(START)).unwrap();
            attempt = store.go_on(attempt).unwrap().unwrap();
        }
    }
    assert!(steps.len() > 15, "{}", steps.len());
    store.park(attempt, &"why ".repeat(250)).unwrap();
    let store = open(&memory, policy(), START);
    let resumed = known(&store, attempt);
    assert_eq!(resumed.steps, steps);
    assert_eq!(resumed.note.unwrap().len(), 1_000);
    assert!(store.inner.borrow().journal_bytes <= 8_192);
    // Nor does another heap let it grow.
    let attempt = store.acquire_unknown(&key(1)).unwrap().unwrap();
    assert_eq!(
        store.append_step(attempt, &[0; 300]),
        Err(NotRecorded::Full)
    );
}

#[test]
fn a_parked_request_is_settled_in_a_store_that_is_full() {
    let policy = policy().capacity_bytes(2 * (128 + 1_000 + 8_192));
    let memory = TestMemory::new(u64::MAX);
    let store = open(&memory, policy, START);
    let parked = begin(&store, &numbered(1), b"x", START);
    store.park(parked, "why").unwrap();
    for number in 2.. {
        match admission::admit(&store, &numbered(number), at(START)) {
            Decision::Execute(ticket) => store.record(&ticket, &[0; 900]).unwrap(),
            other => {
                assert!(matches!(
                    other,
                    Decision::Refuse(IdempotencyError::Full { .. })
                ));
                break;
            }
        }
    }
    let listed = store.unknown(0, 10).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].reason.as_deref(), Some("why"));
    assert_eq!(
        (listed[0].identity, listed[0].endpoint.as_str()),
        (key(1), "pay")
    );
    assert_eq!(store.unknown(listed[0].number, 10).unwrap(), []);
    let reply = vec![5; 1_000];
    let settled = store.resolve(&key(1), &Settlement::Done(reply.clone()), at(START));
    let since = at(START);
    assert_eq!(settled, Ok(Resolved::Settled { since }));
    let stats = store.stats();
    assert!(stats.bytes <= stats.capacity_bytes && stats.unknown == 0);
    let again = store.resolve(&key(1), &Settlement::NotExecuted, at(START));
    assert_eq!(again, Ok(Resolved::HasEnded { since }));
    let answer = admission::admit(&store, &numbered(1), at(START));
    assert_eq!(answer, Decision::Replay(Reply::first(reply)));
}

/// What it takes is not set aside, as that of a durable one is.
#[test]
fn a_request_that_is_not_durable_is_run_again_only_where_there_is_room_for_its_reply() {
    let policy = policy().capacity_bytes(1_128);
    let store = open(&TestMemory::new(u64::MAX), policy, START);
    let ticket = admitted(&store, &numbered(1), START);
    let attempt = store.begin(&ticket, &Origin::NOWHERE).unwrap();
    assert_eq!(store.interrupt(&ticket, attempt, at(START)), Ok(true));
    let again = store.acquire_unknown(&key(1)).unwrap().unwrap();
    assert_eq!(store.acquire_unknown(&key(1)).unwrap(), None);
    assert!(store.interrupt(&ticket, again, at(START)).unwrap());
    let fuller = open(
        &TestMemory::new(u64::MAX),
        policy.capacity_bytes(2_000),
        START,
    );
    let ticket = admitted(&fuller, &numbered(1), START);
    let attempt = fuller.begin(&ticket, &Origin::NOWHERE).unwrap();
    fuller.interrupt(&ticket, attempt, at(START)).unwrap();
    execute(&fuller, &numbered(2), START, &[7; 1_000]);
    assert_eq!(fuller.acquire_unknown(&key(1)).unwrap(), None);
    let too_long = fuller.resolve(&key(1), &Settlement::Done(vec![0; 1_000]), at(START));
    assert!(matches!(too_long, Err(IdempotencyError::Full { .. })));
    let settled = fuller.resolve(&key(1), &Settlement::NotExecuted, at(START));
    assert!(matches!(settled, Ok(Resolved::Settled { .. })));
}

#[test]
fn journals_survive_when_the_replies_of_their_partition_are_dropped() {
    let policy = policy().capacity_bytes(60_000).drop_replies();
    let memory = TestMemory::new(u64::MAX);
    let store = open(&memory, policy, START);
    let attempt = begin(&store, &numbered(1), &[1; 700], START);
    store.append_step(attempt, &[2; 700]).unwrap();
    for number in 2..200 {
        execute(&store, &numbered(number), START, &[number as u8; 900]);
        assert!(store.stats().bytes <= 60_000 + 8_192);
    }
    store.append_step(attempt, &[3; 700]).unwrap();
    let store = open(&memory, policy, START);
    let resumed = known(&store, attempt);
    assert_eq!(resumed.kept, Some((caller(), vec![1; 700])));
    assert_eq!(resumed.steps, [vec![2; 700], vec![3; 700]]);
}

/// A caller could fill the store with requests that never end.
#[test]
fn what_is_kept_for_longer_than_its_window_counts_against_its_quota_as_long() {
    let policy = policy().quota(3, 30_000);
    let memory = TestMemory::new(u64::MAX);
    let mut store = open(&memory, policy, START);
    let counted = |number| Request {
        scope: Some(key(1_000)),
        ..numbered(number)
    };
    let exceeded = |decision| {
        matches!(
            decision,
            Decision::Refuse(IdempotencyError::QuotaExceeded { .. })
        )
    };
    let running = begin(&store, &counted(1), b"x", START);
    for number in [2, 3] {
        let parked = begin(&store, &counted(number), b"x", START);
        store.park(parked, "why").unwrap();
    }
    for window in 1..5 {
        let now = START + window * PAST;
        if window == 3 {
            store = open(&memory, policy, now);
        }
        store.evict(at(now), 1).unwrap();
        assert!(
            exceeded(admission::admit(&store, &counted(9), at(now))),
            "{window}"
        );
    }
    let now = START + 4 * PAST;
    let running = store.go_on(running).unwrap().unwrap();
    let ticket = store.start(running).unwrap().unwrap().ticket;
    assert!(
        store
            .complete(&ticket, running, Some(Reply::first(b"done")), at(now))
            .unwrap()
    );
    for number in [2, 3] {
        let settled = store.resolve(&key(number), &Settlement::NotExecuted, at(now));
        assert!(matches!(settled, Ok(Resolved::Settled { .. })));
    }
    // As of all that has ended: its record, and a sixth of the window more.
    let now = now + 2 * PAST;
    store.evict(at(now), 9).unwrap();
    begin(&store, &counted(9), b"x", now);
}

fn in_lane(number: u64, max_in_flight: u16) -> Request {
    let lane = Identity::of_lane("pay", &Scope::Caller, &caller(), &LaneKey::of(&1u64)).unwrap();
    let sequence = Sequence {
        lane,
        number,
        max_in_flight,
        first_incomplete: None,
        is_shared: false,
    };
    Request {
        identity: Identity::of_number(&lane, number),
        sequence: Some(sequence),
        scope: Some(key(1_000)),
        ..numbered(0)
    }
}

/// Also after an upgrade, when nothing but the journal says which lane it is.
#[test]
fn a_strict_lane_goes_on_when_its_number_is_settled() {
    let done = || Settlement::Done(b"reply".to_vec());
    for (settlement, next) in [(done(), 1), (Settlement::NotExecuted, 0)] {
        for is_upgraded in [false, true] {
            for is_durable in [false, true] {
                let memory = TestMemory::new(u64::MAX);
                let mut store = open(&memory, policy().quota(10, 100_000), START);
                let request = in_lane(0, 1);
                let lane = request.sequence.unwrap().lane;
                let attempt = if is_durable {
                    let attempt = begin(&store, &request, b"x", START);
                    store.park(attempt, "why").unwrap();
                    attempt
                } else {
                    let ticket = admitted(&store, &request, START);
                    let attempt = store.begin(&ticket, &Origin::NOWHERE).unwrap();
                    assert!(store.interrupt(&ticket, attempt, at(START)).unwrap());
                    attempt
                };
                if is_upgraded {
                    store = open(&memory, policy().quota(10, 100_000), START);
                }
                assert_eq!(store.next_number(&lane), Ok(0));
                let settled = store.resolve(&request.identity, &settlement, at(START));
                assert!(
                    matches!(settled, Ok(Resolved::Settled { .. })),
                    "{settled:?}"
                );
                assert_eq!(store.next_number(&lane), Ok(next));
                assert_eq!(phase(&store, attempt), None);
                execute(&store, &in_lane(next, 1), START, b"later");
            }
        }
    }
}

#[test]
fn a_lane_that_waits_for_a_request_which_goes_on_by_itself_is_not_freed() {
    let memory = TestMemory::new(u64::MAX);
    let store = open(&memory, policy(), START);
    let request = in_lane(0, 1);
    let lane = request.sequence.unwrap().lane;
    let attempt = begin(&store, &request, b"x", START);
    store.cut_off(attempt, at(START)).unwrap();
    let since = at(START);
    assert_eq!(store.free_lane(&lane, 0), Ok(FreedLane::Running { since }));
    let attempt = store.go_on(attempt).unwrap().unwrap();
    store.park(attempt, "why").unwrap();
    assert_eq!(store.free_lane(&lane, 0), Ok(FreedLane::Freed { since }));
    // It did nothing after all, and its number has gone.
    let settled = store.resolve(&request.identity, &Settlement::NotExecuted, at(START));
    assert!(matches!(settled, Ok(Resolved::Settled { .. })));
    assert_eq!(store.next_number(&lane), Ok(1));
    let again = admission::admit(&store, &request, at(START));
    let expected = 1;
    let too_old = IdempotencyError::SequenceTooOld { expected };
    assert_eq!(again, Decision::Refuse(too_old));
}

/// The memory is all in use, and what must be kept finds no room: then nothing is forgotten.
#[test]
fn what_finds_no_room_in_another_partition_stays_where_it_is() {
    let memory = TestMemory::new(u64::MAX);
    let policy = policy().max_journal_bytes(1 << 20).max_reply_bytes(64);
    let store = open(&memory, policy, START);
    let attempt = begin(&store, &numbered(1), b"x", START);
    let steps: Vec<_> = (0..60).map(|step| vec![step; 15_000]).collect();
    for step in &steps {
        store.append_step(attempt, step).unwrap();
    }
    store.park(attempt, "why").unwrap();
    execute(&store, &numbered(2), START, b"old");
    // Whatever is left is taken.
    memory.limit(memory.size());
    while store.inner.borrow().table.segments.has(4) {
        store.inner.borrow_mut().table.segments.take().unwrap();
    }
    let now = START + PAST;
    for _ in 0..3 {
        assert_eq!(store.evict(at(now), 5), Ok(0));
        let decision = admission::admit(&store, &numbered(3), at(now));
        assert!(matches!(
            decision,
            Decision::Refuse(IdempotencyError::Full { .. })
        ));
        assert_eq!(known(&store, attempt).steps, steps);
    }
    #[cfg(feature = "timers")]
    assert!(store.next_eviction() > Some(at(now + 50 * SECOND)));
    memory.limit(u64::MAX);
    assert_eq!(store.evict(at(now), 5), Ok(1));
    assert_eq!(known(&store, attempt).steps, steps);
    let settled = store.resolve(&key(1), &Settlement::NotExecuted, at(now));
    assert!(matches!(settled, Ok(Resolved::Settled { .. })));
    execute(&store, &numbered(3), now, b"new");
}

/// As without timers, where only retries go on with it.
#[test]
fn a_request_that_its_client_alone_tries_again_is_parked_in_the_end() {
    let memory = TestMemory::new(u64::MAX);
    let store = open(&memory, policy(), START);
    let mut attempt = begin(&store, &numbered(1), b"argument", START);
    let mut now = START;
    for tries in 0..u64::from(MOST_TRIES) {
        store.cut_off(attempt, at(now)).unwrap();
        assert_eq!(
            store.due_attempt(&key(1), at(now)).unwrap(),
            None,
            "too soon"
        );
        now += 1_100 * SECOND;
        let due = store.due_attempt(&key(1), at(now)).unwrap();
        assert_eq!(due, Some(attempt), "{tries}");
        assert!(store.count_try(attempt, at(now)).unwrap());
        attempt = store.go_on(attempt).unwrap().unwrap();
    }
    store.cut_off(attempt, at(now)).unwrap();
    assert_eq!(phase(&store, attempt), Some(Phase::Parked));
    assert_eq!(store.go_on(attempt).unwrap(), None);
}

/// As one that waits for the end of a message: each of its attempts looks, records nothing, and goes to sleep.
#[test]
fn a_request_that_sleeps_again_and_again_is_not_parked() {
    let memory = TestMemory::new(u64::MAX);
    let store = open(&memory, policy(), START);
    let mut attempt = begin(&store, &numbered(1), b"argument", START);
    let mut now = START;
    for _ in 0..3 * MOST_TRIES {
        now += 60 * SECOND;
        store.sleep(attempt, at(now)).unwrap();
        let due = [(attempt, "pay".to_owned())];
        assert_eq!(store.take_due(at(now), 9).unwrap(), due);
        attempt = store.go_on(attempt).unwrap().unwrap();
    }
    assert_eq!(phase(&store, attempt), Some(Phase::Running));
    // What traps is still counted.
    for _ in 0..=MOST_TRIES {
        store.cut_off(attempt, at(now)).unwrap();
        now += 1_100 * SECOND;
        if !store.take_due(at(now), 9).unwrap().is_empty() {
            attempt = store.go_on(attempt).unwrap().unwrap();
        }
    }
    assert_eq!(phase(&store, attempt), Some(Phase::Parked));
}

/// As where the message traps, each time, in which it would go on.
#[test]
fn a_request_that_never_comes_to_go_on_is_parked_in_the_end() {
    let memory = TestMemory::new(u64::MAX);
    let store = open(&memory, policy(), START);
    let attempt = begin(&store, &numbered(1), b"argument", START);
    store.cut_off(attempt, at(START)).unwrap();
    let mut now = START;
    for tries in 0..MOST_TRIES {
        now += 1_100 * SECOND;
        let due = [(attempt, "pay".to_owned())];
        assert_eq!(store.take_due(at(now), 9).unwrap(), due, "{tries}");
        assert_eq!(store.take_due(at(now), 9).unwrap(), [], "too soon");
    }
    now += 1_100 * SECOND;
    assert_eq!(store.take_due(at(now), 9).unwrap(), []);
    assert_eq!(phase(&store, attempt), Some(Phase::Parked));
    assert_eq!(store.go_on(attempt).unwrap(), None);
    assert_eq!(store.unknown(0, 9).unwrap().len(), 1);
}
