//! The same outcall without the outbox: its argument is ready, and its answer is thrown away.

use crate::{CONTENT_TYPE, MAX_RESPONSE_BYTES, URL};
use candid::{CandidType, Func, Principal};
use ic_cdk::call::Call;
use ic_management_canister_types::{HttpMethod, TransformContext, TransformFunc};
use serde_bytes::ByteBuf;
use std::time::Duration;

/// What the outbox's transform is called.
const TRANSFORM: &str = "<idempotency outbox> transform";

/// A key as long as those that the outbox derives.
const KEY: (&str, &str) = (
    "Idempotency-Key",
    "\"00000000-0000-4000-8000-000000000000\"",
);

/// What the outbox has the transform keep: version 1, the body.
const KEPT: [u8; 4] = [1, 1, 0, 0];

const BODY_BYTES: usize = 100;

#[derive(CandidType)]
struct Arguments {
    url: &'static str,
    max_response_bytes: Option<u64>,
    method: HttpMethod,
    headers: Vec<Header>,
    body: Option<ByteBuf>,
    transform: Option<TransformContext>,
    is_replicated: Option<bool>,
}

#[derive(CandidType)]
struct Header {
    name: &'static str,
    value: &'static str,
}

fn argument() -> Vec<u8> {
    let header = |(name, value)| Header { name, value };
    let arguments = Arguments {
        url: URL,
        max_response_bytes: Some(MAX_RESPONSE_BYTES),
        method: HttpMethod::POST,
        headers: [CONTENT_TYPE, KEY].map(header).into(),
        body: Some(ByteBuf::from([b'x'; BODY_BYTES])),
        transform: Some(TransformContext {
            function: TransformFunc(Func {
                principal: ic_cdk::api::canister_self(),
                method: TRANSFORM.to_owned(),
            }),
            context: KEPT.into(),
        }),
        is_replicated: Some(false),
    };
    candid::encode_one(arguments).unwrap_or_default()
}

/// Makes an outcall in a second, another one in two seconds, and so on.
#[ic_cdk::update]
fn by_hand(count: u32) {
    let headers = [CONTENT_TYPE, KEY].map(|(name, value)| name.len() + value.len());
    let headers: usize = headers.iter().sum();
    let size = URL.len() + headers + BODY_BYTES + TRANSFORM.len() + KEPT.len();
    let cycles = ic_cdk::api::cost_http_request(size as u64, MAX_RESPONSE_BYTES);
    for number in 1..=count {
        let argument = argument();
        let call = async move {
            let call = Call::unbounded_wait(Principal::management_canister(), "http_request");
            let _ = call.with_raw_args(&argument).with_cycles(cycles).await;
        };
        let delay = Duration::from_secs(number.into());
        ic_cdk_timers::set_timer(delay, async move { ic_cdk::futures::spawn(call) });
    }
}
