//! One safe call, attempt after attempt, to its end.

use super::{
    callee::Callee,
    limit::Limit,
    outcome::{Outcome, Reason},
    search::{Found, search},
    transport::{Transport, Tries},
    verdict::{Then, Verdict, of_reject},
};
use crate::{runtime::Outgoing, time::Timestamp};
use std::{iter, time::Duration};

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

impl Plan {
    /// The pause after so many attempts.
    pub(crate) fn pause_after(&self, made: u32, longest: Duration) -> Duration {
        match made {
            0 | 1 => self.pause,
            _ => {
                let factor = 1 << (made - 1).min(20);
                self.pause.saturating_mul(factor).min(longest)
            }
        }
    }
}

/// Makes the call, or goes on with it. Each attempt has the same bytes; there is none while an earlier one is in doubt and the callee might not
/// recognise it.
pub(crate) async fn drive<C: Callee, X: Transport>(
    plan: &Plan,
    callee: &C,
    transport: &X,
) -> Outcome<C::Reply> {
    let mut tries = transport.resumed().unwrap_or_else(|| Tries {
        since: plan.in_doubt_since.unwrap_or(transport.now()),
        made: 0,
        is_in_doubt: plan.in_doubt_since.is_some(),
    });
    let limit = Limit::new(callee.repeats(), tries.since, plan.call.timeout);
    let mut last = Reason::NotAsked;
    let mut then = Then::Stop;
    // Those that were made before the call was resumed don't count here.
    for is_first in iter::once(true).chain(iter::repeat(false)) {
        let may_send = |tries: Tries, at| !tries.is_in_doubt || limit.allows(at, is_first);
        if !is_first {
            let pause = plan.pause_after(tries.made, LONGEST_PAUSE);
            if tries.made >= plan.tries || !may_send(tries, transport.now().plus(pause)) {
                break;
            }
            transport.note(tries).await;
            transport.pause(pause).await;
        }
        let sent = transport.now();
        if !may_send(tries, sent) {
            break;
        }
        tries.made = tries.made.saturating_add(1);
        let is_in_doubt = true;
        transport
            .note(Tries {
                is_in_doubt,
                ..tries
            })
            .await;
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
                    tries.is_in_doubt = false;
                }
                (why, then)
            }
            Verdict::Unknown { why, then } => {
                tries.is_in_doubt = true;
                (why, then)
            }
        };
        if then != Then::Again {
            break;
        }
    }
    if tries.is_in_doubt
        && let Some((wanted, most)) = callee.wanted()
    {
        match search(transport, plan.call.callee, wanted, most).await {
            Found::Block(block) => {
                if let Some(reply) = C::found(block) {
                    return Outcome::Replied(reply);
                }
            }
            // All attempts came to the ledger before the calls of the search, or never will.
            Found::Absent => tries.is_in_doubt = false,
            Found::CantTell => {}
        }
    }
    match (tries.is_in_doubt, then) {
        (true, Then::Over) => Outcome::StillUnknown { until: None, last },
        (true, _) => Outcome::StillUnknown {
            until: limit.until(transport.now()),
            last,
        },
        (false, Then::Again) => Outcome::NotExecuted(last),
        (false, Then::Stop | Then::Over) => Outcome::Rejected(last),
    }
}
