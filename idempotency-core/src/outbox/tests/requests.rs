//! What a request may contain, and what becomes of it.

use crate::outbox::{
    error::RequestError,
    limits::{MAX_ABOUT, MAX_KEEP},
    request::{Checked, Request},
    stored::Stored,
    url,
};
use std::{collections::BTreeSet, time::Duration};

const URL: &str = "https://api.example.com/v1/orders";

fn post() -> Request {
    Request::post(URL)
}

fn checked(request: &Request) -> Checked {
    request.check().unwrap()
}

fn refused(request: &Request) -> RequestError {
    request.check().unwrap_err()
}

/// A request has so many bytes of headers, that of the key included.
fn with_headers(count: usize, length: usize) -> Request {
    let name = |index| format!("x-{index:02}");
    let key = "Idempotency-Key".len() + 38;
    let value = (length - key).checked_sub(count * 4).unwrap();
    let mut request = post();
    for index in 0..count {
        let more = usize::from(index < value % count);
        request = request.header(name(index), "v".repeat(value / count + more));
    }
    request
}

#[test]
fn the_methods_have_their_defaults() {
    for (request, is_replicated, has_key, is_repeatable_without) in [
        (Request::get(URL), true, false, true),
        (Request::head(URL), true, false, true),
        (Request::post(URL), false, true, false),
        (Request::put(URL), false, true, true),
        (Request::delete(URL), false, true, true),
    ] {
        let check = checked(&request);
        let stored = Stored::read(&check.stored).unwrap();
        assert_eq!(stored.outcall().is_replicated, is_replicated, "{request:?}");
        assert_eq!(stored.outcall().key.is_some(), has_key, "{request:?}");
        assert_eq!(stored.outcall().max_response_bytes(), 16_384);
        assert!(check.is_repeatable && !check.has_verify);
        assert_eq!(check.settled_after, Duration::from_secs(60));
        assert_eq!((check.lane, check.scope), (0, 0));
        assert_eq!((check.max_attempts, check.max_age), (None, None));
        let without = checked(&request.without_idempotency_key());
        assert!(
            Stored::read(&without.stored)
                .unwrap()
                .outcall()
                .key
                .is_none()
        );
        assert_eq!(without.is_repeatable, is_repeatable_without);
    }
    // A GET bears a key if it is told to.
    for request in [
        Request::get(URL).idempotency_header("X-Key"),
        Request::get(URL).idempotency_key("mine"),
    ] {
        let check = checked(&request);
        assert!(Stored::read(&check.stored).unwrap().outcall().key.is_some());
    }
}

#[test]
fn what_is_said_of_a_request_is_kept() {
    let verify = Request::get("https://api.example.com/v1/orders?id=1").header("a", "b");
    let request = post()
        .header("Content-Type", "application/json")
        .body("{}")
        .verify(verify)
        .settled_after(Duration::from_secs(5))
        .about([1, 2, 3])
        .max_attempts(3)
        .max_age(Duration::from_secs(60));
    let check = checked(&request);
    let stored = Stored::read(&check.stored).unwrap();
    assert_eq!(stored.outcall().url, URL);
    assert_eq!(stored.outcall().body, b"{}");
    assert_eq!(stored.about(), [1, 2, 3]);
    assert_eq!(
        stored.verify().unwrap().url,
        "https://api.example.com/v1/orders?id=1"
    );
    assert_eq!(Ok(check.host), url::host(stored.outcall().url));
    assert!(check.has_verify);
    assert_eq!(check.settled_after, Duration::from_secs(5));
    assert_eq!(check.max_attempts, Some(3));
    assert_eq!(check.max_age, Some(Duration::from_secs(60)));
}

#[test]
fn names_of_lanes_and_scopes_are_told_apart() {
    let names: [&[u8]; 5] = [b"", b"a", b"b", &[0; 32], &[0; 64]];
    let numbers = names.map(|name| {
        let check = checked(&post().lane(name).scope(name));
        [check.lane, check.scope]
    });
    let different: BTreeSet<_> = numbers.as_flattened().iter().chain([&0]).collect();
    assert_eq!(different.len(), 2 * names.len() + 1);
    // They must stay what they are: messages wait over upgrades.
    let check = checked(&post().lane("a").scope("a"));
    assert_eq!(
        [check.lane, check.scope],
        [1_677_238_593_524_403_272, 14_853_475_003_674_103_867]
    );
}

