//! What the management canister refuses of an HTTPS outcall, and what it takes for one.

use candid::Principal;
use ic_management_canister_types::{HttpHeader, HttpMethod, HttpRequestArgs};
use pocket_ic::common::rest::CanisterHttpMethod;

use crate::outcaller::{Outcaller, PLENTY, reply, told};
use crate::world::USER;

fn header(name: usize, value: usize) -> HttpHeader {
    HttpHeader {
        name: "n".repeat(name),
        value: "v".repeat(value),
    }
}

/// The fee on 13 nodes.
fn fee(request_bytes: u128, max_response_bytes: u128) -> u128 {
    13 * (3_000_000 + 13 * 60_000 + 400 * request_bytes + 800 * max_response_bytes)
}

/// Asserts that a request is refused with this text, and that a bit less is not.
fn refused(
    it: &Outcaller,
    text: &str,
    too_much: impl FnOnce(&mut HttpRequestArgs),
    at_most: impl FnOnce(&mut HttpRequestArgs),
) {
    let mut args = it.request(true, None);
    too_much(&mut args);
    let (code, message) = it.refusal(&args);
    assert_eq!(code, 4, "{message}");
    assert!(message.contains(text), "{message}");
    let mut args = it.request(true, None);
    at_most(&mut args);
    assert_eq!(it.ask(&args, vec![reply(&[], b"fine")]), told(b"fine"));
}

#[test]
fn long_url_is_refused() {
    let url = |length: usize| {
        let start = "https://example.com/";
        format!("{start}{}", "x".repeat(length - start.len()))
    };
    refused(
        &Outcaller::new(),
        "IC0406: url size 8193 exceeds 8192",
        |args| args.url = url(8_193),
        |args| args.url = url(8_192),
    );
}

#[test]
fn long_header_is_refused() {
    let it = Outcaller::new();
    refused(
        &it,
        "IC0406: number of bytes to represent some http header name 8193 exceeds 8192",
        |args| args.headers = vec![header(8_193, 0)],
        |args| args.headers = vec![header(8_192, 8_192)],
    );
    refused(
        &it,
        "IC0406: number of bytes to represent some http header value 8193 exceeds 8192",
        |args| args.headers = vec![header(1, 8_193)],
        |args| args.headers = vec![header(1, 8_192)],
    );
}

/// These bounds are part of the decoding.
#[test]
fn many_headers_are_refused() {
    let it = Outcaller::new();
    refused(
        &it,
        "Deserialize error: The number of elements exceeds maximum allowed 64",
        |args| args.headers = vec![header(1, 1); 65],
        |args| args.headers = vec![header(1, 1); 64],
    );
    refused(
        &it,
        "Deserialize error: The total data size exceeds maximum allowed 49152",
        |args| args.headers = vec![header(1, 8_191); 7],
        |args| args.headers = vec![header(1, 8_191); 6],
    );
    refused(
        &it,
        "Deserialize error: The single element data size exceeds maximum allowed 16384",
        |args| args.headers = vec![header(8_193, 8_192)],
        |args| args.headers = vec![header(8_192, 8_192)],
    );
}

#[test]
fn large_request_is_refused() {
    let it = Outcaller::new();
    // What reaches a canister from outside may have 2 MiB, all in all.
    refused(
        &it,
        "IC0406: total number of bytes to represent all http header names and values and http body 2000001 exceeds \
         2000000",
        |args| {
            args.headers = vec![header(1, 100)];
            args.body = Some(vec![0; 1_999_900]);
        },
        |args| {
            args.headers = vec![header(1, 99)];
            args.body = Some(vec![0; 1_999_900]);
        },
    );
}

#[test]
fn large_limit_is_refused() {
    refused(
        &Outcaller::new(),
        "IC0406: max_response_bytes expected to be in the range [0..2000000], got 2000001",
        |args| args.max_response_bytes = Some(2_000_001),
        |args| args.max_response_bytes = Some(2_000_000),
    );
}

#[test]
fn transform_of_another_canister_is_refused() {
    let it = Outcaller::new();
    let other = Principal::management_canister();
    let mut args = it.request(true, None);
    args.transform = Some(it.transform(other, "fixed"));
    let (code, text) = it.refusal(&args);
    assert_eq!(code, 4);
    let expected = format!(
        "IC0406: transform principal id expected to be {}, got {other}",
        it.id
    );
    assert_eq!(text, expected);
}

