//! What is cut off: by a process that ends, by a handler that panics, by an answer that says nothing certain.

use crate::world::{Any, Reply, World, directory, open, post, settled};
use axum::Router;
use bytes::Bytes;
use futures_util::future::join_all;
use http::Response;
use idempotency_receiver::{Answer, IdempotencyLayer, Limits, OnUnknown, Resolution};
use std::{
    env,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{join, runtime::Runtime};

fn router(world: &World, directory: &Path, on_unknown: OnUnknown) -> Router {
    let layer = world.layer(open(directory, Limits::default()));
    world.router(layer.on_unknown(on_unknown))
}

/// A process with a server, as far as the database can tell: a runtime of its own, which ends with all its tasks where they are.
pub(crate) fn process<T>(work: impl AsyncFnOnce() -> T) -> T {
    let runtime = Runtime::new().expect("there is room");
    let done = runtime.block_on(work());
    runtime.shutdown_timeout(Duration::from_secs(10));
    done
}

/// A request that a process has begun when it ends.
fn cut_off(world: &World, directory: &Path, on_unknown: OnUnknown) {
    process(async || {
        let router = router(world, directory, on_unknown);
        let before = world.effects().len();
        tokio::spawn(async move { post(&router, "k", "hold").await });
        world.reach(before + 1).await;
    });
}

#[test]
fn what_a_process_had_begun_that_is_gone_is_unknown_and_refused() {
    let (world, directory) = (World::new(), directory());
    cut_off(&world, directory.path(), OnUnknown::Refuse);
    for _ in 0..2 {
        process(async || {
            let router = router(&world, directory.path(), OnUnknown::Refuse);
            for _ in 0..2 {
                let reply = post(&router, "k", "hold").await;
                assert_eq!((reply.status, reply.problem()), (409, "outcome-unknown"));
            }
            assert_eq!(post(&router, "k", "other").await.problem(), "key-reused");
        });
    }
    assert_eq!(world.effects().len(), 1);
    // Not for ever: it is forgotten as others are.
    world.advance(Limits::default().window);
    world.release(1);
    process(async || {
        let router = router(&world, directory.path(), OnUnknown::Refuse);
        assert_eq!(post(&router, "k", "hold").await.status, 201);
    });
}

#[test]
fn what_is_unknown_is_repeated_if_asked_for() {
    let (world, directory) = (World::new(), directory());
    cut_off(&world, directory.path(), OnUnknown::Repeat);
    cut_off(&world, directory.path(), OnUnknown::Repeat);
    world.release(1);
    process(async || {
        let router = router(&world, directory.path(), OnUnknown::Repeat);
        assert_eq!(post(&router, "k", "hold").await.status, 201);
        assert!(post(&router, "k", "hold").await.is_replay());
    });
    let attempts: Vec<_> = world.keys().iter().map(|key| key.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    let first = world.keys()[0].identity;
    assert!(world.keys().iter().all(|key| key.identity == first));
}

/// A resolver that says these, one after the other, and panics when it has none left.
fn says(resolutions: Vec<Resolution>) -> OnUnknown {
    let resolutions = Arc::new(Mutex::new(resolutions.into_iter()));
    OnUnknown::ask(move |request, key| {
        assert_eq!((&request.body()[..], &*key.key), (&b"hold"[..], "k"));
        let next = resolutions.lock().map(|mut all| all.next()).ok();
        async move { next.flatten().expect("it is asked as often as that") }
    })
}

#[test]
fn a_resolver_finds_out_what_became_of_it() {
    let (world, directory) = (World::new(), directory());
    cut_off(&world, directory.path(), OnUnknown::Refuse);
    let answer = || {
        Response::builder()
            .status(202)
            .body(Bytes::from_static(b"found"))
            .expect("it is a response")
    };
    process(async || {
        let on_unknown = says(vec![
            Resolution::StillUnknown,
            Resolution::Executed(answer()),
        ]);
        let router = router(&world, directory.path(), on_unknown);
        assert_eq!(
            post(&router, "k", "hold").await.problem(),
            "outcome-unknown"
        );
        for _ in 0..2 {
            let reply = post(&router, "k", "hold").await;
            assert_eq!((reply.status, &*reply.body), (202, "found"));
        }
    });
    assert_eq!(world.effects().len(), 1);
}

#[test]
fn what_a_resolver_says_was_not_executed_is_executed() {
    let (world, directory) = (World::new(), directory());
    cut_off(&world, directory.path(), OnUnknown::Refuse);
    process(async || {
        let router = router(
            &world,
            directory.path(),
            says(vec![Resolution::NotExecuted]),
        );
        world.release(1);
        assert_eq!(post(&router, "k", "hold").await.status, 201);
        assert!(post(&router, "k", "hold").await.is_replay());
    });
    assert_eq!(world.effects().len(), 2);
}

#[test]
fn a_resolver_that_panics_finds_nothing_out() {
    let (world, directory) = (World::new(), directory());
    cut_off(&world, directory.path(), OnUnknown::Refuse);
    process(async || {
        let router = router(&world, directory.path(), says(vec![]));
        for _ in 0..2 {
            assert_eq!(
                post(&router, "k", "hold").await.problem(),
                "outcome-unknown"
            );
        }
    });
    assert_eq!(world.effects().len(), 1);
}

#[test]
fn an_operator_can_settle_what_is_unknown() {
    let (world, directory) = (World::new(), directory());
    cut_off(&world, directory.path(), OnUnknown::Refuse);
    process(async || {
        let backend = open(directory.path(), Limits::default());
        let router = world.router(world.layer(backend.clone()));
        let unknown = backend.unknown(10).await.expect("it can be read");
        let identity = world.keys()[0].identity;
        assert_eq!(unknown, [(identity, world.now())]);
        let answer = Answer::new(
            Response::builder()
                .status(202)
                .body(Bytes::new())
                .expect("it is a response"),
        );
        assert!(
            backend
                .resolve(identity, Some(answer))
                .await
                .expect("it can be reached")
        );
        assert_eq!(post(&router, "k", "hold").await.status, 202);
        assert!(
            !backend
                .resolve(identity, None)
                .await
                .expect("it can be reached"),
            "it is settled"
        );
        assert_eq!(backend.unknown(10).await.expect("it can be read"), []);

        assert_eq!(
            post(&router, "j", "panic").await.problem(),
            "outcome-unknown"
        );
        let (identity, _) = backend.unknown(10).await.expect("it can be read")[0];
        assert!(
            backend
                .resolve(identity, None)
                .await
                .expect("it can be reached")
        );
        post(&router, "j", "panic").await;
        assert_eq!(world.effects(), ["hold", "panic", "panic"]);
    });
}

#[test]
fn answers_outlive_the_process() {
    let (world, directory) = (World::new(), directory());
    let first = process(async || {
        post(
            &router(&world, directory.path(), OnUnknown::Refuse),
            "k",
            "one",
        )
        .await
    });
    let mut second = process(async || {
        post(
            &router(&world, directory.path(), OnUnknown::Repeat),
            "k",
            "one",
        )
        .await
    });
    second
        .headers
        .remove("idempotency-replayed")
        .expect("it is a replay");
    assert_eq!(first, second);
    assert_eq!(world.effects().len(), 1);
}

/// A world and a router for each backend.
fn both(set: impl Fn(IdempotencyLayer<Any>) -> IdempotencyLayer<Any>) -> Vec<(World, Router)> {
    let directory = directory();
    let of = |backend: Any| {
        let world = World::new();
        let router = world.router(set(world.layer(backend)));
        (world, router)
    };
    Any::both(&directory, Limits::default()).map(of).into()
}

async fn two_and_one_more(router: &Router, body: &str) -> Vec<Reply> {
    let mut replies = join_all([post(router, "k", body), post(router, "k", body)]).await;
    replies.push(post(router, "k", body).await);
    replies
}

#[tokio::test]
async fn a_handler_that_panics_leaves_the_outcome_unknown() {
    for (world, router) in both(|layer| layer) {
        for reply in two_and_one_more(&router, "panic").await {
            assert_eq!((reply.status, reply.problem()), (409, "outcome-unknown"));
        }
        assert_eq!(world.effects().len(), 1);
    }
    for (world, router) in both(|layer| layer.on_unknown(OnUnknown::Repeat)) {
        for reply in two_and_one_more(&router, "panic").await {
            assert_eq!(reply.problem(), "outcome-unknown");
        }
        assert_eq!(world.effects().len(), 2);
    }
}

#[test]
fn a_handler_whose_task_is_dropped_leaves_the_outcome_unknown() {
    let directory = directory();
    for backend in Any::both(&directory, Limits::default()) {
        let world = World::new();
        process(async || {
            let router = world.router(world.layer(backend.clone()));
            tokio::spawn(async move { post(&router, "k", "hold").await });
            world.reach(1).await;
        });
        // The runtime is gone, the backend is not.
        process(async || {
            let router = world.router(world.layer(backend.clone()));
            for _ in 0..2 {
                assert_eq!(
                    post(&router, "k", "hold").await.problem(),
                    "outcome-unknown"
                );
            }
            world.release(1);
            let router = world.router(world.layer(backend.clone()).on_unknown(OnUnknown::Repeat));
            assert_eq!(post(&router, "k", "hold").await.status, 201);
        });
        assert_eq!(world.effects().len(), 2);
    }
}

#[tokio::test]
async fn an_answer_that_says_nothing_certain_is_not_remembered_and_not_repeated() {
    for body in ["status 500", "status 502", "status 504", "status 408"] {
        for (world, router) in both(|layer| layer) {
            let replies = two_and_one_more(&router, body).await;
            assert_eq!(replies[0].body, "effect 1");
            assert_eq!(replies[0], replies[1]);
            assert_eq!(
                (replies[2].status, replies[2].problem()),
                (409, "outcome-unknown")
            );
            assert_eq!(world.effects().len(), 1);
        }
        for (world, router) in both(|layer| layer.on_unknown(OnUnknown::Repeat)) {
            assert_eq!(two_and_one_more(&router, body).await[2].body, "effect 2");
            assert_eq!(world.effects().len(), 2);
        }
    }
}

#[tokio::test]
async fn several_processes_have_the_same_records() {
    let (world, directory) = (World::new(), directory());
    let here = router(&world, directory.path(), OnUnknown::Refuse);
    let there = router(&world, directory.path(), OnUnknown::Refuse);
    let (first, second, third, ()) = join!(
        post(&here, "k", "hold"),
        post(&there, "k", "hold"),
        async {
            world.reach(1).await;
            post(&there, "k", "other").await
        },
        async {
            world.reach(1).await;
            settled().await;
            world.release(1);
        }
    );
    assert_eq!((first.status, second.status, third.status), (201, 201, 422));
    assert_eq!(first.body, second.body);
    assert_eq!(world.effects().len(), 1);
}

#[tokio::test]
async fn a_process_that_closes_its_records_leaves_nothing_behind() {
    let (world, directory) = (World::new(), directory());
    let here = router(&world, directory.path(), OnUnknown::Refuse);
    {
        let there = router(&world, directory.path(), OnUnknown::Refuse);
        post(&there, "k", "one").await;
    }
    settled().await;
    assert!(post(&here, "k", "one").await.is_replay());
    let files = directory.path().read_dir().expect("it is there");
    let names = files.map(|file| {
        file.expect("it is there")
            .file_name()
            .into_string()
            .expect("it is a name")
    });
    let owners = names.filter(|name| name.contains(".owner-")).count();
    assert_eq!(owners, 1);
}

const CHILD: &str = "IDEMPOTENCY_RECEIVER_CHILD";

/// The process that the next test kills.
#[test]
#[ignore = "it is run by another test"]
fn child() {
    let Some(directory) = env::var_os(CHILD) else {
        return;
    };
    let world = World::new();
    process(async || {
        let router = router(&world, Path::new(&directory), OnUnknown::Refuse);
        assert_eq!(post(&router, "done", "one").await.status, 201);
        tokio::spawn(async move { post(&router, "k", "hold").await });
        world.reach(2).await;
        std::fs::write(Path::new(&directory).join("begun"), "").expect("there is room");
        std::future::pending::<()>().await;
    });
}

#[test]
fn a_process_that_is_killed_leaves_its_outcome_unknown() {
    let directory = directory();
    let mut child = Command::new(env::current_exe().expect("it runs"))
        .args(["crash::child", "--exact", "--ignored"])
        .env(CHILD, directory.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("it can be run");
    while !directory.path().join("begun").exists() {
        assert!(
            child.try_wait().expect("it is ours").is_none(),
            "it ended by itself"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let world = World::new();
    process(async || {
        let router = world.router(
            world
                .layer(open(directory.path(), Limits::default()))
                .wait(Duration::ZERO, 64),
        );
        assert_eq!(
            post(&router, "k", "hold").await.problem(),
            "in-progress",
            "it is alive"
        );
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        // Without a restart of this one.
        assert_eq!(
            post(&router, "k", "hold").await.problem(),
            "outcome-unknown"
        );
        assert!(post(&router, "done", "one").await.is_replay());
    });
    assert_eq!(world.effects().len(), 0);
}
