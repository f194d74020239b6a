//! Any story: requests, time, upgrades, other policies, and archives that fail, in any order.

use super::{
    others::{Canister, rejected},
    world::{Snapshot, WINDOW, World, archive_policy, policy},
};
use crate::archive::{ArchivePolicy, Keep};
use candid::Principal;
use proptest::prelude::*;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Event {
    Execute(u8),
    Begin(u8),
    End,
    /// Of 32 partitions' time.
    Pass(u8),
    Deliver,
    LoseAnswer,
    Refuse(u32),
    Upgrade,
    Keep(Keep),
    /// The window becomes this many times as long.
    Window(u8),
    Stop(bool),
    RollBackArchives,
    RememberArchives,
    Remember,
    Restore,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (1u8..8).prop_map(Event::Execute),
        2 => (1u8..3).prop_map(Event::Begin),
        2 => Just(Event::End),
        8 => (1u8..40).prop_map(Event::Pass),
        12 => Just(Event::Deliver),
        2 => Just(Event::LoseAnswer),
        2 => prop::sample::select(&[0u32, 2, 3, 4, 5, 6][..]).prop_map(Event::Refuse),
        2 => Just(Event::Upgrade),
        1 => prop::sample::select(&[Keep::Ids, Keep::Digests, Keep::Replies][..]).prop_map(Event::Keep),
        1 => (1u8..4).prop_map(Event::Window),
        1 => any::<bool>().prop_map(Event::Stop),
        1 => Just(Event::RollBackArchives),
        2 => Just(Event::RememberArchives),
        1 => Just(Event::Remember),
        1 => Just(Event::Restore),
    ]
}

fn tell(mut world: World, events: Vec<Event>) {
    let mut key = 0;
    let mut remembered: Option<Snapshot> = None;
    let mut archives = world.others.clone();
    for event in events {
        match event {
            Event::Execute(many) => {
                for _ in 0..many {
                    key += 1;
                    world.execute(key);
                }
            }
            Event::Begin(many) => {
                for _ in 0..many {
                    key += 1;
                    world.begin(key);
                }
            }
            Event::End => {
                world.end();
            }
            Event::Pass(parts) => {
                world.pass(WINDOW / 32 * parts.into());
            }
            Event::Deliver => {
                if !world.deliver(None) {
                    world.pass(Duration::from_secs(1));
                    world.deliver(None);
                }
            }
            Event::LoseAnswer => {
                world.deliver(Some(rejected(6, "lost")));
            }
            Event::Refuse(code) => {
                world.refuse(rejected(code, "refused"));
            }
            Event::Upgrade => world.upgrade(),
            Event::Keep(keep) => {
                let Some(_) = world.policy.archive.replace(keep) else {
                    unreachable!("the policy has an archive");
                };
                world.upgrade();
            }
            Event::Window(times) => {
                world.policy = world.policy.window(WINDOW * times.into());
                world.upgrade();
            }
            Event::Stop(is_stopped) => {
                for canister in world.others.canisters.values_mut() {
                    canister.is_stopped = is_stopped;
                }
            }
            Event::RememberArchives => archives = world.others.clone(),
            Event::RollBackArchives => {
                for (principal, canister) in &mut world.others.canisters {
                    let was = archives.canisters.get(principal);
                    if let Some(was) = was.filter(|was| was.position != canister.position) {
                        let has_lost =
                            canister.has_lost || was.position.entries <= canister.position.entries;
                        *canister = was.clone();
                        canister.has_lost = has_lost;
                    }
                }
            }
            Event::Remember => remembered = Some(world.snapshot()),
            Event::Restore => {
                if let Some(snapshot) = remembered.as_ref() {
                    world.restore(snapshot);
                }
            }
        }
        world.check();
    }
    for canister in world.others.canisters.values_mut() {
        canister.is_stopped = false;
    }
    while world.end() {}
    world.settle(8 * WINDOW);
    world.check();
    if world.overview().trouble.is_none() {
        assert_eq!(world.held(), world.open());
        assert_eq!(world.overview().waiting, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn with_archives_that_are_made(
        keep in prop::sample::select(&[Keep::Ids, Keep::Digests, Keep::Replies][..]),
        capacity in 5u64..60,
        events in prop::collection::vec(event(), 1..80),
    ) {
        tell(World::new(policy(keep), archive_policy(capacity)), events);
    }

    #[test]
    fn with_archives_that_were_given(
        keep in prop::sample::select(&[Keep::Ids, Keep::Replies][..]),
        capacity in 0u64..60,
        events in prop::collection::vec(event(), 1..80),
    ) {
        let canisters: Vec<_> = (0..40).map(|number| Principal::from_slice(&[2, number])).collect();
        let mut given = ArchivePolicy::given(canisters.clone());
        (given.chunk_bytes, given.first_ids) = (300, 50);
        let mut world = World::new(policy(keep), given);
        // Some of them hold less, and some nothing at all.
        for (canister, less) in canisters.into_iter().zip([0, 7, 30].into_iter().cycle()) {
            let capacity = capacity.saturating_sub(less);
            (world.others.canisters).insert(canister, Canister::given(capacity, true));
        }
        tell(world, events);
    }
}
