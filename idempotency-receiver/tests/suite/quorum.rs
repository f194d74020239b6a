//! N of M.

use crate::world::{Any, Reply, World, directory, post, request, send, settled};
use axum::Router;
use futures_util::future::join_all;
use idempotency_receiver::{IdempotencyLayer, Limits, MemoryBackend, Quorum};
use std::time::Duration;
use tokio::join;

const MINUTE: Duration = Duration::from_secs(60);

/// A router that needs so many copies from different senders, who say themselves who they are.
fn needs(
    needed: usize,
    set: impl Fn(IdempotencyLayer<Any>) -> IdempotencyLayer<Any>,
) -> Vec<(World, Router)> {
    let directory = directory();
    let quorum = Quorum::new(needed, MINUTE).from(|parts| {
        let sender = parts.headers.get("x-sender")?;
        Some(sender.as_bytes().to_vec())
    });
    let of = |backend: Any| {
        let world = World::new();
        let layer = set(world.layer(backend).quorum(quorum.clone()));
        let router = world.router(layer);
        (world, router)
    };
    Any::both(&directory, Limits::default()).map(of).into()
}

async fn from(router: &Router, sender: &str, body: &str) -> Reply {
    let mut request = request("k", body.to_owned());
    let sender = sender.parse().expect("it may stand in a header");
    request.headers_mut().insert("x-sender", sender);
    send(router, request).await
}

fn same(layer: IdempotencyLayer<Any>) -> IdempotencyLayer<Any> {
    layer
}

fn impatient(layer: IdempotencyLayer<Any>) -> IdempotencyLayer<Any> {
    layer.wait(Duration::from_millis(400), 64)
}

#[tokio::test]
async fn all_copies_are_answered_alike_once_enough_have_come() {
    for (world, router) in needs(5, same) {
        let senders: Vec<_> = (1..=13).map(|sender| sender.to_string()).collect();
        let replies = join_all(senders.iter().map(|sender| from(&router, sender, "one"))).await;
        for reply in &replies {
            assert_eq!((reply.status, &*reply.body), (201, "effect 1\0"));
        }
        assert_eq!(world.effects().len(), 1);
        let late = from(&router, "14", "one").await;
        assert!(late.is_replay());
    }
}

#[tokio::test]
async fn too_few_are_told_so_and_nothing_is_done() {
    for (world, router) in needs(5, impatient) {
        let early = join_all(["1", "2", "3", "4"].map(|sender| from(&router, sender, "one"))).await;
        for reply in early {
            assert_eq!((reply.status, reply.problem()), (503, "too-few-copies"));
            assert_eq!(reply.headers["retry-after"], "1");
        }
        assert_eq!(world.effects().len(), 0);
        // They don't wait any more, but were here.
        assert_eq!(from(&router, "5", "one").await.status, 201);
        assert!(from(&router, "1", "one").await.is_replay());
        assert_eq!(world.effects().len(), 1);
    }
}

#[tokio::test]
async fn a_sender_counts_once() {
    for (world, router) in needs(2, impatient) {
        let replies = join_all((0..5).map(|_| from(&router, "1", "one"))).await;
        assert!(replies.iter().all(|reply| reply.status == 503));
        assert_eq!(world.effects().len(), 0);
        assert_eq!(from(&router, "2", "one").await.status, 201);
    }
}

#[tokio::test]
async fn all_who_do_not_say_who_they_are_count_as_one() {
    for (world, router) in needs(3, impatient) {
        let replies = join_all((0..5).map(|_| post(&router, "k", "one"))).await;
        assert!(replies.iter().all(|reply| reply.status == 503));
        // One with an empty name is somebody.
        assert_eq!(from(&router, "", "one").await.status, 503);
        assert_eq!(world.effects().len(), 0);
        assert_eq!(from(&router, "2", "one").await.status, 201);
    }
}

#[tokio::test]
async fn without_a_way_to_tell_senders_apart_each_copy_counts() {
    let world = World::new();
    let layer = world.layer(MemoryBackend::new(Limits::default()));
    let router = world.router(layer.quorum(Quorum::new(3, MINUTE)));
    let (one, two, ()) = join!(
        post(&router, "k", "one"),
        post(&router, "k", "one"),
        async {
            settled().await;
            assert_eq!(world.effects().len(), 0);
            assert_eq!(post(&router, "k", "one").await.status, 201);
        }
    );
    assert_eq!((one.status, two.status), (201, 201));
    assert_eq!(world.effects().len(), 1);
}

#[tokio::test]
async fn each_body_is_counted_by_itself() {
    for (world, router) in needs(3, same) {
        let lost = join_all(["1", "2"].map(|sender| from(&router, sender, "two")));
        let won = join_all(["1", "2", "3"].map(|sender| from(&router, sender, "one")));
        let (lost, won) = join!(lost, won);
        for reply in lost {
            assert_eq!((reply.status, reply.problem()), (422, "key-reused"));
        }
        for reply in won {
            assert_eq!(reply.status, 201);
        }
        assert_eq!(from(&router, "3", "two").await.status, 422);
        assert_eq!(world.effects(), ["one"]);
    }
}

#[tokio::test(start_paused = true)]
async fn copies_must_come_within_the_time() {
    let world = World::new();
    let quorum = Quorum::new(2, MINUTE)
        .from(|parts| Some(parts.headers.get("x-sender")?.as_bytes().to_vec()));
    let layer = world.layer(MemoryBackend::new(Limits::default()));
    let router = world.router(layer.quorum(quorum));
    assert_eq!(from(&router, "1", "one").await.status, 503);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(
        from(&router, "2", "one").await.status,
        503,
        "the first is forgotten"
    );
    assert_eq!(from(&router, "1", "one").await.status, 201);
    assert_eq!(world.effects().len(), 1);
}

#[tokio::test]
async fn a_copy_that_was_not_executed_must_be_asked_for_anew() {
    for (world, router) in needs(2, impatient) {
        let both = join_all(["1", "2"].map(|sender| from(&router, sender, "status 503"))).await;
        for reply in both {
            assert_eq!((reply.status, &*reply.body), (503, "effect 1"));
        }
        assert_eq!(
            from(&router, "3", "status 503").await.problem(),
            "too-few-copies"
        );
        assert_eq!(world.effects().len(), 1);
    }
}

#[tokio::test]
async fn what_waits_is_bounded() {
    let world = World::new();
    let layer = world.layer(MemoryBackend::new(Limits::default()));
    let layer = layer
        .quorum(Quorum::new(100, MINUTE))
        .in_flight(10, 1000)
        .wait(Duration::from_millis(50), 2);
    let router = world.router(layer);
    let keys: Vec<_> = (0..20).map(|key| key.to_string()).collect();
    let replies = join_all(keys.iter().map(|key| post(&router, key, "one"))).await;
    let busy = replies
        .iter()
        .filter(|reply| reply.problem() == "busy")
        .count();
    assert_eq!(busy, 10);
    // Of one key two wait; the others are told at once.
    let waiting = join_all((0..5).map(|_| post(&router, "0", "one")));
    let (replies, ()) = join!(waiting, settled());
    assert!(
        replies
            .iter()
            .all(|reply| reply.problem() == "too-few-copies")
    );
    // Bodies take room, too.
    let router = world.router(
        world
            .layer(MemoryBackend::new(Limits::default()))
            .in_flight(10, 10),
    );
    assert_eq!(post(&router, "k", "this is longer").await.problem(), "busy");
    assert_eq!(world.effects().len(), 0);
}
