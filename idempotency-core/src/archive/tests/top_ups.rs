//! Archives have cycles, also when nothing is shipped to them any more.

use super::world::{World, archive_policy, policy};
use crate::archive::{ArchiveState, Keep, Problem, TopUp, install};
use candid::Principal;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const MOST: u128 = 1_000;

/// Two archives that are full, and a third one.
fn world() -> World {
    let mut world = World::new(policy(Keep::Ids), archive_policy(10).cycles(MOST));
    for key in 0..25 {
        assert!(world.execute(key));
    }
    world.settle(DAY / 2);
    let states = world.overview().archives;
    let states: Vec<_> = states.iter().map(|archive| archive.state).collect();
    use ArchiveState::{Current, Full};
    assert_eq!(states, [Full, Full, Current]);
    world
}

fn archives(world: &World) -> [Principal; 3] {
    world.archives.canisters().try_into().unwrap()
}

fn given(world: &World) -> [u128; 3] {
    archives(world).map(|archive| world.others.canisters[&archive].given)
}

fn lacks(world: &mut World, lacking: [u128; 3]) {
    for (archive, lacking) in archives(world).into_iter().zip(lacking) {
        world.others.canisters.get_mut(&archive).unwrap().lacking = lacking;
    }
}

fn top_ups(world: &World) -> Vec<TopUp> {
    let archives = world.overview().archives;
    archives.into_iter().filter_map(|it| it.top_up).collect()
}

#[test]
fn each_archive_is_given_what_it_lacks_once_a_day() {
    let mut world = world();
    lacks(&mut world, [100, 0, 7]);
    assert_eq!(given(&world), [0; 3]);
    world.settle(DAY);
    assert_eq!(given(&world), [100, 0, 7]);
    let seen = top_ups(&world);
    let seen = seen.iter().map(|it| (it.balance, it.given, &it.problem));
    assert_eq!(
        seen.collect::<Vec<_>>(),
        [100, 0, 7].map(|given| (Some(7), given, &None))
    );
    // They are asked again, and lack nothing.
    world.settle(DAY);
    assert_eq!(given(&world), [100, 0, 7]);
    // At the most so much at once.
    lacks(&mut world, [0, 5 * MOST / 2, 0]);
    for expected in [MOST, 2 * MOST, 5 * MOST / 2, 5 * MOST / 2] {
        world.settle(DAY);
        assert_eq!(given(&world), [100, expected, 7]);
    }
}

#[test]
fn upgrades_do_not_put_it_off() {
    let mut world = world();
    lacks(&mut world, [1, 2, 3]);
    for _ in 0..4 {
        world.upgrade();
        world.settle(DAY / 4);
    }
    assert_eq!(given(&world), [1, 2, 3]);
    // Nor is it done more often than that.
    lacks(&mut world, [MOST * 10; 3]);
    for _ in 0..20 {
        world.upgrade();
        world.settle(DAY / 10);
    }
    assert_eq!(given(&world), [1, 2, 3].map(|before| before + 2 * MOST));
    // Nor is it forgotten when a canister was stopped for a week.
    world.upgrade();
    let week = world.now().plus(7 * DAY).as_nanos();
    world.ic.0.now.set(week);
    world.upgrade();
    world.settle(Duration::from_secs(1));
    assert_eq!(given(&world), [1, 2, 3].map(|before| before + 3 * MOST));
}

#[test]
fn archives_that_are_installed_twice_are_asked_once() {
    let mut world = world();
    for _ in 0..2 {
        install::open(&world.ic, &world.store, &world.archives);
    }
    for day in 1..4 {
        lacks(&mut world, [2 * MOST; 3]);
        world.settle(DAY);
        assert_eq!(given(&world), [day * MOST; 3]);
    }
}

#[test]
fn an_archive_that_is_frozen_can_not_say_what_it_lacks() {
    let mut world = world();
    let [first, second, _] = archives(&world);
    let canisters = &mut world.others.canisters;
    canisters.get_mut(&first).unwrap().is_frozen = true;
    canisters.get_mut(&second).unwrap().lacking = 5;
    world.settle(DAY);
    assert_eq!(given(&world), [MOST, 5, 0]);
    let seen = top_ups(&world);
    assert_eq!((seen[0].balance, seen[0].given), (None, MOST));
    world.settle(DAY);
    assert_eq!(given(&world), [MOST, 5, 0]);
    assert_eq!(top_ups(&world)[0].balance, Some(7));
}

#[test]
fn one_that_fails_keeps_nothing_from_the_others() {
    let mut world = world();
    let [first, second, third] = archives(&world);
    lacks(&mut world, [1, 2, 3]);
    let stranger = Principal::from_slice(&[5]);
    let canisters = &mut world.others.canisters;
    canisters.get_mut(&first).unwrap().is_stopped = true;
    canisters.get_mut(&second).unwrap().owner = Some(stranger);
    world.settle(DAY);
    assert_eq!(given(&world), [0, 0, 3]);
    let seen = top_ups(&world);
    assert!(
        matches!(&seen[0].problem, Some(Problem::Unreachable { archive, .. }) if *archive == first)
    );
    assert!(
        matches!(&seen[1].problem, Some(Problem::ForeignArchive { archive, owner })
            if *archive == second && *owner == stranger)
    );
    assert_eq!(seen[2].problem, None);
    // Nothing is wrong with what is shipped.
    assert_eq!(world.overview().trouble, None);

    world.others.canisters.get_mut(&first).unwrap().is_stopped = false;
    world.others.makes_none = true;
    world.settle(DAY);
    let problem = top_ups(&world).remove(0).problem;
    assert!(
        matches!(&problem, Some(Problem::NoCycles { archive, lacking: 1, .. }) if *archive == first),
        "{problem:?}"
    );
    world.others.makes_none = false;
    world.settle(DAY);
    assert_eq!(given(&world), [1, 0, 3]);

    // One that is gone is not given anything, and those after it are.
    world.others.canisters.remove(&first);
    world.others.canisters.get_mut(&third).unwrap().lacking = 9;
    world.settle(DAY);
    assert_eq!(world.others.canisters[&third].given, 3 + 9);
}
