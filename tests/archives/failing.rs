//! Archives that fail.

use crate::world::{Answer, DAY, Failure, REPLIES, World, is_unreachable};
use idempotency_core::{
    IdempotencyError,
    archive::{ArchiveState, Problem},
};

fn is_full(answer: &Answer) -> bool {
    matches!(
        answer,
        Err(Failure::Idempotency(IdempotencyError::Full { .. }))
    )
}

#[test]
fn while_the_archive_is_stopped_the_store_fills_up_and_nothing_is_lost() {
    let world = World::new(REPLIES, 1, |settings| settings.capacity = 100);
    let archive = world.archive(0);
    world.replica.stop_canister(archive, None).unwrap();
    for key in 0..100 {
        world.pay(key).unwrap();
    }
    assert!(is_full(&world.pay(100)));
    world.pass(30 * DAY, 10);
    assert!(is_full(&world.pay(100)));
    let overview = world.overview();
    assert_eq!(overview.waiting, 100);
    let trouble = overview.trouble.expect("it says what is wrong");
    assert!(
        matches!(&trouble.problem, Problem::Unreachable { archive: it, .. } if *it == archive),
        "{trouble:?}"
    );
    assert!((0..100).all(|key| world.pay(key) == Ok(key + 1)));
    world.replica.start_canister(archive, None).unwrap();
    world.ship();
    assert_eq!(world.shipped(), (100, 0));
    assert_eq!(world.overview().trouble, None);
    assert_eq!(world.pay(100), Ok(101));
    assert!((0..100).all(|key| world.pay(key) == Ok(key + 1)));
    assert!(world.paid().values().all(|times| *times == 1));
}

/// It never takes "not there" from an archive that has lost something.
#[test]
fn an_archive_that_has_lost_something_is_not_believed() {
    let world = World::given(REPLIES, 2);
    for key in 0..50 {
        world.pay(key).unwrap();
    }
    world.ship();
    world.wipe(world.archive(0));
    assert!((0..50).all(|key| is_unreachable(&world.pay(key))));
    for key in 50..100 {
        world.pay(key).unwrap();
    }
    world.ship();
    let overview = world.overview();
    let states: Vec<_> = overview.archives.iter().map(|it| it.state).collect();
    assert_eq!(states, [ArchiveState::Behind, ArchiveState::Current]);
    assert!((0..50).all(|key| is_unreachable(&world.pay(key))));
    assert!((50..100).all(|key| world.pay(key) == Ok(key + 1)));
    assert!(world.paid().values().all(|times| *times == 1));
}

#[test]
fn an_archive_that_is_deleted_is_missed() {
    let world = World::given(REPLIES, 1);
    for key in 0..20 {
        world.pay(key).unwrap();
    }
    world.ship();
    for key in 20..40 {
        world.pay(key).unwrap();
    }
    let archive = world.archive(0);
    world.replica.stop_canister(archive, None).unwrap();
    world.replica.delete_canister(archive, None).unwrap();
    world.pass(2 * DAY, 20);
    assert!((0..20).all(|key| is_unreachable(&world.pay(key))));
    assert!((20..40).all(|key| world.pay(key) == Ok(key + 1)));
    assert_eq!(world.overview().waiting, 20);
    assert!(world.overview().trouble.is_some());
}