#[test]
fn some_methods_need_one_node() {
    let it = Outcaller::new();
    for method in [HttpMethod::GET, HttpMethod::HEAD, HttpMethod::POST] {
        let mut args = it.request(true, None);
        args.method = method;
        assert_eq!(it.ask(&args, vec![reply(&[], b"fine")]), told(b"fine"));
    }
    for (method, expected) in [
        (HttpMethod::PUT, CanisterHttpMethod::PUT),
        (HttpMethod::DELETE, CanisterHttpMethod::DELETE),
        (HttpMethod::PATCH, CanisterHttpMethod::PATCH),
    ] {
        let mut args = it.request(true, None);
        args.method = method;
        let (code, text) = it.refusal(&args);
        assert_eq!(code, 4);
        let refusal = "The requested HTTP method is only allowed for non-replicated requests";
        assert!(text.contains(refusal), "{text}");
        args.is_replicated = Some(false);
        let message = it.start(&args, PLENTY);
        assert_eq!(it.pending().http_method, expected);
        it.answer(vec![reply(&[], b"fine")]);
        assert_eq!(it.finish(message).0, told(b"fine"));
    }
}

#[test]
fn fee_is_the_same_for_one_node_and_all() {
    let it = Outcaller::new();
    for replicated in [true, false] {
        for transform in [None, Some("fixed")] {
            let mut args = it.request(replicated, transform);
            args.headers = vec![header(3, 4)];
            args.body = Some(vec![0; 50]);
            let bytes = args.url.len() + 7 + 50 + transform.map_or(0, str::len);
            let fee = fee(bytes as u128, 1_000);
            let message = it.start(&args, PLENTY);
            it.answer(vec![reply(&[], b"fine")]);
            let (answer, refund) = it.finish(message);
            assert!(answer.is_ok());
            assert_eq!(
                u128::from(PLENTY) - refund,
                fee,
                "{replicated} {transform:?}"
            );
        }
    }
}

#[test]
fn too_few_cycles_are_refused_and_come_back() {
    let it = Outcaller::new();
    let args = it.request(true, None);
    let fee = fee(args.url.len() as u128, 1_000);
    let fee = u64::try_from(fee).expect("small");
    let message = it.start(&args, fee - 1);
    let (answer, refund) = it.finish(message);
    let (code, text) = answer.expect_err("refused");
    assert_eq!(code, 4);
    let expected = format!(
        "IC0406: http_request request sent with {} cycles, but {fee} cycles are required.",
        fee - 1
    );
    assert_eq!(text.replace('_', ""), expected.replace('_', ""));
    assert_eq!(refund, u128::from(fee - 1));
    let message = it.start(&args, fee);
    it.answer(vec![reply(&[], b"fine")]);
    assert_eq!(it.finish(message), (told(b"fine"), 0));
}

#[test]
fn canister_can_ask_for_the_fee() {
    let it = Outcaller::new();
    for (request, response) in [(0_u64, 0_u64), (77, 1_000), (2_000_000, 2_000_000)] {
        let arg = [request.to_le_bytes(), response.to_le_bytes()].concat();
        let reply = it.pic.query_call(it.id, USER, "cost", arg).unwrap();
        let cost = u128::from_le_bytes(reply.try_into().unwrap());
        assert_eq!(cost, fee(request.into(), response.into()));
    }
}

/// The largest response is paid for where there is no limit.
#[test]
fn fee_without_a_limit_is_that_of_the_largest_response() {
    let it = Outcaller::new();
    let mut args = it.request(true, None);
    args.max_response_bytes = None;
    let fee = fee(args.url.len() as u128, 2_000_000);
    let message = it.start(&args, PLENTY);
    it.answer(vec![reply(&[], b"fine")]);
    let (_, refund) = it.finish(message);
    assert_eq!(u128::from(PLENTY) - refund, fee);
}

/// Whoever answers it plays the part of the node that refuses it.
#[test]
fn scheme_is_not_looked_at() {
    let it = Outcaller::new();
    let mut args = it.request(true, None);
    args.url = "http://example.com/".to_owned();
    assert_eq!(it.ask(&args, vec![reply(&[], b"fine")]), told(b"fine"));
}
