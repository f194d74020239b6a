//! The instance under test and the canister on it.

use std::path::PathBuf;
use std::sync::LazyLock;

use candid::Principal;
use ic_management_canister_types::{
    CanisterIdRecord, HttpHeader, HttpMethod, HttpRequestArgs, TransformContext,
};
use pocket_ic::common::rest::{
    CanisterHttpReply, CanisterHttpRequest, CanisterHttpResponse, MockCanisterHttpResponse,
    RawEffectivePrincipal, RawMessageId,
};
use pocket_ic::{PocketIc, PocketIcBuilder, RejectResponse};

pub(crate) const USER: Principal = Principal::anonymous();

static PUPPET: LazyLock<Vec<u8>> =
    LazyLock::new(|| wat::parse_str(include_str!("puppet.wat")).expect("valid WAT"));

/// The puppet's module.
pub(crate) fn puppet_wasm() -> Vec<u8> {
    PUPPET.clone()
}

pub(crate) fn builder() -> PocketIcBuilder {
    let server = std::env::var_os("POCKET_IC_BIN").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_local-replica")),
        PathBuf::from,
    );
    PocketIcBuilder::new().with_server_binary(server)
}

pub(crate) fn pocket_ic() -> PocketIc {
    builder().with_application_subnet().build()
}

/// A canister with the puppet installed.
pub(crate) fn puppet(pic: &PocketIc) -> Principal {
    install(pic, puppet_wasm())
}

/// A canister with any module installed.
pub(crate) fn install(pic: &PocketIc, wasm: Vec<u8>) -> Principal {
    let id = pic.create_canister();
    pic.install_canister(id, wasm, Vec::new(), None);
    id
}

pub(crate) fn update(
    pic: &PocketIc,
    id: Principal,
    method: &str,
) -> Result<Vec<u8>, RejectResponse> {
    pic.update_call(id, USER, method, Vec::new())
}

pub(crate) fn query(
    pic: &PocketIc,
    id: Principal,
    method: &str,
) -> Result<Vec<u8>, RejectResponse> {
    pic.query_call(id, USER, method, Vec::new())
}

/// The puppet's counter in the heap.
pub(crate) fn counter(pic: &PocketIc, id: Principal) -> u32 {
    number(query(pic, id, "get"))
}

pub(crate) fn number(reply: Result<Vec<u8>, RejectResponse>) -> u32 {
    let bytes = reply.expect("a reply");
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

pub(crate) fn long(reply: Result<Vec<u8>, RejectResponse>) -> u64 {
    let bytes = reply.expect("a reply");
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

/// The argument of the puppet's relay methods.
pub(crate) fn relay_arg(callee: Principal, method: &str, payload: &[u8]) -> Vec<u8> {
    let short = |bytes: &[u8]| u8::try_from(bytes.len()).expect("at most 255 bytes");
    let callee = callee.as_slice();
    let method = method.as_bytes();
    let mut arg = vec![short(callee)];
    arg.extend_from_slice(callee);
    arg.push(short(method));
    arg.extend_from_slice(method);
    arg.extend_from_slice(payload);
    arg
}

/// Lets the puppet call another canister: what its callback replies.
pub(crate) fn relay(
    pic: &PocketIc,
    from: Principal,
    how: &str,
    callee: Principal,
    method: &str,
) -> Result<Vec<u8>, RejectResponse> {
    let arg = relay_arg(callee, method, b"DIDL\0\0");
    pic.update_call(from, USER, how, arg)
}

/// Lets `from` call the puppet `to`, which then awaits an outcall: in flight until [`release`].
pub(crate) fn hold(pic: &PocketIc, from: Principal, how: &str, to: Principal) -> RawMessageId {
    let arg = relay_arg(to, "outcall", &outcall_arg(None));
    let message = pic.submit_call(from, USER, how, arg).expect("submitted");
    // The call of the management canister reaches it in the round after that in which it's made.
    pic.tick();
    pic.tick();
    assert_eq!(pic.get_canister_http().len(), 1, "the outcall is pending");
    message
}

/// Sends an ingress message to the management canister, about a canister.
pub(crate) fn submit_management(pic: &PocketIc, about: Principal, method: &str) -> RawMessageId {
    let record = CanisterIdRecord { canister_id: about };
    pic.submit_call_with_effective_principal(
        Principal::management_canister(),
        RawEffectivePrincipal::CanisterId(about.as_slice().to_vec()),
        USER,
        method,
        candid::encode_one(record).expect("encodes"),
    )
    .expect("submitted")
}

/// Answers the pending outcalls, and lets the answers arrive.
pub(crate) fn release(pic: &PocketIc) {
    for request in pic.get_canister_http() {
        answer(pic, &request, response(b"late"));
    }
    pic.tick();
    pic.tick();
}

/// Answers one outcall.
pub(crate) fn answer(
    pic: &PocketIc,
    request: &CanisterHttpRequest,
    response: CanisterHttpResponse,
) {
    pic.mock_canister_http_response(MockCanisterHttpResponse {
        subnet_id: request.subnet_id,
        request_id: request.request_id,
        response,
        additional_responses: Vec::new(),
    });
}

/// The argument of an outcall.
pub(crate) fn outcall_arg(transform: Option<TransformContext>) -> Vec<u8> {
    let args = HttpRequestArgs {
        url: "https://example.com/".to_owned(),
        max_response_bytes: Some(1_000),
        method: HttpMethod::GET,
        headers: vec![HttpHeader {
            name: "x-key".to_owned(),
            value: "1".to_owned(),
        }],
        body: None,
        transform,
        ..Default::default()
    };
    candid::encode_one(args).expect("encodes")
}

/// A response with a body.
pub(crate) fn response(body: &[u8]) -> CanisterHttpResponse {
    CanisterHttpResponse::CanisterHttpReply(CanisterHttpReply {
        status: 200,
        headers: Vec::new(),
        body: body.to_vec(),
    })
}

/// Code and text of the reject that a relay's callback saw.
pub(crate) fn seen_reject(reply: Result<Vec<u8>, RejectResponse>) -> (u32, String) {
    let bytes = reply.expect("a reply");
    let (code, text) = bytes.split_first_chunk::<4>().expect("a reject code");
    let text = String::from_utf8(text.to_vec()).expect("text");
    (u32::from_le_bytes(*code), text)
}
