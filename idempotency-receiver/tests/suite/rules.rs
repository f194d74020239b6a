//! The rules of the table in the crate's docs, with each backend.

use crate::world::{Any, World, directory, post, request, send, settled};
use axum::{Router, body::Body};
use http::{HeaderName, Method, Request};
use idempotency_receiver::{IdempotencyLayer, KeySyntax, Limits};
use std::time::Duration;
use tokio::join;

/// A world and a router for each backend, with what the test sets.
fn both(set: impl Fn(IdempotencyLayer<Any>) -> IdempotencyLayer<Any>) -> Vec<(World, Router, Any)> {
    let directory = directory();
    let of = |backend: Any| {
        let world = World::new();
        let router = world.router(set(world.layer(backend.clone())));
        (world, router, backend)
    };
    // The database lives on without its name.
    Any::both(&directory, Limits::default()).map(of).into()
}

#[tokio::test]
async fn a_first_request_is_executed() {
    for (world, router, _) in both(|layer| layer) {
        let reply = post(&router, "k", "one").await;
        assert_eq!((reply.status, &*reply.body), (201, "effect 1\0"));
        assert_eq!(reply.headers["location"], "/orders/1");
        assert!(!reply.is_replay());
        let [key] = &world.keys()[..] else {
            panic!("one effect")
        };
        assert_eq!((&*key.key, key.attempt), ("k", 1));
    }
}

#[tokio::test]
async fn a_retry_gets_the_first_answer() {
    for (world, router, _) in both(|layer| layer) {
        for body in [
            "one",
            "status 200",
            "status 303",
            "status 404",
            "status 409",
        ] {
            let first = post(&router, body.trim(), body).await;
            let mut second = post(&router, body.trim(), body).await;
            assert!(second.is_replay());
            second.headers.remove("idempotency-replayed");
            assert_eq!(first, second);
        }
        assert_eq!(world.effects().len(), 5);
    }
}

#[tokio::test]
async fn replays_are_marked_unless_switched_off() {
    for (_, router, _) in both(|layer| layer.replay_marker(None)) {
        let first = post(&router, "k", "one").await;
        assert_eq!(first, post(&router, "k", "one").await);
    }
    let marker = HeaderName::from_static("x-again");
    for (_, router, _) in both(|layer| layer.replay_marker(Some(marker.clone()))) {
        post(&router, "k", "one").await;
        assert_eq!(post(&router, "k", "one").await.headers[&marker], "true");
    }
}

#[tokio::test]
async fn a_cookie_is_given_to_nobody() {
    for (_, router, _) in both(|layer| layer) {
        for _ in 0..2 {
            let reply = post(&router, "k", "one").await;
            assert!(!reply.headers.contains_key("set-cookie"));
        }
    }
}

#[tokio::test]
async fn a_concurrent_copy_waits_for_the_first_answer() {
    for (world, router, _) in both(|layer| layer) {
        let (first, second, ()) = join!(
            post(&router, "k", "hold"),
            post(&router, "k", "hold"),
            async {
                world.reach(1).await;
                settled().await;
                world.release(1);
            }
        );
        assert_eq!(first.status, 201);
        assert_eq!(first, second);
        assert_eq!(world.effects().len(), 1);
    }
}

