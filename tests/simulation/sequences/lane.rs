//! What clients know of a lane, and what they may be told.

use crate::calls::Call;
use std::collections::BTreeMap;

use candid::{Principal, encode_args};
use integration_tests::user;
use local_replica::in_process::MessageId;

use super::types::{Answer, Failure, Plan, Refusal};

/// How long the canister remembers.
const WINDOW_NS: u64 = 3_600_000_000_000;
/// What an answer says that is nothing but the number of the execution.
pub(super) const COUNTED: &str = "counted";
/// How many numbers of a pipelined lane may be under way.
const IN_FLIGHT: u64 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One number after the other, each in one message.
    Strict,
    /// As well, with replies so short that the last one lies in the lane, and takes the place of the one before.
    Brief,
    /// In any order within a window, each in one message.
    Pipelined,
    /// One number after the other, in several messages.
    Async,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Sent {
    /// Its lane's place among all lanes.
    pub(super) lane: usize,
    pub(super) number: u64,
    /// Other arguments than the number's.
    pub(super) is_other: bool,
    pub(super) message: MessageId,
    /// Before this round it is waited for.
    pub(super) patience: u64,
    /// Upgrades by the time at which it was sent.
    pub(super) upgrades: u64,
    pub(super) certain: Certain,
}

impl Call for Sent {
    fn message(&self) -> &MessageId {
        &self.message
    }

    fn patience(&self) -> u64 {
        self.patience
    }
}

/// What was certain when a request was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Certain {
    /// With which number the lane goes on at least.
    least: u64,
    /// Of the number.
    fate: Fate,
}

/// What is certain of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Nothing,
    /// It has begun, at least.
    Begun,
    Unknown,
    /// So, and perhaps an operator gave it up.
    Freed,
    /// It ended: the how-manyth execution of its endpoint it was.
    Done(u64),
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// For the first time.
    Executed,
    Replayed,
    InProgress,
    Unknown,
    Gap,
    TooOld,
    Reused,
    /// The answer to this other number.
    Misrouted(u64),
    /// An answer to this number or to a later one: of an async method whose caller an upgrade cut off.
    Doubtful,
}

/// A lane, as its client knows it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) kind: Kind,
    user: u8,
    /// Within the lanes of the user.
    lane: u64,
    /// With which number it goes on at least.
    least: u64,
    fates: BTreeMap<u64, Fate>,
    executions: BTreeMap<u64, u64>,
    /// When each number was sent first, ns.
    since: BTreeMap<u64, u64>,
    /// Replies before this one may be gone, as the client said.
    let_go: u64,
}

impl Lane {
    pub(super) fn new(kind: Kind, user: u8, lane: u64) -> Self {
        Self {
            kind,
            user,
            lane,
            least: 0,
            fates: BTreeMap::new(),
            executions: BTreeMap::new(),
            since: BTreeMap::new(),
            let_go: 0,
        }
    }

    pub(super) fn client(&self) -> Principal {
        user(self.user)
    }

