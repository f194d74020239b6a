//! One call as a state machine: it is told what was heard and when, and says what to do next. It does no I/O and reads no clock.
//!
//! ```text
//!            sign, journal                certified time > expiry, no status
//!  (none) ────────────────► Open ────────────────────────────────────────────► Silent
//!     ▲                      │ submit the same bytes while unknown, poll          │ ask for the outcome, or send again,
//!     │                      ├─ replied ──► End::Replied                          │ or search the ledger's blocks
//!     │                      ├─ rejected, proves that nothing was done ──┐        │
//!     │                      └─ rejected or done, proves nothing ──► Silent       │
//!     └──────────── while the deadline allows ◄── Nothing ◄─────────────┴─────────┘
//! ```
//!
//! At most one message is open at a time: another is signed only after the subnet's time has passed the expiry of the one before, or its
//! end is certified. What proves what is in `rules`.

mod heard;

use crate::{
    clock::SubnetClock,
    end::{End, Proof, Refusal},
    request::Terms,
    rules::{self, plus},
    transport::{Message, Status, Submitted, Trouble},
};
use idempotency_core::{
    IdempotencyError, Timestamp,
    outcome::Outcome,
    safe_call::{TransferError, search::Found},
};
use std::time::Duration;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read the time of the canister's subnet.
    ReadTime,
    /// Sign a message that expires then, and write it to the journal.
    Sign(Timestamp),
    /// Send this message.
    Submit(Message),
    /// Read the status of this message, by a reading that expires then.
    Poll(Message, Timestamp),
    /// Ask this method what became of the call, as an update.
    Ask(String),
    /// Search the ledger's blocks for the transfer, by updates.
    Search,
    /// Wait so long.
    Wait(Duration),
    /// It has ended.
    End(End),
}

/// What was heard.
#[derive(Clone, Debug)]
pub enum Event {
    /// The certified time of the canister's subnet.
    Time(Timestamp),
    /// A message was signed and is in the journal.
    Signed(Message),
    /// What the submission of the open message was answered with.
    Submitted(Submitted),
    /// The certified status of the open message, and the certificate's time.
    Status(Status, Timestamp),
    /// The canister's certified answer to the question what became of the call.
    Outcome(Result<Outcome, IdempotencyError>),
    /// What the ledger's blocks say.
    Found(Found),
    /// What was to be done can't be trusted, or did not succeed.
    Trouble(Trouble),
}

/// How fast a call goes on, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long to go on. Default: 10 minutes, in which two messages expire.
    pub deadline: Duration,
    /// How far ahead the expiry of a message is. The Internet Computer accepts 5 minutes; default: 4.
    pub lifetime: Duration,
    /// The pause between two looks at a status; default: 1 second.
    pub poll: Duration,
    /// When to submit a message again that the subnet does not know; default: 30 seconds, as the IC's documentation proposes.
    pub resubmit: Duration,
    /// How many messages to sign at most. Each is in the journal, with its signature. With 1 nothing is sent under another request id, and a
    /// call that is lost ends in `NeverRan` as soon as that is proved. Default: 64.
    pub messages: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(600),
            lifetime: Duration::from_secs(240),
            poll: Duration::from_secs(1),
            resubmit: Duration::from_secs(30),
            messages: 64,
        }
    }
}

/// What is known of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It may begin, or runs.
    Open { is_known: bool },
    /// It will not begin any more, and does not run; it may have been executed. It has ended, or has expired without a status.
    Silent { has_ended: bool },
    /// It was not executed, and will not be.
    Nothing,
}

#[derive(Clone, Debug)]
struct Sent {
    message: Message,
    fate: Fate,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Machine {
    terms: Terms,
    pace: Pace,
    /// Oldest first.
    sent: Vec<Sent>,
    clock: SubnetClock,
    deadline: Duration,
    not_before: Duration,
    submit_at: Duration,
    /// Doubles with each trouble, and each question that has to be asked again.
    pause: Duration,
    /// How many readings of the status have failed in a row.
    unread: u32,
    /// No message is signed that the canister would refuse as too old.
    can_run_until: Option<Timestamp>,
    refusal: Option<Refusal>,
    proof: Proof,
    why: String,
    end: Option<End>,
}

/// The pauses after a trouble, or before a question is asked again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Less than this before the deadline no further message is signed: it would turn what is known into a doubt.
const ROOM: Duration = Duration::from_secs(20);

/// After so many failed readings of the status of a message that should have expired, the outcome is asked for: its answer bears a time, too.
const MOST_UNREAD: u32 = 3;

/// ICRC-1's `TX_WINDOW`, as all known ledgers have it.
pub(crate) const LEDGER_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

impl Machine {
    /// A call that begins or goes on at `now`, with the messages that its journal holds.
    pub fn new(
        terms: Terms,
        messages: Vec<Message>,
        pace: Pace,
        clock: SubnetClock,
        now: Duration,
    ) -> Self {
        let fate = Fate::Open { is_known: false };
        Self {
            terms,
            pace,
            sent: messages
                .into_iter()
                .map(|message| Sent { message, fate })
                .collect(),
            clock,
            deadline: now.saturating_add(pace.deadline),
            not_before: now,
            submit_at: now,
            pause: PAUSES.0,
            unread: 0,
            can_run_until: None,
            refusal: None,
            proof: Proof::NotSent,
            why: "nothing was heard".into(),
            end: None,
        }
    }

    /// What is known of the subnet's time.
    pub fn clock(&self) -> SubnetClock {
        self.clock
    }

