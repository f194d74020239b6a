//! HTTPS outcalls: never performed, but listed for the test to answer.

use std::collections::BTreeMap;

use candid::{Nat, Principal};
use ic_management_canister_types::{
    HttpHeader, HttpMethod, HttpRequestArgs, HttpRequestResult, TransformArgs,
};
use pocket_ic::ErrorCode;
use pocket_ic::common::rest::{
    CanisterHttpHeader, CanisterHttpMethod, CanisterHttpPricingVersion, CanisterHttpReplication,
    CanisterHttpReply, CanisterHttpResponse, RawCanisterHttpRequest, RawMockCanisterHttpResponse,
};

use crate::call_context::Request;
use crate::composite::{QueryCall, QueryTree};
use crate::cycles;
use crate::errors::{ApiError, Reject};
use crate::management;
use crate::replica::Replica;

/// What a response may have where the request sets no limit.
const MAX_RESPONSE_BYTES: u64 = 2_000_000;
const LEGACY_PRICING: u32 = 1;
const TIMEOUT_NS: u64 = 60_000_000_000;
/// Nodes truncate their reject messages to this.
const MAX_REJECT_MESSAGE: usize = 1_024;

/// The outcalls that wait for an answer.
#[derive(Debug, Default)]
pub struct Outcalls {
    pending: BTreeMap<u64, Outcall>,
    /// Answers that the next round takes up.
    answered: Vec<(Outcall, Result<Vec<u8>, Reject>)>,
    next_id: u64,
}

#[derive(Debug)]
struct Outcall {
    subnet: Principal,
    request: Request,
    args: HttpRequestArgs,
    started_ns: u64,
}

impl Outcalls {
    /// None is pending or about to be answered.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.answered.is_empty()
    }
}

impl Replica {
    /// `http_request` of the management canister; the answer comes with the mocked response.
    pub fn http_request(
        &mut self,
        mut request: Request,
        subnet: Principal,
        cycles: &mut u128,
    ) -> Result<Option<Vec<u8>>, Reject> {
        let args: HttpRequestArgs = management::decode(&request.payload)?;
        if args.method == HttpMethod::PATCH {
            return Err(Reject::unsupported("PATCH outcalls"));
        }
        if args
            .pricing_version
            .is_some_and(|version| version != LEGACY_PRICING)
        {
            return Err(Reject::unsupported("pay-as-you-go outcalls"));
        }
        if let Some(transform) = &args.transform
            && transform.function.0.principal != request.sender
        {
            return Err(invalid(format!(
                "transform needs to be exported by the caller canister {}",
                request.sender
            )));
        }
        let max_response_bytes = args.max_response_bytes.unwrap_or(MAX_RESPONSE_BYTES);
        if max_response_bytes > MAX_RESPONSE_BYTES {
            return Err(invalid(format!(
                "max_response_bytes expected to be in the range [0..{MAX_RESPONSE_BYTES}], got {max_response_bytes}"
            )));
        }
        let free = self
            .topology
            .by_id(subnet)
            .is_some_and(|subnet| subnet.is_free());
        let fee = if free {
            0
        } else {
            cycles::http_outcall(request_size(&args), max_response_bytes)
        };
        if *cycles < fee {
            return Err(invalid(format!(
                "http_request request sent with {cycles} cycles, but {fee} cycles are required."
            )));
        }
        request.cycles = *cycles - fee;
        let id = self.outcalls.next_id;
        self.outcalls.next_id += 1;
        let outcall = Outcall {
            subnet,
            request,
            args,
            started_ns: self.time_ns,
        };
        self.outcalls.pending.insert(id, outcall);
        Ok(None)
    }

    /// The outcalls that wait for an answer, as the client lists them.
    pub fn pending_outcalls(&self) -> Vec<RawCanisterHttpRequest> {
        let pending = self.outcalls.pending.iter();
        pending.map(|(id, outcall)| outcall.to_raw(*id)).collect()
    }

    /// Answers an outcall.
    pub fn mock_outcall(&mut self, mock: RawMockCanisterHttpResponse) -> Result<(), ApiError> {
        let id = mock.request_id;
        let pending = self.outcalls.pending.get(&id);
        let known = pending.is_some_and(|outcall| {
            outcall.subnet.as_slice() == mock.subnet_id.subnet_id.as_slice()
        });
        if !known {
            return Err(ApiError::bad_request(format!(
                "InvalidCanisterHttpRequestId: no pending canister http request with id {id}"
            )));
        }
        if mock
            .additional_responses
            .iter()
            .any(|other| *other != mock.response)
        {
            return Err(ApiError::unsupported(
                "nodes with different outcall responses",
            ));
        }
        let response = match mock.response {
            CanisterHttpResponse::CanisterHttpReject(reject)
                if reject.message.len() > MAX_REJECT_MESSAGE =>
            {
                return Err(ApiError::bad_request(format!(
                    "The reject message has {} bytes, at most {MAX_REJECT_MESSAGE} are allowed",
                    reject.message.len()
                )));
            }
            CanisterHttpResponse::CanisterHttpReject(reject) => {
                Err(outcall_reject(reject.reject_code, reject.message)?)
            }
            CanisterHttpResponse::CanisterHttpReply(reply) => Ok(reply),
        };
        if let Some(outcall) = self.outcalls.pending.remove(&id) {
            let result = response.and_then(|reply| self.finish_outcall(&outcall, reply));
            self.outcalls.answered.push((outcall, result));
        }
        Ok(())
    }

