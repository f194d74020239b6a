//! Requests of all kinds that can be sent.

use crate::outbox::request::Request;
use proptest::{collection::vec, option, prelude::*};
use std::time::Duration;

pub(super) fn url() -> impl Strategy<Value = String> {
    const PATH: &str = "(/([a-zA-Z0-9._~!$&'()*+,;=:@|-]|\\[|\\]|%[0-9a-fA-F]{2}){0,8}){0,3}";
    (
        prop_oneof![
            "([a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?\\.){1,3}[a-z]{2,3}\\.?",
            "([1-9]|1[1-9]|8[0-9])\\.[0-9]\\.[0-9]\\.[0-9]",
            "\\[2a00:[0-9a-f]{1,4}::[0-9a-f]{1,4}\\]",
        ],
        option::of(1u16..),
        PATH,
        option::of("[a-z0-9=&?/\\[\\]]{0,12}"),
    )
        .prop_map(|(host, port, path, query)| {
            let port = port.map_or(String::new(), |port| format!(":{port}"));
            let query = query.map_or(String::new(), |query| format!("?{query}"));
            format!("https://{host}{port}{path}{query}")
        })
}

/// What all methods have, and what verifies another.
fn plain(request: fn(String) -> Request) -> impl Strategy<Value = Request> {
    (
        url(),
        vec(("x-[a-zA-Z0-9!#$-]{0,9}", "[ -~\t]{0,12}"), 0..4),
        1u64..=2_000_000,
        vec("[a-zA-Z0-9-]{1,12}", 0..3),
        option::of("(/([a-z]|~0|~1){0,4}){0,3}"),
        any::<bool>(),
    )
        .prop_map(move |(url, headers, max, kept, pointer, is_kept)| {
            let mut made = request(url).max_response_bytes(max);
            for (name, value) in headers {
                made = made.header(name, value);
            }
            for name in kept {
                made = made.keep_header(name);
            }
            if let Some(pointer) = pointer {
                made = made.extract(pointer);
            }
            made.keep_body(is_kept)
        })
}

pub(super) fn request() -> impl Strategy<Value = Request> {
    let safe = prop_oneof![plain(Request::get), plain(Request::head)];
    let other = prop_oneof![
        (plain(Request::post), any::<bool>()).prop_map(|(post, all)| post.replicated(all)),
        plain(Request::put),
        plain(Request::delete)
    ];
    let other = (other, vec(any::<u8>(), 0..64)).prop_map(|(other, body)| other.body(body));
    (
        prop_oneof![safe, other],
        option::of(prop_oneof![plain(Request::get), plain(Request::head)]),
        option::of(option::of("[a-zA-Z0-9-]{1,40}")),
        option::of("Idem-[a-zA-Z]{1,9}"),
        vec(any::<u8>(), 0..32),
        option::of(vec(any::<u8>(), 0..80)),
        option::of((1u32.., 1u64..)),
    )
        .prop_map(|(mut request, verify, key, header, about, name, limits)| {
            if let Some(verify) = verify {
                request = request.verify(verify);
            }
            request = match key {
                None => request,
                Some(None) => request.without_idempotency_key(),
                Some(Some(key)) => request.idempotency_key(key),
            };
            if let Some(header) = header {
                request = request.idempotency_header(header);
            }
            if let Some(name) = name {
                request = request.lane(&name).scope(&name);
            }
            if let Some((attempts, seconds)) = limits {
                request = request
                    .max_attempts(attempts)
                    .max_age(Duration::from_secs(seconds));
            }
            request.about(about)
        })
}
