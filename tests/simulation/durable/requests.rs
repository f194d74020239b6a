//! Durable requests: what each does, what it answers without faults, and what may be seen of it before.

use std::collections::BTreeMap;

use candid::Principal;
use integration_tests::user;

use super::types::{Act, Answer, Failure, How};

/// Whose numbers are in a lane.
pub(super) const LANES: u8 = 4;

/// Which request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Id {
    /// Each key has a client of its own.
    Key(u64),
    /// Each lane has a client of its own.
    Number { lane: u8, number: u64 },
}

impl Id {
    pub(super) fn client(self) -> Principal {
        match self {
            Id::Key(key) => Principal::self_authenticating(key.to_le_bytes()),
            Id::Number { lane, .. } => client_of_lane(lane),
        }
    }

    fn name(self) -> String {
        match self {
            Id::Key(key) => format!("key {key}"),
            Id::Number { lane, number } => format!("lane {lane} number {number}"),
        }
    }

    /// The same request for each run of a seed.
    fn choices(self, seed: u64) -> fastrand::Rng {
        let own = match self {
            Id::Key(key) => key << 8,
            Id::Number { lane, number } => (number << 8) + u64::from(lane) + 1,
        };
        fastrand::Rng::with_seed((seed << 40) ^ own)
    }
}

pub(super) fn client_of_lane(lane: u8) -> Principal {
    user(lane + 1)
}

/// Effects by their names, and how often each was counted.
pub(super) type Effects = BTreeMap<String, u64>;

/// How far a request has come, as its effects say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Nothing,
    Part,
    All,
}

/// A request, always the same for an id.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) id: Id,
    pub(super) acts: Vec<Act>,
}

impl Request {
    /// Without what can park if `always_ends`.
    pub(super) fn new(seed: u64, id: Id, always_ends: bool) -> Self {
        let mut random = id.choices(seed);
        let (mut acts, mut names) = (vec![], vec![]);
        let mut name = || {
            let name = format!("{} {}", id.name(), names.len());
            names.push(name.clone());
            name
        };
        for _ in 0..random.usize(1..=4) {
            let act = match random.u8(..if always_ends { 14 } else { 16 }) {
                0..4 => Act::Effect(name()),
                4..8 => Act::Call(name(), How::Repeatable),
                8..11 => Act::Call(name(), How::Verified),
                11 => Act::Both(name(), name()),
                12..14 => Act::Sleep(random.u64(1..8)),
                14 => Act::Call(name(), How::Once),
                _ => Act::Call(name(), How::Unverifiable),
            };
            let undone = match &act {
                Act::Effect(name) | Act::Call(name, _) if random.u8(..4) == 0 => Some(name.clone()),
                _ => None,
            };
            acts.extend([Some(act), undone.map(Act::Undo)].into_iter().flatten());
        }
        acts.push(Act::Effect(name()));
        // In a lane answers tell whose they are.
        if matches!(id, Id::Key(_)) && random.u8(..6) == 0 {
            acts.push(Act::Fail);
        }
        Self { id, acts }
    }

    /// What it answers without faults.
    pub(super) fn answer(&self) -> Answer {
        let mut said = vec![];
        for act in &self.acts {
            match act {
                Act::Effect(name) | Act::Call(name, _) => said.push(format!("{name} 1")),
                Act::Both(one, two) => said.push(format!("{one} 1, {two} 1")),
                Act::Sleep(_) | Act::Undo(_) => {}
                Act::Fail => return Err(Failure::Own("planned".to_owned())),
            }
        }
        Ok(said.join("; "))
    }

    /// Whether it may be parked by a step whose name is in `reason`.
    pub(super) fn may_park_for(&self, reason: &str) -> bool {
        self.steps_that_park()
            .any(|name| reason.contains(&format!("{name:?}")))
    }

    pub(super) fn may_park(&self) -> bool {
        self.steps_that_park().next().is_some()
    }

    fn steps_that_park(&self) -> impl Iterator<Item = &str> {
        self.acts.iter().filter_map(|act| match act {
            Act::Call(name, How::Once | How::Unverifiable) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The names of what it does, in order; what is done at a time stands together.
    fn stages(&self) -> Vec<Vec<String>> {
        let (mut stages, mut undo) = (vec![], vec![]);
        for act in &self.acts {
            match act {
                Act::Effect(name) | Act::Call(name, _) => stages.push(vec![name.clone()]),
                Act::Both(one, two) => stages.push(vec![one.clone(), two.clone()]),
                Act::Sleep(_) => {}
                Act::Undo(name) => undo.push(vec![format!("undo {name}")]),
                // The last one is undone first.
                Act::Fail => stages.extend(undo.drain(..).rev()),
            }
        }
        stages
    }

    /// Takes its effects out of all: each once at most, and none before those that come first.
    pub(super) fn take(&self, effects: &mut Effects) -> Result<Seen, String> {
        let (mut seen, mut goes_on, mut any) = (Seen::All, true, false);
        for stage in self.stages() {
            for name in &stage {
                match effects.remove(name) {
                    Some(1) if goes_on => any = true,
                    Some(1) => return Err(format!("{name:?} is done, and not what comes first")),
                    Some(times) => return Err(format!("{name:?} is done {times} times")),
                    None => seen = Seen::Part,
                }
            }
            goes_on = seen == Seen::All;
        }
        Ok(if any { seen } else { Seen::Nothing })
    }
}
