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

use crate::{
    clock::SubnetClock,
    end::{End, Proof, Refusal, Reply},
    reply::is_in_progress,
    request::{Repeats, Terms},
    rules::{self, Rule, plus},
    transport::{Message, Status, Submitted, Trouble},
};
use candid::Nat;
use idempotency_core::{
    IdempotencyError, Timestamp,
    outcome::{Outcome, Verdict},
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
        match self.terms.ledger {
            Some(_) => Action::Search,
            None => Action::End(self.ended(End::StillUnknown {
                ask_again_after: None,
                why: self.why.clone(),
            })),
        }
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

    fn trouble(&mut self, trouble: Trouble, now: Duration) {
        if let (Trouble::NotTaken(reject), false) = (&trouble, Rule::OnlyCertified.is_kept()) {
            self.end = Some(End::Rejected(Refusal::Reject(reject.clone())));
        }
        self.why = trouble.to_string();
        self.unread = self.unread.saturating_add(1);
        // A replica that doesn't take it would not do so at once; one that is not reached may.
        self.submit_at = now.saturating_add(match trouble {
            Trouble::NotTaken(_) => self.pace.resubmit,
            _ => self.pause,
        });
        self.slow_down(now);
    }

    /// A pause before another message, longer with each.
    fn wait_to_sign(&mut self, now: Duration) {
        let exponent = u32::try_from(self.sent.len()).unwrap_or(u32::MAX).min(5);
        let pause = (PAUSES.0 * 2_u32.pow(exponent)).min(PAUSES.1);
        self.not_before = now.saturating_add(pause);
    }

    /// A pause that doubles.
    fn slow_down(&mut self, now: Duration) {
        self.not_before = now.saturating_add(self.pause);
        self.pause = (self.pause * 2).min(PAUSES.1);
    }

    /// The status of the open message, by a certificate of that time, which was thought to be another.
    fn status(&mut self, status: Status, (time, estimate): (Timestamp, Timestamp), now: Duration) {
        let Some(open) = self.open() else { return };
        let has_expired = rules::has_expired(self.sent[open].message.expiry, time, estimate);
        self.not_before = now.saturating_add(self.pace.poll);
        let fate = match status {
            Status::Absent if has_expired && !Rule::AbsenceProvesNothing.is_kept() => Fate::Nothing,
            Status::Absent if has_expired => {
                self.why = "the message expired, and the subnet has no status of it".into();
                Fate::Silent { has_ended: false }
            }
            Status::Absent => return,
            // What has begun runs on after its expiry, for as long as it waits for answers.
            Status::Received | Status::Processing => {
                self.why = "the message is being executed, or waits for it".into();
                Fate::Open { is_known: true }
            }
            Status::Replied(reply) => return self.replied(open, reply, now),
            Status::Rejected(reject) => {
                self.why = format!("rejected: {reject}");
                let did_nothing = rules::did_nothing(&reject, &self.terms);
                self.refusal = Some(Refusal::Reject(reject.clone()));
                match did_nothing {
                    true => {
                        self.sent[open].fate = Fate::Nothing;
                        return self.refused(reject.code == 2, now);
                    }
                    false => {
                        self.wait_to_sign(now);
                        Fate::Silent { has_ended: true }
                    }
                }
            }
            Status::Done => {
                self.why = "it has ended, and the subnet has dropped the reply or reject".into();
                Fate::Silent { has_ended: true }
            }
        };
        self.sent[open].fate = fate;
    }

    fn replied(&mut self, open: usize, reply: Vec<u8>, now: Duration) {
        if self.terms.ledger.is_some() {
            return self.ledger_replied(open, reply, now);
        }
        if self.terms.repeats != Repeats::Never
            && is_in_progress(&reply)
            && Rule::InProgress.is_kept()
        {
            self.why = "in progress, by another message".into();
            self.sent[open].fate = Fate::Silent { has_ended: true };
            return self.wait_to_sign(now);
        }
        self.end = Some(End::Replied(Reply::Bytes(reply)));
    }

    fn ledger_replied(&mut self, open: usize, reply: Vec<u8>, now: Duration) {
        let error = match candid::decode_one::<Result<Nat, TransferError>>(&reply) {
            Ok(
                Ok(block)
                | Err(TransferError::Duplicate {
                    duplicate_of: block,
                }),
            ) => {
                self.end = Some(End::Replied(Reply::Block(block)));
                return;
            }
            Ok(Err(error)) => error,
            Err(_) => {
                self.end = Some(End::Replied(Reply::Bytes(reply)));
                return;
            }
        };
        self.why = error.to_string();
        self.sent[open].fate = Fate::Nothing;
        if !Rule::LedgerRefusal.is_kept() {
            self.all_nothing();
        }
        let is_transient = error == TransferError::TemporarilyUnavailable;
        self.refusal = Some(Refusal::Ledger(error));
        self.refused(is_transient, now);
    }

    /// A message was refused and did nothing. That ends the call, unless others may have done something, or it may be tried again.
    fn refused(&mut self, is_transient: bool, now: Duration) {
        match (self.in_doubt(), &self.refusal) {
            (None, Some(refusal)) if !is_transient => {
                self.end = Some(End::Rejected(refusal.clone()))
            }
            _ => self.wait_to_sign(now),
        }
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

    fn outcome(&mut self, answer: Result<Outcome, IdempotencyError>, now: Duration) {
        let outcome = match answer {
            Ok(outcome) => outcome,
            Err(error) => return self.no_outcome(error, now),
        };
        match outcome {
            Outcome::Done { reply, .. } => {
                self.end = Some(End::Replied(Reply::Bytes(reply.into_vec())))
            }
            Outcome::ReplyDropped { executed_at, .. } => {
                self.end = Some(End::Replied(Reply::Dropped { executed_at }))
            }
            Outcome::Pending { .. } => {
                self.why = "the canister is still executing it".into();
                self.slow_down(now);
            }
            Outcome::Unknown { .. } => {
                self.why =
                    "the canister does not know what it did; its operators may settle it".into();
                self.slow_down(now);
            }
            Outcome::Absent { as_of, verdict } => self.absent(as_of, verdict, now),
        }
    }

    /// The canister had no record at `as_of`.
    fn absent(&mut self, as_of: Timestamp, verdict: Verdict, now: Duration) {
        self.clock.observe(as_of, now);
        let Some(first) = self.in_doubt().map(|sent| sent.message.expiry) else {
            return;
        };
        let are_over = verdict == Verdict::NeverRan
            || self.sent.iter().all(|Sent { message, fate }| match fate {
                // It was so before the question was signed.
                Fate::Nothing | Fate::Silent { .. } => true,
                Fate::Open { .. } => as_of > message.expiry,
            });
        if !are_over && Rule::AsOf.is_kept() {
            // What does not run yet at `as_of` may run later.
            return self.slow_down(now);
        }
        if !rules::was_not_executed(verdict, as_of, first, self.terms.repeats) {
            let why = "the canister does not execute it any more; if it did, it has forgotten";
            self.end = Some(End::StillUnknown {
                ask_again_after: None,
                why: why.into(),
            });
            return;
        }
        self.all_nothing();
        self.why = "the canister has no record of it".into();
        self.proof = Proof::Expired;
        if let Verdict::CanStillRun { until } = verdict {
            self.can_run_until = until;
        } else {
            self.proof = Proof::Refused;
        }
        let is_transient =
            matches!(&self.refusal, Some(Refusal::Reject(reject)) if reject.code == 2);
        match (&self.refusal, verdict) {
            (Some(refusal), _) if !is_transient => self.end = Some(End::Rejected(refusal.clone())),
            (_, Verdict::CanStillRun { .. }) => {}
            _ => self.end = Some(End::NeverRan(self.proof)),
        }
    }

    /// The canister's answer is an error, whatever became of the call.
    fn no_outcome(&mut self, error: IdempotencyError, now: Duration) {
        self.why = error.to_string();
        let have_ended = (self.sent.iter())
            .all(|sent| matches!(sent.fate, Fate::Nothing | Fate::Silent { has_ended: true }));
        match (error, &self.refusal) {
            // The record that is there is another request's.
            (IdempotencyError::KeyReused, Some(refusal)) if have_ended => {
                self.end = Some(End::Rejected(refusal.clone()))
            }
            // It says nothing of this method; or the call runs without deduplication.
            (IdempotencyError::Other { code: 4, .. }, _) => self.terms.outcomes = None,
            (IdempotencyError::MissingKey, _) => {
                self.terms.outcomes = None;
                self.terms.repeats = Repeats::Never;
            }
            _ => self.slow_down(now),
        }
    }

    /// The blocks were read after all messages had ended or expired.
    fn found(&mut self, found: Found) {
        self.end = Some(match (found, &self.refusal) {
            (Found::Block(block), _) => End::Replied(Reply::Block(block)),
            (Found::Absent, Some(refusal @ Refusal::Ledger(_))) => End::Rejected(refusal.clone()),
            (Found::Absent, _) => End::NeverRan(Proof::Blocks),
            (Found::CantTell, _) => End::StillUnknown {
                ask_again_after: None,
                why: format!(
                    "{}; and not all of the ledger's blocks that could be the transfer were seen",
                    self.why
                ),
            },
        });
    }

    fn all_nothing(&mut self) {
        for sent in &mut self.sent {
            sent.fate = Fate::Nothing;
        }
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
