//! Stores that certify, by what a client can prove.

use super::model::{DRIFT, End, WINDOW, World, at, policy};
use crate::{
    Policy,
    certified::verify::{Proven, Unproven},
    outcome::Verdict,
    store::LEASE,
};
use proptest::prelude::*;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Op {
    Submit {
        key: u8,
        created: Option<i8>,
        length: u8,
        is_async: bool,
    },
    End {
        which: u8,
        end: u8,
    },
    Interrupt,
    Pass(u16),
    Evict,
    Batch,
    Reopen(u8),
    Ask(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..20u8, prop::option::of(-30..20i8), 0..100u8, any::<bool>())
            .prop_map(|(key, created, length, is_async)| Op::Submit { key, created, length, is_async }),
        3 => any::<(u8, u8)>().prop_map(|(which, end)| Op::End { which, end }),
        1 => Just(Op::Interrupt),
        3 => (0..600u16).prop_map(Op::Pass),
        1 => Just(Op::Evict),
        3 => Just(Op::Batch),
        1 => any::<u8>().prop_map(Op::Reopen),
        4 => (0..24u8).prop_map(Op::Ask),
    ]
}

/// With what an upgrade may open the store.
fn policy_of(choice: u8) -> Policy {
    let window = Duration::from_nanos(match choice % 4 {
        0 => WINDOW / 2,
        1 => 2 * WINDOW,
        _ => WINDOW,
    });
    let policy = policy().window(window);
    let policy = match choice / 4 % 3 {
        0 => policy.retention(Duration::from_nanos(WINDOW)),
        _ => policy,
    };
    match choice / 16 % 4 {
        0 => Policy {
            certify: None,
            ..policy
        },
        _ => policy,
    }
}

