//! One safe call, attempt after attempt, to its end.

use super::{
    callee::Callee,
    limit::Limit,
    outcome::{Outcome, Reason},
    search::{Found, search},
    transport::Transport,
    verdict::{Then, Verdict, of_reject},
};
use crate::{runtime::Outgoing, time::Timestamp};
use std::time::Duration;

/// Pauses grow up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is sent, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The same in each attempt.
    pub(crate) call: Outgoing,
    pub(crate) tries: u32,
    /// Before the second attempt; each later one is twice as long.
    pub(crate) pause: Duration,
    /// The time of an attempt that was made before and may have been executed.
    pub(crate) in_doubt_since: Option<Timestamp>,
}

/// Makes the call. Each attempt has the same bytes; there is none while an earlier one is in doubt and the callee might not
/// recognise it.
pub(crate) async fn drive<C: Callee, X: Transport>(
    plan: &Plan,
    callee: &C,
    transport: &X,
) -> Outcome<C::Reply> {
    let since = plan.in_doubt_since.unwrap_or(transport.now());
    let limit = Limit::new(callee.repeats(), since, plan.call.timeout);
    let mut is_in_doubt = plan.in_doubt_since.is_some();
    let mut last = Reason::NotAsked;
    let mut then = Then::Stop;
    let mut pause = plan.pause;
    for attempt in 0..plan.tries.max(1) {
        let may_send = |is_in_doubt: bool, at| !is_in_doubt || limit.allows(at, attempt == 0);
        if attempt > 0 {
            if !may_send(is_in_doubt, transport.now().plus(pause)) {
                break;
            }
            transport.pause(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
        let sent = transport.now();
        if !may_send(is_in_doubt, sent) {
            break;
        }
        let answer = transport.call(plan.call.clone()).await;
        let verdict = match answer {
            Ok(reply) => callee.judge(&reply),
            Err(rejected) => of_reject(rejected, callee.traps_with_refusals()),
        };
        (last, then) = match verdict {
            Verdict::Executed(reply) => return Outcome::Replied(reply),
            Verdict::ReplyLost {
                executed_at,
                message,
            } => {
                return Outcome::ReplyLost {
                    executed_at,
                    message,
                };
            }
            Verdict::Refused {
                why,
                is_proof,
                then,
            } => {
                // A record that is forgotten proves nothing by not being there.
                if is_proof && limit.proves(sent, transport.now()) {
                    is_in_doubt = false;
                }
                (why, then)
            }
            Verdict::Unknown { why, then } => {
                is_in_doubt = true;
                (why, then)
            }
        };
        if then != Then::Again {
            break;
        }
    }
    if is_in_doubt && let Some((wanted, most)) = callee.wanted() {
        match search(transport, plan.call.callee, wanted, most).await {
            Found::Block(block) => {
                if let Some(reply) = C::found(block) {
                    return Outcome::Replied(reply);
                }
            }
            // All attempts came to the ledger before the calls of the search, or never will.
            Found::Absent => is_in_doubt = false,
            Found::CantTell => {}
        }
    }
    match (is_in_doubt, then) {
        (true, Then::Over) => Outcome::StillUnknown { until: None, last },
        (true, _) => Outcome::StillUnknown {
            until: limit.until(transport.now()),
            last,
        },
        (false, Then::Again) => Outcome::NotExecuted(last),
        (false, Then::Stop | Then::Over) => Outcome::Rejected(last),
    }
}
