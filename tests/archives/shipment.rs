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

/// Rounds in which a shipment is under way.
const ROUNDS: usize = 12;

/// An upgrade of the canister between a timer's own call and its answer damages the next heap: ic-cdk-timers has the IC remember that by an
/// address. So upgrades come between rounds, see below.
const MESSAGE_FAULTS: [MessageFault; 9] = [
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

fn is_trap(fault: &Fault) -> bool {
    use MessageFault::{TrapAtCall, TrapAtInstruction};
    matches!(
        fault,
        Fault::Message {
            what: TrapAtCall(_) | TrapAtInstruction(_),
            ..
        }
    )
}

struct Story {
    world: World,
    /// The first replies, by keys.
    replies: Vec<u64>,
    applied: u32,
}

impl Story {
    /// Ships some payments while a fault happens, and perhaps an upgrade before a round; whether the fault did.
    fn ship_with(&mut self, fault: Fault, upgrade: Option<usize>) -> bool {
        let world = &self.world;
        for payment in 0..PAYMENTS {
            if payment == PAYMENTS / 2 {
                world.pass(DAY / 8, 1);
            }
            let key = self.replies.len() as u64;
            self.replies.push(world.pay(key).expect("it is paid"));
        }
        let plan = Plan::Schedule(Schedule(vec![fault.clone()]));
        let Some(faults) = Faults::install(&world.replica, &plan) else {
            return false;
        };
        world.pass(2 * DAY, 1);
        for round in 0..ROUNDS {
            if upgrade == Some(round) {
                world.upgrade(None).expect("it is upgraded");
            }
            world.pass(1, 1);
        }
        world.pass(60, 6);
        let applied = !faults.report().applied.0.is_empty();
        faults.stop();
        if is_trap(&fault) && !world.is_shipped() {
            // A trap in the very message that runs the timers of ic-cdk-timers leaves a canister without any until it is upgraded.
            world.upgrade(None).expect("it is upgraded");
        }
        world.ship();
        for (key, reply) in (0u64..)
            .zip(&self.replies)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .take(3 * PAYMENTS as usize)
        {
            assert_eq!(world.pay(key), Ok(*reply), "{key} after {fault:?}");
        }
        self.applied += u32::from(applied);
        applied
    }

    fn new(world: World) -> Self {
        Self {
            world,
            replies: vec![],
            applied: 0,
        }
    }

    /// A fault at each message of a canister.
    fn at_each_message(&mut self, canister: Principal, what: MessageFault) {
        for number in 1..MOST_MESSAGES {
            let fault = Fault::Message {
                canister,
                number,
                what,
            };
            if !self.ship_with(fault, None) {
                break;
            }
        }
    }

    /// A fault at each answer to the canister.
    fn at_each_answer(&mut self, what: AnswerFault) {
        let canister = self.world.canister;
        for number in 1..MOST_MESSAGES {
            let fault = Fault::Answer {
                canister,
                number,
                what,
            };
            if !self.ship_with(fault, None) {
                break;
            }
        }
    }

    /// An upgrade before each round, with calls under way whose answers come later.
    fn upgrade_at_all(&mut self) {
        let canister = self.world.canister;
        let what = AnswerFault::Delay { rounds: 5 };
        for number in 1..=4 {
            for round in 0..ROUNDS {
                let fault = Fault::Answer {
                    canister,
                    number,
                    what,
                };
                self.ship_with(fault, Some(round));
            }
        }
    }

    /// How many faults there were, when all is as it should be.
    fn end(self) -> u32 {
        for (key, reply) in (0..).zip(&self.replies) {
            assert_eq!(self.world.pay(key), Ok(*reply));
        }
        let paid = self.world.paid();
        assert_eq!(paid.len(), self.replies.len());
        assert!(paid.values().all(|times| *times == 1));
        let overview = self.world.overview();
        let lost = |state| matches!(state, ArchiveState::Behind | ArchiveState::Closed);
        assert!(!overview.archives.iter().any(|archive| lost(archive.state)));
        self.applied
    }
}

/// To an archive that is there.
#[test]
fn a_fault_at_any_message_of_a_shipment_loses_nothing_and_runs_nothing_twice() {
    let mut story = Story::new(World::given(REPLIES, 1));
    for canister in [story.world.canister, story.world.archive(0)] {
        for what in MESSAGE_FAULTS {
            story.at_each_message(canister, what);
        }
    }
    for what in ANSWER_FAULTS {
        story.at_each_answer(what);
    }
    story.upgrade_at_all();
    let faults = story.end();
    assert!(faults == 0 || faults > 100, "{faults}");
}

/// Each shipment fills an archive, so that one is made in each.
#[test]
fn a_fault_at_any_message_of_making_an_archive_loses_nothing_and_runs_nothing_twice() {
    let making = || {
        Story::new(World::making(REPLIES, |settings| {
            settings.archive_capacity = PAYMENTS;
        }))
    };
    let mut faults = 0;
    for what in MESSAGE_FAULTS {
        let mut story = making();
        story.at_each_message(story.world.canister, what);
        faults += story.end();
    }
    for what in ANSWER_FAULTS {
        let mut story = making();
        story.at_each_answer(what);
        faults += story.end();
    }
    let mut story = making();
    story.upgrade_at_all();
    faults += story.end();
    assert!(faults == 0 || faults > 100, "{faults}");
}
