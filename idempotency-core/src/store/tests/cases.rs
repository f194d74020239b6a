//! Single cases of the store and of admission.

use super::{
    ground,
    harness::{START, TestMemory, memory::PAGE_BYTES},
    hashed,
};
use crate::{
    admission::{self, Decision, Request, Ticket},
    error::IdempotencyError,
    identity::{Argument, Compared, Fingerprinted, Identity, LazyFingerprint, Scope},
    outcome::{self, Outcome, Verdict},
    policy::Policy,
    store::{Damaged, OpenError, Origin, Reply, Store},
    time::Timestamp,
};
use ic_stable_structures::Memory;
use std::time::Duration;

fn policy(window: u64, capacity: u64) -> Policy {
    Policy::new()
        .window(Duration::from_nanos(window))
        .drift(Duration::from_nanos(10))
        .capacity(capacity)
        .capacity_bytes(2_000)
        .max_reply_bytes(300)
}

pub(super) fn request(key: u8, args: u8, created_at: Option<Timestamp>) -> Request {
    Request {
        identity: Identity([key; 24]),
        fingerprint: LazyFingerprint::new(
            &Argument::new(&[args]),
            Compared::Argument,
            None,
            &Scope::Caller,
        )
        .fingerprint(),
        created_at,
        sequence: None,
        scope: None,
    }
}

#[test]
#[cfg_attr(miri, ignore = "it would take an hour")]
fn many_identities_are_found_and_forgotten_and_their_room_is_used_again() {
    let window = 3_200;
    let many = Policy::new()
        .window(Duration::from_nanos(window))
        .drift(Duration::ZERO)
        .max_reply_bytes(1_000);
    let memory = TestMemory::new(u64::MAX);
    let mut store = Store::open(memory.clone(), many, Timestamp::from_nanos(START)).unwrap();
    let per_round = 2_000;
    let request_of = |number: u64| Request {
        // One in sixteen is ground.
        identity: if number.is_multiple_of(16) {
            ground(number)
        } else {
            hashed(number)
        },
        ..request(0, 0, None)
    };
    let reply_of = |number: u64| number.to_le_bytes().repeat((number % 20) as usize);
    let mut pages = 0;
    for round in 0..60 {
        let now = START + round * 100;
        for number in round * per_round..(round + 1) * per_round {
            execute(&store, &request_of(number), now, &reply_of(number));
        }
        if round % 7 == 3 {
            drop(store);
            store = Store::open(memory.clone(), many, Timestamp::from_nanos(now)).unwrap();
        }
        let oldest = round.saturating_sub(window / 100) * per_round;
        for number in (oldest..(round + 1) * per_round).step_by(37) {
            let at = Timestamp::from_nanos(now);
            let answer = admission::admit(&store, &request_of(number), at);
            assert_eq!(
                answer,
                Decision::Replay(Reply::first(reply_of(number))),
                "{number} in round {round}"
            );
        }
        let partitions = window / 100 + 2;
        assert!(store.stats().entries <= (partitions + 1) * per_round);
        if round == 40 {
            pages = memory.size();
        }
    }
    assert!(
        memory.size() <= pages + pages / 10,
        "{pages} pages grew to {}",
        memory.size()
    );
}

/// Executes a sync request that must be admitted.
pub(super) fn execute<M: Memory>(store: &Store<M>, request: &Request, now: u64, reply: &[u8]) {
    match admission::admit(store, request, Timestamp::from_nanos(now)) {
        Decision::Execute(ticket) => store.record(&ticket, reply).unwrap(),
        other => panic!("expected to execute, got {other:?}"),
    }
}

pub(super) fn admitted<M: Memory>(store: &Store<M>, request: &Request, now: u64) -> Ticket {
    match admission::admit(store, request, Timestamp::from_nanos(now)) {
        Decision::Execute(ticket) => ticket,
        other => panic!("expected to execute, got {other:?}"),
    }
}

fn open(policy: Policy) -> Store<TestMemory> {
    Store::open(
        TestMemory::new(u64::MAX),
        policy,
        Timestamp::from_nanos(START),
    )
    .unwrap()
}

#[test]
fn only_the_attempt_that_acquired_a_record_ends_it() {
    let store = open(policy(100, 4));
    let request = request(1, 1, None);
    let now = Timestamp::from_nanos(START);
    let ticket = admitted(&store, &request, START);
    let first = store.begin(&ticket, &Origin::NOWHERE).unwrap();
    assert_eq!(store.release(&ticket, first), Ok(true));
    let ticket = admitted(&store, &request, START);
    let second = store.begin(&ticket, &Origin::NOWHERE).unwrap();
    assert_eq!(store.complete(&ticket, first, None, now), Ok(false));
    assert_eq!(store.interrupt(&ticket, first, now), Ok(false));
    assert_eq!(
        store.complete(&ticket, second, Some(Reply::first(&[2])), now),
        Ok(true)
    );
    assert_eq!(
        store.complete(&ticket, second, Some(Reply::first(&[3])), now),
        Ok(false)
    );
    assert_eq!(
        admission::admit(&store, &request, Timestamp::from_nanos(START)),
        Decision::Replay(Reply::first(vec![2]))
    );
}

