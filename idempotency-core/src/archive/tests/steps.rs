//! One shipment, from requests in the store to requests in two archives that are made for it: whatever goes wrong at whichever step of it, at
//! every moment each request that was executed is known.

use super::{
    others::{Canister, Others, rejected},
    world::{Snapshot, WINDOW, World, archive_policy, policy},
};
use crate::archive::{ArchiveState, Keep, Problem};
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The canister is upgraded.
    Upgrade,
    /// A call arrives, and its answer is lost.
    LostAnswer,
    /// A call does not arrive, and is rejected with this code.
    Rejected(u32),
    /// No answer comes for so long that the call is given up.
    Silence,
    /// All archives are stopped for a while.
    Stop,
    /// All archives are as they were some steps ago.
    RollBack,
    /// All archives are empty.
    Reinstall,
    /// All archives are deleted.
    Delete,
    /// All archives take no more.
    Full,
    /// The canister is as it was at the beginning.
    Restore,
    /// The policy keeps less from now on.
    KeepIds,
    /// The management canister refuses for a while.
    NoneMade,
    /// More requests come.
    More,
}

const ALL: [Fault; 15] = [
    Fault::Upgrade,
    Fault::LostAnswer,
    Fault::Rejected(0),
    Fault::Rejected(2),
    Fault::Rejected(5),
    Fault::Silence,
    Fault::Stop,
    Fault::RollBack,
    Fault::Reinstall,
    Fault::Delete,
    Fault::Full,
    Fault::Restore,
    Fault::KeepIds,
    Fault::NoneMade,
    Fault::More,
];

/// Steps of a shipment in which all goes well.
const STEPS: usize = 40;

const REQUESTS: u64 = 24;

/// A store whose requests have just expired.
fn expired(keep: Keep) -> World {
    let mut world = World::new(policy(keep), archive_policy(12));
    for key in 0..REQUESTS {
        assert!(world.execute(key));
        if key % 12 == 5 {
            assert!(world.begin(100 + key));
        }
        world.pass_all(Duration::from_secs(4));
    }
    let now = world.now();
    world.pass_all(WINDOW.saturating_sub(Duration::from_secs(4 * REQUESTS)));
    assert!(now < world.now());
    world
}

struct Story {
    world: World,
    beginning: Snapshot,
    earlier: Vec<Others>,
    next_key: u64,
}

impl Story {
    fn new() -> Self {
        let world = expired(Keep::Replies);
        Self {
            beginning: world.snapshot(),
            world,
            earlier: vec![],
            next_key: 1_000,
        }
    }

    /// What comes next comes; whether that was a call.
    fn step(&mut self) -> bool {
        self.earlier.push(self.world.others.clone());
        let is_call = self.world.deliver(None);
        if !is_call {
            self.world.pass(Duration::from_secs(200));
        }
        is_call
    }

    fn befall(&mut self, fault: Fault) {
        let world = &mut self.world;
        match fault {
            Fault::Upgrade => world.upgrade(),
            Fault::LostAnswer => {
                world.deliver(Some(rejected(6, "lost")));
            }
            Fault::Rejected(code) => {
                world.refuse(rejected(code, "rejected"));
            }
            Fault::Silence => world.pass_all(Duration::from_secs(700)),
            Fault::Stop => {
                for canister in world.others.canisters.values_mut() {
                    canister.is_stopped = true;
                }
            }
            Fault::RollBack => {
                let Some(earlier) = self.earlier.iter().rev().nth(5) else {
                    return;
                };
                for (principal, canister) in &mut world.others.canisters {
                    let was = earlier.canisters.get(principal);
                    let is_other = |was: &&Canister| {
                        was.installs == canister.installs && was.position != canister.position
                    };
                    if let Some(was) = was.filter(is_other) {
                        *canister = was.clone();
                        canister.has_lost = true;
                    }
                }
            }
            Fault::Reinstall => {
                for canister in world.others.canisters.values_mut() {
                    canister.reinstall();
                }
            }
            Fault::Delete => {
                // One that is being made would never be there.
                let (others, archives) = (&mut world.others, world.archives.canisters());
                others.has_deleted |= !archives.is_empty();
                others.canisters.retain(|it, _| !archives.contains(it));
            }
            Fault::Full => {
                for canister in world.others.canisters.values_mut() {
                    if !canister.entries.is_empty() {
                        canister.close();
                    }
                }
            }
            Fault::Restore => world.restore(&self.beginning),
            Fault::KeepIds => {
                world.policy = policy(Keep::Ids);
                world.upgrade();
            }
            Fault::NoneMade => world.others.makes_none = true,
            Fault::More => {
                for key in self.next_key..self.next_key + 3 {
                    world.execute(key);
                }
                self.next_key += 3;
            }
        }
    }

    /// What was wrong is so no more.
    fn heal(&mut self) {
        self.world.others.makes_none = false;
        for canister in self.world.others.canisters.values_mut() {
            canister.is_stopped = false;
        }
    }