#[test]
fn headers_are_those_of_http() {
    for (name, value) in [
        ("", "v"),
        ("a b", "v"),
        ("a:", "v"),
        ("ä", "v"),
        ("a\n", "v"),
        ("a", "v\n"),
        ("a", "v\r\nb: c"),
        ("a", "\0"),
        ("a", "\x7f"),
        ("a", "ä"),
    ] {
        let error = refused(&post().header(name, value));
        assert_eq!(error, RequestError::InvalidHeader { name: name.into() });
    }
    for byte in 0..=127u8 {
        let character = char::from(byte).to_string();
        let is_name = http::HeaderName::try_from(&character).is_ok();
        assert_eq!(
            post().header(&character, "").check().is_ok(),
            is_name,
            "{byte}"
        );
        assert_eq!(
            post().keep_header(&character).check().is_ok(),
            is_name,
            "{byte}"
        );
        let is_value = http::HeaderValue::from_str(&character).is_ok();
        assert_eq!(
            post().header("a", &character).check().is_ok(),
            is_value,
            "{byte}"
        );
    }
}

#[test]
fn what_sets_itself_is_not_set() {
    for name in [
        "Host",
        "content-LENGTH",
        "Connection",
        "Transfer-Encoding",
        "TE",
        "Trailer",
        "Upgrade",
        "Keep-Alive",
        "Expect",
        "Proxy-Connection",
        "Proxy-Authorization",
        "idempotency-key",
    ] {
        let error = RequestError::ReservedHeader { name: name.into() };
        assert_eq!(refused(&post().header(name, "v")), error);
    }
    assert!(
        post()
            .without_idempotency_key()
            .header("Idempotency-Key", "v")
            .check()
            .is_ok()
    );
    let paypal = post().idempotency_header("PayPal-Request-Id");
    assert!(
        paypal
            .clone()
            .header("Idempotency-Key", "v")
            .check()
            .is_ok()
    );
    let error = refused(&paypal.header("paypal-request-id", "v"));
    assert!(matches!(error, RequestError::ReservedHeader { .. }));
    let error = refused(&post().idempotency_header("Host"));
    assert!(matches!(error, RequestError::ReservedHeader { .. }));
    for name in ["", "a b", "ä"] {
        let error = refused(&post().idempotency_header(name));
        assert_eq!(error, RequestError::InvalidHeader { name: name.into() });
    }
}

#[test]
fn the_limits_are_those_of_the_ic() {
    let error = |length: usize, name: &str| RequestError::HeaderTooLong {
        name: name[..length.min(64)].into(),
        max: 8_192,
    };
    let (longest, longer) = ("v".repeat(8_192), "v".repeat(8_193));
    assert!(post().header("a", &longest).check().is_ok());
    assert!(post().header(&longest, "a").check().is_ok());
    assert_eq!(refused(&post().header("a", &longer)), error(1, "a"));
    assert_eq!(refused(&post().header(&longer, "a")), error(64, &longer));
    assert_eq!(
        refused(&post().idempotency_header(&longer)),
        error(64, &longer)
    );
    // What has no room in the two bytes of its length.
    let huge = "v".repeat(70_000);
    assert_eq!(
        refused(&post().header("a", &huge).header("b", "c")),
        error(1, "a")
    );
    assert_eq!(refused(&post().header(&huge, "a")), error(64, &huge));

    assert!(with_headers(63, 10_000).check().is_ok());
    let error = RequestError::TooManyHeaders { count: 65, max: 64 };
    assert_eq!(refused(&with_headers(64, 10_000)), error);
    assert!(
        with_headers(64, 10_000)
            .without_idempotency_key()
            .check()
            .is_ok()
    );
    // More than fit into the length that is kept.
    let error = RequestError::TooManyHeaders {
        count: 101,
        max: 64,
    };
    assert_eq!(refused(&with_headers(100, 90_000)), error);

    assert!(with_headers(60, 49_152).check().is_ok());
    let error = RequestError::HeadersTooLong {
        length: 49_153,
        max: 49_152,
    };
    assert_eq!(refused(&with_headers(60, 49_153)), error);

    let key = "Idempotency-Key".len() + 38;
    assert!(post().body(vec![0; 2_000_000 - key]).check().is_ok());
    let error = RequestError::RequestTooLong {
        length: 2_000_001,
        max: 2_000_000,
    };
    assert_eq!(refused(&post().body(vec![0; 2_000_001 - key])), error);
    assert!(
        post()
            .without_idempotency_key()
            .body(vec![0; 2_000_000])
            .check()
            .is_ok()
    );

    for given in [0, 2_000_001, u64::MAX] {
        let error = RequestError::MaxResponseBytes {
            given,
            max: 2_000_000,
        };
        assert_eq!(refused(&post().max_response_bytes(given)), error);
    }
    for given in [1, 2_000_000] {
        assert!(post().max_response_bytes(given).check().is_ok());
    }
}

#[test]
fn methods_do_what_they_can() {
    assert_eq!(
        refused(&Request::get(URL).body("x")),
        RequestError::BodyNotAllowed
    );
    assert_eq!(
        refused(&Request::head(URL).body("x")),
        RequestError::BodyNotAllowed
    );
    assert!(Request::get(URL).body("").check().is_ok());
    for request in [Request::put(URL), Request::delete(URL)] {
        assert_eq!(
            refused(&request.replicated(true)),
            RequestError::NotReplicable
        );
    }
    assert!(post().replicated(true).check().is_ok());
    assert!(Request::get(URL).replicated(false).check().is_ok());
}

