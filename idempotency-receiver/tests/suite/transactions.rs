//! Effect and record in one transaction: exactly once, wherever the process ends.

use crate::{
    crash::process,
    world::{Reply, directory, open, post},
};
use axum::{
    Extension, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post as on_post,
};
use http::StatusCode;
use idempotency_receiver::{
    IdempotencyLayer, Limits, OnUnknown, SqliteBackend, TransactionError, Transactional,
};
use std::{path::Path, sync::Arc};
use tokio::sync::Notify;

type Error = rusqlite::Error;

/// A server that creates orders, and where it stops is told by the body.
struct Shop {
    backend: SqliteBackend,
    router: Router,
    stop: Arc<Stop>,
}

/// Where the handler stops until it may go on.
#[derive(Default)]
struct Stop {
    stopped: Notify,
    go: Notify,
}

async fn shop(directory: &Path) -> Shop {
    let backend = open(directory, Limits::default());
    let tables = |transaction: &rusqlite::Transaction<'_>| {
        transaction.execute_batch(
            "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL) STRICT",
        )
    };
    backend.transaction(tables).await.expect("there is room");
    let stop = Arc::<Stop>::default();
    let layer = IdempotencyLayer::new(backend.clone()).on_unknown(OnUnknown::Repeat);
    let handler = on_post(create).layer(layer).with_state(Arc::clone(&stop));
    Shop {
        backend,
        router: Router::new().route("/orders", handler),
        stop,
    }
}

impl Shop {
    async fn orders(&self) -> Vec<String> {
        let read = |transaction: &rusqlite::Transaction<'_>| {
            let mut statement = transaction.prepare("SELECT item FROM orders ORDER BY id")?;
            let items = statement.query_map([], |row| row.get(0))?;
            items.collect::<Result<_, Error>>()
        };
        self.backend
            .transaction(read)
            .await
            .expect("they can be read")
    }

    async fn post(&self, body: &str) -> Reply {
        post(&self.router, "k", body).await
    }
}

fn insert(
    transaction: &rusqlite::Transaction<'_>,
    item: &str,
) -> Result<http::Response<String>, Error> {
    transaction.execute("INSERT INTO orders (item) VALUES (?1)", [item])?;
    let response = Response::builder().status(201).header("x-recorded", "yes");
    Ok(response
        .body(format!("order {}", transaction.last_insert_rowid()))
        .expect("it is a response"))
}

