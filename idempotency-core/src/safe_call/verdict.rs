//! What one answer says about the attempt that it answers, and about those before it.

use super::outcome::Reason;
use crate::{error::IdempotencyError, runtime::Rejected, time::Timestamp};

/// What one answer says.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<T> {
    /// The call was executed, in this attempt or in one before.
    Executed(T),
    /// It was, and its reply is gone.
    ReplyLost {
        executed_at: Option<Timestamp>,
        message: String,
    },
    /// This attempt did nothing.
    Refused {
        why: Reason,
        /// Nor did any before it.
        is_proof: bool,
        then: Then,
    },
    /// This attempt, or another with the same key, may have been executed.
    Unknown { why: Reason, then: Then },
}

/// Whether the same call may get another answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Soon.
    Again,
    /// Not by being repeated now.
    Stop,
    /// Never: the callee has forgotten whether it was executed.
    Over,
}

/// Codes 4 and 5 prove nothing: the callee may have been executed up to an await, and then trapped, been upgraded or uninstalled.
/// Only where the callee is an idempotent endpoint, the text may be a refusal of this library: that of a trap, or of a durable method's reject.
pub(super) fn of_reject<T>(rejected: Rejected, is_idempotent: bool) -> Verdict<T> {
    const CANISTER_REJECT: u32 = 4;
    const CANISTER_ERROR: u32 = 5;
    let Rejected { code, message } = rejected;
    let refusal = match code {
        CANISTER_REJECT if is_idempotent => refusal(&message).map(str::to_owned),
        CANISTER_ERROR if is_idempotent => refusal_in_trap(&message).map(str::to_owned),
        _ => None,
    };
    let why = Reason::Reject { code, message };
    match (code, refusal) {
        (_, Some(name)) => of_refusal(&name, None, why),
        (0 | 2, None) => refused(why, false, Then::Again),
        (1 | 3, None) => refused(why, false, Then::Stop),
        (_, None) => Verdict::Unknown {
            why,
            then: Then::Again,
        },
    }
}

/// The refusal of an idempotent endpoint, in a reply.
pub(super) fn of_error<T>(error: IdempotencyError) -> Verdict<T> {
    let text = error.to_string();
    let name = text.split(':').next().unwrap_or_default();
    let executed_at = match error {
        IdempotencyError::ReplyDropped { executed_at } => Some(executed_at),
        _ => None,
    };
    of_refusal(name, executed_at, Reason::Idempotency(error))
}

/// By the name with which the text of a refusal begins. Only refusals that follow the look-up prove that nothing was executed
/// before: the others are given without a look, or after the record is forgotten.
fn of_refusal<T>(name: &str, executed_at: Option<Timestamp>, why: Reason) -> Verdict<T> {
    match name {
        "InProgress" => Verdict::Unknown {
            why,
            then: Then::Again,
        },
        "OutcomeUnknown" => Verdict::Unknown {
            why,
            then: Then::Stop,
        },
        "ReplyDropped" => Verdict::ReplyLost {
            executed_at,
            message: why.to_string(),
        },
        "KeyReused" | "CreatedInFuture" => refused(why, true, Then::Stop),
        "Full" | "QuotaExceeded" | "SequenceGap" => refused(why, true, Then::Again),
        "TooOld" | "SequenceTooOld" => refused(why, false, Then::Over),
        "MissingKey" | "InvalidKey" | "AnonymousRefused" | "CyclesRequired" | "StoreDamaged"
        | "Other" | "MalformedArgument" | "SharedName" | "ReplyTooLarge" => {
            refused(why, false, Then::Stop)
        }
        // Such as `CutOff`, which an attempt traps with in its midst.
        _ => Verdict::Unknown {
            why,
            then: Then::Again,
        },
    }
}

fn refused<T>(why: Reason, is_proof: bool, then: Then) -> Verdict<T> {
    Verdict::Refused {
        why,
        is_proof,
        then,
    }
}

/// The name of the refusal with which an idempotent endpoint trapped. Not one that the callee merely passes on, in the text of a
/// trap of its own: that is about another call.
fn refusal_in_trap(message: &str) -> Option<&str> {
    // `IC0503: Error from Canister aaaaa-aa: Canister called …`; not each version has each part.
    let is_code = |code: &str| code.len() == 6 && code.starts_with("IC");
    let message = match message.split_once(": ") {
        Some((code, rest)) if is_code(code) => rest,
        _ => message,
    };
    let trap = match message.strip_prefix("Error from Canister ") {
        Some(canister) => canister.split_once(": ")?.1,
        None => message,
    };
    let text = trap.strip_prefix("Canister called `ic0.trap` with message: ")?;
    let text = text.strip_prefix('\'').unwrap_or(text);
    refusal(text)
}