#[test]
fn a_dropped_reply_says_when_it_was_executed() {
    let store = open(policy(100, 4));
    let request = request(1, 1, None);
    let ticket = admitted(&store, &request, START);
    let attempt = store.begin(&ticket, &Origin::NOWHERE).unwrap();
    let executed_at = Timestamp::from_nanos(START);
    assert_eq!(
        store.complete(&ticket, attempt, None, executed_at),
        Ok(true)
    );
    assert_eq!(
        admission::admit(&store, &request, Timestamp::from_nanos(START + 5)),
        Decision::Refuse(IdempotencyError::ReplyDropped { executed_at })
    );
}

#[test]
fn a_later_created_at_does_not_outlive_the_record() {
    let store = open(policy(100, 4));
    let at = |nanos: u64| Some(Timestamp::from_nanos(nanos));
    let argument = Argument::new(&[]);
    let off =
        |created_at| LazyFingerprint::new(&argument, Compared::Nothing, created_at, &Scope::Caller);
    let without_arguments = |created_at| Request {
        fingerprint: off(created_at).fingerprint(),
        ..request(1, 0, created_at)
    };
    execute(&store, &without_arguments(at(START)), START, b"first");
    let later = without_arguments(at(START + 50));
    assert_eq!(
        admission::admit(&store, &later, Timestamp::from_nanos(START + 50)),
        Decision::Refuse(IdempotencyError::KeyReused)
    );
}

#[test]
fn a_longer_window_does_not_reach_back_to_what_is_forgotten() {
    let memory = TestMemory::new(u64::MAX);
    let store = Store::open(memory.clone(), policy(100, 4), Timestamp::from_nanos(START)).unwrap();
    let created_at = Some(Timestamp::from_nanos(START));
    let request = request(1, 1, created_at);
    execute(&store, &request, START, b"first");
    let late = START + 120;
    assert_eq!(store.evict(Timestamp::from_nanos(late), 9), Ok(1));
    drop(store);
    let store = Store::open(memory, policy(1_000, 4), Timestamp::from_nanos(late)).unwrap();
    assert_eq!(
        admission::admit(&store, &request, Timestamp::from_nanos(late)),
        Decision::Refuse(IdempotencyError::TooOld)
    );
}

/// What a store remembered when its window was made longer expires as it was promised, and must not run again after that.
#[test]
fn a_longer_window_does_not_let_run_again_what_expires_by_the_shorter_one() {
    let memory = TestMemory::new(u64::MAX);
    let store = Store::open(memory.clone(), policy(100, 4), Timestamp::from_nanos(START)).unwrap();
    let created_at = Some(Timestamp::from_nanos(START));
    let request = request(1, 1, created_at);
    execute(&store, &request, START, b"first");
    drop(store);
    // And twice more, of which the second changes nothing.
    let open = |window, now| {
        let store = Store::open(
            memory.clone(),
            policy(window, 4),
            Timestamp::from_nanos(now),
        );
        store.unwrap()
    };
    drop(open(500, START + 40));
    drop(open(1_000, START + 45));
    let store = open(1_000, START + 50);
    let admit = |request, now| admission::admit(&store, request, Timestamp::from_nanos(now));
    assert_eq!(
        admit(&request, START + 50),
        Decision::Replay(Reply::first(b"first".to_vec()))
    );
    // Another one that was created then can run for as long.
    let place = (&Identity([3; 24]), None);
    let asked = outcome::outcome(&store, place, created_at, Timestamp::from_nanos(START + 50));
    let verdict = Verdict::CanStillRun {
        until: Some(Timestamp::from_nanos(START + 110)),
    };
    let as_of = Timestamp::from_nanos(START + 50);
    assert_eq!(asked, Ok((Outcome::Absent { as_of, verdict }, None)));
    store.evict(Timestamp::from_nanos(START + 300), 9).unwrap();
    assert_eq!(
        admit(&request, START + 300),
        Decision::Refuse(IdempotencyError::TooOld)
    );
    // What was created later has the longer window.
    let later = self::request(2, 1, Some(Timestamp::from_nanos(START + 70)));
    assert!(matches!(admit(&later, START + 900), Decision::Execute(_)));
}

