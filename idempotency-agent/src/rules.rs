//! What is proved by what: every rule on which a claim of a call's end rests, and where it comes from.
//!
//! One more stands in the driver: what is signed is in the journal before it is sent. A client that forgets a message would take a request
//! that can run for one that can't.
//!
//! The state machine asks for a rule wherever it applies one. In tests a rule can be broken, and the simulation has to notice.
//!
//! "The specification" is the IC interface specification; "the page on ingress messages" is the IC's documentation of these, with its five
//! classes of errors.

use crate::{
    end::Reject,
    request::{Repeats, Terms},
};
use idempotency_core::{Timestamp, outcome::Verdict};
use std::time::Duration;

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A message can't begin any more once a *certificate's* time is later than its `ingress_expiry`. No local clock, and no estimate, says so.
    /// Source: the specification. The IC neither accepts a request nor begins with it if its expiry is in the past; the certificate is of
    /// the subnet that would.
    SubnetTime,
    /// That a subnet has no status of a message after its expiry does not prove that it never ran: the status may have been removed.
    /// Source: the page on ingress messages.
    AbsenceProvesNothing,
    /// A certified reject with code 4 or 5 does not prove that nothing was done: an async method may have changed something, awaited, and
    /// trapped, and what it did before the await stands. The page on ingress messages says "hasn't been executed" of every certified reject;
    /// of these it is not true. Codes 1 to 3 are the subnet's own, before the method begins. Running out of cycles (code 2, IC0207) may
    /// also end a callback; so code 2 counts only with another error code beside it.
    RejectAfterAwait,
    /// A refusal that nobody certified proves nothing: the replica that gives it, or a boundary node, may lie, and others may have the
    /// message. Source: the page on ingress messages, class 3.
    OnlyCertified,
    /// `CanStillRun` speaks of the time `as_of`. It proves that no message ran only if all had ended or expired by then.
    AsOf,
    /// `CanStillRun` without `until` does not exclude that the request ran and is forgotten. It does within the window.
    Forgotten,
    /// `MayHaveRun` proves nothing.
    MayHaveRun,
    /// A reply `InProgress` is the library's, and not the method's: the request has not ended.
    InProgress,
    /// A refusal of a ledger proves nothing of earlier messages: many check fee and balance before they look for a duplicate.
    LedgerRefusal,
}

impl Rule {
    /// Whether the rule is kept: always, but in tests that break it.
    pub(crate) fn is_kept(self) -> bool {
        #[cfg(test)]
        return BROKEN.get() != Some(self);
        #[cfg(not(test))]
        true
    }
}

#[cfg(test)]
thread_local! {
    /// The rule that a test breaks.
    pub(crate) static BROKEN: std::cell::Cell<Option<Rule>> = const { std::cell::Cell::new(None) };
}

/// A message is accepted at most 5 minutes before its expiry, and some replicas permit a minute more.
const MOST_AHEAD: Duration = Duration::from_secs(360);

/// Whether a message can't begin any more. `estimate` is of no account.
pub(crate) fn has_expired(expiry: Timestamp, certified: Timestamp, estimate: Timestamp) -> bool {
    match Rule::SubnetTime.is_kept() {
        true => certified > expiry,
        false => estimate > expiry,
    }
}

/// Whether a certified reject proves that the message did nothing.
pub(crate) fn did_nothing(reject: &Reject, terms: &Terms) -> bool {
    const OUT_OF_CYCLES: &str = "IC0207";
    match reject.code {
        1 | 3 => true,
        2 => (reject.error_code.as_deref()).is_some_and(|code| code != OUT_OF_CYCLES),
        _ if !Rule::RejectAfterAwait.is_kept() => true,
        // A refusal of the library is about the request, which other messages may have brought.
        _ => terms.rejects_undo && !reject.message.contains("idempotency: "),
    }
}

/// Whether the answer that a canister has no record proves that the request has not been executed before.
pub(crate) fn was_not_executed(
    verdict: Verdict,
    as_of: Timestamp,
    first: Timestamp,
    repeats: Repeats,
) -> bool {
    match verdict {
        Verdict::NeverRan | Verdict::CanStillRun { until: Some(_) } => true,
        Verdict::CanStillRun { until: None } => {
            !Rule::Forgotten.is_kept() || is_remembered(as_of, first, repeats)
        }
        Verdict::MayHaveRun => !Rule::MayHaveRun.is_kept(),
    }
}

/// Whether the record of a request that was executed with a message would still be there: `first` is the expiry of the first that may
/// have been.
pub(crate) fn is_remembered(at: Timestamp, first: Timestamp, repeats: Repeats) -> bool {
    match repeats {
        Repeats::Never => false,
        Repeats::Dated => true,
        Repeats::Within(window) => plus(at, MOST_AHEAD) <= plus(first, window),
    }
}

/// An instant so much later.
pub(crate) fn plus(time: Timestamp, duration: Duration) -> Timestamp {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Timestamp::from_nanos(time.as_nanos().saturating_add(nanos))
}