    pub(super) fn endpoint(&self) -> &'static str {
        match self.kind {
            Kind::Strict => "step_in_lane",
            Kind::Brief => "count_in_order",
            Kind::Pipelined => "stream",
            Kind::Async => "work_in_order",
        }
    }

    /// The arguments with which the canister says where the lane goes on.
    pub(super) fn place(&self) -> (&'static str, u64) {
        (self.endpoint(), self.lane)
    }

    pub(super) fn least(&self) -> u64 {
        self.least
    }

    /// With which number the lane goes on at most: the first one that no client has sent.
    pub(super) fn most(&self) -> u64 {
        let mut number = self.least;
        while self.since.contains_key(&number) {
            number += 1;
        }
        number
    }

    /// A number that holds up the lane, and nobody knows what it did.
    pub(super) fn stuck(&self) -> Option<u64> {
        matches!(self.fate(self.least), Fate::Unknown | Fate::Freed).then_some(self.least)
    }

    fn fate(&self, number: u64) -> Fate {
        self.fates.get(&number).copied().unwrap_or(Fate::Nothing)
    }

    /// Whether its reply is known.
    pub(super) fn is_done(&self, number: u64) -> bool {
        matches!(self.fate(number), Fate::Done(_))
    }

    /// What is certain so far, and the argument of a request.
    pub(super) fn send(&mut self, number: u64, is_other: bool, now: u64) -> (Certain, Vec<u8>) {
        let certain = Certain {
            least: self.least,
            fate: self.fate(number),
        };
        self.since.entry(number).or_insert(now);
        let text = match is_other {
            true => "other".to_owned(),
            false => self.text(number),
        };
        let arg = match self.kind {
            Kind::Strict => encode_args((self.lane, number, text)),
            Kind::Brief => encode_args((number,)),
            Kind::Pipelined => {
                let received = (self.let_go..).find(|number| !self.is_done(*number));
                // It may say less than it knows.
                self.let_go = received.filter(|it| it % 3 == 0).unwrap_or(self.let_go);
                encode_args((number, Some(self.let_go), text))
            }
            Kind::Async => encode_args((
                number,
                match is_other != self.fails(number) {
                    true => Plan::FailLater,
                    false => Plan::Answer,
                },
            )),
        };
        (certain, arg.expect("the arguments can be encoded"))
    }

    fn text(&self, number: u64) -> String {
        match self.kind {
            Kind::Async if self.fails(number) => "failed later".to_owned(),
            Kind::Async => "done".to_owned(),
            Kind::Brief => COUNTED.to_owned(),
            Kind::Strict | Kind::Pipelined => {
                format!("number {number} of lane {} of {}", self.lane, self.user)
            }
        }
    }

    fn fails(&self, number: u64) -> bool {
        number % 5 == 4
    }

    fn learn(&mut self, number: u64, fate: Fate) {
        self.fates.insert(number, fate);
        let has_ended = matches!(fate, Fate::Done(_));
        let least = match self.kind {
            Kind::Pipelined => number.saturating_sub(IN_FLIGHT - 1),
            Kind::Strict | Kind::Brief | Kind::Async => number + u64::from(has_ended),
        };
        self.least = least.max(self.least);
        if self.kind == Kind::Pipelined {
            while self.is_done(self.least) {
                self.least += 1;
            }
        }
    }

    /// An operator was asked to give up a number whose outcome is unknown; whether that was done is not certain.
    pub(super) fn is_perhaps_freed(&mut self, number: u64) {
        if self.fate(number) == Fate::Unknown {
            self.fates.insert(number, Fate::Freed);
        }
    }

    /// Checks an answer against all that is certain; it was given at `now` or earlier. `is_cut_off`: by an upgrade since it was sent.
    pub(super) fn hear(
        &mut self,
        sent: &Sent,
        answer: &Answer,
        now: u64,
        is_cut_off: bool,
    ) -> Result<Said, String> {
        let (number, certain) = (sent.number, sent.certain);
        let wrong = |why: &str| Err(format!("{sent:?} is told {answer:?}: {why}"));
        let refusal = match answer {
            Ok(text) | Err(Failure::Own(text)) => {
                return self.hear_text(sent, text, answer.is_err(), is_cut_off);
            }
            Err(Failure::Idempotency(refusal)) => refusal,
        };
        let has_given_way = self.kind == Kind::Brief
            && matches!(refusal, Refusal::SequenceTooOld { expected } if *expected > number + 1);
        let is_gone =
            self.since[&number] + WINDOW_NS < now || number < self.let_go || has_given_way;
        let range = certain.least..=self.most();
        if let Refusal::SequenceGap { expected } | Refusal::SequenceTooOld { expected } = refusal
            && !range.contains(expected)
        {
            return wrong(&format!("the lane goes on with one of {range:?}"));
        }
        let said = match refusal {
            Refusal::KeyReused if sent.is_other => Said::Reused,
            Refusal::SequenceTooOld { expected } if is_gone || self.fate(number) == Fate::Freed => {
                if self.kind != Kind::Pipelined && *expected <= number {
                    return wrong("its turn is yet to come");
                }
                self.least = self.least.max(*expected);
                Said::TooOld
            }
            _ if sent.is_other => return wrong("it has other arguments"),
            Refusal::SequenceGap { expected } => {
                let ahead = match self.kind {
                    Kind::Pipelined => IN_FLIGHT,
                    Kind::Strict | Kind::Brief | Kind::Async => 1,
                };
                if number < expected + ahead {
                    return wrong("it is no gap");
                }
                self.least = self.least.max(*expected);
                Said::Gap
            }
            Refusal::InProgress { .. } | Refusal::OutcomeUnknown { .. }
                if self.kind != Kind::Async =>
            {
                return wrong("it never awaits");
            }
            Refusal::InProgress { .. } => Said::InProgress,
            Refusal::OutcomeUnknown { .. } => Said::Unknown,
            Refusal::KeyReused | Refusal::SequenceTooOld { .. } => {
                return wrong("the reply is remembered");
            }
        };
        let is_possible = match certain.fate {
            Fate::Nothing => true,
            Fate::Begun => said != Said::Gap,
            Fate::Unknown => matches!(said, Said::Unknown | Said::TooOld),
            Fate::Freed => matches!(said, Said::Unknown | Said::TooOld),
            Fate::Done(_) => matches!(said, Said::TooOld | Said::Reused),
        };
        if !is_possible {
            return wrong("it was told otherwise before");
        }
        match (said, self.fate(number)) {
            (Said::InProgress, Fate::Nothing) => self.learn(number, Fate::Begun),
            (Said::Unknown, Fate::Nothing | Fate::Begun) => self.learn(number, Fate::Unknown),
            (Said::Unknown, Fate::Done(_)) => return wrong("it has ended"),
            _ => {}
        }
        Ok(said)
    }

    /// An execution's own answer: which it was, and what it was asked.
    fn hear_text(
        &mut self,
        sent: &Sent,
        text: &str,
        is_error: bool,
        is_cut_off: bool,
    ) -> Result<Said, String> {
        let number = sent.number;
        let wrong = |why: &str| Err(format!("{sent:?} is told {text:?}: {why}"));
        let parts = text.split_once(": ");
        let Some((Ok(execution), said)) = parts.map(|(one, two)| (one.parse::<u64>(), two)) else {
            return wrong("nobody's answer");
        };
        let is_its = said == self.text(number)
            && is_error == (self.kind == Kind::Async && self.fails(number));
        match self.executions.get(&execution) {
            Some(whose) if *whose != number => return Ok(Said::Misrouted(*whose)),
            None if is_cut_off && self.kind == Kind::Async => return Ok(Said::Doubtful),
            _ if !is_its || sent.is_other => return wrong("it was asked for something else"),
            Some(_) => return Ok(Said::Replayed),
            None => {}
        }
        match self.fate(number) {
            Fate::Done(before) => return wrong(&format!("it was execution {before} before")),
            Fate::Unknown | Fate::Freed => return wrong("nobody knew its outcome"),
            Fate::Nothing | Fate::Begun => {}
        }
        if self.kind != Kind::Pipelined {
            let before = self.executions.range(..execution).next_back();
            let after = self.executions.range(execution..).next();
            let is_in_order = before.is_none_or(|(_, before)| *before < number)
                && after.is_none_or(|(_, after)| number < *after);
            if !is_in_order {
                return wrong(&format!("it is between {before:?} and {after:?}"));
            }
        }
        self.executions.insert(execution, number);
        self.learn(number, Fate::Done(execution));
        Ok(Said::Executed)
    }

    /// The executions whose answers arrived, and of which numbers they were.
    pub(super) fn executions(&self) -> &BTreeMap<u64, u64> {
        &self.executions
    }
}
