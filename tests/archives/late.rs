//! Retries that come later than any window.

use crate::world::{
    Answer, DAY, DIGESTS, Failure, IDS, REPLIES, World, asked, is_unreachable, one_outcome, refusal,
};
use candid::Encode;
use idempotency_core::{
    IdempotencyError,
    outcome::{Outcome, Verdict},
};
use integration_tests::user;
use sha2::{Digest as _, Sha256};

fn now(world: &World) -> u64 {
    world.replica.get_time().as_nanos_since_unix_epoch()
}

/// The replies of one payment by each method.
fn pay_by_each(world: &World, created_at: u64) -> Vec<Answer> {
    vec![
        world.call(1, "pay", (1u64, 1u64)).unwrap(),
        world.call(1, "pay_together", (2u64, 1u64)).unwrap(),
        world.call(1, "pay_dated", (3u64, created_at)).unwrap(),
        world.call(1, "pay_later", (4u64, 2u8)).unwrap(),
        world.call(1, "pay_in_order", (0u64, 5u64)).unwrap(),
        world.call(1, "pay_in_order", (1u64, 6u64)).unwrap(),
    ]
}

#[test]
fn each_kind_of_method_answers_with_its_first_reply_after_a_year() {
    let world = World::given(REPLIES, 1);
    let created_at = now(&world);
    let first = pay_by_each(&world, created_at);
    assert_eq!(first, (1..=6).map(Ok).collect::<Vec<_>>());
    for _ in 0..3 {
        world.ship();
        assert_eq!(world.shipped(), (6, 0));
        assert_eq!(pay_by_each(&world, created_at), first);
        world.pass(200 * DAY, 2);
        world.upgrade(None).unwrap();
    }
    assert_eq!(world.paid(), (1..=6).map(|key| (key, 1)).collect());
    // The lane's counter has been forgotten by now; its numbers are used all the same.
    let unused = world.call(1, "pay_in_order", (2u64, 7u64)).unwrap();
    assert!(
        unused.is_ok()
            || matches!(
                refusal(unused.clone()),
                IdempotencyError::SequenceTooOld { .. }
            ),
        "{unused:?}"
    );
}

#[test]
fn a_key_that_was_used_for_something_else_is_told_so_for_ever() {
    for keep in [IDS, DIGESTS, REPLIES] {
        let world = World::given(keep, 1);
        world.pay(1).unwrap();
        world.ship();
        let reused = world.call(1, "pay", (1u64, 2u64)).unwrap();
        assert_eq!(refusal(reused), IdempotencyError::KeyReused);
        // Another's key is another key.
        assert_eq!(world.call(2, "pay", (1u64, 2u64)).unwrap(), Ok(2));
        assert_eq!(world.paid(), [(1, 2)].into());
    }
}

