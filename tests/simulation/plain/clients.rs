//! Users who retry, and what they may be told.

use crate::calls::Call;
use std::collections::BTreeMap;

use local_replica::in_process::MessageId;

/// How long the main store of the test canister remembers.
pub(crate) const WINDOW_NS: u64 = 3_600_000_000_000;

/// Key spaces: in most each key has a user of its own, in the second last one user has all, and those of the last are sent by a
/// canister on behalf of users.
pub(crate) const SCOPES: u64 = 7;
pub(crate) const KEYS_PER_SCOPE: u64 = 16;
pub(crate) const KEYS: u64 = SCOPES * KEYS_PER_SCOPE;

/// A request, always the same for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) key: u64,
}

impl Request {
    /// The canister, and not a user, is who the store sees.
    pub(crate) fn is_relayed(self) -> bool {
        self.scope() == SCOPES - 1
    }

    /// Which user sends it.
    pub(crate) fn user(self) -> u8 {
        const OF_MANY_KEYS: u8 = KEYS as u8;
        match self.scope() {
            scope if scope == SCOPES - 2 => OF_MANY_KEYS,
            _ => self.key as u8,
        }
    }

    /// Whether the canister under test sees the same caller.
    pub(crate) fn has_the_caller_of(self, other: Self) -> bool {
        self.key == other.key || self.scope() == other.scope() && self.scope() >= SCOPES - 2
    }

    fn scope(self) -> u64 {
        self.key / KEYS_PER_SCOPE
    }

    /// A quarter of the requests is answered at once; others await so many calls.
    pub(crate) fn awaits(self) -> u8 {
        (self.key % 4) as u8
    }

    pub(crate) fn method(self) -> &'static str {
        match self.awaits() {
            _ if self.is_relayed() => "act_at",
            0 => "act_at_once",
            _ => "act",
        }
    }
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) request: Request,
    pub(crate) message: MessageId,
    /// Before this round it is waited for.
    pub(crate) patience: u64,
    /// When it was sent, and upgrades by then.
    pub(crate) round: u64,
    pub(crate) upgrades: u64,
    /// The key was known to be done when this was sent: when that execution started.
    done: Option<u64>,
}

impl Call for Sent {
    fn message(&self) -> &MessageId {
        &self.message
    }

    fn patience(&self) -> u64 {
        self.patience
    }
}

/// The answer of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Done {
    started: u64,
    bytes: Vec<u8>,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Done,
    InProgress,
    OutcomeUnknown,
    Nothing,
    /// It is the answer to another request.
    Misrouted(Request),
}

/// What all clients together have been told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    done: BTreeMap<u64, Done>,
}

impl Told {
    pub(crate) fn sent(
        &self,
        request: Request,
        message: MessageId,
        patience: u64,
        round: u64,
        upgrades: u64,
    ) -> Sent {
        let done = self.done.get(&request.key).map(|done| done.started);
        Sent {
            request,
            message,
            patience,
            round,
            upgrades,
            done,
        }
    }

    /// Keys known to be done, and remembered until `now` for sure.
    pub(crate) fn remembered(&self, now: u64) -> impl Iterator<Item = u64> {
        self.done
            .iter()
            .filter(move |(_, done)| now <= done.started + WINDOW_NS)
            .map(|(key, _)| *key)
    }

    /// Checks an answer against all that was said before; it was given at `now` or earlier.
    pub(crate) fn hear(&mut self, sent: &Sent, answer: &[u8], now: u64) -> Result<Said, String> {
        let key = sent.request.key;
        let said = match answer.split_first() {
            None => return Ok(Said::Nothing),
            Some((0, done)) => return self.hear_done(key, done),
            Some((1, [])) => Said::InProgress,
            Some((2, [])) => Said::OutcomeUnknown,
            Some((_, text)) => {
                let text = String::from_utf8_lossy(text);
                return Err(format!("key {key} is refused: {text}"));
            }
        };
        match sent.done {
            Some(started) if now <= started + WINDOW_NS => Err(format!(
                "key {key} was done at {started}, and is {said:?} within the window, at {now} or earlier"
            )),
            _ => Ok(said),
        }
    }

    fn hear_done(&mut self, key: u64, done: &[u8]) -> Result<Said, String> {
        let number = |place: usize| {
            let bytes = done.get(8 * place..8 * (place + 1));
            let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
            let number = bytes.map(u64::from_le_bytes);
            number.ok_or_else(|| format!("key {key} is answered with {done:?}"))
        };
        // The key, how often it ran, and when the last time began.
        let (whose, started) = (number(0)?, number(2)?);
        if whose != key {
            return Ok(Said::Misrouted(Request { key: whose }));
        }
        let new = Done {
            started,
            bytes: done.to_vec(),
        };
        if let Some(old) = self.done.get(&key) {
            if old.started.abs_diff(started) <= WINDOW_NS && *old != new {
                return Err(format!("key {key} has two answers: {old:?} and {new:?}"));
            }
            if old.started > started {
                return Ok(Said::Done);
            }
        }
        self.done.insert(key, new);
        Ok(Said::Done)
    }
}
