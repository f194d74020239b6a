//! Calls from outside: ingress messages with their status, and queries.

use std::collections::BTreeMap;

use candid::Principal;
use pocket_ic::ErrorCode;
use pocket_ic::common::rest::{RawCanisterCall, RawEffectivePrincipal};
use sha2::{Digest, Sha256};

use crate::call_context::{Origin, Request};
use crate::composite::{QueryCall, QueryTree};
use crate::cycles::{self, limit};
use crate::engine::Entry;
use crate::errors::{ApiError, Reject};
use crate::execution::Input;
use crate::management::{self, SubnetRequest};
use crate::replica::Replica;

/// Rounds that awaiting an ingress message executes at most.
const AWAIT_ROUNDS: usize = 100;
/// The IC's limit for the payload of a message.
const MAX_PAYLOAD: usize = 2 << 20;

/// All ingress messages ever submitted to the instance.
#[derive(Debug, Default)]
pub struct IngressHistory {
    messages: BTreeMap<Vec<u8>, Ingress>,
    pending: Vec<SubnetRequest>,
    submitted: u64,
}

#[derive(Debug)]
struct Ingress {
    sender: Principal,
    receiver: Principal,
    /// Answered, but the answer is never to be had.
    lost: bool,
    result: Option<Result<Vec<u8>, Reject>>,
}

impl IngressHistory {
    /// Records the answer of a message.
    pub fn complete(&mut self, id: Vec<u8>, result: Result<Vec<u8>, Reject>) {
        if let Some(message) = self.messages.get_mut(&id) {
            message.result = Some(result);
        }
    }

    /// The message's answer: `None` for an unknown message, `Some(None)` for one not yet answered.
    pub fn result(&self, id: &[u8]) -> Option<Option<Result<Vec<u8>, Reject>>> {
        self.messages.get(id).map(|message| message.result.clone())
    }

    /// Who sent a message.
    pub fn sender(&self, id: &[u8]) -> Option<Principal> {
        self.messages.get(id).map(|message| message.sender)
    }

    /// Whom a message is for.
    pub fn receiver(&self, id: &[u8]) -> Option<Principal> {
        self.messages.get(id).map(|message| message.receiver)
    }

    /// The message has been answered, but its status will never say so.
    pub fn lose(&mut self, id: &[u8]) {
        if let Some(message) = self.messages.get_mut(id) {
            message.lost = true;
        }
    }

    /// Keeps nothing of a message. It is executed all the same.
    pub fn forget(&mut self, id: &[u8]) {
        self.messages.remove(id);
    }

    /// Nothing is on its way to a canister.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Expects the answer of a message that was brought to its canister by other means.
    pub(crate) fn expect(&mut self, id: Vec<u8>, sender: Principal, receiver: Principal) {
        let message = Ingress {
            sender,
            receiver,
            lost: false,
            result: None,
        };
        self.messages.insert(id, message);
    }

    fn is_lost(&self, id: &[u8]) -> bool {
        self.messages.get(id).is_some_and(|message| message.lost)
    }

    fn submit(
        &mut self,
        sender: Principal,
        receiver: Principal,
        call: &RawCanisterCall,
    ) -> Vec<u8> {
        self.submitted += 1;
        let mut hash = Sha256::new();
        for part in [
            &self.submitted.to_be_bytes()[..],
            &call.sender,
            &call.canister_id,
            call.method.as_bytes(),
            &call.payload,
        ] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let id = hash.finalize().to_vec();
        let message = Ingress {
            sender,
            receiver,
            lost: false,
            result: None,
        };
        self.messages.insert(id.clone(), message);
        id
    }
}

impl Replica {
    /// Checks and queues an ingress message.
    pub fn submit(&mut self, call: RawCanisterCall) -> Result<Result<Vec<u8>, Reject>, ApiError> {
        let (sender, receiver) = parties(&call)?;
        let subnet = self.route(receiver, &call)?;
        let checked = if receiver == Principal::management_canister() {
            self.check_management_ingress(sender, &call.method, &call.payload)?
        } else {
            self.check_ingress(sender, receiver, &call)
        };
        if let Err(reject) = checked {
            return Ok(Err(reject));
        }
        let id = self.ingress.submit(sender, receiver, &call);
        let request = Request {
            origin: Origin::Ingress(id.clone()),
            sender,
            receiver,
            method: call.method,
            payload: call.payload,
            cycles: 0,
            deadline_ns: 0,
        };
        self.ingress.pending.push(SubnetRequest { request, subnet });
        Ok(Ok(id))
    }

    /// Executes rounds until the message is answered.
    pub fn await_ingress(&mut self, id: &[u8]) -> Result<Result<Vec<u8>, Reject>, ApiError> {
        for round in 0..=AWAIT_ROUNDS {
            match self.ingress.result(id) {
                None => return Err(ApiError::bad_request("Unknown ingress message")),
                Some(Some(result)) => return Ok(result),
                Some(None) if self.ingress.is_lost(id) => {
                    return Err(ApiError::bad_request(
                        "The answer of the ingress message is lost: injected by local-replica",
                    ));
                }
                Some(None) if round < AWAIT_ROUNDS => self.round(),
                Some(None) => {}
            }
        }
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Err(ApiError::bad_request(format!(
            "Failed to answer to ingress 0x{id} after {AWAIT_ROUNDS} rounds."
        )))
    }

