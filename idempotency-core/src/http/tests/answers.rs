//! Which requests are answered, and with what besides a page.

use super::*;
use crate::http::page::STYLE;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ic_http_certification::{Method, StatusCode};
use sha2::{Digest as _, Sha256};

fn status(path: &str) -> StatusCode {
    get(path, &[], START).status_code()
}

#[test]
fn two_paths_are_known_whatever_the_query() {
    let store = Observation::of(&open(VectorMemory::default()));
    let page = body(&get("/", &[("a", store.clone())], START));
    assert_eq!(
        body(&get("/?%3Cscript%3E", &[("a", store.clone())], START)),
        page
    );
    let metrics = body(&get("/metrics", &[("a", store.clone())], START));
    assert_eq!(body(&get("/metrics?x=/", &[("a", store)], START)), metrics);
    for unknown in [
        "",
        "//",
        "/index.html",
        "/metrics/",
        "/Metrics",
        "/metrics%00",
        "/..",
        "x",
        "\u{1f600}",
        " /",
    ] {
        assert_eq!(status(unknown), StatusCode::NOT_FOUND, "{unknown:?}");
    }
}

#[test]
fn nothing_of_a_request_stands_in_its_answer() {
    for path in [
        "/NEEDLE",
        "/?NEEDLE",
        "/metrics?NEEDLE",
        "NEEDLE",
        "http://NEEDLE/x",
        "/%4eEEDLE",
    ] {
        for method in [Method::GET, Method::POST] {
            let request = HttpRequest::builder()
                .with_method(method)
                .with_url(path)
                .with_headers(vec![("NEEDLE".into(), "NEEDLE".into())])
                .with_body(b"NEEDLE".as_slice())
                .build();
            let response = respond(&request, &[], at(START));
            let said = format!("{:?} {}", response.headers(), body(&response));
            assert!(!said.contains("NEEDLE"), "{path}: {said}");
        }
    }
}

#[test]
fn what_is_not_for_reading_is_refused() {
    let methods = [
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::PATCH,
        Method::TRACE,
    ];
    for method in methods {
        for path in ["/", "/metrics"] {
            let request = HttpRequest::builder()
                .with_method(method.clone())
                .with_url(path)
                .build();
            let response = respond(&request, &[], at(START));
            assert_eq!(response.status_code(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(header(&response, "Allow"), Some("GET, HEAD"));
        }
    }
}

#[test]
fn head_is_get_without_a_body() {
    for path in ["/", "/metrics"] {
        let request = HttpRequest::builder()
            .with_method(Method::HEAD)
            .with_url(path)
            .build();
        let (head, get) = (respond(&request, &[], at(START)), get(path, &[], START));
        assert_eq!(head.status_code(), StatusCode::OK);
        assert_eq!(head.headers(), get.headers());
        assert!(head.body().is_empty() && !get.body().is_empty());
    }
}

/// Without that a browser shows the page without its style.
#[test]
fn the_policy_allows_the_style_sheet_and_nothing_else() {
    let response = get("/", &[], START);
    let policy = header(&response, "Content-Security-Policy").unwrap();
    let digest = STANDARD.encode(Sha256::digest(STYLE));
    assert!(
        policy.contains(&format!("style-src 'sha256-{digest}'")),
        "it should be {digest}: {policy}"
    );
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"));
    assert!(body(&response).contains(&format!("<style>{STYLE}</style>")));
    for (name, value) in [
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Content-Type", "text/html; charset=utf-8"),
    ] {
        assert_eq!(header(&response, name), Some(value));
    }
}
