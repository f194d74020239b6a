//! HTTPS outcalls: never performed, but listed for the test to answer, for each node of the subnet.
//!
//! The arguments are checked as the management canister checks them (`limits`), every node's response goes through the
//! transform function by itself (`node`), and then the nodes agree, or don't (`consensus`).

mod consensus;
mod limits;
mod node;

use std::collections::BTreeMap;

use candid::Principal;
use ic_management_canister_types::{HttpMethod, HttpRequestArgs};
use pocket_ic::ErrorCode;
use pocket_ic::common::rest::{
    CanisterHttpHeader, CanisterHttpMethod, CanisterHttpPricingVersion, CanisterHttpReplication,
    CanisterHttpReply, CanisterHttpResponse, RawCanisterHttpRequest, RawMockCanisterHttpResponse,
};

use self::consensus::Content;
use crate::call_context::Request;
use crate::cycles;
use crate::errors::{ApiError, Reject};
use crate::management;
use crate::replica::Replica;

const PAY_AS_YOU_GO: u32 = 2;
const TIMEOUT_NS: u64 = 60_000_000_000;

/// The outcalls that wait for an answer.
#[derive(Debug, Default)]
pub struct Outcalls {
    pending: BTreeMap<u64, Outcall>,
    /// Answers that the next round takes up.
    answered: Vec<(Outcall, Content)>,
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
        limits::check_decoding(&args)?;
        // Any other version has the price of the first.
        if args.pricing_version == Some(PAY_AS_YOU_GO) {
            return Err(Reject::unsupported("pay-as-you-go outcalls"));
        }
        limits::check_request(&args, request.sender)?;
        let max_response_bytes = args
            .max_response_bytes
            .unwrap_or(limits::MAX_RESPONSE_BYTES);
        let free = self
            .topology
            .by_id(subnet)
            .is_some_and(|subnet| subnet.is_free());
        let fee = if free {
            0
        } else {
            cycles::http_outcall(limits::request_size(&args), max_response_bytes)
        };
        if *cycles < fee {
            return Err(Reject::new(
                ErrorCode::CanisterRejectedMessage,
                format!(
                    "http_request request sent with {cycles} cycles, but {fee} cycles are required."
                ),
            ));
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

    /// Answers an outcall: with one response for all nodes, or one for each.
    pub fn mock_outcall(&mut self, mock: RawMockCanisterHttpResponse) -> Result<(), ApiError> {
        let RawMockCanisterHttpResponse {
            subnet_id,
            request_id,
            response,
            additional_responses,
        } = mock;
        // In this order, the first one's response is the last node's, as on the real server.
        let mut responses = additional_responses;
        responses.push(response);
        for response in &responses {
            check_mocked(response)?;
        }
        let pending = self.outcalls.pending.get(&request_id);
        let known = pending
            .is_some_and(|outcall| outcall.subnet.as_slice() == subnet_id.subnet_id.as_slice());
        if !known {
            return Err(ApiError::bad_request(format!(
                "InvalidCanisterHttpRequestId: no pending canister http request with id {request_id}"
            )));
        }
        if responses.len() != 1 && responses.len() != cycles::NODES {
            return Err(ApiError::bad_request(format!(
                "InvalidMockCanisterHttpResponses(({}, {}))",
                responses.len(),
                cycles::NODES
            )));
        }
        if let Some(outcall) = self.outcalls.pending.remove(&request_id) {
            let contents = self.node_contents(&outcall, responses);
            let answer = if outcall.is_replicated() {
                consensus::agree(request_id, contents)
            } else {
                consensus::of_one_node(request_id, contents)
            };
            self.outcalls.answered.push((outcall, answer));
        }
        Ok(())
    }

    /// What each node proposes. Nodes with equal responses propose the same, so it is worked out once.
    fn node_contents(
        &mut self,
        outcall: &Outcall,
        responses: Vec<CanisterHttpResponse>,
    ) -> Vec<Content> {
        let mut known: Vec<(CanisterHttpResponse, Content)> = Vec::new();
        let mut contents = Vec::with_capacity(responses.len());
        for response in responses {
            let same = known.iter().find(|(other, _)| *other == response);
            let content = match same {
                Some((_, content)) => content.clone(),
                None => {
                    let content = self.node_content(outcall, into_result(response.clone()));
                    known.push((response, content.clone()));
                    content
                }
            };
            contents.push(content);
        }
        contents
    }

    /// Takes up the answers given since the last round. One that comes when the time is up comes too late.
    pub(crate) fn deliver_outcall_answers(&mut self) {
        for (outcall, answer) in std::mem::take(&mut self.outcalls.answered) {
            let answer = if outcall.is_late(self.time_ns) {
                Err(timed_out())
            } else {
                answer
            };
            self.respond(outcall.request.origin, answer, outcall.request.cycles);
        }
    }

    /// Rejects the outcalls nobody answered in time.
    pub fn time_out_outcalls(&mut self) {
        let now = self.time_ns;
        let late: Vec<Outcall> = self
            .outcalls
            .pending
            .extract_if(.., |_, outcall| outcall.is_late(now))
            .map(|(_, outcall)| outcall)
            .collect();
        for outcall in late {
            let (origin, refund) = (outcall.request.origin, outcall.request.cycles);
            self.respond(origin, Err(timed_out()), refund);
        }
    }
}

impl Outcall {
    fn is_replicated(&self) -> bool {
        self.args.is_replicated != Some(false)
    }