    fn tell(faults: &[(usize, Fault)]) {
        let mut story = Self::new();
        for step in 0..STEPS {
            for (_, fault) in faults.iter().filter(|(at, _)| *at == step) {
                story.befall(*fault);
                story.world.check();
            }
            story.step();
            story.world.check();
            if faults.iter().all(|(at, _)| at + 4 <= step) {
                story.heal();
            }
        }
        story.heal();
        let world = &mut story.world;
        while world.end() {}
        world.settle(3 * WINDOW);
        world.check();
        assert_eq!(world.held(), world.open(), "{faults:?}");
        if world.held() == 0 {
            // That of cycles for archives.
            assert_eq!(world.timers(), 1, "{faults:?}");
        }
        let overview = world.overview();
        assert_eq!((overview.waiting, overview.chunk), (0, None), "{faults:?}");
        assert_eq!(overview.trouble, None, "{faults:?}");
    }
}

#[test]
fn all_goes_well() {
    let mut story = Story::new();
    let mut calls = 0;
    for _ in 0..STEPS {
        calls += usize::from(story.step());
        story.world.check();
    }
    // Two archives are created, installed and asked; 24 requests go in chunks of up to five.
    assert!(calls >= 6 + 5, "{calls}");
    assert_eq!(story.world.held(), story.world.open());
    let overview = story.world.overview();
    let states: Vec<_> = overview.archives.iter().map(|it| it.state).collect();
    assert_eq!(states, [ArchiveState::Full, ArchiveState::Current]);
    let requests: u64 = overview.archives.iter().map(|it| it.requests).sum();
    assert_eq!((requests, overview.lost), (REQUESTS, 0));
    Story::tell(&[]);
}

#[test]
fn whatever_goes_wrong_at_whichever_step() {
    for step in 0..STEPS {
        for fault in ALL {
            Story::tell(&[(step, fault)]);
        }
    }
}

#[test]
fn two_things_go_wrong_one_after_the_other() {
    const SOME: [Fault; 7] = [
        Fault::Upgrade,
        Fault::LostAnswer,
        Fault::RollBack,
        Fault::Delete,
        Fault::Full,
        Fault::Restore,
        Fault::KeepIds,
    ];
    for step in (0..STEPS).step_by(3) {
        for first in SOME {
            for second in SOME {
                Story::tell(&[(step, first), (step + 1, second)]);
            }
        }
    }
}

#[test]
fn at_its_capacity_the_store_refuses_while_no_archive_is_reached() {
    let mut world = World::new(policy(Keep::Ids).capacity(10), archive_policy(100));
    world.others.makes_none = true;
    for key in 0..10 {
        assert!(world.execute(key));
    }
    assert!(!world.execute(10));
    world.pass_all(2 * WINDOW);
    for _ in 0..100 {
        world.deliver(None);
        world.pass(Duration::from_secs(600));
    }
    assert!(!world.execute(10));
    world.check();
    let overview = world.overview();
    assert_eq!(overview.waiting, 10);
    let trouble = overview.trouble.unwrap();
    assert!(
        matches!(trouble.problem, Problem::NotMade { .. }),
        "{trouble:?}"
    );
    // Seldom, and so the timers and calls of a day are few.
    assert!(trouble.tries < 130 && trouble.since < world.now());
    assert!(trouble.again <= world.now().plus(Duration::from_secs(600)));
    world.others.makes_none = false;
    world.settle(Duration::from_secs(1_300));
    assert_eq!((world.held(), world.overview().trouble), (0, None));
    assert!(world.execute(10));
    world.check();
}

#[test]
fn archives_that_are_blackholed_have_no_controllers() {
    let mut world = World::new(policy(Keep::Ids), archive_policy(100).blackholed());
    assert!(world.execute(1));
    world.pass_all(2 * WINDOW);
    // Created, installed; then it is sealed, and the answer is lost.
    assert!(world.deliver(None));
    world.settle_until_call();
    assert!(world.deliver(None));
    world.settle_until_call();
    assert!(world.deliver(Some(rejected(6, "lost"))));
    world.settle(Duration::from_secs(60));
    assert_eq!(world.held(), 0);
    let overview = world.overview();
    assert!(overview.archives[0].is_blackholed);
    let canister = &world.others.canisters[&overview.archives[0].canister];
    assert!(canister.controllers.is_empty() && canister.installs == 1);
    assert_eq!(overview.lost, 0);
}

#[test]
fn an_archive_may_be_lost_while_it_is_created() {
    let mut world = World::new(policy(Keep::Ids), archive_policy(100));
    assert!(world.execute(1));
    world.pass_all(2 * WINDOW);
    assert_eq!(world.on_their_way(), 1);
    world.upgrade();
    world.settle(Duration::from_secs(60));
    let overview = world.overview();
    assert_eq!((overview.lost, overview.archives.len()), (1, 1));
    assert_eq!((world.held(), world.others.canisters.len()), (0, 2));
}
