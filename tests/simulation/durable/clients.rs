//! What the clients of durable requests send, and may be told.

use crate::calls::Call;
use std::collections::{BTreeMap, BTreeSet};

use local_replica::in_process::MessageId;

use super::requests::{Id, LANES, Request};
use super::types::{Answer, Failure, Refusal};

/// What is certain of a request from answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Known {
    Nothing,
    /// It was accepted.
    Begun,
    /// Nobody settles what is parked.
    Parked,
    Done,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) id: Id,
    /// Other arguments than the id's: for a key that is known to be used.
    pub(super) is_other: bool,
    pub(super) message: MessageId,
    /// Before this round it is waited for.
    pub(super) patience: u64,
    /// Upgrades by the time at which it was sent.
    pub(super) upgrades: u64,
    /// What was known when it was sent: of the request, and of its lane.
    known: Known,
    least: u64,
}

impl Call for Sent {
    fn message(&self) -> &MessageId {
        &self.message
    }

    fn patience(&self) -> u64 {
        self.patience
    }
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Done,
    InProgress,
    Parked,
    Gap,
    Reused,
    /// It is the answer to another request of the same client.
    Misrouted(Id),
}

/// All requests that were sent, and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Told {
    requests: BTreeMap<Id, Request>,
    known: BTreeMap<Id, Known>,
    /// When a request was sent first, ns.
    since: BTreeMap<Id, u64>,
    /// With which number a lane goes on at least.
    least: [u64; LANES as usize],
    /// Numbers that were sent.
    numbers: BTreeSet<(u8, u64)>,
}

impl Told {
    pub(super) fn send(&mut self, request: Request, now: u64) -> (Known, u64) {
        let id = request.id;
        self.since.entry(id).or_insert(now);
        self.requests.entry(id).or_insert(request);
        let least = match id {
            Id::Key(_) => 0,
            Id::Number { lane, number } => {
                self.numbers.insert((lane, number));
                self.least(lane)
            }
        };
        (self.known(id), least)
    }

    /// `certain`: what [`Told::send`] answered.
    pub(super) fn sent(
        certain: (Known, u64),
        (id, is_other): (Id, bool),
        message: MessageId,
        patience: u64,
        upgrades: u64,
    ) -> Sent {
        let (known, least) = certain;
        Sent {
            id,
            is_other,
            message,
            patience,
            upgrades,
            known,
            least,
        }
    }

    /// With which number a lane goes on at least.
    pub(super) fn least(&self, lane: u8) -> u64 {
        self.least[usize::from(lane)]
    }

    /// With which number a lane goes on at most: one that no client has sent yet.
    pub(super) fn most(&self, lane: u8) -> u64 {
        let mut number = self.least(lane);
        while self.numbers.contains(&(lane, number)) {
            number += 1;
        }
        number
    }

    pub(super) fn known(&self, id: Id) -> Known {
        self.known.get(&id).copied().unwrap_or(Known::Nothing)
    }

    pub(super) fn since(&self, id: Id) -> u64 {
        self.since.get(&id).copied().unwrap_or(0)
    }

    pub(super) fn requests(&self) -> impl Iterator<Item = &Request> {
        self.requests.values()
    }

    fn learn(&mut self, id: Id, known: Known) {
        let before = self.known.entry(id).or_insert(known);
        *before = known.max(*before);
        if let Id::Number { lane, number } = id {
            // The one before has ended.
            let least = number + u64::from(known == Known::Done);
            self.learn_least(lane, least);
        }
    }

    fn learn_least(&mut self, lane: u8, least: u64) {
        let before = &mut self.least[usize::from(lane)];
        *before = least.max(*before);
    }

    /// Checks an answer against all that is known.
    pub(super) fn hear(&mut self, sent: &Sent, answer: &Answer) -> Result<Said, String> {
        let id = sent.id;
        let wrong = |why: &str| Err(format!("{sent:?} is told {answer:?}: {why}"));
        let own = self.requests[&id].clone();
        let said = match answer {
            Ok(_) | Err(Failure::Own(_)) if *answer == own.answer() && !sent.is_other => Said::Done,
            Ok(_) | Err(Failure::Own(_)) => {
                let is_its = |request: &&Request| {
                    request.id.client() == id.client() && request.answer() == *answer
                };
                return match self.requests().find(is_its) {
                    Some(whose) => Ok(Said::Misrouted(whose.id)),
                    None => wrong("nobody's answer"),
                };
            }
            Err(Failure::Idempotency(refusal)) => match refusal {
                Refusal::InProgress { .. } => Said::InProgress,
                Refusal::OutcomeUnknown { .. } => Said::Parked,
                Refusal::KeyReused => Said::Reused,
                Refusal::SequenceGap { expected } => {
                    let Id::Number { lane, number } = id else {
                        return wrong("it has no number");
                    };
                    if *expected < sent.least || *expected > self.most(lane) || *expected >= number
                    {
                        return wrong(&format!(
                            "the lane goes on with {} at least, {} at most",
                            sent.least,
                            self.most(lane)
                        ));
                    }
                    self.learn_least(lane, *expected);
                    Said::Gap
                }
            },
        };
        if (said == Said::Reused) != sent.is_other {
            return wrong("as if its arguments were others");
        }
        if sent.is_other {
            return Ok(said);
        }
        if said == Said::Parked && !own.may_park() {
            return wrong("it has no step that parks");
        }
        let is_possible = match sent.known {
            Known::Nothing => true,
            Known::Begun => said != Said::Gap,
            Known::Parked => said == Said::Parked,
            Known::Done => said == Said::Done,
        };
        if !is_possible {
            return wrong("it was told otherwise before");
        }
        match said {
            Said::Done => self.learn(id, Known::Done),
            Said::Parked => self.learn(id, Known::Parked),
            Said::InProgress => self.learn(id, Known::Begun),
            Said::Gap | Said::Reused | Said::Misrouted(_) => {}
        }
        match (said, self.known(id)) {
            (Said::Done, Known::Parked) | (Said::Parked, Known::Done) => {
                wrong("it was both parked and done")
            }
            _ => Ok(said),
        }
    }
}