/// The shorter one says until when a request runs and is remembered, and so whether it would still be known.
#[test]
fn a_window_that_is_made_longer_and_then_shorter_promises_no_more_than_the_last() {
    let memory = TestMemory::new(u64::MAX);
    let open = |window, now| {
        let now = Timestamp::from_nanos(now);
        Store::open(memory.clone(), policy(window, 4), now).unwrap()
    };
    drop(open(100, START));
    drop(open(200, START));
    let store = open(50, START);
    let created_at = Some(Timestamp::from_nanos(START));
    execute(&store, &request(1, 1, created_at), START, b"first");
    let ask = |key, now| {
        let now = Timestamp::from_nanos(now);
        let place = (&Identity([key; 24]), None);
        outcome::outcome(&store, place, created_at, now).unwrap().0
    };
    let verdict = |key, now| match ask(key, now) {
        Outcome::Absent { verdict, .. } => verdict,
        other => panic!("{other:?}"),
    };
    let until = Some(Timestamp::from_nanos(START + 60));
    assert_eq!(verdict(2, START), Verdict::CanStillRun { until });
    assert_eq!(store.evict(Timestamp::from_nanos(START + 90), 9), Ok(1));
    // It ran, and is forgotten.
    assert_eq!(verdict(1, START + 90), Verdict::MayHaveRun);
}

#[test]
fn other_versions_and_damage_are_told_apart() {
    let memory = TestMemory::new(u64::MAX);
    let now = Timestamp::from_nanos(START);
    drop(Store::open(memory.clone(), Policy::new(), now).unwrap());
    for found in [0, 1, 4] {
        memory.write(7, &[found]);
        let error = Store::open(memory.clone(), Policy::new(), now).unwrap_err();
        assert_eq!(error, OpenError::UnknownVersion { found, known: 3 });
    }
    memory.write(7, &[3]);
    memory.write(48, &u32::MAX.to_le_bytes());
    let error = Store::open(memory.clone(), Policy::new(), now).unwrap_err();
    assert_eq!(error, OpenError::Damaged);
}

/// Their sum is charged, and would be any number.
#[test]
fn a_partition_with_more_bytes_of_replies_than_the_memory_is_damaged() {
    let memory = TestMemory::new(u64::MAX);
    let now = Timestamp::from_nanos(START);
    let open = || Store::open(memory.clone(), Policy::new(), now);
    let store = open().unwrap();
    execute(&store, &request(1, 0, None), START, b"x");
    let pages = store.inner.borrow().header().pages;
    let most = u64::from(pages) * PAGE_BYTES as u64;
    memory.write(4_096 + 16, &(most + 1).to_le_bytes());
    assert_eq!(open().unwrap_err(), OpenError::Damaged);
    memory.write(4_096 + 16, &most.to_le_bytes());
    assert_eq!(open().unwrap().stats().bytes, 128 + most);
}