#[test]
fn keys_are_what_all_servers_take() {
    for key in ["", "a b", "a\"", "a\\", "a\n", "ä", &"a".repeat(256)] {
        assert_eq!(
            refused(&post().idempotency_key(key)),
            RequestError::InvalidKey,
            "{key}"
        );
    }
    for key in ["a", "order-4711/1", &"a".repeat(255)] {
        assert!(post().idempotency_key(key).check().is_ok());
    }
}

#[test]
fn what_is_kept_of_an_answer_is_short() {
    for pointer in ["a", "/~", "/~2", "/a~", "#/a", " /a"] {
        assert_eq!(
            refused(&post().extract(pointer)),
            RequestError::InvalidPointer,
            "{pointer}"
        );
    }
    for pointer in ["", "/", "/a/0", "/~0~1/ä", "//"] {
        assert!(post().extract(pointer).check().is_ok());
    }
    let error = RequestError::KeepTooLong {
        max: MAX_KEEP as u64,
    };
    let room = MAX_KEEP - 4;
    assert!(
        post()
            .extract(format!("/{}", "a".repeat(room - 1)))
            .check()
            .is_ok()
    );
    assert_eq!(
        refused(&post().extract(format!("/{}", "a".repeat(room)))),
        error
    );
    assert_eq!(refused(&post().extract("a".repeat(100_000))), error);
    assert_eq!(refused(&post().keep_header("a".repeat(256))), error);
    let mut request = post();
    for _ in 0..4 {
        request = request.keep_header("a".repeat(254));
    }
    assert!(request.check().is_ok());
    assert_eq!(refused(&request.keep_header("a")), error);
    let many = (0..10_000).fold(post(), |request, _| request.keep_header("a"));
    assert_eq!(refused(&many), error);
    let error = RequestError::InvalidHeader { name: "a b".into() };
    assert_eq!(refused(&post().keep_header("a b")), error);
}

#[test]
fn a_message_has_an_attempt_and_is_about_little() {
    assert!(post().about(vec![0; MAX_ABOUT]).check().is_ok());
    let error = RequestError::AboutTooLong {
        length: MAX_ABOUT as u64 + 1,
        max: MAX_ABOUT as u64,
    };
    assert_eq!(refused(&post().about(vec![0; MAX_ABOUT + 1])), error);
    assert_eq!(refused(&post().max_attempts(0)), RequestError::NoAttempt);
    assert_eq!(
        refused(&post().max_age(Duration::ZERO)),
        RequestError::NoAttempt
    );
}

#[test]
fn what_verifies_only_looks() {
    let get = || Request::get("https://api.example.com/v1/orders/1");
    assert_eq!(refused(&post().verify(post())), RequestError::VerifyNotSafe);
    for verify in [
        get().idempotency_key("k"),
        get().idempotency_header("K"),
        get().verify(get()),
        get().settled_after(Duration::from_secs(1)),
        get().lane("a"),
        get().scope("a"),
        get().about("a"),
        get().max_attempts(1),
        get().max_age(Duration::from_secs(1)),
    ] {
        assert_eq!(refused(&post().verify(verify)), RequestError::VerifyHasMore);
    }
    let error = RequestError::InvalidVerify {
        error: Box::new(RequestError::NotHttps),
    };
    assert_eq!(refused(&post().verify(Request::get("http://a.b"))), error);
    let error = RequestError::InvalidVerify {
        error: Box::new(RequestError::BodyNotAllowed),
    };
    assert_eq!(refused(&post().verify(get().body("x"))), error);
    for verify in [
        get().replicated(false),
        Request::head(URL),
        get().without_idempotency_key(),
    ] {
        assert!(post().verify(verify).check().unwrap().has_verify);
    }
    // By itself it repeats nothing: the outbox asks it first.
    assert!(!checked(&post().without_idempotency_key().verify(get())).is_repeatable);
}

#[test]
fn errors_name_themselves_and_say_no_secrets() {
    let secret = "hunter2";
    let requests = [
        post().header("Authorization", format!("{secret}\n")),
        Request::get(format!("https://{secret}:{secret}@example.com")),
        post().idempotency_key(format!("{secret} ")),
        post().header("a", secret.repeat(2_000)),
    ];
    for request in requests {
        let error = refused(&request);
        assert!(!error.to_string().contains(secret), "{error}");
        let name = format!("{error:?}");
        let name: String = name.chars().take_while(|it| it.is_alphanumeric()).collect();
        assert!(
            error.to_string().starts_with(&format!("{name}: ")),
            "{error}"
        );
    }
    let request = Request::get(format!("{URL}?token={secret}")).header("a", secret);
    assert!(!format!("{request:?}").contains(secret));
    assert!(format!("{request:?}").contains(URL));
}
