//! Where faults meet the replica.

use candid::Principal;
use pocket_ic::ErrorCode;

use super::{AnswerFault, Ending, Fault, MessageFault};
use crate::call_context::{Origin, Response};
use crate::canister::{Canister, Input, Status};
use crate::errors::Reject;
use crate::replica::Replica;

/// Whose messages keep their order among each other.
#[derive(PartialEq, Eq)]
enum Sender {
    Canister(Principal),
    /// Each message of a user on its own, and each answer.
    Unordered,
    /// Heartbeat and timer have their place at the start of a round.
    System,
}

impl Replica {
    /// At the start of a round: faults that last come to their end.
    pub(crate) fn end_faults(&mut self) {
        self.faults.round += 1;
        let round = self.faults.round;
        let due: Vec<(u64, Ending)> = self
            .faults
            .pending
            .extract_if(.., |(until, _)| *until <= round)
            .collect();
        for (_, ending) in due {
            match ending {
                Ending::Start(id) => self.start_again(id),
                Ending::Refill(id, cycles) => {
                    if let Ok(canister) = self.canister(id) {
                        canister.cycles = canister.cycles.saturating_add(cycles);
                    }
                }
                Ending::Deliver(id, response) => self.queue_response(id, response),
            }
        }
    }

    /// Faults right before a canister takes the next message from its queue.
    pub(crate) fn disturb_message(&mut self, id: Principal) {
        let cleanup = false;
        let (number, faults) = self.faults.message(id, cleanup);
        for what in faults {
            if what.trap().is_some() {
                self.faults.armed = Some((number, what));
                continue;
            }
            let done = self.disturb(id, what);
            self.record(id, number, what, done);
        }
    }

    /// Faults in the cleanup that follows a trapped callback.
    pub(crate) fn disturb_cleanup(&mut self, id: Principal) {
        self.faults.message_over(id);
        let cleanup = true;
        let (number, faults) = self.faults.message(id, cleanup);
        for what in faults {
            if what.trap().is_some() {
                self.faults.armed = Some((number, what));
            } else {
                let reason = "a cleanup follows its callback at once".to_owned();
                self.record(id, number, what, Err(reason));
            }
        }
    }

    /// What becomes of an answer on its way into a canister's queue.
    pub(crate) fn disturb_answer(
        &mut self,
        id: Principal,
        mut response: Response,
    ) -> Option<Response> {
        let callback = self.canisters.get(&id)?.calls.callback(response.callback)?;
        let best_effort = callback.deadline_ns != 0;
        let callee = callback.callee;
        let ran = match &response.result {
            Ok(_) => true,
            Err(reject) => matches!(reject.code() as u64, 4 | 5),
        };
        let Some((number, what)) = self.faults.answer(id, best_effort, ran) else {
            return Some(response);
        };
        let fault = Fault::Answer {
            canister: id,
            number,
            what,
        };
        match what {
            AnswerFault::Lose if !best_effort => {
                let reason = "the answer to a guaranteed-response call always arrives";
                self.faults.refuse(fault, reason);
                return Some(response);
            }
            AnswerFault::Reject { .. } if !ran => {
                let reason = "the callee didn't run, and the caller's code says so";
                self.faults.refuse(fault, reason);
                return Some(response);
            }
            AnswerFault::Delay { rounds } => {
                self.faults.apply(fault);
                self.faults.later(rounds, Ending::Deliver(id, response));
                return None;
            }
            AnswerFault::Lose => {
                response.refund = 0;
                response.result = Err(Reject::plain(
                    ErrorCode::ResponseDropped,
                    "Response was dropped: injected by local-replica",
                ));
            }
            AnswerFault::Reject { code: 4 } => {
                response.result = Err(Reject::plain(
                    ErrorCode::CanisterRejectedMessage,
                    "injected by local-replica",
                ));
            }
            AnswerFault::Reject { .. } => {
                response.result = Err(Reject::new(
                    ErrorCode::CanisterTrapped,
                    format!(
                        "Error from Canister {callee}: Canister trapped: injected by local-replica"
                    ),
                ));
            }
        }
        self.faults.apply(fault);
        Some(response)
    }

    fn record(
        &mut self,
        canister: Principal,
        number: u64,
        what: MessageFault,
        done: Result<(), String>,
    ) {
        let fault = Fault::Message {
            canister,
            number,
            what,
        };
        match done {
            Ok(()) => self.faults.apply(fault),
            Err(reason) => self.faults.refuse(fault, &reason),
        }
    }

    /// Does it, or answers why it can't be done.
    fn disturb(&mut self, id: Principal, what: MessageFault) -> Result<(), String> {
        match what {
            MessageFault::Clock { ns } => {
                self.time_ns = self.time_ns.saturating_add(ns);
                Ok(())
            }
            MessageFault::Upgrade => self
                .upgrade_to_same_code(id)
                .map_err(|reject| reject.message),
            MessageFault::UpgradeTrap { hook, instruction } => self
                .fail_to_upgrade(id, hook, instruction)
                .map_err(|reject| reject.message),
            MessageFault::Overtake => {
                let canister = self.canister(id).map_err(|reject| reject.message)?;
                overtake(canister)
            }
            MessageFault::Stop { rounds } => {
                let canister = self.canister(id).map_err(|reject| reject.message)?;
                if canister.status != Status::Running {
                    return Err("the canister isn't running".to_owned());
                }
                canister.status = Status::Stopping(Vec::new());
                canister.version += 1;
                self.faults.later(rounds, Ending::Start(id));
                Ok(())
            }
            MessageFault::OutOfCycles { rounds } => {
                let canister = self.canister(id).map_err(|reject| reject.message)?;
                if canister.free {
                    return Err("nothing costs cycles on this subnet".to_owned());
                }
                let taken = canister.cycles.saturating_sub(canister.freezing_limit());
                canister.cycles -= taken;
                self.faults.later(rounds, Ending::Refill(id, taken));
                Ok(())
            }
            // Traps are armed, and happen inside of the message.
            MessageFault::TrapAtCall(_) | MessageFault::TrapAtInstruction(_) => Ok(()),
        }
    }

    /// Unless someone else has asked for the stop meanwhile.
    fn start_again(&mut self, id: Principal) {
        let Ok(canister) = self.canister(id) else {
            return;
        };
        let ours = match &canister.status {
            Status::Running => false,
            Status::Stopping(waiting) => waiting.is_empty(),
            Status::Stopped => true,
        };
        if ours {
            canister.status = Status::Running;
            canister.version += 1;
        }
    }
}

/// Moves the first message that may overtake the next one to the front.
fn overtake(canister: &mut Canister) -> Result<(), String> {
    let senders: Vec<Sender> = canister.inputs.iter().map(sender).collect();
    let free_to_go = |&place: &usize| match &senders[place] {
        Sender::System => false,
        Sender::Unordered => true,
        sender => !senders[..place].contains(sender),
    };
    let place = match senders.first() {
        None | Some(Sender::System) => None,
        Some(_) => (1..senders.len()).find(free_to_go),
    };
    let Some(input) = place.and_then(|place| canister.inputs.remove(place)) else {
        return Err("no message that may go first is waiting".to_owned());
    };
    canister.inputs.push_front(input);
    Ok(())
}

fn sender(input: &Input) -> Sender {
    match input {
        Input::Request(request) => match request.origin {
            Origin::Ingress(_) => Sender::Unordered,
            Origin::Canister { id, .. } => Sender::Canister(id),
            Origin::System => Sender::System,
        },
        Input::Response(_) => Sender::Unordered,
        Input::Heartbeat | Input::GlobalTimer => Sender::System,
    }
}