    /// Brings the submitted messages to their canisters, at the start of a round. As on the IC, in an order of their
    /// ids, which says nothing of when they were submitted.
    pub fn induct_ingress(&mut self) {
        let order = self.order;
        let mut pending = std::mem::take(&mut self.ingress.pending);
        pending.sort_by_cached_key(|message| {
            let id: &[u8] = match &message.request.origin {
                Origin::Ingress(id) => id,
                Origin::Canister { .. } | Origin::System => &[],
            };
            let hash = Sha256::new().chain_update(order.to_be_bytes());
            hash.chain_update(id).finalize()
        });
        for message in pending {
            let request = &message.request;
            let to_management = request.receiver == Principal::management_canister();
            let payer = if to_management {
                // Checked when it was submitted.
                management::target(&request.method, &request.payload).unwrap_or_default()
            } else {
                Some(request.receiver)
            };
            if let Some(canister) = payer.and_then(|payer| self.canisters.get_mut(&payer)) {
                let fee = cycles::ingress(
                    request.sender,
                    request.receiver,
                    &request.method,
                    request.payload.len(),
                );
                canister.charge(fee);
            }
            if to_management {
                self.subnet_inputs.push_back(message);
            } else {
                self.deliver_request(message.request);
            }
        }
    }

    /// A query from outside: runs at once and changes nothing.
    pub fn query(&mut self, call: RawCanisterCall) -> Result<Result<Vec<u8>, Reject>, ApiError> {
        let (sender, receiver) = parties(&call)?;
        self.route(receiver, &call)?;
        if receiver == Principal::management_canister() {
            return self.management_query(sender, &call.method, &call.payload);
        }
        let call = QueryCall {
            sender,
            receiver,
            method: call.method,
            payload: call.payload,
            data_certificate: self.data_certificate(receiver),
        };
        Ok(self.evaluate(call, &mut QueryTree::default()))
    }

    pub(crate) fn check_ingress(
        &mut self,
        sender: Principal,
        receiver: Principal,
        call: &RawCanisterCall,
    ) -> Result<(), Reject> {
        let time_ns = self.round_time_ns;
        let canister = self.canister(receiver)?;
        canister.check_running()?;
        canister.can_pay(cycles::ingress(
            sender,
            receiver,
            &call.method,
            call.payload.len(),
        ))?;
        let module = canister
            .module()
            .ok_or_else(|| Reject::no_wasm_module(receiver))?;
        if !module.has_inspect_message() {
            return Ok(());
        }
        let limit = canister.instruction_limit(limit::INSPECT);
        let input = Input {
            sender,
            method: call.method.clone(),
            payload: call.payload.clone(),
            ..Input::new(Entry::InspectMessage, limit)
        };
        let execution = canister.execute(time_ns, input);
        execution
            .result
            .map_err(|trap| Reject::from_trap(receiver, &trap, limit))?;
        if execution.accepted {
            return Ok(());
        }
        Err(Reject::new(
            ErrorCode::CanisterRejectedMessage,
            "Canister rejected the message",
        ))
    }

    /// The subnet that a call goes to. Where the client doesn't say, the call has to.
    fn route(&self, receiver: Principal, call: &RawCanisterCall) -> Result<Principal, ApiError> {
        let to_management = receiver == Principal::management_canister();
        let creates = to_management && call.method == management::PROVISIONAL_CREATE;
        let canister = match &call.effective_principal {
            RawEffectivePrincipal::SubnetId(bytes) => {
                let id = principal(bytes)?;
                let subnet = self.topology.by_id(id).ok_or_else(|| {
                    ApiError::bad_request(format!("Subnet with ID {id} not found"))
                })?;
                return Ok(subnet.id);
            }
            RawEffectivePrincipal::CanisterId(bytes) => Some(principal(bytes)?),
            RawEffectivePrincipal::None if creates => management::specified_id(&call.payload)?,
            RawEffectivePrincipal::None if to_management => {
                Some(management::canister_id(&call.payload)?)
            }
            RawEffectivePrincipal::None => Some(receiver),
        };
        let Some(canister) = canister else {
            return Ok(self.topology.default_subnet().id);
        };
        match self.topology.of_canister(canister) {
            Some(subnet) => Ok(subnet.id),
            None if creates && canister == Principal::management_canister() => {
                Ok(self.topology.default_subnet().id)
            }
            None if creates => Err(ApiError::unsupported(
                "a new subnet for a chosen canister id",
            )),
            None => Err(ApiError::bad_request(format!(
                "Canister {canister} does not belong to any subnet."
            ))),
        }
    }
}

/// A principal in a request body.
pub fn principal(bytes: &[u8]) -> Result<Principal, ApiError> {
    Principal::try_from_slice(bytes)
        .map_err(|error| ApiError::bad_request(format!("Invalid principal: {error}")))
}

fn parties(call: &RawCanisterCall) -> Result<(Principal, Principal), ApiError> {
    if call.sender_info.is_some() {
        return Err(ApiError::unsupported("calls with sender info"));
    }
    if call.payload.len() > MAX_PAYLOAD {
        return Err(ApiError::bad_request(format!(
            "Request is too big: the payload has {} bytes, at most {MAX_PAYLOAD} are allowed",
            call.payload.len()
        )));
    }
    Ok((principal(&call.sender)?, principal(&call.canister_id)?))
}
