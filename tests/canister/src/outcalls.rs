//! HTTPS outcalls as a test wants them, and what came of them.

use candid::{Func, Principal};
use ic_cdk::call::{Call, CallFailed};
use ic_management_canister_types::{
    HttpHeader, HttpMethod, HttpRequestArgs, HttpRequestResult, TransformArgs, TransformContext,
    TransformFunc,
};

/// Posts a key, as body and as `Idempotency-Key`, by all nodes or by one, with `keep_body` as the transform or without any: the
/// response's body, or reject code and text.
#[ic_cdk::update]
async fn outcall(
    url: String,
    key: String,
    replicated: bool,
    transformed: bool,
) -> Result<String, (u32, String)> {
    let transform = TransformContext {
        function: TransformFunc(Func {
            principal: ic_cdk::api::canister_self(),
            method: "keep_body".into(),
        }),
        context: vec![],
    };
    let request = HttpRequestArgs {
        url,
        method: HttpMethod::POST,
        headers: vec![HttpHeader {
            name: "Idempotency-Key".into(),
            value: format!("\"{key}\""),
        }],
        body: Some(key.into_bytes()),
        max_response_bytes: Some(2_000),
        transform: transformed.then_some(transform),
        is_replicated: (!replicated).then_some(false),
        ..Default::default()
    };
    let call = Call::unbounded_wait(Principal::management_canister(), "http_request")
        .with_arg(&request)
        .with_cycles(1_000_000_000);
    match call.await {
        Ok(reply) => {
            let response: HttpRequestResult = reply.candid().expect("an outcall's result");
            Ok(String::from_utf8_lossy(&response.body).into_owned())
        }
        Err(CallFailed::CallRejected(reject)) => {
            Err((reject.raw_reject_code(), reject.reject_message().to_owned()))
        }
        Err(other) => Err((0, other.to_string())),
    }
}

/// Keeps status and body of a response, and none of its headers.
#[ic_cdk::query]
fn keep_body(args: TransformArgs) -> HttpRequestResult {
    HttpRequestResult {
        headers: vec![],
        ..args.response
    }
}
