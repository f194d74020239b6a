//! One shipment, with a fault at each of its messages.

use crate::world::{DAY, REPLIES, World};
use candid::Principal;
use idempotency_core::archive::ArchiveState;
use integration_tests::Faults;
use local_replica::faults::{AnswerFault, Fault, Hook, MessageFault, Plan, Schedule};

/// Payments in a shipment, in two partitions.
const PAYMENTS: u64 = 6;

/// More messages than a shipment has.
const MOST_MESSAGES: u64 = 60;

const MESSAGE_FAULTS: [MessageFault; 10] = [
    MessageFault::Upgrade,
    MessageFault::UpgradeTrap {
        hook: Hook::PostUpgrade,
        instruction: 1,
    },
    MessageFault::Stop { rounds: 3 },
    MessageFault::OutOfCycles { rounds: 3 },
    MessageFault::Overtake,
    MessageFault::TrapAtCall(1),
    MessageFault::TrapAtCall(4),
    MessageFault::TrapAtCall(9),
    MessageFault::TrapAtCall(20),
    MessageFault::TrapAtInstruction(200_000),
];

const ANSWER_FAULTS: [AnswerFault; 4] = [
    AnswerFault::Lose,
    AnswerFault::Delay { rounds: 4 },
    AnswerFault::Reject { code: 4 },
    AnswerFault::Reject { code: 5 },
];

struct Story {
    world: World,
    next: u64,
    applied: u32,
}

impl Story {
    /// Ships some payments while a fault happens; whether it did.
    fn ship_with(&mut self, fault: Fault) -> bool {
        let world = &self.world;
        for key in self.next..self.next + PAYMENTS {
            if key == self.next + PAYMENTS / 2 {
                world.pass(DAY / 8, 1);
            }
            assert!(world.pay(key).is_ok());
        }
        let plan = Plan::Schedule(Schedule(vec![fault.clone()]));
        let Some(faults) = Faults::install(&world.replica, &plan) else {
            return false;
        };
        world.pass(2 * DAY, 6);
        for _ in 0..3 {
            world.pass(60, 6);
        }
        let applied = !faults.report().applied.0.is_empty();
        faults.stop();
        world.ship();
        for key in (0..self.next + PAYMENTS).rev().take(3 * PAYMENTS as usize) {
            assert_eq!(world.pay(key), Ok(key + 1), "{key} after {fault:?}");
        }
        self.next += PAYMENTS;
        self.applied += u32::from(applied);
        applied
    }

    /// Each fault at each message of these canisters.
    fn try_all(&mut self, canisters: impl Fn(&World) -> Vec<Principal>) {
        for number in 0.. {
            let Some(&canister) = canisters(&self.world).get(number) else {
                break;
            };
            for what in MESSAGE_FAULTS {
                for number in 1..MOST_MESSAGES {
                    if !self.ship_with(Fault::Message {
                        canister,
                        number,
                        what,
                    }) {
                        break;
                    }
                }
            }
        }
        let canister = self.world.canister;
        for what in ANSWER_FAULTS {
            for number in 1..MOST_MESSAGES {
                if !self.ship_with(Fault::Answer {
                    canister,
                    number,
                    what,
                }) {
                    break;
                }
            }
        }
    }

    fn end(&self) {
        for key in 0..self.next {
            assert_eq!(self.world.pay(key), Ok(key + 1));
        }
        let paid = self.world.paid();
        assert_eq!(paid.len() as u64, self.next);
        assert!(paid.values().all(|times| *times == 1));
        let overview = self.world.overview();
        let lost = |state| matches!(state, ArchiveState::Behind | ArchiveState::Closed);
        assert!(!overview.archives.iter().any(|archive| lost(archive.state)));
    }
}

/// To an archive that is there.
#[test]
fn a_fault_at_any_message_of_a_shipment_loses_nothing_and_runs_nothing_twice() {
    let world = World::given(REPLIES, 1);
    let mut story = Story {
        world,
        next: 0,
        applied: 0,
    };
    story.try_all(|world| vec![world.canister, world.archive(0)]);
    story.end();
    eprintln!("{} faults in {} payments", story.applied, story.next);
    assert!(
        story.applied == 0 || story.applied > 60,
        "{}",
        story.applied
    );
}

/// Each shipment fills an archive, so that one is made in each.
#[test]
fn a_fault_at_any_message_of_making_an_archive_loses_nothing_and_runs_nothing_twice() {
    let world = World::making(REPLIES, |settings| settings.archive_capacity = PAYMENTS);
    let mut story = Story {
        world,
        next: 0,
        applied: 0,
    };
    story.try_all(|world| vec![world.canister]);
    story.end();
    eprintln!("{} faults in {} payments", story.applied, story.next);
    assert!(
        story.applied == 0 || story.applied > 60,
        "{}",
        story.applied
    );
}
