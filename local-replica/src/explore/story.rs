//! Steps in words.

use super::schedule::{FaultKind, Step};
use super::spec::Spec;
use super::state::State;
use crate::faults::Hook;

/// What a step means in the state that it is taken in.
pub(super) fn tell(step: &Step, state: &State, spec: &Spec) -> String {
    let name = |id| spec.name(id);
    let fault = match step.fault() {
        Some(FaultKind::Trap | FaultKind::TimerTrap) => ", and traps",
        Some(FaultKind::CleanupTrap) => ", and traps, and so does its cleanup",
        Some(FaultKind::Refuse) => ", is not executed, and the caller is told SYS_TRANSIENT",
        Some(FaultKind::LoseRequest) => ", is not executed, and nobody knows",
        Some(FaultKind::LoseAnswer) => ", and its answer is lost",
        _ => "",
    };
    match step {
        Step::Message { message, .. } => match spec.messages.get(*message) {
            Some(it) => {
                let canister = name(it.canister);
                format!(
                    "message {message}, `{}`, reaches {canister}{fault}",
                    it.method
                )
            }
            None => format!("message {message}, which doesn't exist"),
        },
        Step::Request {
            from, to, place, ..
        } => {
            let waiting = state.requests.get(&(*from, *to));
            let request = waiting.and_then(|waiting| waiting.get(*place));
            let method = request.map_or("", |request| &request.method);
            let (from, to) = (name(*from), name(*to));
            match place {
                0 => format!("{from}'s call of `{method}` reaches {to}{fault}"),
                _ => format!(
                    "{from}'s call of `{method}`, behind {place} others, reaches {to}{fault}"
                ),
            }
        }
        Step::Response { to, call, .. } => {
            let Some((id, callback)) = state.callback(*to, *call) else {
                return format!("an answer that {} doesn't wait for", name(*to));
            };
            let response = state.responses.get(&(*to, id));
            let what = match response.map(|response| &response.result) {
                Some(Ok(_)) => "reply".to_owned(),
                Some(Err(reject)) => format!("reject ({:?})", reject.code()),
                None => "answer, not there yet,".to_owned(),
            };
            let (callee, to) = (name(callback.callee), name(*to));
            format!("the {what} from {callee} reaches {to}'s call {call}{fault}")
        }
        Step::Timer { canister, .. } => format!("the timer of {} fires{fault}", name(*canister)),
        Step::Time => {
            let passes = state.next_time().unwrap_or(state.time_ns) - state.time_ns;
            let passes = std::time::Duration::from_nanos(passes);
            format!("{passes:?} pass until the next timer or deadline")
        }
        Step::Start { canister } => format!("{} is started again", name(*canister)),
        Step::Refill { canister } => format!("{} gets its cycles back", name(*canister)),
        Step::LoseAnswer { caller, call } => {
            let callback = state.callback(*caller, *call);
            let callee = callback.map_or_else(String::new, |(_, it)| name(it.callee));
            let caller = name(*caller);
            format!(
                "the answer to {caller}'s call {call} of {callee} is lost: SYS_UNKNOWN is on its way"
            )
        }
        Step::Upgrade {
            canister,
            module,
            trap,
        } => {
            let to = match module {
                0 => "to its own module".to_owned(),
                _ => format!("to module {module}"),
            };
            let trap = match trap {
                None => "",
                Some(Hook::PreUpgrade) => ", but pre_upgrade traps",
                Some(Hook::Start) => ", but the start function traps",
                Some(Hook::PostUpgrade) => ", but post_upgrade traps",
            };
            format!("{} is upgraded {to}{trap}", name(*canister))
        }
        Step::Stop { canister } => format!("{} is stopped", name(*canister)),
        Step::Uninstall { canister } => format!("{} is uninstalled", name(*canister)),
        Step::OutOfCycles { canister } => format!("{} is out of cycles", name(*canister)),
        Step::Clock { ns } => format!("{:?} pass", std::time::Duration::from_nanos(*ns)),
    }
}