async fn create(
    State(state): State<Arc<Stop>>,
    Extension(records): Extension<Transactional>,
    body: String,
) -> Response {
    let item = body.clone();
    let stop = async || {
        state.stopped.notify_one();
        state.go.notified().await;
    };
    if body == "stop before" {
        stop().await;
    }
    let committed = match &*body {
        "fail" => {
            let fails = move |transaction: &rusqlite::Transaction<'_>| {
                insert(transaction, &item)?;
                transaction.execute("INSERT INTO nowhere VALUES (1)", [])?;
                insert(transaction, &item)
            };
            records.commit(fails).await
        }
        "panic within" => {
            let panics = move |transaction: &rusqlite::Transaction<'_>| -> Result<http::Response<String>, Error> {
                insert(transaction, &item)?;
                panic!("as it was told");
            };
            records.commit(panics).await
        }
        "end it" => {
            let ends = move |transaction: &rusqlite::Transaction<'_>| {
                transaction.execute_batch("ROLLBACK")?;
                Ok::<_, Error>(Response::new(String::new()))
            };
            records.commit(ends).await
        }
        _ => {
            records
                .commit(move |transaction| insert(transaction, &item))
                .await
        }
    };
    match &*body {
        "stop after" => stop().await,
        "panic after" => panic!("as it was told"),
        "lie after" => {
            return (StatusCode::INTERNAL_SERVER_ERROR, "nothing happened").into_response();
        }
        "twice" => {
            let again = records
                .commit(|transaction| insert(transaction, "again"))
                .await;
            assert!(
                matches!(again, Err(TransactionError::Committed)),
                "{again:?}"
            );
        }
        _ => {}
    }
    match committed {
        Ok(response) => response.into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

fn stopped_at(directory: &Path, body: &'static str) {
    process(async || {
        let shop = shop(directory).await;
        let router = shop.router.clone();
        tokio::spawn(async move { post(&router, "k", body).await });
        shop.stop.stopped.notified().await;
    });
}

#[test]
fn a_process_that_ends_before_the_commit_has_done_nothing() {
    let directory = directory();
    stopped_at(directory.path(), "stop before");
    stopped_at(directory.path(), "stop before");
    process(async || assert_eq!(shop(directory.path()).await.orders().await.len(), 0));
}

#[test]
fn a_process_that_ends_after_the_commit_has_answered() {
    let directory = directory();
    stopped_at(directory.path(), "stop after");
    process(async || {
        let shop = shop(directory.path()).await;
        for _ in 0..2 {
            let reply = shop.post("stop after").await;
            assert_eq!((reply.status, &*reply.body), (201, "order 1"));
            assert!(reply.is_replay());
        }
        assert_eq!(shop.orders().await, ["stop after"]);
    });
}

#[tokio::test]
async fn effect_and_answer_are_committed_together() {
    let directory = directory();
    let shop = shop(directory.path()).await;
    let first = shop.post("one").await;
    assert_eq!(
        (first.status, &*first.body, &first.headers["x-recorded"]),
        (201, "order 1", &"yes".parse().expect("a value"))
    );
    assert!(shop.post("one").await.is_replay());
    assert_eq!(shop.orders().await, ["one"]);
}

#[tokio::test]
async fn what_fails_leaves_neither() {
    for (body, status) in [("fail", 503), ("end it", 503), ("panic within", 409)] {
        let directory = directory();
        let shop = shop(directory.path()).await;
        for _ in 0..2 {
            let reply = shop.post(body).await;
            assert_eq!((reply.status, reply.is_replay()), (status, false), "{body}");
        }
        assert_eq!(shop.orders().await.len(), 0);
        // The connection is as it was.
        assert_eq!(post(&shop.router, "other", "one").await.status, 201);
        assert_eq!(shop.orders().await, ["one"]);
    }
}

#[tokio::test]
async fn what_is_committed_is_the_answer_whatever_the_handler_does_then() {
    for body in ["panic after", "lie after", "twice"] {
        let directory = directory();
        let shop = shop(directory.path()).await;
        for _ in 0..2 {
            let reply = shop.post(body).await;
            assert_eq!((reply.status, &*reply.body), (201, "order 1"), "{body}");
        }
        assert_eq!(shop.orders().await, [body]);
    }
}

#[tokio::test]
async fn an_attempt_that_was_taken_for_gone_commits_nothing() {
    let directory = directory();
    let old = shop(directory.path()).await;
    let new = {
        let post = post(&old.router, "k", "stop before");
        tokio::pin!(post);
        tokio::select! {
            _ = &mut post => panic!("it is stopped"),
            () = old.stop.stopped.notified() => {}
        }
        // Somebody clears the locks away.
        for file in directory.path().read_dir().expect("it is there") {
            let path = file.expect("it is there").path();
            if path.to_string_lossy().contains(".owner-") {
                std::fs::remove_file(path).expect("it is there");
            }
        }
        let new = shop(directory.path()).await;
        let router = new.router.clone();
        let again =
            tokio::spawn(async move { crate::world::post(&router, "k", "stop before").await });
        new.stop.stopped.notified().await;
        // Both could commit now, the old one first.
        old.stop.go.notify_one();
        assert_eq!(post.await.status, 503);
        assert_eq!(new.orders().await.len(), 0);
        new.stop.go.notify_one();
        let reply = again.await.expect("it doesn't panic");
        assert_eq!((reply.status, &*reply.body), (201, "order 1"));
        new
    };
    assert!(old.post("stop before").await.is_replay());
    assert_eq!(new.orders().await, ["stop before"]);
}