    /// Takes up the answers given since the last round.
    pub(crate) fn deliver_outcall_answers(&mut self) {
        for (outcall, result) in std::mem::take(&mut self.outcalls.answered) {
            self.respond(outcall.request.origin, result, outcall.request.cycles);
        }
    }

    /// Rejects the outcalls nobody answered in time.
    pub fn time_out_outcalls(&mut self) {
        let now = self.time_ns;
        let late: Vec<Outcall> = self
            .outcalls
            .pending
            .extract_if(.., |_, outcall| {
                now.saturating_sub(outcall.started_ns) > TIMEOUT_NS
            })
            .map(|(_, outcall)| outcall)
            .collect();
        for outcall in late {
            let reject = Reject::plain(
                ErrorCode::IngressMessageTimeout,
                "Canister http request timed out",
            );
            self.respond(outcall.request.origin, Err(reject), outcall.request.cycles);
        }
    }

    /// Runs the transform function where there is one.
    fn finish_outcall(
        &mut self,
        outcall: &Outcall,
        reply: CanisterHttpReply,
    ) -> Result<Vec<u8>, Reject> {
        let limit = outcall
            .args
            .max_response_bytes
            .unwrap_or(MAX_RESPONSE_BYTES);
        if reply.body.len() as u64 > limit {
            return Err(Reject::plain(
                // The reject code of a size violation is SysFatal.
                ErrorCode::SubnetOversubscribed,
                format!("Http body exceeds size limit of {limit} bytes."),
            ));
        }
        let response = HttpRequestResult {
            status: Nat::from(reply.status),
            headers: reply
                .headers
                .into_iter()
                .map(|header| HttpHeader {
                    name: header.name,
                    value: header.value,
                })
                .collect(),
            body: reply.body,
        };
        let Some(transform) = &outcall.args.transform else {
            return management::reply(&response);
        };
        let args = management::reply(&TransformArgs {
            response,
            context: transform.context.clone(),
        })?;
        let call = QueryCall {
            sender: Principal::management_canister(),
            receiver: transform.function.0.principal,
            method: transform.function.0.method.clone(),
            payload: args,
            data_certificate: None,
        };
        self.evaluate(call, &mut QueryTree::default())
    }
}

impl Outcall {
    fn to_raw(&self, request_id: u64) -> RawCanisterHttpRequest {
        let args = &self.args;
        RawCanisterHttpRequest {
            subnet_id: self.subnet.into(),
            request_id,
            http_method: match args.method {
                HttpMethod::GET => CanisterHttpMethod::GET,
                HttpMethod::HEAD => CanisterHttpMethod::HEAD,
                HttpMethod::POST => CanisterHttpMethod::POST,
                HttpMethod::PUT => CanisterHttpMethod::PUT,
                HttpMethod::DELETE => CanisterHttpMethod::DELETE,
                HttpMethod::PATCH => CanisterHttpMethod::PATCH,
            },
            url: args.url.clone(),
            headers: args
                .headers
                .iter()
                .map(|header| CanisterHttpHeader {
                    name: header.name.clone(),
                    value: header.value.clone(),
                })
                .collect(),
            body: args.body.clone().unwrap_or_default(),
            max_response_bytes: args.max_response_bytes,
            replication: if args.is_replicated == Some(false) {
                CanisterHttpReplication::NonReplicated
            } else {
                CanisterHttpReplication::FullyReplicated
            },
            pricing_version: CanisterHttpPricingVersion::Legacy,
        }
    }
}

fn request_size(args: &HttpRequestArgs) -> usize {
    let headers = args.headers.iter();
    let headers: usize = headers
        .map(|header| header.name.len() + header.value.len())
        .sum();
    let transform = args.transform.as_ref().map_or(0, |transform| {
        transform.function.0.method.len() + transform.context.len()
    });
    args.url.len() + headers + args.body.as_ref().map_or(0, Vec::len) + transform
}

/// Rejects of outcalls carry only a reject code; the error code is one of that class.
fn outcall_reject(code: u64, message: String) -> Result<Reject, ApiError> {
    let error = match code {
        1 => ErrorCode::SubnetOversubscribed,
        2 => ErrorCode::IngressMessageTimeout,
        3 => ErrorCode::CanisterNotFound,
        4 => ErrorCode::CanisterRejectedMessage,
        5 => ErrorCode::CanisterTrapped,
        6 => ErrorCode::DeadlineExpired,
        _ => {
            return Err(ApiError::bad_request(format!(
                "InvalidRejectCode: {code} is not a reject code"
            )));
        }
    };
    Ok(Reject::plain(error, message))
}

fn invalid(text: String) -> Reject {
    Reject::new(ErrorCode::CanisterRejectedMessage, text)
}