    /// When it ends whatever is known.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Ends the call with what can be said now. It may go on later, from its journal.
    pub fn stop(&mut self, now: Duration) {
        self.deadline = self.deadline.min(now);
    }

    /// What to do at `now`, by the clock of [`Transport::elapsed`](crate::Transport::elapsed).
    pub fn next(&mut self, now: Duration) -> Action {
        if let Some(end) = &self.end {
            return Action::End(end.clone());
        }
        if now >= self.deadline {
            return Action::End(self.given_up(now));
        }
        if now < self.not_before {
            return Action::Wait(self.not_before.min(self.deadline) - now);
        }
        let Some(estimate) = self.clock.estimate(now) else {
            return Action::ReadTime;
        };
        let expiry = plus(estimate, self.pace.lifetime);
        if let Some(open) = self.open() {
            let Sent { message, fate } = &self.sent[open];
            let is_known = *fate == Fate::Open { is_known: true };
            if self.unread >= MOST_UNREAD
                && estimate > message.expiry
                && let Some(method) = &self.terms.outcomes
            {
                // If that fails, too, the status is read again.
                self.unread = 0;
                return Action::Ask(method.clone());
            }
            return match !is_known && estimate <= message.expiry && now >= self.submit_at {
                true => Action::Submit(message.clone()),
                false => Action::Poll(message.clone(), expiry),
            };
        }
        if self.in_doubt().is_none() {
            let is_late = self.can_run_until.is_some_and(|until| estimate > until);
            let is_first = self.sent.is_empty();
            return match is_first
                || (!is_late && self.deadline - now >= ROOM && self.sent.len() < self.pace.messages)
            {
                true => Action::Sign(expiry),
                false => Action::End(self.given_up(now)),
            };
        }
        if let Some(method) = &self.terms.outcomes {
            return Action::Ask(method.clone());
        }
        if self.may_repeat(estimate, expiry) {
            return Action::Sign(expiry);
        }
        if self.terms.ledger.is_some() {
            return Action::Search;
        }
        if self.asks_archives() {
            return self.next(now);
        }
        Action::End(self.ended(End::StillUnknown {
            ask_again_after: None,
            why: self.why.clone(),
        }))
    }

    /// Takes note of what was heard at `now`.
    pub fn event(&mut self, event: Event, now: Duration) {
        if self.end.is_some() {
            return;
        }
        match event {
            Event::Time(time) => self.clock.observe(time, now),
            Event::Signed(message) => {
                let fate = Fate::Open { is_known: false };
                self.sent.push(Sent { message, fate });
                self.submit_at = now;
            }
            Event::Submitted(Submitted::Accepted) => {
                self.pause = PAUSES.0;
                self.submit_at = now.saturating_add(self.pace.resubmit);
                self.not_before = now.saturating_add(self.pace.poll);
            }
            Event::Submitted(Submitted::Certified(status)) => match status {
                // Without the certificate's time these say too little.
                Status::Absent | Status::Received | Status::Processing => {
                    self.event(Event::Submitted(Submitted::Accepted), now)
                }
                status => self.status(status, Default::default(), now),
            },
            Event::Status(status, time) => {
                self.pause = PAUSES.0;
                self.unread = 0;
                let estimate = self.clock.estimate(now).unwrap_or(time);
                self.clock.observe(time, now);
                self.status(status, (time, estimate), now);
            }
            Event::Outcome(answer) => self.outcome(answer, now),
            Event::Found(found) => self.found(found),
            Event::Trouble(trouble) => self.trouble(trouble, now),
        }
    }

    /// The oldest message that may begin, or runs.
    fn open(&self) -> Option<usize> {
        self.sent
            .iter()
            .position(|sent| matches!(sent.fate, Fate::Open { .. }))
    }

    /// The oldest message that may have been executed.
    fn in_doubt(&self) -> Option<&Sent> {
        self.sent.iter().find(|sent| sent.fate != Fate::Nothing)
    }

    /// Whether another message may be signed although an earlier one may have been executed.
    fn may_repeat(&self, estimate: Timestamp, expiry: Timestamp) -> bool {
        let Some(first) = self.in_doubt() else {
            return true;
        };
        if let Some(transfer) = &self.terms.ledger {
            // Any other refusal would come again.
            let is_refused = matches!(&self.refusal, Some(Refusal::Ledger(error)) if *error != TransferError::TemporarilyUnavailable);
            if is_refused || estimate > plus(transfer.created_at, LEDGER_WINDOW) {
                return false;
            }
        }
        self.sent.len() < self.pace.messages
            && rules::is_remembered(expiry, first.message.expiry, self.terms.repeats)
    }

    fn ended(&mut self, end: End) -> End {
        self.end.insert(end).clone()
    }

    /// What can be said at the deadline.
    fn given_up(&self, now: Duration) -> End {
        match (self.in_doubt(), &self.refusal) {
            (None, _) if self.sent.is_empty() => End::NeverRan(Proof::NotSent),
            (None, Some(refusal)) => End::Rejected(refusal.clone()),
            (None, None) => End::NeverRan(self.proof),
            (Some(_), _) => {
                let estimate = self.clock.estimate(now).unwrap_or_default();
                let expiry = self.open().map(|open| self.sent[open].message.expiry);
                // By then it has ended, or can't begin any more.
                let after = expiry.filter(|expiry| *expiry > estimate);
                End::StillUnknown {
                    ask_again_after: Some(after.unwrap_or_else(|| plus(estimate, PAUSES.1))),
                    why: self.why.clone(),
                }
            }
        }
    }
}
