//! Calls on their way, and what comes of them.

use std::fmt::Debug;

use local_replica::errors::Reject;
use local_replica::in_process::{InProcess, MessageId};
use pocket_ic::ErrorCode;

/// A call on its way.
pub(crate) trait Call: Debug {
    fn message(&self) -> &MessageId;

    /// Before this round it is waited for.
    fn patience(&self) -> u64;
}

/// What a call is answered with.
pub(crate) type Answered = Result<Vec<u8>, Reject>;

/// The answers that have come by a round, and how many calls are given up. Those that are still waited for stay.
pub(crate) fn answers<C: Call>(
    host: &mut InProcess,
    round: u64,
    sent: &mut Vec<C>,
) -> (Vec<(C, Answered)>, u64) {
    let (mut answers, mut given_up) = (vec![], 0);
    for call in std::mem::take(sent) {
        match host.take_answer(call.message()) {
            Some(answer) => answers.push((call, answer)),
            None if round < call.patience() => sent.push(call),
            None => {
                host.forget(call.message());
                given_up += 1;
            }
        }
    }
    (answers, given_up)
}

/// Whether a fault, or what it did to the canister, is reason enough for a reject.
pub(crate) fn is_by_fault(reject: &Reject) -> bool {
    matches!(
        reject.error,
        ErrorCode::CanisterStopping | ErrorCode::CanisterStopped | ErrorCode::CanisterOutOfCycles
    ) || reject.message.contains("injected by local-replica")
}

/// A reject that no fault explains is a bug of someone's.
pub(crate) fn unless_explained(
    is_explained: bool,
    call: &impl Call,
    reject: &Reject,
) -> Result<(), String> {
    match is_explained {
        true => Ok(()),
        false => Err(format!(
            "{call:?} is rejected without a fault: {}",
            reject.message
        )),
    }
}
