//! What follows from what was heard.

use super::{Fate, Machine, PAUSES, Sent};
use crate::{
    end::{End, Proof, Refusal, Reply},
    reply::{self, is_in_progress},
    request::Repeats,
    rules::{self, Rule},
    transport::{Status, Trouble},
};
use candid::Nat;
use idempotency_core::{
    IdempotencyError, Timestamp,
    outcome::{Outcome, Verdict},
    safe_call::{TransferError, search::Found},
};
use std::time::Duration;

impl Machine {
    pub(super) fn trouble(&mut self, trouble: Trouble, now: Duration) {
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
    pub(super) fn status(
        &mut self,
        status: Status,
        (time, estimate): (Timestamp, Timestamp),
        now: Duration,
    ) {
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
        let error = match reply::decode::<Result<Nat, TransferError>>(&reply) {
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

    pub(super) fn outcome(&mut self, answer: Result<Outcome, IdempotencyError>, now: Duration) {
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
            if self.asks_archives() {
                return;
            }
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
            // It says nothing of this method; or nothing without its archives; or the call runs without deduplication.
            (IdempotencyError::Other { code: 4, .. }, _) => self.terms.outcomes = None,
            (IdempotencyError::Other { code: 10, .. }, _) => {
                self.terms.outcomes = self.terms.outcomes_ever.take();
            }
            (IdempotencyError::MissingKey, _) => {
                self.terms.outcomes = None;
                self.terms.outcomes_ever = None;
                self.terms.repeats = Repeats::Never;
            }
            _ => self.slow_down(now),
        }
    }

    /// Whether there are archives that were not asked yet. From now on they are.
    pub(super) fn asks_archives(&mut self) -> bool {
        let ever = self.terms.outcomes_ever.take();
        let there_are = ever.is_some();
        if there_are {
            self.terms.outcomes = ever;
        }
        there_are
    }

    /// The blocks were read after all messages had ended or expired.
    pub(super) fn found(&mut self, found: Found) {
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
}
