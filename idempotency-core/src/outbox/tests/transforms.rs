//! What is left of an answer.

use crate::outbox::{Request, Response, stored::Stored, transform::transformed};
use candid::Principal;
use ic_management_canister_types::{HttpHeader, HttpRequestArgs, HttpRequestResult, TransformArgs};
use proptest::{collection::vec, prelude::*};

fn post() -> Request {
    Request::post("https://a.b")
}

/// With what the IC calls the transform for the request.
fn context(request: &Request) -> Vec<u8> {
    let stored = request.check().unwrap().stored;
    let stored = Stored::read(&stored).unwrap();
    let argument = stored.outcall().argument(Principal::anonymous(), "t", None);
    let sent: HttpRequestArgs = candid::decode_one(&argument).unwrap();
    sent.transform.unwrap().context
}

fn called(context: &[u8], status: u32, headers: &[(&str, &str)], body: &[u8]) -> HttpRequestResult {
    let headers = headers.iter().map(|(name, value)| HttpHeader {
        name: (*name).into(),
        value: (*value).into(),
    });
    let response = HttpRequestResult {
        status: status.into(),
        headers: headers.collect(),
        body: body.to_vec(),
    };
    let context = context.to_vec();
    let argument = candid::encode_one(TransformArgs { response, context }).unwrap();
    candid::decode_one(&transformed(&argument)).unwrap()
}

fn kept(request: &Request, status: u32, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let result = called(&context(request), status, headers, body);
    Response::read(&candid::encode_one(result).unwrap()).unwrap()
}

const HEADERS: [(&str, &str); 6] = [
    ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ("Location", "/1"),
    ("set-cookie", "a"),
    ("ETag", "x"),
    ("Set-Cookie", "b"),
    ("Retry-After", "7"),
];

#[test]
fn headers_are_kept_by_name() {
    let names = |response: &Response| -> Vec<String> {
        let headers = response.headers.iter();
        headers
            .map(|(name, value)| format!("{name}: {value}"))
            .collect()
    };
    let asks = |request: Request| {
        request
            .keep_header("SET-cookie")
            .keep_header("location")
            .keep_header("set-cookie")
    };
    let response = kept(&asks(post()), 201, &HEADERS, b"");
    assert_eq!(
        names(&response),
        [
            "set-cookie: a",
            "set-cookie: b",
            "location: /1",
            "retry-after: 7"
        ]
    );
    // Replicas that ask at different moments would be told different times.
    let response = kept(&asks(post().replicated(true)), 503, &HEADERS, b"");
    assert_eq!(
        names(&response),
        ["set-cookie: a", "set-cookie: b", "location: /1"]
    );
    let response = kept(&post().keep_header("Retry-After"), 503, &HEADERS, b"");
    assert_eq!(names(&response), ["retry-after: 7"]);
    assert!(
        kept(&Request::get("https://a.b"), 200, &HEADERS, b"")
            .headers
            .is_empty()
    );
}

#[test]
fn the_body_is_kept_as_it_was_asked_for() {
    let body = br#"{"id": 7, "at": "now"}"#;
    for status in [200, 204, 299] {
        assert_eq!(kept(&post(), status, &[], body).body, body);
        assert_eq!(kept(&post().keep_body(false), status, &[], body).body, b"");
        assert_eq!(kept(&post().extract("/id"), status, &[], body).body, b"7");
        assert_eq!(
            kept(&post().extract("/id").keep_body(false), status, &[], body).body,
            b""
        );
        assert_eq!(kept(&post().extract("/no"), status, &[], body).body, b"");
        assert_eq!(kept(&post().extract(""), status, &[], b"<html>").body, b"");
    }
    assert_eq!(
        kept(&Request::get("https://a.b"), 200, &[], body).body,
        body
    );
}

#[test]
fn an_error_says_why_where_one_replica_got_it() {
    let long = [b'x'; 2_000];
    for status in [100, 199, 300, 404, 422, 500, 599] {
        for request in [post(), post().keep_body(false), post().extract("/id")] {
            assert_eq!(
                kept(&request, status, &[], b"{\"id\":7}").body,
                b"{\"id\":7}"
            );
            assert_eq!(kept(&request, status, &[], &long).body, &long[..1_024]);
            let replicated = request.replicated(true);
            assert_eq!(kept(&replicated, status, &[], b"request 4711").body, b"");
        }
    }
}

#[test]
fn replicas_agree_where_their_answers_mean_the_same() {
    let request = Request::get("https://a.b")
        .extract("/price")
        .keep_header("version");
    let one = called(
        &context(&request),
        200,
        &[("date", "1"), ("Version", "1")],
        br#"{"price":{"b":1.0,"a":"x"},"t":1}"#,
    );
    let other = called(
        &context(&request),
        200,
        &[("version", "1"), ("date", "2")],
        b"{\"t\":2,\n \"price\": {\"a\":\"\\u0078\", \"b\":1.0}}",
    );
    assert_eq!(one, other);
}

#[test]
fn it_takes_whatever_it_is_called_with() {
    for context in [
        &b""[..],
        &[0],
        &[2, 1, 0, 0],
        &[1, 1, 255, 255],
        &[1, 1, 0, 0, 9, b'a'],
        b"\xff\xff",
    ] {
        let result = called(context, 200, &HEADERS, b"body");
        assert_eq!(
            (result.status, result.headers, result.body),
            (200u8.into(), vec![], vec![])
        );
    }
    for argument in [
        &b""[..],
        b"DIDL",
        b"DIDL\0\0",
        &candid::encode_one(7u8).unwrap(),
    ] {
        let result: HttpRequestResult = candid::decode_one(&transformed(argument)).unwrap();
        assert_eq!(result, HttpRequestResult::default());
    }
    // More than any status.
    let result = called(&context(&post()), u32::MAX, &[], b"x");
    assert_eq!(result.status, u32::MAX);
}

proptest! {
    #[test]
    fn nothing_traps(
        argument in vec(any::<u8>(), 0..100),
        context in vec(any::<u8>(), 0..40),
        status in any::<u32>(),
        body in vec(any::<u8>(), 0..100),
    ) {
        transformed(&argument);
        transformed(&[b"DIDL", &argument[..]].concat());
        called(&context, status, &HEADERS, &body);
        called(&[&[1, 7, 2, 0, b'/', b'a'], &context[..]].concat(), 200, &HEADERS, &body);
    }

    /// What is kept is shorter than what came, but for what candid adds: the IC limits both.
    #[test]
    fn the_answer_gets_no_longer(request in super::arbitrary::request(), status in 200u32..600, body in vec(any::<u8>(), 0..200)) {
        let result = called(&context(&request), status, &HEADERS, &body);
        let headers = |headers: &[HttpHeader]| headers.iter().map(|it| it.name.len() + it.value.len()).sum::<usize>();
        let came: usize = HEADERS.iter().map(|(name, value)| name.len() + value.len()).sum();
        prop_assert!(result.body.len() <= body.len() && headers(&result.headers) <= came);
        prop_assert_eq!(result.status, status);
    }
}
