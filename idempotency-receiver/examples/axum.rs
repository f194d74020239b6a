//! A server that creates orders, each once, however often its request arrives.
//!
//! ```sh
//! cargo run -p idempotency-receiver --features sqlite --example axum -- orders.db
//! curl -i localhost:8080/orders -H 'Idempotency-Key: "8e03978e-40d5"' -d 'two apples'
//! ```
//!
//! Send the same request again, kill the server in between, send another body with the key: there is one order for a key.

use axum::{
    Extension, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use idempotency_receiver::{IdempotencyLayer, Limits, OnUnknown, SqliteBackend, Transactional};
use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or("orders.db".to_owned());
    let backend = SqliteBackend::open(path, Limits::default())?;
    backend
        .transaction(|transaction| {
            transaction.execute_batch("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, what TEXT NOT NULL) STRICT")
        })
        .await?;
    // All that a request does is in its transaction: so it can be repeated if the process is killed before the commit.
    let once = IdempotencyLayer::new(backend.clone()).on_unknown(OnUnknown::Repeat);
    let router = Router::new()
        .route("/orders", post(create_order).layer(once))
        .route("/orders", get(orders).layer(Extension(backend)));
    let listener = tokio::net::TcpListener::bind("localhost:8080").await?;
    println!("listening on {}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}

async fn create_order(Extension(records): Extension<Transactional>, what: String) -> Response {
    let committed = records.commit(move |transaction| {
        transaction.execute("INSERT INTO orders (what) VALUES (?1)", [&what])?;
        let answer = Response::builder().status(StatusCode::CREATED);
        let answer = answer.header(
            "location",
            format!("/orders/{}", transaction.last_insert_rowid()),
        );
        Ok::<_, Box<dyn Error + Send + Sync>>(answer.body(format!("ordered: {what}\n"))?)
    });
    match committed.await {
        Ok(response) => response.into_response(),
        Err(error) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("nothing was ordered: {error}\n"),
        )
            .into_response(),
    }
}

async fn orders(Extension(backend): Extension<SqliteBackend>) -> Response {
    let listed = backend.transaction(|transaction| {
        let mut statement = transaction.prepare("SELECT id, what FROM orders ORDER BY id")?;
        let rows = statement.query_map([], |row| {
            Ok(format!(
                "{}: {}\n",
                row.get::<_, i64>(0)?,
                row.get::<_, String>(1)?
            ))
        })?;
        rows.collect::<rusqlite::Result<String>>()
    });
    match listed.await {
        Ok(orders) => orders.into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}