/// The name of the refusal that a text is.
fn refusal(text: &str) -> Option<&str> {
    text.strip_prefix("idempotency: ")?.split(':').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAP: &str = "Error from Canister aaaaa-aa: Canister called `ic0.trap` with message: ";

    #[test]
    fn a_trap_of_the_endpoint_itself_is_told_from_one_that_it_passes_on() {
        let name = |text: &str| refusal_in_trap(text).map(str::to_owned);
        for code in ["", "IC0503: "] {
            for quote in ["'", ""] {
                let text = format!(
                    "{code}{TRAP}{quote}idempotency: {}",
                    IdempotencyError::TooOld
                );
                assert_eq!(name(&text).as_deref(), Some("TooOld"));
            }
        }
        assert_eq!(
            name(&format!(
                "{TRAP}'payment failed: {TRAP}'idempotency: Full: …''"
            )),
            None
        );
        assert_eq!(name(&format!("{TRAP}'idempotencies: Full: …'")), None);
        assert_eq!(
            name(&format!("Panicked at '{TRAP}'idempotency: Full: …''")),
            None
        );
        assert_eq!(name("idempotency: Full: …"), None);
        assert_eq!(name(""), None);
    }

    #[test]
    fn a_durable_method_refuses_by_a_reject() {
        let of = |code, is_idempotent| {
            let message = format!("idempotency: {}", IdempotencyError::KeyReused);
            of_reject::<()>(Rejected { code, message }, is_idempotent)
        };
        assert!(matches!(
            of(4, true),
            Verdict::Refused { is_proof: true, .. }
        ));
        // As a trap's text it would have the IC's words before it; and a plain callee may say what it likes.
        assert!(matches!(of(5, true), Verdict::Unknown { .. }));
        assert!(matches!(of(4, false), Verdict::Unknown { .. }));
    }

    /// A case that is added to the enum gets a row in the table, or is a doubt.
    #[test]
    fn each_refusal_is_known_by_its_name() {
        let at = Timestamp::from_nanos(7);
        let why = |verdict: Verdict<()>| match verdict {
            Verdict::Refused { is_proof, then, .. } => format!("refused {is_proof} {then:?}"),
            Verdict::Unknown { then, .. } => format!("unknown {then:?}"),
            Verdict::ReplyLost { executed_at, .. } => format!("lost {executed_at:?}"),
            Verdict::Executed(()) => "executed".into(),
        };
        use IdempotencyError as E;
        for (error, expected) in [
            (E::MissingKey, "refused false Stop"),
            (E::InvalidKey { length: 0, max: 1 }, "refused false Stop"),
            (E::InvalidKey { length: 2, max: 1 }, "refused false Stop"),
            (E::AnonymousRefused, "refused false Stop"),
            (E::KeyReused, "refused true Stop"),
            (E::InProgress { since: at }, "unknown Again"),
            (E::OutcomeUnknown { since: at }, "unknown Stop"),
            (
                E::ReplyDropped { executed_at: at },
                "lost Some(Timestamp(7))",
            ),
            (E::TooOld, "refused false Over"),
            (E::CreatedInFuture { now: at }, "refused true Stop"),
            (E::Full { retry_after: at }, "refused true Again"),
            (E::QuotaExceeded { retry_after: at }, "refused true Again"),
            (E::SequenceTooOld { expected: 1 }, "refused false Over"),
            (E::SequenceGap { expected: 1 }, "refused true Again"),
            (E::CyclesRequired { cycles: 1 }, "refused false Stop"),
            (E::StoreDamaged, "refused false Stop"),
        ] {
            assert_eq!(why(of_error(error.clone())), expected, "{error}");
            let text = format!("{TRAP}'idempotency: {error}'");
            let in_trap = why(of_reject(
                Rejected {
                    code: 5,
                    message: text,
                },
                true,
            ));
            if !expected.starts_with("lost") {
                assert_eq!(in_trap, expected, "{error}");
            }
        }
    }

    #[test]
    fn only_an_idempotent_endpoint_is_believed() {
        let text = format!("{TRAP}'idempotency: {}'", IdempotencyError::TooOld);
        for (code, is_idempotent) in [(5, false), (4, true), (6, true)] {
            let rejected = Rejected {
                code,
                message: text.clone(),
            };
            let verdict: Verdict<()> = of_reject(rejected, is_idempotent);
            assert!(matches!(verdict, Verdict::Unknown { .. }), "{verdict:?}");
        }
    }
}
