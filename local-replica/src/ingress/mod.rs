//! Calls from outside: ingress messages with their status, and queries.

mod history;

pub use history::{IngressHistory, RequestStatus};

use candid::Principal;
use pocket_ic::ErrorCode;
use pocket_ic::common::rest::{RawCanisterCall, RawEffectivePrincipal};
use sha2::{Digest, Sha256};

use crate::call_context::{Origin, Request};
use crate::certification::Ranges;
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

/// Sender and receiver, and the subnet.
type Admitted = ((Principal, Principal), Principal);

impl Replica {
    /// Checks and queues an ingress message.
    pub fn submit(&mut self, call: RawCanisterCall) -> Result<Result<Vec<u8>, Reject>, ApiError> {
        let (parties, subnet) = match self.admit(&call)? {
            Ok(admitted) => admitted,
            Err(reject) => return Ok(Err(reject)),
        };
        let id = self.ingress.new_id(&call);
        self.enqueue(id.clone(), parties, subnet, call);
        Ok(Ok(id))
    }

    /// Checks and queues an ingress message that came signed, with its request id. One that is known already isn't executed
    /// again. Whether it is its sender's, and not yet expired, is for the caller to check.
    pub fn submit_signed(
        &mut self,
        id: Vec<u8>,
        expiry_ns: u64,
        call: RawCanisterCall,
    ) -> Result<Result<(), Reject>, ApiError> {
        if self.ingress.has_signed(&id) {
            return Ok(Ok(()));
        }
        let (parties, subnet) = match self.admit(&call)? {
            Ok(admitted) => admitted,
            Err(reject) => return Ok(Err(reject)),
        };
        self.ingress.sign(id.clone(), subnet, expiry_ns);
        self.enqueue(id, parties, subnet, call);
        Ok(Ok(()))
    }

    /// The status of a message that came signed; `None` where it is unknown.
    pub fn request_status(&self, id: &[u8]) -> Option<RequestStatus> {
        let is_it = |origin: &Origin| matches!(origin, Origin::Ingress(it) if it == id);
        self.ingress.status(id, |receiver| {
            let mut to_management = self.subnet_inputs.iter();
            let queue = self.canisters.get(&receiver).map(|it| &it.inputs);
            to_management.any(|input| is_it(&input.request.origin))
                || queue.into_iter().flatten().any(|input| match input {
                    crate::canister::Input::Request(request) => is_it(&request.origin),
                    _ => false,
                })
        })
    }

    /// Sender, receiver and subnet of a message that is let in.
    fn admit(&mut self, call: &RawCanisterCall) -> Result<Result<Admitted, Reject>, ApiError> {
        let (sender, receiver) = parties(call)?;
        let subnet = self.route(receiver, call)?;
        let checked = if receiver == Principal::management_canister() {
            self.check_management_ingress(sender, &call.method, &call.payload)?
        } else {
            self.check_ingress(sender, receiver, call)
        };
        Ok(checked.map(|()| ((sender, receiver), subnet)))
    }

    fn enqueue(
        &mut self,
        id: Vec<u8>,
        (sender, receiver): (Principal, Principal),
        subnet: Principal,
        call: RawCanisterCall,
    ) {
        self.ingress.expect(id.clone(), sender, receiver);
        let request = Request {
            origin: Origin::Ingress(id),
            sender,
            receiver,
            method: call.method,
            payload: call.payload,
            cycles: 0,
            deadline_ns: 0,
        };
        self.ingress.pending.push(SubnetRequest { request, subnet });
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
        self.ingress.prune(self.time_ns);
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
            if let Origin::Ingress(id) = &request.origin
                && !self.ingress.induct(id, self.time_ns)
            {
                continue;
            }
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
        self.query_with(call, Ranges::Flat)
    }

    /// A query whose data certificate has the canister ranges in a certain place.
    pub(crate) fn query_with(
        &mut self,
        call: RawCanisterCall,
        ranges: Ranges,
    ) -> Result<Result<Vec<u8>, Reject>, ApiError> {
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
            data_certificate: self.data_certificate(receiver, ranges),
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
                let subnet = self
                    .topology
                    .by_id(id)
                    .ok_or_else(|| ApiError::subnet_not_found(id))?;
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
