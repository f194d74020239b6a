//! Too much, too large, not what it should be, and backends that fail.

use crate::world::{Any, World, directory, open, post, send, settled};
use axum::body::Body;
use http::{Request, Response};
use idempotency_receiver::{
    Answer, IdempotencyLayer, Limits, MemoryBackend, RequestId, SqliteBackend,
    backend::{Attempt, Backend, BackendError, Begun, Mode, Settlement},
    rusqlite::Connection,
};
use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, SystemTime},
};
use tower::{Layer, ServiceExt, service_fn};

fn few(records: u64, bytes: u64) -> Limits {
    Limits {
        records,
        bytes,
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_full_backend_refuses_new_requests_and_answers_known_ones() {
    let directory = directory();
    for (backend, keys) in Any::both(&directory, few(100, u64::MAX))
        .into_iter()
        .zip([10_000, 200])
    {
        let world = World::new();
        let router = world.router(world.layer(backend.clone()));
        for key in 0..keys {
            let reply = post(&router, &key.to_string(), "one").await;
            let expected = if key < 100 { (201, "") } else { (503, "full") };
            assert_eq!((reply.status, reply.problem()), expected);
        }
        assert_eq!(
            (backend.remembered().await, world.effects().len()),
            (100, 100)
        );
        assert_eq!(
            post(&router, "new", "one").await.headers["retry-after"],
            "3600"
        );
        assert!(post(&router, "0", "one").await.is_replay());
        assert_eq!(post(&router, "0", "two").await.status, 422);
        world.advance(Limits::default().window);
        assert_eq!(post(&router, "new", "one").await.status, 201);
    }
}

#[tokio::test]
async fn answers_take_room() {
    let directory = directory();
    for backend in Any::both(&directory, few(1000, 100)) {
        let world = World::new();
        let router = world.router(world.layer(backend.clone()));
        let mut kept = 0;
        while post(&router, &kept.to_string(), "one").await.status == 201 {
            kept += 1;
        }
        assert!((2..10).contains(&kept), "{kept}");
        world.advance(Limits::default().window);
        assert_eq!(post(&router, "new", "one").await.status, 201);
        assert_eq!(backend.remembered().await, 1);
    }
}

#[tokio::test]
async fn no_request_pays_for_all_that_have_expired() {
    let directory = directory();
    for backend in Any::both(&directory, Limits::default()) {
        let world = World::new();
        let router = world.router(world.layer(backend.clone()));
        for key in 0..150 {
            post(&router, &key.to_string(), "one").await;
        }
        world.advance(Limits::default().window);
        for left in [51, 2, 3] {
            post(&router, &format!("new {left}"), "one").await;
            assert_eq!(backend.remembered().await, left);
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_kept_but_not_repeated_either() {
    let directory = directory();
    for backend in Any::both(&directory, Limits::default()) {
        let world = World::new();
        let router = world.router(world.layer(backend));
        for _ in 0..2 {
            let reply = post(&router, "k", "large").await;
            assert_eq!((reply.status, reply.problem()), (500, "answer-not-kept"));
        }
        assert_eq!(world.effects().len(), 1);
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_has_no_effect() {
    let world = World::new();
    let router = world.router(world.layer(MemoryBackend::new(Limits::default())));
    let pieces = futures_util::stream::iter([Ok("one"), Err(io::Error::other("broken"))]);
    let request = Request::post("/orders").header("idempotency-key", "\"k\"");
    let request = request
        .body(Body::from_stream(pieces))
        .expect("it is a request");
    assert_eq!(send(&router, request).await.problem(), "body-broken");
    assert_eq!(world.effects().len(), 0);
}

#[tokio::test]
async fn a_service_that_fails_leaves_the_outcome_unknown() {
    let layer = IdempotencyLayer::new(MemoryBackend::new(Limits::default()));
    let service = layer.layer(service_fn(async |_: Request<Body>| {
        Err::<Response<Body>, _>("it fails")
    }));
    for _ in 0..2 {
        let request = Request::post("/")
            .header("idempotency-key", "\"k\"")
            .body(Body::empty());
        let response = service
            .clone()
            .oneshot(request.expect("it is a request"))
            .await;
        assert_eq!(response.expect("it answers itself").status(), 409);
    }
    let get = Request::get("/")
        .body(Body::empty())
        .expect("it is a request");
    assert!(
        service.oneshot(get).await.is_err(),
        "what passes fails as it did"
    );
}

/// A backend that fails so many times.
#[derive(Clone)]
struct Fails {
    backend: MemoryBackend,
    begin: Arc<AtomicUsize>,
    settle: Arc<AtomicUsize>,
}

fn fail(times: &AtomicUsize) -> Result<(), BackendError> {
    match times.fetch_update(SeqCst, SeqCst, |times| times.checked_sub(1)) {
        Ok(_) => Err(BackendError::Failed("as it was told".into())),
        Err(_) => Ok(()),
    }
}

impl Backend for Fails {
    async fn begin(
        &self,
        id: RequestId,
        mode: Mode,
        now: SystemTime,
    ) -> Result<Begun, BackendError> {
        fail(&self.begin)?;
        self.backend.begin(id, mode, now).await
    }

    async fn settle(
        &self,
        attempt: &Attempt,
        settlement: Settlement,
        now: SystemTime,
    ) -> Result<Option<Answer>, BackendError> {
        fail(&self.settle)?;
        self.backend.settle(attempt, settlement, now).await
    }

    fn abandon(&self, attempt: &Attempt, now: SystemTime) {
        self.backend.abandon(attempt, now);
    }
}

fn fails(begin: usize, settle: usize) -> Fails {
    Fails {
        backend: MemoryBackend::new(Limits::default()),
        begin: Arc::new(begin.into()),
        settle: Arc::new(settle.into()),
    }
}

#[tokio::test]
async fn nothing_is_executed_without_a_record() {
    let world = World::new();
    let router = world.router(world.layer(fails(1, 0)));
    let reply = post(&router, "k", "one").await;
    assert_eq!((reply.status, reply.problem()), (503, "unavailable"));
    assert_eq!(world.effects().len(), 0);
    assert_eq!(post(&router, "k", "one").await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_recorded_yet_is_given_and_recorded_later() {
    let world = World::new();
    let backend = fails(0, 5);
    let router = world.router(world.layer(backend.clone()));
    let first = post(&router, "k", "one").await;
    assert_eq!(first.status, 201);
    assert_eq!(post(&router, "k", "one").await, first);
    assert_eq!(backend.settle.load(SeqCst), 4, "it is not recorded yet");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(backend.settle.load(SeqCst), 0);
    assert!(post(&router, "k", "one").await.is_replay());
    assert_eq!(world.effects().len(), 1);
}

#[test]
fn a_file_that_holds_something_else_is_refused() {
    let directory = directory();
    let refused = |name: &str, prepare: &dyn Fn(&std::path::Path)| {
        let path = directory.path().join(name);
        prepare(&path);
        match SqliteBackend::open(&path, Limits::default()) {
            Err(BackendError::Foreign(why)) => why,
            other => panic!("{name}: {other:?}"),
        }
    };
    let sql = |path: &std::path::Path, sql: &str| {
        let connection = Connection::open(path).expect("there is room");
        connection.execute_batch(sql).expect("it is SQL");
    };
    refused("text", &|path| {
        fs::write(path, "no database ".repeat(1000)).expect("there is room")
    });
    refused("others", &|path| {
        sql(path, "CREATE TABLE idempotency_records (id)")
    });
    let why = refused("later", &|path| {
        drop(SqliteBackend::open(path, Limits::default()));
        sql(path, "UPDATE idempotency_meta SET version = 2");
    });
    assert!(why.contains("version 2"), "{why}");
    refused("none", &|path| {
        drop(SqliteBackend::open(path, Limits::default()));
        sql(path, "DELETE FROM idempotency_meta");
    });
    // Somebody's own tables are not in the way.
    let path = directory.path().join("own");
    sql(&path, "CREATE TABLE orders (id)");
    SqliteBackend::open(&path, Limits::default()).expect("there is room for both");
    let path = directory.path().join("missing").join("records.db");
    assert!(matches!(
        SqliteBackend::open(path, Limits::default()),
        Err(BackendError::Failed(_))
    ));
    assert!(matches!(
        SqliteBackend::open(":memory:", Limits::default()),
        Err(BackendError::Failed(_))
    ));
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_not_an_answer() {
    let directory = directory();
    let world = World::new();
    {
        let router = world.router(world.layer(open(directory.path(), Limits::default())));
        for key in 0..200 {
            post(&router, &key.to_string(), "one").await;
        }
    }
    settled().await;
    let path = directory.path().join("records.db");
    let mut bytes = fs::read(&path).expect("it is there");
    // All but what says that it is a database, and which tables it has.
    bytes[8192..].fill(0xaa);
    fs::write(&path, bytes).expect("there is room");
    match SqliteBackend::open(&path, Limits::default()) {
        Err(BackendError::Damaged(_) | BackendError::Foreign(_)) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_record_that_was_changed_is_an_error_and_not_an_answer() {
    let directory = directory();
    let world = World::new();
    let router = world.router(world.layer(open(directory.path(), Limits::default())));
    post(&router, "k", "one").await;
    let connection = Connection::open(directory.path().join("records.db")).expect("it is there");
    for sql in [
        "status = 7",
        "status = 99999",
        "headers = 'x'",
        "headers = CAST('x' AS BLOB)",
        "body = NULL",
        "state = 9",
        "state = 0",
    ] {
        connection.execute_batch("BEGIN").expect("it is SQL");
        // STRICT tables refuse some.
        let changed = connection.execute_batch(&format!("UPDATE idempotency_records SET {sql}"));
        connection
            .execute_batch(if changed.is_ok() {
                "COMMIT"
            } else {
                "ROLLBACK"
            })
            .expect("it is SQL");
        let reply = post(&router, "k", "one").await;
        let expected = if changed.is_ok() { "unavailable" } else { "" };
        assert_eq!(reply.problem(), expected, "{sql}");
        connection
            .execute_batch(
                "UPDATE idempotency_records SET status = 201, headers = x'', body = x'', state = 1",
            )
            .expect("it is SQL");
    }
    assert_eq!(world.effects().len(), 1);
}

#[test]
fn many_open_a_new_file_at_once() {
    let directory = directory();
    let path = directory.path().join("records.db");
    let opened: Vec<_> = thread::scope(|scope| {
        let threads =
            [(); 8].map(|()| scope.spawn(|| SqliteBackend::open(&path, Limits::default())));
        threads
            .map(|thread| thread.join().expect("it doesn't panic"))
            .into()
    });
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");
}