#[tokio::test]
async fn a_copy_that_has_waited_is_refused_with_409() {
    for wait in [Duration::ZERO, Duration::from_millis(50)] {
        for (world, router, _) in both(|layer| layer.wait(wait, 64)) {
            let (first, ()) = join!(post(&router, "k", "hold"), async {
                world.reach(1).await;
                let copy = post(&router, "k", "hold").await;
                assert_eq!((copy.status, copy.problem()), (409, "in-progress"));
                assert_eq!(copy.headers["retry-after"], "1");
                world.release(1);
            });
            assert_eq!(first.status, 201, "the first one waits as long as it takes");
            assert_eq!(post(&router, "k", "hold").await.status, 201);
            assert_eq!(world.effects().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_missing_key_is_refused_with_400() {
    for (world, router, _) in both(|layer| layer) {
        let reply = send(
            &router,
            Request::post("/orders")
                .body(Body::from("one"))
                .expect("it is a request"),
        )
        .await;
        assert_eq!((reply.status, reply.problem()), (400, "missing-key"));
        assert_eq!(world.effects().len(), 0);
    }
}

#[tokio::test]
async fn a_request_without_a_key_passes_if_keys_are_optional() {
    for (world, router, backend) in both(IdempotencyLayer::optional) {
        for _ in 0..2 {
            let reply = send(
                &router,
                Request::post("/orders")
                    .body(Body::from("one"))
                    .expect("it is a request"),
            )
            .await;
            assert_eq!((reply.status, &*reply.body), (200, "passed"));
        }
        assert_eq!(backend.remembered().await, 0);
        post(&router, "k", "one").await;
        assert!(post(&router, "k", "one").await.is_replay());
        assert_eq!(world.effects().len(), 1);
    }
}

#[tokio::test]
async fn a_malformed_key_is_refused_with_400() {
    for (world, router, _) in both(|layer| layer.longest_key(36)) {
        let long = format!("\"{}\"", "x".repeat(37));
        let huge = format!("\"{}\"", "x".repeat(100_000));
        for (keys, problem) in [
            (&["bare"][..], "malformed-key"),
            (&["\"a\", \"b\""], "malformed-key"),
            (&["\"a\"", "\"a\""], "malformed-key"),
            (&["\"\""], "malformed-key"),
            (&["\"open"], "malformed-key"),
            (&[&long], "key-too-long"),
            (&[&huge], "key-too-long"),
        ] {
            let mut request = Request::post("/orders");
            for key in keys {
                request = request.header("idempotency-key", *key);
            }
            let reply = send(
                &router,
                request.body(Body::from("one")).expect("it is a request"),
            )
            .await;
            assert_eq!((reply.status, reply.problem()), (400, problem), "{keys:?}");
        }
        assert_eq!(world.effects().len(), 0);
    }
}

#[tokio::test]
async fn a_bare_key_is_taken_if_the_syntax_is_lenient() {
    for (world, router, _) in both(|layer| layer.key_syntax(KeySyntax::Lenient)) {
        let bare = Request::post("/orders").header("idempotency-key", "k");
        send(
            &router,
            bare.body(Body::from("one")).expect("it is a request"),
        )
        .await;
        assert!(post(&router, "k", "one").await.is_replay());
        assert_eq!(world.effects().len(), 1);
    }
}

#[tokio::test]
async fn another_body_is_refused_with_422() {
    let tag = HeaderName::from_static("x-tag");
    for (world, router, _) in both(|layer| layer.fingerprint_headers([tag.clone()])) {
        let first = post(&router, "k", "one").await;
        for (uri, tag, body) in [
            ("/orders", None, "two"),
            ("/orders?q=1", None, "one"),
            ("/orders", Some("t"), "one"),
        ] {
            let mut request = Request::post(uri).header("idempotency-key", "\"k\"");
            if let Some(tag) = tag {
                request = request.header("x-tag", tag);
            }
            let reply = send(
                &router,
                request.body(Body::from(body)).expect("it is a request"),
            )
            .await;
            assert_eq!((reply.status, reply.problem()), (422, "key-reused"));
        }
        assert_eq!(
            post(&router, "k", "one").await.body,
            first.body,
            "the record stays"
        );
        assert_eq!(world.effects(), ["one"]);
    }
}

#[tokio::test]
async fn another_body_is_refused_while_the_first_is_in_flight() {
    for (world, router, _) in both(|layer| layer) {
        let (first, ()) = join!(post(&router, "k", "hold"), async {
            world.reach(1).await;
            assert_eq!(post(&router, "k", "two").await.status, 422);
            world.release(1);
        });
        assert_eq!(first.status, 201);
        assert_eq!(world.effects(), ["hold"]);
    }
}

#[tokio::test]
async fn other_headers_may_differ() {
    for (_, router, _) in both(|layer| layer) {
        post(&router, "k", "one").await;
        let mut copy = request("k", "one");
        copy.headers_mut()
            .insert("x-tag", "t".parse().expect("it may stand in a header"));
        assert!(send(&router, copy).await.is_replay());
    }
}

#[tokio::test]
async fn a_key_on_another_path_is_another_request() {
    for (world, router, _) in both(|layer| layer) {
        for path in ["/orders", "/payments"] {
            let request = Request::post(path).header("idempotency-key", "\"k\"");
            let reply = send(
                &router,
                request.body(Body::from("one")).expect("it is a request"),
            )
            .await;
            assert_eq!(reply.status, 201);
        }
        assert_eq!(world.effects().len(), 2);
    }
}

#[tokio::test]
async fn layers_with_other_names_have_other_requests() {
    let directory = directory();
    for backend in Any::both(&directory, Limits::default()) {
        let world = World::new();
        let nested = |name: &str| world.router(world.layer(backend.clone()).name(name));
        // Both see the path `/orders`.
        let router = Router::new()
            .nest("/a", nested("a"))
            .nest("/b", nested("b"));
        for path in ["/a/orders", "/b/orders", "/a/orders"] {
            let request = Request::post(path).header("idempotency-key", "\"k\"");
            send(
                &router,
                request.body(Body::from("one")).expect("it is a request"),
            )
            .await;
        }
        assert_eq!(world.effects().len(), 2);
    }
}

#[tokio::test]
async fn only_the_methods_it_is_for_are_looked_at() {
    for (world, router, _) in both(|layer| layer) {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let request = Request::builder().method(method).uri("/orders");
            let reply = send(
                &router,
                request.body(Body::empty()).expect("it is a request"),
            )
            .await;
            assert_eq!(reply.body, "passed");
        }
        let patch = || {
            Request::patch("/orders")
                .header("idempotency-key", "\"k\"")
                .body(Body::from("one"))
        };
        send(&router, patch().expect("it is a request")).await;
        assert!(
            send(&router, patch().expect("it is a request"))
                .await
                .is_replay()
        );
        assert_eq!(world.effects().len(), 1);
    }
    for (_, router, _) in both(|layer| layer.methods([Method::PUT])) {
        assert_eq!(post(&router, "k", "one").await.body, "passed");
        let put = Request::put("/orders")
            .body(Body::empty())
            .expect("it is a request");
        assert_eq!(send(&router, put).await.problem(), "missing-key");
    }
}

#[tokio::test]
async fn keys_of_different_scopes_do_not_meet() {
    let user =
        |parts: &http::request::Parts| Some(parts.headers.get("x-user")?.as_bytes().to_vec());
    for (world, router, _) in both(|layer| layer.scope(user)) {
        let of = |user: &str, body: &str| {
            let mut request = request("k", body.to_owned());
            request
                .headers_mut()
                .insert("x-user", user.parse().expect("it may stand in a header"));
            request
        };
        assert_eq!(send(&router, of("alice", "one")).await.body, "effect 1\0");
        assert_eq!(send(&router, of("bob", "one")).await.body, "effect 2\0");
        assert_eq!(send(&router, of("bob", "two")).await.status, 422);
        assert_eq!(send(&router, of("alice", "one")).await.body, "effect 1\0");
        let reply = post(&router, "k", "one").await;
        assert_eq!((reply.status, reply.problem()), (401, "no-scope"));
        assert_eq!(world.effects().len(), 2);
    }
}

#[tokio::test]
async fn a_key_is_forgotten_after_the_window() {
    let window = Limits::default().window;
    for (world, router, backend) in both(|layer| layer) {
        post(&router, "k", "one").await;
        world.advance(window - Duration::from_millis(1));
        assert!(post(&router, "k", "one").await.is_replay());
        world.advance(Duration::from_millis(1));
        assert_eq!(
            post(&router, "k", "two").await.body,
            "effect 2\0",
            "another body, too"
        );
        assert_eq!(backend.remembered().await, 1);
    }
}

#[tokio::test]
async fn the_window_begins_when_the_answer_is_there() {
    let window = Limits::default().window;
    for (world, router, _) in both(|layer| layer) {
        let (first, ()) = join!(post(&router, "k", "hold"), async {
            world.reach(1).await;
            // However long it takes, it is not forgotten meanwhile.
            world.advance(window * 2);
            world.release(1);
        });
        assert_eq!(first.status, 201);
        world.advance(window - Duration::from_millis(1));
        assert!(post(&router, "k", "hold").await.is_replay());
        assert_eq!(world.effects().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_that_says_not_executed_is_not_remembered() {
    for (world, router, _) in both(|layer| layer) {
        for body in ["status 503", "status 429", "status 425", "nothing"] {
            let first = post(&router, body, body).await;
            let second = post(&router, body, body).await;
            assert!(!second.is_replay());
            assert_eq!(first.status, second.status);
        }
        assert_eq!(world.effects().len(), 8);
    }
}

#[tokio::test]
async fn copies_that_wait_get_an_answer_that_is_not_remembered() {
    for (world, router, _) in
        both(|layer| layer.verdict(|_| idempotency_receiver::Verdict::NotExecuted))
    {
        let (first, second, ()) = join!(
            post(&router, "k", "hold"),
            post(&router, "k", "hold"),
            async {
                world.reach(1).await;
                settled().await;
                world.release(1);
            }
        );
        assert_eq!(first, second);
        assert_eq!(world.effects().len(), 1);
    }
}

#[tokio::test]
async fn problems_say_where_to_read_on() {
    for (_, router, _) in both(|layer| layer.documentation("https://example.com/keys")) {
        post(&router, "k", "one").await;
        let reply = post(&router, "k", "two").await;
        assert_eq!(reply.headers["content-type"], "application/problem+json");
        assert!(
            reply
                .body
                .contains(r#""type":"https://example.com/keys#key-reused""#),
            "{}",
            reply.body
        );
        assert!(reply.body.contains(r#""status":422"#));
        assert!(
            reply
                .body
                .contains(r#""title":"Idempotency-Key is already used""#)
        );
    }
}

#[test]
fn the_table_in_the_docs_names_the_tests() {
    let docs = include_str!("../../README.md");
    let table = docs
        .split("## ")
        .find(|section| section.starts_with("The idempotency rules"))
        .expect("there is a table");
    let names: Vec<_> = table
        .split('`')
        .filter(|name| name.matches('_').count() > 2)
        .collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(
            include_str!("rules.rs").contains(&format!("fn {name}()")),
            "{name}"
        );
    }
}
