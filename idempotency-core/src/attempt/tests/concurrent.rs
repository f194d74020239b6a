//! Several calls at a time, in any order of messages, beside a model: a request is known by what became of the only attempt that it may
//! have had.

use super::{
    call,
    endpoints::{Failure, Plan},
    ic,
    ic::{Call, CallNumber, Ic, Method, Outcome},
    refusal, reply, user,
};
use crate::error::IdempotencyError;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Op {
    /// Somebody sends the request with this key, which says what it does.
    Send {
        key: u64,
    },
    /// The answer comes to one of the calls that wait for one.
    Answer {
        which: prop::sample::Index,
    },
    Upgrade,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0..PLANS.len() as u64).prop_map(|key| Op::Send { key }),
        8 => any::<prop::sample::Index>().prop_map(|which| Op::Answer { which }),
        1 => Just(Op::Upgrade),
    ];
    prop::collection::vec(op, 0..40)
}

/// What the requests do, by key.
const PLANS: [Plan; 8] = [
    plan(0, None, false, false),
    plan(1, None, false, false),
    plan(3, None, false, false),
    plan(2, None, false, true),
    plan(0, Some(0), false, false),
    plan(2, Some(1), false, false),
    plan(2, Some(2), false, false),
    plan(2, Some(2), true, false),
];

const fn plan(awaits: u8, traps_in: Option<u8>, traps_in_cleanup: bool, fails: bool) -> Plan {
    Plan {
        awaits,
        traps_in,
        traps_in_cleanup,
        fails,
        sleeps: false,
    }
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq)]
enum Known {
    InProgress(CallNumber),
    /// In progress for all that can be seen: its cleanup trapped.
    Stranded,
    Unknown,
    Done(CallNumber),
}

/// An attempt that waits for an answer.
struct Waiting {
    key: u64,
    segment: u8,
    is_of_this_heap: bool,
}

#[derive(Default)]
struct Model {
    known: BTreeMap<u64, Known>,
    waiting: BTreeMap<CallNumber, Waiting>,
    effects: BTreeMap<(u64, u8), u32>,
}

impl Model {
    /// A request that is not known is executed up to its first await. What the client of the call is to be told, if anything.
    fn send(&mut self, number: CallNumber, key: u64) -> Expected {
        match self.known.get(&key) {
            Some(Known::Done(first)) => return Expected::ReplyOf(*first),
            Some(Known::InProgress(_) | Known::Stranded) => return Expected::InProgress,
            Some(Known::Unknown) => return Expected::Unknown,
            None => {}
        }
        let plan = PLANS[key as usize];
        if plan.traps_in == Some(0) {
            return Expected::Reject;
        }
        *self.effects.entry((key, 0)).or_default() += 1;
        self.suspend_or_end(number, key, 0)
    }

    fn answer(&mut self, number: CallNumber) -> Expected {
        let Waiting {
            key,
            segment,
            is_of_this_heap,
        } = self.waiting.remove(&number).expect("it waits");
        if !is_of_this_heap {
            return Expected::Reject;
        }
        let (plan, segment) = (PLANS[key as usize], segment + 1);
        if plan.traps_in == Some(segment) {
            let known = match plan.traps_in_cleanup {
                true => Known::Stranded,
                false => Known::Unknown,
            };
            self.known.insert(key, known);
            return Expected::Reject;
        }
        *self.effects.entry((key, segment)).or_default() += 1;
        self.suspend_or_end(number, key, segment)
    }

    fn suspend_or_end(&mut self, number: CallNumber, key: u64, segment: u8) -> Expected {
        if segment < PLANS[key as usize].awaits {
            let waiting = Waiting {
                key,
                segment,
                is_of_this_heap: true,
            };
            self.waiting.insert(number, waiting);
            self.known.insert(key, Known::InProgress(number));
            return Expected::Nothing;
        }
        self.known.insert(key, Known::Done(number));
        Expected::ReplyOf(number)
    }

    fn upgrade(&mut self) {
        for waiting in self.waiting.values_mut() {
            waiting.is_of_this_heap = false;
        }
        for known in self.known.values_mut() {
            if matches!(known, Known::InProgress(_) | Known::Stranded) {
                *known = Known::Unknown;
            }
        }
    }
}

/// What the client of a call is told.
enum Expected {
    Nothing,
    ReplyOf(CallNumber),
    InProgress,
    Unknown,
    Reject,
}

fn check(ic: &Ic, number: CallNumber, expected: &Expected) {
    match expected {
        Expected::Nothing => assert_eq!(ic.outcome(number), None),
        Expected::ReplyOf(first) => {
            assert!(matches!(ic.outcome(number), Some(Outcome::Reply(_))));
            assert_eq!(ic.outcome(number), ic.outcome(*first));
            assert_eq!(refusal(ic, number), None);
        }
        Expected::InProgress => {
            assert!(matches!(
                refusal(ic, number),
                Some(IdempotencyError::InProgress { .. })
            ));
        }
        Expected::Unknown => {
            assert!(matches!(
                refusal(ic, number),
                Some(IdempotencyError::OutcomeUnknown { .. })
            ));
        }
        Expected::Reject => {
            assert!(matches!(ic.outcome(number), Some(Outcome::Reject(_))));
        }
    }
}

proptest! {
    /// G1, G2, G4, G5, G15. Each call has a caller of its own, so an answer from before an upgrade is always recognised, whomever it wakes.
    #[test]
    fn calls_at_a_time_do_what_the_model_says(ops in ops()) {
        let (mut ic, mut model) = (ic(), Model::default());
        let mut calls = 0;
        for op in ops {
            match op {
                Op::Send { key } => {
                    let call = Call { caller: user(calls), ..call(Method::Keep, key, PLANS[key as usize]) };
                    calls += 1;
                    let number = ic.call(call);
                    check(&ic, number, &model.send(number, key));
                }
                Op::Answer { which } => {
                    let waiting = ic.waiting();
                    if waiting.is_empty() {
                        continue;
                    }
                    let number = *which.get(&waiting);
                    ic.answer(number, number as u64);
                    check(&ic, number, &model.answer(number));
                }
                Op::Upgrade => {
                    ic.upgrade();
                    model.upgrade();
                }
            }
            prop_assert_eq!(&ic.effects(), &model.effects);
            prop_assert_eq!(ic.waiting(), model.waiting.keys().copied().collect::<Vec<_>>());
        }
        // Each reply adds up the answers to its own call.
        for (key, known) in model.known {
            let Plan { awaits, fails, .. } = PLANS[key as usize];
            if let Known::Done(number) = known {
                let sum = u64::from(awaits) * number as u64;
                let expected = if fails { Err(Failure::Own) } else { Ok(sum) };
                prop_assert_eq!(reply(&ic, number), expected);
            }
        }
    }
}
