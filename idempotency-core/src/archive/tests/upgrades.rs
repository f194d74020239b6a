//! Upgrading archives, and giving one up.

use super::{
    super::{ArchiveState, Keep, upgrade::upgrade},
    others::rejected,
    world::{WINDOW, World, archive_policy, policy},
};
use crate::archive::{ArchivePolicy, Upgraded};
use std::{cell::RefCell, rc::Rc, time::Duration};

/// Two archives, of which the first is full.
fn two() -> World {
    let mut world = World::new(policy(Keep::Ids), archive_policy(10));
    for key in 0..19 {
        assert!(world.execute(key));
    }
    world.settle(2 * WINDOW);
    assert_eq!((world.held(), world.overview().archives.len()), (0, 2));
    world
}

fn upgraded(world: &mut World, rejected_at: Option<usize>) -> Vec<Upgraded> {
    let result = Rc::new(RefCell::new(None));
    let (it, runtime, archives) = (Rc::clone(&result), world.ic.clone(), world.archives.clone());
    crate::runtime::Runtime::in_background(&world.ic, async move {
        *it.borrow_mut() = Some(upgrade(runtime, archives).await);
    });
    world.poll();
    for call in 0.. {
        let rejection = (rejected_at == Some(call)).then(|| rejected(5, "out of cycles"));
        let is_delivered = match rejection {
            Some(rejection) => world.refuse(rejection),
            None => world.deliver(None),
        };
        if !is_delivered {
            break;
        }
    }
    result.take().unwrap()
}

fn installs(world: &World) -> Vec<u32> {
    let canisters = world.archives.canisters();
    let installs = canisters
        .iter()
        .map(|it| world.others.canisters[it].installs);
    installs.collect()
}

#[test]
fn archives_of_another_module_are_upgraded_one_after_the_other() {
    let mut world = two();
    assert_eq!(upgraded(&mut world, None), []);
    let mut next = ArchivePolicy::embedded(b"the next module").capacity(10);
    (next.chunk_bytes, next.first_ids) = (300, 50);
    world.archive_policy = next;
    world.upgrade();
    let first = upgraded(&mut world, Some(0));
    let [a, b] = [0, 1].map(|number| world.archives.canisters()[number]);
    assert_eq!(
        first,
        [
            (a, Err("reject code 5: out of cycles".to_owned())),
            (b, Ok(()))
        ]
    );
    assert_eq!(installs(&world), [1, 2]);
    assert_eq!(upgraded(&mut world, None), [(a, Ok(()))]);
    assert_eq!(upgraded(&mut world, None), []);
    assert_eq!(installs(&world), [2, 2]);
    world.check();
}

#[test]
fn one_that_never_answers_again_is_given_up() {
    let mut world = two();
    let current = world.archives.canisters()[1];
    let given_up = |world: &World, canister| world.archives.give_up(canister);
    assert!(!given_up(&world, world.archives.canisters()[0]));
    (world.others.canisters.get_mut(&current).unwrap()).is_stopped = true;
    for key in 100..110 {
        assert!(world.execute(key));
    }
    world.settle(2 * WINDOW);
    assert_eq!(world.overview().waiting, 10);
    assert!(given_up(&world, current));
    assert!(!given_up(&world, current));
    world.settle(Duration::from_secs(1_200));
    let overview = world.overview();
    assert_eq!((overview.waiting, overview.trouble), (0, None));
    let states: Vec<_> = overview.archives.iter().map(|it| it.state).collect();
    let expected = [
        ArchiveState::Full,
        ArchiveState::Behind,
        ArchiveState::Current,
    ];
    assert_eq!(states, expected);
    world.check();
    // When it answers again, it counts again.
    (world.others.canisters.get_mut(&current).unwrap()).is_stopped = false;
    world.check();
}
