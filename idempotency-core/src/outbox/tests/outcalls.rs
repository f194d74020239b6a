//! What is sent to the management canister.

use super::arbitrary;
use crate::{
    outbox::{
        MessageId,
        key::{LENGTH, idempotency_key},
        request::Request,
        stored::Stored,
    },
    time::Timestamp,
};
use candid::Principal;
use ic_management_canister_types::{HttpMethod, HttpRequestArgs};
use proptest::prelude::*;
use std::collections::BTreeSet;

const TRANSFORM: &str = "<idempotency outbox> transform";

fn canister() -> Principal {
    Principal::from_slice(&[0, 0, 0, 0, 0, 0, 0, 7, 1, 1])
}

/// What the IC gets, and by what size it prices it.
fn sent(request: &Request, key: Option<&str>) -> (HttpRequestArgs, u64) {
    let stored = request.check().unwrap().stored;
    let stored = Stored::read(&stored).unwrap();
    let outcall = stored.outcall();
    let argument = outcall.argument(canister(), TRANSFORM, key);
    (
        candid::decode_one(&argument).unwrap(),
        outcall.size(TRANSFORM, key),
    )
}

fn header<'a>(sent: &'a HttpRequestArgs, name: &str) -> Option<&'a str> {
    let header = sent.headers.iter().find(|it| it.name == name)?;
    Some(&header.value)
}

/// As the IC does.
fn size(sent: &HttpRequestArgs) -> u64 {
    let headers = sent.headers.iter().map(|it| it.name.len() + it.value.len());
    let transform = sent.transform.as_ref().unwrap();
    let size = sent.url.len()
        + headers.sum::<usize>()
        + sent.body.as_ref().map_or(0, Vec::len)
        + transform.function.0.method.len()
        + transform.context.len();
    size as u64
}

#[test]
fn the_ic_gets_what_was_asked_for() {
    let request = Request::post("https://a.b/c")
        .header("Ab", "c")
        .body([0, 255])
        .max_response_bytes(5_000);
    let (sent, _) = sent(&request, Some("KEY"));
    assert_eq!(sent.url, "https://a.b/c");
    assert_eq!(sent.max_response_bytes, Some(5_000));
    assert_eq!(sent.method, HttpMethod::POST);
    assert_eq!(header(&sent, "Ab"), Some("c"));
    assert_eq!(header(&sent, "Idempotency-Key"), Some("\"KEY\""));
    assert_eq!(sent.headers.len(), 2);
    assert_eq!(sent.body, Some(vec![0, 255]));
    assert_eq!(sent.is_replicated, Some(false));
    assert_eq!(sent.pricing_version, None);
    let transform = sent.transform.unwrap();
    assert_eq!(transform.function.0.principal, canister());
    assert_eq!(transform.function.0.method, TRANSFORM);
    assert_eq!(transform.context, [1, 1, 0, 0]);
}

#[test]
fn each_method_is_its_own() {
    for (request, method, is_replicated) in [
        (Request::get("https://a.b"), HttpMethod::GET, true),
        (Request::head("https://a.b"), HttpMethod::HEAD, true),
        (Request::post("https://a.b"), HttpMethod::POST, false),
        (Request::put("https://a.b"), HttpMethod::PUT, false),
        (Request::delete("https://a.b"), HttpMethod::DELETE, false),
    ] {
        let (sent, _) = sent(&request, Some("k"));
        assert_eq!(
            (sent.method, sent.is_replicated),
            (method, Some(is_replicated))
        );
        assert_eq!(sent.body, None);
    }
}

#[test]
fn keys_are_sent_as_servers_take_them() {
    let post = || Request::post("https://a.b");
    let (sent_by_default, _) = sent(&post(), Some("k"));
    assert_eq!(header(&sent_by_default, "Idempotency-Key"), Some("\"k\""));
    let (bare, _) = sent(&post().idempotency_header("Idempotency-Key"), Some("k"));
    assert_eq!(header(&bare, "Idempotency-Key"), Some("k"));
    let (other, _) = sent(&post().idempotency_header("PayPal-Request-Id"), Some("k"));
    assert_eq!(header(&other, "PayPal-Request-Id"), Some("k"));
    assert_eq!(other.headers.len(), 1);
    let (own, _) = sent(&post().idempotency_key("own"), Some("k"));
    assert_eq!(header(&own, "Idempotency-Key"), Some("\"own\""));
    let (none, _) = sent(&post().without_idempotency_key(), Some("k"));
    assert!(none.headers.is_empty());
    let (none, _) = sent(&Request::get("https://a.b"), Some("k"));
    assert!(none.headers.is_empty());
}

#[test]
fn a_derived_key_is_one_of_its_message() {
    let message = |number, time| (MessageId::from_u64(number), Timestamp::from_nanos(time));
    let keys = [
        idempotency_key(canister(), [1, 2, 3], message(4, 5)),
        idempotency_key(canister(), [2, 2, 3], message(4, 5)),
        idempotency_key(canister(), [1, 3, 3], message(4, 5)),
        idempotency_key(canister(), [1, 2, 4], message(4, 5)),
        idempotency_key(canister(), [1, 2, 3], message(5, 5)),
        // After a snapshot was loaded.
        idempotency_key(canister(), [1, 2, 3], message(4, 6)),
        idempotency_key(Principal::from_slice(&[7]), [1, 2, 3], message(4, 5)),
        idempotency_key(Principal::from_slice(&[]), [1, 2, 3], message(4, 5)),
    ];
    for key in &keys {
        assert_eq!(key.len(), LENGTH);
        assert!(
            key.bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        );
        let uuid: uuid::Uuid = key.parse().unwrap();
        assert_eq!(uuid.get_version_num(), 4);
    }
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    // It must stay what it is: a message that was sent before an upgrade is repeated after it.
    assert_eq!(keys[0], "0d9374fb-663a-4520-ac7d-25820a1cc30e");
}

proptest! {
    #[test]
    fn the_size_is_that_of_the_ic(request in arbitrary::request(), key in any::<bool>()) {
        let message = (MessageId::from_u64(1), Timestamp::from_nanos(2));
        let key = key.then(|| idempotency_key(canister(), [0; 3], message));
        let (sent, priced) = sent(&request, key.as_deref());
        prop_assert_eq!(priced, size(&sent));
        // What was checked leaves room for the key.
        let headers: usize = sent.headers.iter().map(|it| it.name.len() + it.value.len()).sum();
        prop_assert!(sent.headers.len() <= 64 && headers <= 49_152);
    }
}
