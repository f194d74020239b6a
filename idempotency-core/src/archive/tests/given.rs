//! Archives that are given.

use super::{
    others::Canister,
    world::{WINDOW, World, policy},
};
use crate::archive::{ArchivePolicy, ArchiveState, Keep, Problem};
use candid::Principal;
use std::time::Duration;

fn principal(number: u8) -> Principal {
    Principal::from_slice(&[7, number])
}

/// Archives for so many requests each.
fn with_room_for(capacities: &[u64]) -> World {
    let numbers = 0..capacities.len() as u8;
    let given: Vec<_> = numbers.map(principal).collect();
    let mut world = World::new(policy(Keep::Ids), ArchivePolicy::given(given.clone()));
    for (archive, capacity) in given.into_iter().zip(capacities) {
        (world.others.canisters).insert(archive, Canister::given(*capacity, false));
    }
    world
}

/// However small it is, and however much is to be sent.
#[test]
fn each_is_filled_to_the_last_place() {
    let mut world = with_room_for(&[3, 0, 1, 40, 7, 1_000]);
    for key in 0..60 {
        assert!(world.execute(key));
    }
    world.settle(2 * WINDOW);
    let archives = world.overview().archives;
    let filled: Vec<_> = archives.iter().map(|it| (it.state, it.requests)).collect();
    use ArchiveState::{Current, Full};
    let expected = [3, 0, 1, 40, 7].map(|requests| (Full, requests));
    assert_eq!(filled[..5], expected);
    assert_eq!(filled[5..], [(Current, 9)]);
    assert_eq!((world.held(), world.overview().trouble), (0, None));
    world.check();
}

#[test]
fn when_all_are_full_the_rest_stays_until_there_is_another() {
    let mut world = with_room_for(&[5, 10]);
    for key in 0..16 {
        assert!(world.execute(key));
    }
    world.settle(2 * WINDOW);
    // They expired together, and are forgotten together.
    assert_eq!((world.held(), world.overview().waiting), (16, 16));
    let trouble = world.overview().trouble.expect("nothing is shipped");
    assert_eq!(trouble.problem, Problem::NoArchive);
    world.check();
    (world.others.canisters).insert(principal(2), Canister::given(1, false));
    world.archive_policy = ArchivePolicy::given([0, 1, 2].map(principal));
    world.upgrade();
    world.settle(Duration::from_secs(1_200));
    assert_eq!((world.held(), world.overview().trouble), (0, None));
    world.check();
}

#[test]
fn one_of_another_owner_is_not_used() {
    let [foreign, own] = [1, 2].map(|number| Principal::from_slice(&[7, number]));
    let mut world = World::new(policy(Keep::Ids), ArchivePolicy::given([foreign, own]));
    let owner = Principal::from_slice(&[8, 1]);
    let mut canister = Canister::given(100, false);
    canister.owner = Some(owner);
    world.others.canisters.insert(foreign, canister);
    (world.others.canisters).insert(own, Canister::given(100, false));
    assert!(world.execute(1));
    world.settle(2 * WINDOW);
    let overview = world.overview();
    assert_eq!((overview.waiting, overview.archives), (1, vec![]));
    let problem = overview.trouble.map(|trouble| trouble.problem);
    let archive = foreign;
    assert_eq!(problem, Some(Problem::ForeignArchive { archive, owner }));
    // Until it is given no more.
    world.archive_policy = ArchivePolicy::given([own]);
    world.upgrade();
    world.settle(Duration::from_secs(1_200));
    assert_eq!((world.held(), world.archives.canisters()), (0, vec![own]));
    world.check();
}
