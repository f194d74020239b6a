//! What follows an attempt: the end of the message, or another attempt, or a question.
//!
//! | after | in doubt | then |
//! |---|---|---|
//! | 2xx | | Acknowledged |
//! | an answer that refuses for good | no | Dead |
//! | | yes, or it is a redirection | with `verify`: the server is asked; else Unknown, as it may refuse a repeat of what it has done |
//! | certainly not sent | | at once for the first time, then after a pause |
//! | it may have been executed | from now on | with `verify`: the server is asked, when it can't act upon it any more; else after a pause, if repeating is safe; else Unknown |
//! | the server says: it is there | | Acknowledged |
//! | the server says: it is not there | no more | at once |
//! | the server does not say | | asked again after a pause |
//!
//! Where a limit forbids the next attempt, the message ends: as Dead where certainly nothing was executed, and as Unknown else.

use super::{
    answer::Verdict,
    message::{Message, State},
    outcome::{Limit, Outcome, Reason},
    policy::Policy,
    response::Response,
};
use crate::time::Timestamp;
use candid::CandidType;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a server's answer to `verify` says.
#[derive(CandidType, Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub enum Verification {
    /// The message had its effect.
    Done,
    /// It had no effect, and will have none any more: it is sent again.
    NotDone,
    /// The answer does not say: the server is asked again later.
    Unsure,
}

/// An answer that may have several reasons, and the time that the server asked for.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    pub(super) answer: Option<Response>,
    pub(super) retry_after: Option<Duration>,
}

/// What follows an attempt whose answer means this. The message's end, or `None` if it waits for what is due then.
pub(super) fn after_attempt(
    message: &mut Message,
    verdict: Verdict,
    answer: Option<Response>,
    now: Timestamp,
    policy: &Policy,
) -> Option<Outcome> {
    message.state = State::Waiting;
    let flags = &mut message.flags;
    // A redirection may follow what was done, as 303 does.
    flags.is_in_doubt |=
        (answer.as_ref()).is_some_and(|answer| (300..400).contains(&answer.status));
    let mut failure = Failure {
        reason: Reason::Refused,
        answer,
        retry_after: None,
    };
    match verdict {
        Verdict::Acknowledged => {
            return Some(Outcome::Acknowledged(failure.answer.unwrap_or_default()));
        }
        Verdict::Refused if !flags.is_in_doubt => {
            return Some(Outcome::Dead {
                reason: failure.reason,
                limit: None,
                answer: failure.answer,
            });
        }
        Verdict::Refused if flags.has_verify => {}
        Verdict::Refused => {
            return Some(Outcome::Unknown {
                reason: failure.reason,
                limit: None,
                answer: failure.answer,
            });
        }
        Verdict::NotSent(reason) => {
            failure.reason = reason;
            // Where it fails at once each time, "at once" would never end.
            let pause = match message.attempts {
                0 | 1 => Duration::ZERO,
                attempts => policy.backoff_after(attempts - 1),
            };
            return again(message, failure, now.plus(pause));
        }
        Verdict::Uncertain {
            reason,
            retry_after,
        } => {
            flags.is_in_doubt = true;
            (failure.reason, failure.retry_after) = (reason, retry_after);
        }
    }
    let pause = policy.backoff_after(message.attempts);
    let pause = pause.max(failure.retry_after.unwrap_or_default());
    if message.flags.has_verify {
        message.flags.is_asking = true;
        message.asked = 0;
        return ask_again(message, failure, now.plus(pause.max(message.settled_after)));
    }
    if !message.flags.is_repeatable {
        return Some(unknown(failure, Limit::NotRepeatable));
    }
    again(message, failure, now.plus(pause))
}

/// What follows a question to the server.
pub(super) fn after_question(
    message: &mut Message,
    said: Result<(Verification, Response), Failure>,
    now: Timestamp,
    policy: &Policy,
) -> Option<Outcome> {
    message.state = State::Waiting;
    let failure = match said {
        Ok((Verification::Done, answer)) => return Some(Outcome::Acknowledged(answer)),
        Ok((Verification::NotDone, answer)) => {
            message.flags.is_in_doubt = false;
            message.flags.is_asking = false;
            let failure = Failure {
                reason: Reason::NotThere,
                answer: Some(answer),
                retry_after: None,
            };
            return again(message, failure, now);
        }
        Ok((Verification::Unsure, answer)) => Failure {
            reason: Reason::NotVerified,
            answer: Some(answer),
            retry_after: None,
        },
        Err(failure) => failure,
    };
    let pause = policy.backoff_after(message.asked);
    let pause = pause.max(failure.retry_after.unwrap_or_default());
    ask_again(message, failure, now.plus(pause))
}

/// The end of a message for which no attempt is made any more, whatever would be due.
pub(super) fn too_old(message: &Message) -> Outcome {
    let failure = Failure {
        reason: match message.flags.is_in_doubt {
            true => Reason::NotVerified,
            false => Reason::NotSent {
                message: "its time had passed before it was sent".to_owned(),
            },
        },
        answer: None,
        retry_after: None,
    };
    end(message, failure, Limit::Age)
}

/// The end of a message that can't be sent.
pub(super) fn unreadable(message: &Message) -> Outcome {
    let (reason, limit, answer) = (Reason::Unreadable, None, None);
    match message.flags.is_in_doubt {
        true => Outcome::Unknown {
            reason,
            limit,
            answer,
        },
        false => Outcome::Dead {
            reason,
            limit,
            answer,
        },
    }
}

fn again(message: &mut Message, failure: Failure, at: Timestamp) -> Option<Outcome> {
    if message.attempts >= message.most_attempts {
        return Some(end(message, failure, Limit::Attempts));
    }
    due(message, failure, at)
}

fn ask_again(message: &mut Message, failure: Failure, at: Timestamp) -> Option<Outcome> {
    if message.asked >= message.most_attempts {
        return Some(end(message, failure, Limit::Attempts));
    }
    due(message, failure, at)
}

fn due(message: &mut Message, failure: Failure, at: Timestamp) -> Option<Outcome> {
    if at > message.last_attempt_by {
        return Some(end(message, failure, Limit::Age));
    }
    message.due = at;
    None
}

fn end(message: &Message, failure: Failure, limit: Limit) -> Outcome {
    if message.flags.is_in_doubt {
        return unknown(failure, limit);
    }
    Outcome::Dead {
        reason: failure.reason,
        limit: Some(limit),
        answer: failure.answer,
    }
}

fn unknown(failure: Failure, limit: Limit) -> Outcome {
    Outcome::Unknown {
        reason: failure.reason,
        limit: Some(limit),
        answer: failure.answer,
    }
}
