//! What the test canister says, as a client reads it.

use candid::CandidType;
use serde::Deserialize;

/// Those refusals that clients can meet here; any other one is an error when it is decoded, as it must be.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(super) enum Refusal {
    KeyReused,
    InProgress { since: u64 },
    OutcomeUnknown { since: u64 },
    SequenceTooOld { expected: u64 },
    SequenceGap { expected: u64 },
}

impl Refusal {
    /// Of a method whose reply has no place for it: it traps with the text.
    pub(super) fn in_text(text: &str) -> Option<Self> {
        let after = |words: &str| {
            let (_, rest) = text.split_once(words)?;
            let end = rest.find(|it: char| !it.is_ascii_digit());
            rest[..end.unwrap_or(rest.len())].parse().ok()
        };
        if text.contains("SequenceTooOld: ") {
            let expected = after("goes on at ")?;
            Some(Self::SequenceTooOld { expected })
        } else if text.contains("SequenceGap: ") {
            let expected = after("send number ")?;
            Some(Self::SequenceGap { expected })
        } else {
            None
        }
    }
}

#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(super) enum Failure {
    Own(String),
    Idempotency(Refusal),
}

pub(super) type Answer = Result<String, Failure>;

/// What an async endpoint does, as far as it is used here: it awaits a call, and answers or fails.
#[derive(CandidType, Clone, Copy, Debug, Deserialize, PartialEq)]
pub(super) enum Plan {
    Answer,
    FailLater,
}

/// What becomes of a lane that its operator frees.
#[derive(CandidType, Clone, Copy, Debug, Deserialize, PartialEq)]
pub(super) enum FreedLane {
    Freed { since: u64 },
    Running { since: u64 },
    NotStuck { next: u64 },
}