    fn is_late(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.started_ns) > TIMEOUT_NS
    }

    fn max_response_bytes(&self) -> u64 {
        self.args
            .max_response_bytes
            .unwrap_or(limits::MAX_RESPONSE_BYTES)
    }

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
            replication: if self.is_replicated() {
                CanisterHttpReplication::FullyReplicated
            } else {
                CanisterHttpReplication::NonReplicated
            },
            pricing_version: CanisterHttpPricingVersion::Legacy,
        }
    }
}

fn timed_out() -> Reject {
    Reject::plain(
        ErrorCode::IngressMessageTimeout,
        "Canister http request timed out",
    )
}

/// Refuses what no node reports.
fn check_mocked(response: &CanisterHttpResponse) -> Result<(), ApiError> {
    let CanisterHttpResponse::CanisterHttpReject(reject) = response else {
        return Ok(());
    };
    if error_code(reject.reject_code).is_none() {
        return Err(ApiError::bad_request(format!(
            "InvalidRejectCode({})",
            reject.reject_code
        )));
    }
    if reject.message.len() > node::MAX_REJECT_MESSAGE {
        return Err(ApiError::bad_request(format!(
            "The reject message has {} bytes, at most {} are allowed",
            reject.message.len(),
            node::MAX_REJECT_MESSAGE
        )));
    }
    Ok(())
}

fn into_result(response: CanisterHttpResponse) -> Result<CanisterHttpReply, Reject> {
    match response {
        CanisterHttpResponse::CanisterHttpReply(reply) => Ok(reply),
        CanisterHttpResponse::CanisterHttpReject(reject) => {
            // Others were refused.
            let error =
                error_code(reject.reject_code).unwrap_or(ErrorCode::CanisterRejectedMessage);
            Err(Reject::plain(error, reject.message))
        }
    }
}

/// Rejects of outcalls carry only a reject code; the error code is one of that class.
fn error_code(reject_code: u64) -> Option<ErrorCode> {
    Some(match reject_code {
        1 => ErrorCode::SubnetOversubscribed,
        2 => ErrorCode::IngressMessageTimeout,
        3 => ErrorCode::CanisterNotFound,
        4 => ErrorCode::CanisterRejectedMessage,
        5 => ErrorCode::CanisterTrapped,
        6 => ErrorCode::DeadlineExpired,
        _ => return None,
    })
}
