//! A canister that makes HTTPS outcalls with any argument and any cycles, and says what came back.

use candid::{Func, Nat, Principal};
use ic_management_canister_types::{
    HttpMethod, HttpRequestArgs, HttpRequestResult, TransformContext, TransformFunc,
};
use pocket_ic::PocketIc;
use pocket_ic::common::rest::{
    CanisterHttpHeader, CanisterHttpReject, CanisterHttpReply, CanisterHttpRequest,
    CanisterHttpResponse, MockCanisterHttpResponse, RawMessageId,
};

use crate::world::{USER, install, pocket_ic};

/// More than any outcall costs.
pub(crate) const PLENTY: u64 = 100_000_000_000;
/// What the transform functions answer with.
const FIXED: &[u8] = b"transformed";

/// What an outcall was answered with: status and body, or reject code and text.
pub(crate) type Answer = Result<(Nat, Vec<u8>), (u32, String)>;

pub(crate) struct Outcaller {
    pub(crate) pic: PocketIc,
    pub(crate) id: Principal,
}

impl Outcaller {
    pub(crate) fn new() -> Self {
        let fixed = HttpRequestResult {
            status: Nat::from(201_u8),
            headers: Vec::new(),
            body: FIXED.to_vec(),
        };
        let fixed = candid::encode_one(&fixed).expect("encodes");
        let bytes: String = fixed.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let wat = include_str!("outcaller.wat")
            .replace("FIXED_BYTES", &bytes)
            .replace("FIXED_LENGTH", &fixed.len().to_string());
        let pic = pocket_ic();
        let id = install(&pic, wat::parse_str(wat).expect("valid WAT"));
        Self { pic, id }
    }

    /// A request with a limit of 1,000 bytes, replicated or not, with a transform or not.
    pub(crate) fn request(&self, replicated: bool, transform: Option<&str>) -> HttpRequestArgs {
        HttpRequestArgs {
            url: "https://example.com/".to_owned(),
            max_response_bytes: Some(1_000),
            method: HttpMethod::POST,
            transform: transform.map(|method| self.transform(self.id, method)),
            is_replicated: (!replicated).then_some(false),
            ..Default::default()
        }
    }

    pub(crate) fn transform(&self, owner: Principal, method: &str) -> TransformContext {
        let (principal, method) = (owner, method.to_owned());
        TransformContext {
            function: TransformFunc(Func { principal, method }),
            context: Vec::new(),
        }
    }

    /// Makes the outcall, and runs rounds until it is pending or refused.
    pub(crate) fn start(&self, args: &HttpRequestArgs, cycles: u64) -> RawMessageId {
        let mut arg = cycles.to_le_bytes().to_vec();
        arg.extend(candid::encode_one(args).expect("encodes"));
        let message = self
            .pic
            .submit_call(self.id, USER, "outcall", arg)
            .expect("submitted");
        self.pic.tick();
        self.pic.tick();
        message
    }

    /// The one that is pending.
    pub(crate) fn pending(&self) -> CanisterHttpRequest {
        let pending = self.pic.get_canister_http();
        assert_eq!(pending.len(), 1, "one outcall is pending");
        pending.into_iter().next().expect("one")
    }

    /// Answers the pending outcall: the first response, and those of the other nodes where they have any of their own.
    pub(crate) fn answer(&self, mut responses: Vec<CanisterHttpResponse>) {
        let request = self.pending();
        let response = responses.remove(0);
        self.pic
            .mock_canister_http_response(MockCanisterHttpResponse {
                subnet_id: request.subnet_id,
                request_id: request.request_id,
                response,
                additional_responses: responses,
            });
    }

    /// What the canister was answered with, and the cycles that came back.
    pub(crate) fn finish(&self, message: RawMessageId) -> (Answer, u128) {
        let reply = self.pic.await_call(message).expect("a reply");
        let (refund, rest) = reply.split_first_chunk().expect("cycles");
        let (code, content) = rest.split_first_chunk().expect("a code");
        let answer = match u32::from_le_bytes(*code) {
            0 => {
                let result: HttpRequestResult = candid::decode_one(content).expect("a response");
                Ok((result.status, result.body))
            }
            code => Err((code, String::from_utf8(content.to_vec()).expect("text"))),
        };
        (answer, u128::from_le_bytes(*refund))
    }

    /// An outcall from beginning to end.
    pub(crate) fn ask(
        &self,
        args: &HttpRequestArgs,
        responses: Vec<CanisterHttpResponse>,
    ) -> Answer {
        let message = self.start(args, PLENTY);
        self.answer(responses);
        self.finish(message).0
    }

    /// An outcall that the management canister refuses. All cycles come back.
    pub(crate) fn refusal(&self, args: &HttpRequestArgs) -> (u32, String) {
        let message = self.start(args, PLENTY);
        assert_eq!(self.pic.get_canister_http(), [], "nothing is sent");
        let (answer, refund) = self.finish(message);
        assert_eq!(refund, u128::from(PLENTY));
        answer.expect_err("refused")
    }
}

/// Replies with these bodies.
pub(crate) fn replies<'a>(bodies: impl IntoIterator<Item = &'a [u8]>) -> Vec<CanisterHttpResponse> {
    let reply = |body| reply(&[], body);
    bodies.into_iter().map(reply).collect()
}

pub(crate) fn reply(headers: &[(&str, &str)], body: &[u8]) -> CanisterHttpResponse {
    let header = |(name, value): &(&str, &str)| CanisterHttpHeader {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    };
    CanisterHttpResponse::CanisterHttpReply(CanisterHttpReply {
        status: 200,
        headers: headers.iter().map(header).collect(),
        body: body.to_vec(),
    })
}

pub(crate) fn reject(reject_code: u64, text: &str) -> CanisterHttpResponse {
    CanisterHttpResponse::CanisterHttpReject(CanisterHttpReject {
        reject_code,
        message: text.to_owned(),
    })
}

/// A reply with this body.
pub(crate) fn told(body: &[u8]) -> Answer {
    Ok((Nat::from(200_u8), body.to_vec()))
}

/// What the transform functions make of every response.
pub(crate) fn transformed() -> Answer {
    Ok((Nat::from(201_u8), FIXED.to_vec()))
}