fn apply(world: &mut World, op: &Op) {
    match *op {
        Op::Submit {
            key,
            created,
            length,
            is_async,
        } => {
            let number = u64::from(key);
            let now = world.now;
            // A request is created once.
            world.created.entry(number).or_insert_with(|| {
                created.map(|offset| now.saturating_add_signed(i64::from(offset)))
            });
            world.submit(number, &vec![key; length.into()], is_async);
        }
        Op::End { which, end } => world.end(
            which.into(),
            match end % 4 {
                0 => End::DidNothing,
                1 => End::NoReply,
                _ => End::Reply(vec![end; usize::from(end) % 90]),
            },
        ),
        Op::Interrupt => world.interrupt(),
        Op::Pass(nanos) => world.now += u64::from(nanos),
        Op::Evict => world.evict(),
        Op::Batch => {
            world.batch();
        }
        Op::Reopen(choice) => world.reopen(policy_of(choice)),
        Op::Ask(key) => {
            if world.policy.certify.is_some() {
                world.ask(key.into());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, each proof that is given says the truth, and goes on saying it.
    #[test]
    fn what_is_proved_is_true(ops in prop::collection::vec(op(), 1..120)) {
        let mut world = World::new(policy());
        for op in &ops {
            apply(&mut world, op);
        }
        if world.policy.certify.is_some() {
            world.check_against_naive();
            for key in 0..24 {
                world.ask(key);
            }
            world.batches();
            world.check_against_naive();
            for key in 0..24 {
                let proven = world.ask(key);
                // With a tree that is whole there is an answer to everything but what is from before it.
                prop_assert!(matches!(proven, Some(Ok(_) | Err(Unproven::NotCovered))), "{proven:?}");
            }
        }
        world.check_claims();
    }
}

/// A request may be created a little after an upgrade that comes before it: its window is the new one.
#[test]
fn until_when_a_request_can_run_is_as_the_policy_is() {
    let mut world = World::new(policy());
    let created = world.now + DRIFT + 1;
    world.created.insert(5, Some(created));
    let said = world.ask(5);
    let until = at(created + WINDOW + DRIFT);
    let can_still_run = Verdict::CanStillRun { until: Some(until) };
    assert!(
        matches!(&said, Some(Ok(Proven::Absent { verdict, .. })) if *verdict == can_still_run),
        "{said:?}"
    );
    world.reopen(policy().window(Duration::from_nanos(2 * WINDOW)));
    world.now = until.as_nanos() + 1;
    assert!(world.submit(5, b"late", false));
    world.check_claims();
}

fn done(world: &mut World, number: u64) -> Proven {
    world.ask(number).unwrap().unwrap()
}

fn absent(as_of: u64, verdict: Verdict) -> Proven {
    Proven::Absent {
        from: None,
        as_of: at(as_of),
        verdict,
    }
}

#[test]
fn a_request_is_followed_from_its_absence_to_its_being_forgotten() {
    let mut world = World::new(policy());
    let begin = world.now;
    world.created.insert(1, Some(begin));
    let until = begin + WINDOW + DRIFT;
    let can_still_run = Verdict::CanStillRun {
        until: Some(at(until)),
    };
    world.now += 1;
    assert_eq!(done(&mut world, 1), absent(begin, can_still_run));
    assert!(world.submit(1, b"", true));
    // The tree is open since then, and says what was before.
    world.now += 5;
    assert_eq!(done(&mut world, 1), absent(begin, can_still_run));
    world.batches();
    let since = at(begin + 1);
    assert_eq!(
        done(&mut world, 1),
        Proven::Begun {
            since,
            as_of: at(begin + 5)
        }
    );
    world.end(0, End::Reply(b"reply".to_vec()));
    assert_eq!(
        done(&mut world, 1),
        Proven::Begun {
            since,
            as_of: at(begin + 5)
        }
    );
    world.batches();
    assert_eq!(done(&mut world, 1), Proven::Done { executed_at: since });
    // With a longer window it would have been kept for longer.
    world.now = until + WINDOW;
    world.evict();
    world.batches();
    assert_eq!(
        done(&mut world, 1),
        absent(world.now - 1, Verdict::MayHaveRun)
    );
    world.check_claims();
}

/// What nobody ever sent.
#[test]
fn a_request_that_is_too_old_never_ran() {
    let mut world = World::new(policy());
    let begin = world.now;
    world.created.insert(1, Some(begin));
    assert!(world.submit(2, b"", false));
    world.batches();
    // No timer runs, and nothing is forgotten: the root is the one of then.
    world.now += WINDOW + DRIFT + 2;
    assert_eq!(
        done(&mut world, 1),
        absent(world.now - 1, Verdict::NeverRan)
    );
    // It proves that nothing came in between, too.
    let from = Some(at(0));
    let verdict = Verdict::CanStillRun { until: None };
    let as_of = at(world.now - 1);
    let proven = done(&mut world, 3);
    assert!(
        matches!(proven, Proven::Absent { from: it, as_of: of, verdict: v } if it <= from && of == as_of && v == verdict),
        "{proven:?}"
    );
    world.check_claims();
}

#[test]
fn a_tree_says_nothing_of_what_was_before_it() {
    let without = Policy {
        certify: None,
        ..policy()
    };
    let mut world = World::new(without);
    assert!(world.submit(1, b"one", false));
    world.created.insert(2, Some(world.now));
    world.created.insert(3, Some(world.now));
    assert!(world.submit(2, b"two", false));
    assert_eq!(world.store.tree_root(at(world.now)), Ok(None));
    world.reopen(policy());
    world.batches();
    world.now += 10;
    for number in 1..=3 {
        assert_eq!(world.ask(number), Some(Err(Unproven::NotCovered)));
    }
    // What comes now is covered, as soon as what was there must be gone.
    assert!(world.submit(4, b"four", false));
    world.batches();
    assert_eq!(
        done(&mut world, 4),
        Proven::Done {
            executed_at: at(world.now)
        }
    );
    world.now += 100;
    world.created.insert(5, Some(world.now));
    assert!(matches!(done(&mut world, 5), Proven::Absent { .. }));
    // Off again, and on: what was recorded meanwhile is not in it.
    world.reopen(without);
    assert!(world.submit(5, b"five", false));
    world.reopen(policy());
    world.batches();
    world.now += 1;
    assert_eq!(world.ask(5), Some(Err(Unproven::NotCovered)));
    assert_eq!(world.ask(4), Some(Err(Unproven::NotCovered)));
    world.check_claims();
}

/// A canister that does not keep its tree any more may still have it certified.
#[test]
fn a_root_that_nobody_renews_says_nothing_of_later_times() {
    let mut world = World::new(policy().window(LEASE * 9));
    let begin = world.now;
    assert!(world.submit(1, b"", false));
    world.batches();
    world.now += (LEASE * 3).as_nanos() as u64;
    let Proven::Absent { as_of, .. } = done(&mut world, 2) else {
        panic!("it is absent");
    };
    assert_eq!(as_of.plus(Duration::from_nanos(1)), at(begin).plus(LEASE));
    world.store.renew_tree(at(world.now)).unwrap();
    world.certified = world.store.tree_root(at(world.now)).unwrap().unwrap();
    let Proven::Absent { as_of, .. } = done(&mut world, 2) else {
        panic!("it is absent");
    };
    assert_eq!(as_of, at(world.now - 1));
}

/// Some 2,000 changes are put into the tree at a time; meanwhile it says as of when it is.
#[test]
fn many_changes_take_several_batches() {
    let mut world = World::new(policy().capacity(10_000));
    let begin = world.now;
    for number in 0..5_000 {
        world.created.insert(number, None);
        assert!(world.submit(number, b"x", false));
    }
    world.now += 10;
    assert!(world.batch());
    assert!(
        matches!(done(&mut world, 9_999), Proven::Absent { as_of, .. } if as_of == at(begin - 1))
    );
    // What comes while it is being done belongs to another round.
    assert!(world.submit(6_000, b"x", false));
    assert!(world.batch());
    assert!(!world.batch());
    for number in [0, 17, 4_999, 6_000] {
        assert!(matches!(done(&mut world, number), Proven::Done { .. }));
    }
    world.check_claims();
}
