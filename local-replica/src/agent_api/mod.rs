//! The Internet Computer's own interface, which agents speak: signed requests in CBOR, answered with certificates. HTTP is
//! the server's.

mod envelope;
mod read_state;
mod signature;
mod wire;

pub use envelope::Signed;

use candid::Principal;
use ic_transport_types::{
    EnvelopeContent, NodeSignature, QueryResponse, RejectCode, RejectResponse, ReplyResponse,
};
use pocket_ic::common::rest::{RawCanisterCall, RawEffectivePrincipal};

use crate::certification::{Ranges, SubnetKeys, Unsigned, cbor};
use crate::errors::{ApiError, Reject};
use crate::management;
use crate::replica::Replica;

/// Whom a request's URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effective {
    /// A canister, and with it the subnet that it is on.
    Canister(Principal),
    /// A subnet.
    Subnet(Principal),
}

impl Effective {
    fn raw(self) -> RawEffectivePrincipal {
        match self {
            Effective::Canister(id) => RawEffectivePrincipal::CanisterId(id.as_slice().to_vec()),
            Effective::Subnet(id) => RawEffectivePrincipal::SubnetId(id.as_slice().to_vec()),
        }
    }
}

/// Which of two generations of routes a request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routes {
    /// `/api/v2`, and calls to `/api/v3`.
    Older,
    /// `/api/v3`, and calls to `/api/v4`.
    Newer,
}

impl Routes {
    /// Where the certificates have the canister ranges.
    fn ranges(self, effective: Effective) -> Ranges {
        match (self, effective) {
            (Routes::Older, _) => Ranges::Flat,
            (Routes::Newer, Effective::Canister(id)) if id != Principal::management_canister() => {
                Ranges::Sharded
            }
            (Routes::Newer, _) => Ranges::LeftOut,
        }
    }
}

/// What became of a call at its submission.
pub type Submitted = Result<(), Reject>;

impl Replica {
    /// Takes a signed call. One that was taken before isn't executed again.
    pub fn take_call(
        &mut self,
        request: Signed,
        effective: Effective,
    ) -> Result<Submitted, ApiError> {
        request.check_expiry(self.time_ns)?;
        let EnvelopeContent::Call {
            ingress_expiry,
            sender,
            canister_id,
            method_name,
            arg,
            sender_info,
            nonce: _,
        } = request.content
        else {
            return Err(ApiError::bad_request("Expected a request of type `call`"));
        };
        refuse_sender_info(sender_info.is_some())?;
        check_effective(effective, canister_id, &method_name, &arg)?;
        let call = RawCanisterCall {
            sender: sender.as_slice().to_vec(),
            canister_id: canister_id.as_slice().to_vec(),
            effective_principal: effective.raw(),
            method: method_name,
            payload: arg,
            sender_info: None,
        };
        self.submit_signed(request.id.to_vec(), ingress_expiry, call)
    }

    /// The certificate that answers a call, once it has an answer.
    pub fn answer_certificate(
        &self,
        effective: Effective,
        routes: Routes,
        id: &[u8],
    ) -> Result<Option<Unsigned>, ApiError> {
        if !self
            .request_status(id)
            .is_some_and(|status| status.is_final())
        {
            return Ok(None);
        }
        let subnet = self.subnet_of(effective)?;
        let path = [b"request_status".as_slice(), id];
        self.certificate(subnet, &[path], routes.ranges(effective))
            .map(Some)
    }

    /// Executes a signed query. Its answer, in CBOR, has the node's signature.
    pub fn answer_query(
        &mut self,
        request: Signed,
        effective: Effective,
        routes: Routes,
    ) -> Result<Vec<u8>, ApiError> {
        if !request.is_anonymous() {
            request.check_expiry(self.time_ns)?;
        }
        let EnvelopeContent::Query {
            sender,
            canister_id,
            method_name,
            arg,
            sender_info,
            ingress_expiry: _,
            nonce: _,
        } = request.content
        else {
            return Err(ApiError::bad_request("Expected a request of type `query`"));
        };
        refuse_sender_info(sender_info.is_some())?;
        check_effective(effective, canister_id, &method_name, &arg)?;
        let subnet = self.subnet_of(effective)?;
        let call = RawCanisterCall {
            sender: sender.as_slice().to_vec(),
            canister_id: canister_id.as_slice().to_vec(),
            effective_principal: effective.raw(),
            method: method_name,
            payload: arg,
            sender_info: None,
        };
        let mut response = match self.query_with(call, routes.ranges(effective))? {
            Ok(arg) => QueryResponse::Replied {
                reply: ReplyResponse { arg },
                signatures: Vec::new(),
            },
            Err(reject) => QueryResponse::Rejected {
                reject: to_transport(&reject),
                signatures: Vec::new(),
            },
        };
        let keys = self.topology.by_id(subnet).map(|subnet| subnet.keys());
        let keys = keys.ok_or_else(|| ApiError::subnet_not_found(subnet))?;
        let signature = node_signature(keys, &response, request.id, self.round_time_ns);
        let (QueryResponse::Replied { signatures, .. }
        | QueryResponse::Rejected { signatures, .. }) = &mut response;
        signatures.push(signature);
        Ok(cbor(&response))
    }

    fn subnet_of(&self, effective: Effective) -> Result<Principal, ApiError> {
        let subnet = match effective {
            Effective::Subnet(id) => self
                .topology
                .by_id(id)
                .ok_or_else(|| ApiError::subnet_not_found(id))?,
            // Where calls to it go that don't say where else.
            Effective::Canister(id) if id == Principal::management_canister() => {
                self.topology.default_subnet()
            }
            Effective::Canister(id) => self.topology.of_canister(id).ok_or_else(|| {
                ApiError::bad_request(format!("Canister {id} does not belong to any subnet."))
            })?,
        };
        Ok(subnet.id)
    }
}

fn node_signature(
    keys: &SubnetKeys,
    response: &QueryResponse,
    id: ic_transport_types::RequestId,
    timestamp: u64,
) -> NodeSignature {
    NodeSignature {
        timestamp,
        signature: keys.sign_as_node(&response.signable(id, timestamp)),
        identity: keys.node_id(),
    }
}

/// A reject as agents get it without a certificate.
pub fn to_transport(reject: &Reject) -> RejectResponse {
    RejectResponse {
        // Users never see another code: the sixth says that a canister stopped waiting.
        reject_code: RejectCode::try_from(reject.code() as u64)
            .unwrap_or(RejectCode::CanisterError),
        reject_message: reject.message.clone(),
        error_code: Some(reject.error.to_string()),
    }
}

fn refuse_sender_info(present: bool) -> Result<(), ApiError> {
    if present {
        return Err(ApiError::unsupported("calls with sender info"));
    }
    Ok(())
}

/// A request for one canister is of no use with the URL of another.
fn check_effective(
    effective: Effective,
    canister: Principal,
    method: &str,
    arg: &[u8],
) -> Result<(), ApiError> {
    let named = if canister != Principal::management_canister() {
        Some(canister)
    } else if method == management::PROVISIONAL_CREATE {
        None
    } else {
        management::target(method, arg).unwrap_or_default()
    };
    match (effective, named) {
        (_, None) => Ok(()),
        (Effective::Canister(id), Some(named)) if id == named => Ok(()),
        (Effective::Canister(id) | Effective::Subnet(id), Some(named)) => {
            Err(ApiError::bad_request(format!(
                "Specified CanisterId {named} does not match effective canister id in URL {id}"
            )))
        }
    }
}
