//! What is promised of requests that have not ended, in the plainest way.

use super::{SECOND, WINDOW};
use std::collections::BTreeMap;

/// A request that has begun.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) state: State,
    pub(super) is_durable: bool,
    pub(super) argument: Vec<u8>,
    pub(super) steps: Vec<Vec<u8>>,
    pub(super) since: u64,
    pub(super) tries: u8,
    /// It is remembered up to and including this time, if it is not durable or has ended.
    pub(super) expires_at: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    Running,
    /// When it goes on, if it does by itself.
    CutOff(u64),
    Asleep(u64),
    Parked,
    Done(Vec<u8>),
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) begun: BTreeMap<u8, Begun>,
    pub(super) now: u64,
}

/// How long a request waits that was tried so often.
fn pause(tries: u8) -> u64 {
    SECOND << tries.min(10)
}

impl Begun {
    pub(super) fn new(is_durable: bool, argument: Vec<u8>, now: u64) -> Self {
        Self {
            state: State::Running,
            is_durable,
            argument,
            steps: vec![],
            since: now,
            tries: 0,
            expires_at: now + WINDOW,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state, State::Done(_))
    }

    /// Whether [`Store::unknown`](crate::Store::unknown) lists it.
    pub(super) fn is_unknown(&self) -> bool {
        match self.state {
            State::Parked => true,
            State::CutOff(_) => !self.is_durable,
            State::Running | State::Asleep(_) | State::Done(_) => false,
        }
    }

    pub(super) fn due(&self) -> Option<u64> {
        match self.state {
            State::CutOff(until) | State::Asleep(until) if self.is_durable => Some(until),
            _ => None,
        }
    }

    /// Its attempt is over before it has ended.
    pub(super) fn cut_off(&mut self, now: u64) {
        self.state = match self.is_durable && self.tries >= 10 {
            true => State::Parked,
            false => State::CutOff(now + pause(self.tries)),
        };
    }

    /// It is tried, and will be again.
    pub(super) fn try_again(&mut self, now: u64) {
        self.tries += 1;
        let until = now + pause(self.tries);
        self.state = match &self.state {
            _ if self.tries > 10 => State::Parked,
            State::Asleep(_) => State::Asleep(until),
            _ => State::CutOff(until),
        };
    }

    /// The heap goes away.
    pub(super) fn reopen(&mut self) {
        if self.state == State::Running {
            self.tries = self.tries.saturating_sub(1);
            self.state = State::CutOff(0);
        }
    }
}
