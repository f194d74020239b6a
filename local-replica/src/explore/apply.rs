//! Taking a step.

use std::sync::Arc;

use candid::Principal;
use pocket_ic::ErrorCode;
use pocket_ic::common::rest::{RawCanisterCall, RawEffectivePrincipal};

use super::Error;
use super::enabled::{Place, place};
use super::schedule::{FaultKind, Step};
use super::spec::Spec;
use super::state::Client;
use super::world::{World, message_id};
use crate::call_context::{Origin, Request, Response};
use crate::canister::{Input, Status};
use crate::cycles;
use crate::engine::Entry;
use crate::errors::Reject;
use crate::faults::Hook;
use crate::in_process::CanisterInstallMode;
use crate::management::{NewCode, empty_reply};

impl World {
    /// Takes a step that the state allows.
    pub(super) fn apply(&mut self, step: &Step, spec: &Spec) -> Result<(), Error> {
        self.host.replica.faults.trap_next(
            matches!(
                step.fault(),
                Some(FaultKind::Trap | FaultKind::TimerTrap | FaultKind::CleanupTrap)
            ),
            step.fault() == Some(FaultKind::CleanupTrap),
        );
        match step {
            Step::Message { message, fault } => self.message(*message, *fault, spec)?,
            Step::Request {
                from,
                to,
                place,
                fault,
            } => self.request((*from, *to), *place, *fault)?,
            Step::Response { to, call, .. } => self.response(*to, *call)?,
            Step::Timer { canister, .. } => self.timer(*canister)?,
            Step::Time => {
                let next = self.state.next_time().ok_or_else(impossible)?;
                self.state.time_left = self.state.time_left.saturating_sub(1);
                self.pass_time(next);
            }
            Step::Clock { ns } => self.pass_time(self.state.time_ns.saturating_add(*ns)),
            Step::LoseAnswer { caller, call } => self.lose_answer(*caller, *call)?,
            Step::Start { canister } => {
                self.state.stopped.remove(canister);
                let canister = self.host.replica.canister(*canister)?;
                canister.status = Status::Running;
                canister.version += 1;
            }
            Step::Stop { canister } => {
                self.state.stopped.insert(*canister);
                let canister = self.host.replica.canister(*canister)?;
                canister.status = Status::Stopping(Vec::new());
                canister.version += 1;
            }
            Step::Refill { canister } => {
                let cycles = self.state.drained.remove(canister).unwrap_or_default();
                let canister = self.host.replica.canister(*canister)?;
                canister.cycles = canister.cycles.saturating_add(cycles);
            }
            // They are taken when the state is saved.
            Step::OutOfCycles { canister } => {
                self.state.drained.insert(*canister, 0);
            }
            Step::Uninstall { canister } => self.uninstall(*canister)?,
            Step::Upgrade {
                canister,
                module,
                trap,
            } => self.upgrade(*canister, *module, *trap, spec)?,
        }
        let touched = match place(step, spec) {
            Place::Canister(id) => Some(id),
            Place::Everywhere => None,
        };
        self.settle(touched)
    }

    fn message(
        &mut self,
        number: usize,
        fault: Option<FaultKind>,
        spec: &Spec,
    ) -> Result<(), Error> {
        let message = spec.messages.get(number).ok_or_else(impossible)?;
        let client = &mut self.state.clients[number];
        *client = match fault {
            Some(FaultKind::LoseRequest | FaultKind::LoseAnswer) => Client::Lost,
            _ => Client::Sent,
        };
        if fault == Some(FaultKind::LoseRequest) {
            return Ok(());
        }
        let (sender, canister) = (message.sender, message.canister);
        let call = RawCanisterCall {
            sender: sender.as_slice().to_vec(),
            canister_id: canister.as_slice().to_vec(),
            effective_principal: RawEffectivePrincipal::None,
            method: message.method.clone(),
            payload: message.payload.clone(),
            sender_info: None,
        };
        let replica = &mut self.host.replica;
        if let Err(reject) = replica.check_ingress(sender, canister, &call) {
            if *client == Client::Sent {
                *client = Client::Answered(Arc::new(Err(reject)));
            }
            return Ok(());
        }
        let length = message.payload.len();
        let fee = cycles::ingress(sender, canister, &message.method, length);
        replica.canister(canister)?.charge(fee);
        let id = message_id(number);
        if *client == Client::Sent {
            replica.ingress.expect(id.clone(), sender, canister);
        }
        replica.disturb_message(canister);
        replica.execute_request(Request {
            origin: Origin::Ingress(id),
            sender,
            receiver: canister,
            method: call.method,
            payload: call.payload,
            cycles: 0,
            deadline_ns: 0,
        });
        replica.faults.message_over(canister);
        Ok(())
    }

