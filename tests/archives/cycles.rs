//! Cycles of the canister, and of its archives.

use crate::world::{DAY, IDS, World, is_unreachable, refusal};
use candid::Principal;
use idempotency_core::{
    IdempotencyError,
    archive::{ArchiveState, ArchiveStatus},
};
use pocket_ic::CanisterSettings;

const T: u128 = 1_000_000_000_000;

/// Has the IC keep back all of a canister's balance but for so many cycles.
fn leave(world: &World, canister: Principal, controller: Option<Principal>, liquid: u128) {
    let replica = &world.replica;
    let status = replica.canister_status(canister, controller).unwrap();
    let a_day: u128 = status.idle_cycles_burned_per_day.0.try_into().unwrap();
    let balance = replica.cycle_balance(canister);
    let seconds = (balance - liquid) * u128::from(DAY) / a_day;
    let settings = CanisterSettings {
        freezing_threshold: Some(seconds.into()),
        ..CanisterSettings::default()
    };
    (replica.update_canister_settings(canister, controller, settings)).unwrap();
}

/// What an archive says it lacks.
fn lacking(world: &World, archive: &ArchiveStatus) -> u128 {
    let status = world.archive_status(archive.canister);
    status.lacking_cycles.0.try_into().unwrap()
}

#[test]
fn archives_have_cycles_for_ever_whether_they_are_full_or_not() {
    let world = World::making(IDS, |settings| settings.archive_capacity = 10);
    for key in 0..25 {
        world.pay(key).unwrap();
    }
    world.ship();
    let archives = world.overview().archives;
    let is_full = |archive: &ArchiveStatus| archive.state == ArchiveState::Full;
    assert_eq!(
        archives.iter().map(is_full).collect::<Vec<_>>(),
        [true, true, false]
    );
    for archive in &archives {
        leave(&world, archive.canister, Some(world.canister), T);
        assert!(lacking(&world, archive) > T / 2);
    }
    // One can't answer.
    leave(&world, archives[0].canister, Some(world.canister), 1);
    assert!((0..10).all(|key| is_unreachable(&world.pay(key))));
    for _ in 0..3 {
        world.pass(DAY / 2, 10);
    }
    for archive in world.overview().archives {
        let top_up = archive.top_up.clone().expect("it was asked");
        assert!(
            top_up.given > T / 2 && top_up.problem.is_none(),
            "{top_up:?}"
        );
        // What messages have used since.
        assert!(lacking(&world, &archive) < T / 10);
    }
    for key in 0..10 {
        let refused = refusal(world.pay(key));
        assert!(
            matches!(refused, IdempotencyError::ReplyDropped { .. }),
            "{refused:?}"
        );
    }
    assert!(world.paid().values().all(|times| *times == 1));
}

#[test]
fn a_canister_that_has_no_cycles_to_give_ships_all_the_same() {
    let world = World::given(IDS, 1);
    // With more memory the IC would keep back more.
    for key in 0..10 {
        world.pay(key).unwrap();
        if key % 3 == 0 {
            world.ship();
        }
    }
    world.pay(10).unwrap();
    leave(&world, world.canister, None, T / 8);
    world.ship();
    assert_eq!(world.shipped(), (11, 0));
    assert_eq!(world.overview().trouble, None);
    assert!(world.paid().values().all(|times| *times == 1));
}