/// A later version may note what an earlier one can do without, and what it can't.
#[test]
fn features_that_are_not_known_are_ignored_or_refused_as_they_say() {
    let memory = TestMemory::new(u64::MAX);
    let now = Timestamp::from_nanos(START);
    let open = || Store::open(memory.clone(), Policy::new(), now);
    execute(&open().unwrap(), &request(1, 0, None), START, b"x");
    // All but the one that is known.
    let later = [0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
    memory.write(80, &later);
    let store = open().unwrap();
    assert!(matches!(
        admission::admit(&store, &request(1, 0, None), now),
        Decision::Replay(_)
    ));
    memory.write(88, &[3, 4]);
    let refused = open().unwrap_err();
    assert_eq!(refused, OpenError::UnknownFeatures { found: 1 << 10 | 3 });
    // The later version is deployed again: nothing was lost.
    memory.write(88, &[3, 0]);
    let mut features = [0; 8];
    memory.read(80, &mut features);
    assert_eq!(features, later);
    assert_eq!(open().unwrap().stats().entries, 1);
}

/// It is not the end of the log: what lies behind it would be lost.
#[test]
fn a_row_of_an_unknown_kind_is_no_end_of_a_log() {
    let memory = TestMemory::new(u64::MAX);
    let now = Timestamp::from_nanos(START);
    let store = Store::open(memory.clone(), Policy::new(), now).unwrap();
    execute(&store, &request(1, 0, None), START, b"x");
    drop(store);
    let mut end = 0;
    memory.edit(|bytes| {
        // Behind the one record is the end of the log.
        let record = (0..bytes.len()).find(|at| bytes[*at..].starts_with(&[3, 1, 0, 0, 64, 66]));
        end = record.unwrap() + 48;
        bytes[end] = 3 | 1 << 3;
    });
    let opened = Store::open(memory.clone(), Policy::new(), now);
    assert_eq!(opened.unwrap_err(), OpenError::Damaged);
    memory.edit(|bytes| bytes[end] = 0);
    let store = Store::open(memory, Policy::new(), now).unwrap();
    assert_eq!(store.stats().entries, 1);
}

#[test]
fn policies_that_cannot_work_are_refused() {
    let now = Timestamp::from_nanos(START);
    let wrong = [
        Policy::new().window(Duration::ZERO),
        Policy::new().window(Duration::MAX),
        Policy::new().capacity(0),
        Policy::new().capacity_bytes(64 << 10),
        Policy::new()
            .max_reply_bytes(u32::MAX)
            .capacity_bytes(u64::MAX),
        Policy::new().retention(Duration::MAX),
        Policy::new().max_counters(1),
        Policy::new().quota(0, 1 << 20),
        Policy::new().quota(10, 1),
    ];
    for policy in wrong {
        let error = Store::open(TestMemory::new(u64::MAX), policy, now).unwrap_err();
        assert!(
            matches!(error, OpenError::InvalidPolicy(_)),
            "{policy:?}: {error}"
        );
    }
}

#[test]
fn a_memory_that_cannot_grow_is_full_and_loses_nothing() {
    let now = Timestamp::from_nanos(START);
    let policy = Policy::new();
    let none = TestMemory::new(8);
    assert_eq!(
        Store::open(none, policy, now).unwrap_err(),
        OpenError::OutOfMemory
    );

    let sizes: &[u64] = if cfg!(miri) {
        &[24]
    } else {
        &[24, 40, 64, 100]
    };
    for &pages in sizes {
        let store = Store::open(TestMemory::new(pages), policy, now).unwrap();
        let numbered = |number: u64| Request {
            identity: hashed(number),
            ..request(0, 0, None)
        };
        let held = (0..)
            .find(
                |&number| match admission::admit(&store, &numbered(number), now) {
                    Decision::Execute(ticket) => {
                        store.record(&ticket, &[number as u8; 5_000]).unwrap();
                        false
                    }
                    Decision::Refuse(IdempotencyError::Full { .. }) => true,
                    other => panic!("{other:?}"),
                },
            )
            .unwrap();
        assert!(held > 0, "{pages} pages hold nothing");
        for number in 0..held {
            let reply = Decision::Replay(Reply::first(vec![number as u8; 5_000]));
            assert_eq!(admission::admit(&store, &numbered(number), now), reply);
        }
    }
}

/// Whichever of them was opened first knows nothing of what the other does: it must not answer.
#[test]
fn a_store_whose_memory_another_one_has_opened_refuses() {
    let now = Timestamp::from_nanos(START);
    let memory = TestMemory::new(u64::MAX);
    let open = || Store::open(memory.clone(), Policy::new(), now).unwrap();
    let first = open();
    execute(&first, &request(1, 0, None), START, b"first");
    let ticket = admitted(&first, &request(2, 0, None), START);
    let attempt = first.begin(&ticket, &Origin::NOWHERE).unwrap();
    // Another memory is another store.
    drop(Store::open(TestMemory::new(u64::MAX), Policy::new(), now).unwrap());
    let replay = Decision::Replay(Reply::first(b"first".to_vec()));
    assert_eq!(admission::admit(&first, &request(1, 0, None), now), replay);

    let second = open();
    let damaged = Decision::Refuse(IdempotencyError::StoreDamaged);
    for key in [1, 2, 3] {
        let answer = admission::admit(&first, &request(key, 0, None), now);
        assert_eq!(answer, damaged);
    }
    assert_eq!(first.record(&ticket, b"x"), Err(Damaged));
    assert_eq!(first.begin(&ticket, &Origin::NOWHERE), Err(Damaged));
    assert_eq!(first.complete(&ticket, attempt, None, now), Err(Damaged));
    assert_eq!(first.interrupt(&ticket, attempt, now), Err(Damaged));
    assert_eq!(first.release(&ticket, attempt), Err(Damaged));
    assert_eq!(first.evict(now, 1), Err(Damaged));
    assert_eq!(first.next_number(&hashed(1)), Err(Damaged));
    assert_eq!(first.guaranteed_until(&hashed(1)), Err(Damaged));

    assert_eq!(admission::admit(&second, &request(1, 0, None), now), replay);
    let since = now;
    let unknown = Decision::Refuse(IdempotencyError::OutcomeUnknown { since });
    assert_eq!(
        admission::admit(&second, &request(2, 0, None), now),
        unknown
    );
    execute(&second, &request(3, 0, None), START, b"third");
}

#[test]
fn two_methods_with_one_name_are_noticed() {
    let store = open(policy(100, 4));
    assert_eq!(store.claim("pay", "pay"), None);
    assert_eq!(store.claim("pay", "pay"), None);
    assert_eq!(store.claim("mint", "mint_v2"), None);
    assert_eq!(store.claim("pay", "pay_v2"), Some("pay"));
    // The name that it had goes with another name of its own.
    assert_eq!(store.claim("mint_v2", "mint_v2"), None);
}