    fn request(
        &mut self,
        pair: (Principal, Principal),
        place: usize,
        fault: Option<FaultKind>,
    ) -> Result<(), Error> {
        let waiting = self.state.requests.get_mut(&pair);
        let waiting = waiting.ok_or_else(impossible)?;
        let request = waiting.remove(place).ok_or_else(impossible)?;
        if waiting.is_empty() {
            self.state.requests.remove(&pair);
        }
        let request = Arc::unwrap_or_clone(request);
        let replica = &mut self.host.replica;
        match fault {
            Some(FaultKind::Refuse) => {
                let text = "injected by local-replica";
                let reject = Reject::plain(ErrorCode::CanisterQueueFull, text);
                replica.respond(request.origin, Err(reject), request.cycles);
            }
            Some(FaultKind::LoseRequest) => {
                replica.respond(request.origin, Err(dropped()), request.cycles);
            }
            _ => {
                let receiver = request.receiver;
                replica.deliver_request(request);
                if receiver == Principal::management_canister() {
                    replica.execute_subnet_inputs();
                    replica.answer_raw_rand();
                } else {
                    self.execute_next(receiver);
                }
            }
        }
        Ok(())
    }

    fn response(&mut self, to: Principal, call: usize) -> Result<(), Error> {
        let (callback, _) = self.state.callback(to, call).ok_or_else(impossible)?;
        let response = self.state.responses.remove(&(to, callback));
        let response = Arc::unwrap_or_clone(response.ok_or_else(impossible)?);
        let canister = self.host.replica.canister(to)?;
        let bytes = match &response.result {
            Ok(reply) => reply.len(),
            Err(reject) => reject.for_canister().1.len(),
        };
        canister.charge(cycles::response(bytes));
        canister.inputs.push_back(Input::Response(response));
        self.execute_next(to);
        Ok(())
    }

    fn timer(&mut self, id: Principal) -> Result<(), Error> {
        let canister = self.host.replica.canister(id)?;
        // One-shot: off before it runs, so that it can set itself again.
        canister.global_timer = 0;
        canister.inputs.push_back(Input::GlobalTimer);
        self.execute_next(id);
        Ok(())
    }

    /// Executes what was just put into a canister's queue; nothing else is in it.
    fn execute_next(&mut self, id: Principal) {
        let replica = &mut self.host.replica;
        replica.disturb_message(id);
        let canister = replica.canisters.get_mut(&id);
        match canister.and_then(|canister| canister.inputs.pop_front()) {
            Some(Input::Request(request)) => replica.execute_request(request),
            Some(Input::Response(response)) => replica.execute_response(id, response),
            Some(Input::GlobalTimer) => replica.execute_task(id, Entry::GlobalTimer),
            // A call that nobody took has been answered.
            Some(Input::Heartbeat) | None => 0,
        };
        replica.faults.message_over(id);
    }

    fn lose_answer(&mut self, caller: Principal, call: usize) -> Result<(), Error> {
        let (id, callback) = self.state.callback(caller, call).ok_or_else(impossible)?;
        if callback.deadline_ns == 0 || callback.expired {
            return Err(impossible());
        }
        let canister = self.host.replica.canister(caller)?;
        canister.calls.give_up(id);
        let response = Response {
            callback: id,
            result: Err(dropped()),
            refund: 0,
        };
        self.state
            .responses
            .insert((caller, id), Arc::new(response));
        Ok(())
    }

    fn uninstall(&mut self, id: Principal) -> Result<(), Error> {
        if let Some(code) = self.host.replica.canister(id)?.code.take() {
            self.spares.put(code.instance);
        }
        Ok(self.host.replica.uninstall(id)?)
    }

    /// An upgrade that fails, because of the trap or by itself, leaves everything as it was.
    fn upgrade(
        &mut self,
        id: Principal,
        module: usize,
        trap: Option<Hook>,
        spec: &Spec,
    ) -> Result<(), Error> {
        let canister = self.host.replica.canister(id)?;
        let code = canister.code.as_ref().ok_or_else(impossible)?;
        let target = spec.upgrade(id, module);
        let module = target.map_or(code.instance.module(), |target| &target.module);
        let module = module.clone();
        let new = NewCode {
            instance: Some(self.spares.fresh(&module)?),
            module,
            wasm_len: target.map_or(code.wasm_len, |target| target.wasm_len),
            mode: CanisterInstallMode::Upgrade(None),
            arg: target.map_or_else(empty_reply, |target| target.arg.clone()),
        };
        let trap = trap.map(|hook| (Entry::from(hook), 0));
        if let Ok((_, Some(removed))) = self.host.replica.upgrade_canister(id, new, trap) {
            self.spares.put(removed.instance);
        }
        Ok(())
    }

    fn pass_time(&mut self, time_ns: u64) {
        let replica = &mut self.host.replica;
        replica.time_ns = time_ns;
        replica.round_time_ns = time_ns;
        replica.expire_calls();
        for canister in replica.canisters.values_mut() {
            canister.charge_storage(time_ns);
            canister.forgive_installations();
        }
    }
}

/// The state doesn't have what the step works on.
fn impossible() -> Error {
    Error::Impossible("the state doesn't allow this step".to_owned())
}

/// What the caller of a best-effort call is told.
fn dropped() -> Reject {
    Reject::plain(
        ErrorCode::ResponseDropped,
        "Response was dropped: injected by local-replica",
    )
}