#[test]
fn without_replies_a_late_retry_is_told_when_it_ran() {
    for keep in [IDS, DIGESTS] {
        let world = World::given(keep, 1);
        let before = now(&world) / 1_000_000;
        let reply = Encode!(&world.pay(1)).unwrap();
        let after = now(&world) / 1_000_000;
        world.ship();
        let is_told = |error: IdempotencyError| match error {
            IdempotencyError::ReplyDropped { executed_at } => {
                let millis = executed_at.as_nanos() / 1_000_000;
                assert!(
                    (before..=after).contains(&millis),
                    "{before} {millis} {after}"
                );
            }
            other => panic!("{other:?}"),
        };
        is_told(refusal(world.pay(1)));
        match world.outcome_ever("pay", (1u64, 1u64)) {
            Ok(Outcome::ReplyDropped {
                executed_at,
                digest,
                ..
            }) => {
                is_told(IdempotencyError::ReplyDropped { executed_at });
                let expected = (keep == DIGESTS).then(|| Sha256::digest(&reply).to_vec());
                assert_eq!(digest.map(|it| it.into_vec()), expected);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(world.paid(), [(1, 1)].into());
    }
}

#[test]
fn outcomes_are_found_in_archives() {
    let world = World::given(REPLIES, 1);
    let created_at = now(&world);
    let first = pay_by_each(&world, created_at);
    world.ship();
    let is_done = |outcome: Result<Outcome, _>, answer: &Answer| match outcome {
        Ok(Outcome::Done { reply, .. }) => assert_eq!(&reply[..], Encode!(answer).unwrap()),
        other => panic!("{other:?}"),
    };
    is_done(world.outcome_ever("pay", (1u64, 1u64)), &first[0]);
    is_done(world.outcome_ever("pay_together", (2u64, 1u64)), &first[1]);
    is_done(
        world.outcome_ever("pay_dated", (3u64, created_at)),
        &first[2],
    );
    is_done(world.outcome_ever("pay_later", (4u64, 2u8)), &first[3]);
    is_done(world.outcome_ever("pay_in_order", (0u64, 5u64)), &first[4]);
    // A composite query finds it, too.
    let calls = vec![asked("pay", (1u64, 1u64))];
    let reply = (world.replica).query_call(
        world.canister,
        user(1),
        "outcomes_ever_by_query",
        Encode!(&calls).unwrap(),
    );
    is_done(one_outcome(&reply.unwrap()), &first[0]);
    // One that never was: the filter says so, so it is certain.
    match world.outcome_ever("pay_dated", (9u64, created_at)) {
        Ok(Outcome::Absent { verdict, .. }) => assert_eq!(verdict, Verdict::NeverRan),
        other => panic!("{other:?}"),
    }
    // A plain query can't ask, and claims nothing.
    let plain: Vec<Result<Outcome, IdempotencyError>> =
        world.query("idempotency_outcomes", (calls,));
    let claims = matches!(
        plain[0],
        Ok(Outcome::Absent {
            verdict: Verdict::NeverRan | Verdict::CanStillRun { .. },
            ..
        })
    );
    assert!(!claims, "{plain:?}");
}

#[test]
fn who_never_ran_and_is_too_old_is_too_old() {
    let world = World::given(REPLIES, 1);
    let created_at = now(&world);
    world
        .call(1, "pay_dated", (3u64, created_at))
        .unwrap()
        .unwrap();
    world.ship();
    // `inspect!` lets a late retry through, and nothing else.
    assert_eq!(
        world.call(1, "pay_dated", (3u64, created_at)).unwrap(),
        Ok(1)
    );
    let rejected = world.call(1, "pay_dated", (4u64, created_at)).unwrap_err();
    assert!(rejected.reject_message.contains("TooOld"), "{rejected:?}");
}

#[test]
fn what_the_filter_denies_runs_without_asking_anybody() {
    let world = World::given(REPLIES, 1);
    for key in 0..200 {
        world.pay(key).unwrap();
    }
    world.ship();
    (world.replica)
        .stop_canister(world.archive(0), None)
        .unwrap();
    // Of 500 new payments no archive is asked, but for one or two that the filter takes for old ones.
    let refused = (1_000..1_500).filter(|key| is_unreachable(&world.pay(*key)));
    assert!(refused.count() <= 4);
    // Old ones are not paid for again.
    assert!((0..200).all(|key| is_unreachable(&world.pay(key))));
    (world.replica)
        .start_canister(world.archive(0), None)
        .unwrap();
    assert!((0..200).all(|key| world.pay(key) == Ok(key + 1)));
    assert!(world.paid().values().all(|times| *times == 1));
}

/// With such a filter every other new request asks, and is told that it is new.
#[test]
fn retries_that_wait_for_an_archive_together_run_once() {
    let world = World::new(REPLIES, 1, |settings| settings.one_in = 2);
    for key in 0..300 {
        world.pay(key).unwrap();
    }
    world.ship();
    let send = |key: u64, trapping: bool| {
        let arg = candid::encode_args((key, 1u64)).unwrap();
        let sent: Vec<_> = (0..3)
            .map(|_| {
                let sender = user(1);
                world
                    .replica
                    .submit_call(world.canister, sender, "pay", arg.clone())
                    .unwrap()
            })
            .collect();
        let answers = sent.into_iter().map(|sent| world.replica.await_call(sent));
        let answers: Vec<_> = answers.collect();
        if trapping {
            for answer in answers {
                let rejected = answer.unwrap_err();
                assert!(
                    rejected.reject_message.contains("the payment traps"),
                    "{rejected:?}"
                );
            }
        } else {
            let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
            assert!(answers.iter().all(|answer| *answer == answers[0]));
        }
    };
    for key in 1_000..1_040 {
        // A function that traps after the archive's answer has done nothing, and may run again.
        let _: Vec<u8> = world.update(1, "trap_at", (key,)).unwrap();
        send(key, true);
        assert!(!world.paid().contains_key(&key));
        let _: Vec<u8> = world.update(1, "trap_at", (0u64,)).unwrap();
        send(key, false);
        assert_eq!(world.paid()[&key], 1);
    }
}

#[test]
fn a_canister_that_does_not_install_its_archives_refuses_new_requests() {
    let mut world = World::given(REPLIES, 1);
    world.pay(1).unwrap();
    world.settings.is_forgotten = true;
    world.upgrade(Some(&world.settings)).unwrap();
    assert_eq!(world.pay(1), Ok(1));
    match world.pay(2) {
        Err(Failure::Idempotency(IdempotencyError::Other { code, .. })) => assert_eq!(code, 9),
        other => panic!("{other:?}"),
    }
    world.pass(10 * DAY, 10);
    assert_eq!(world.pay(1), Ok(1), "nothing is forgotten");
    world.settings.is_forgotten = false;
    world.upgrade(Some(&world.settings)).unwrap();
    assert_eq!(world.pay(2), Ok(2));
    world.ship();
    assert_eq!((world.pay(1), world.pay(2)), (Ok(1), Ok(2)));
}
