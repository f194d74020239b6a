//! A server on loopback that takes orders: under `/keyed` with the receiver's layer, under `/plain` without. It can be killed and started
//! again; its database stays.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use idempotency_receiver::{
    IdempotencyLayer, Limits, OnUnknown, SqliteBackend, Transactional, rusqlite,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;

/// How the server behaves besides.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manners {
    /// Of so many orders one is slow: it is placed, and the answer does not come in time.
    pub(crate) slow_one_in: u64,
    /// Of so many orders one is refused for good.
    pub(crate) refuses_one_in: u64,
    /// Of so many requests under `/plain` one is placed and answered with 500.
    pub(crate) fails_one_in: u64,
}

/// What lasts, whoever serves.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<Pages>>);

#[derive(Default)]
struct Pages {
    /// How often each order under `/plain` was placed.
    placed: BTreeMap<u64, u64>,
    /// How many requests there were under `/plain`.
    requests: u64,
}

#[derive(Clone)]
struct Shop {
    book: Book,
    manners: Manners,
}

/// The shop, open.
pub(crate) struct Open {
    pub(crate) address: SocketAddr,
    runtime: Runtime,
}

/// The shop's premises: what stays while it is closed.
pub(crate) struct Premises {
    folder: tempfile::TempDir,
    book: Book,
    manners: Manners,
}

impl Premises {
    pub(crate) fn new(manners: Manners) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder for the database"),
            book: Book::default(),
            manners,
        }
    }

    fn database(&self) -> std::path::PathBuf {
        self.folder.path().join("orders.db")
    }

    pub(crate) fn open(&self) -> Open {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let shop = Shop {
            book: self.book.clone(),
            manners: self.manners,
        };
        let database = self.database();
        let address = runtime.block_on(async move {
            let router = router(shop, &database).await;
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
            let listener = listener.expect("a port on loopback");
            let address = listener.local_addr().expect("the port's number");
            tokio::spawn(async move { axum::serve(listener, router).await });
            address
        });
        Open { address, runtime }
    }

    /// How often each order under `/keyed` was placed.
    pub(crate) fn keyed_orders(&self) -> BTreeMap<u64, u64> {
        let database = rusqlite::Connection::open(self.database()).expect("the database");
        let mut orders = (database.prepare("SELECT number, COUNT(*) FROM orders GROUP BY number"))
            .expect("the table");
        let rows = orders.query_map((), |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
        });
        rows.expect("orders")
            .map(|row| row.expect("an order"))
            .collect()
    }

    /// How often each order under `/plain` was placed.
    pub(crate) fn plain_orders(&self) -> BTreeMap<u64, u64> {
        self.book.0.lock().expect("no panic").placed.clone()
    }
}

impl Open {
    /// As a process that is killed: what it was doing is not done.
    pub(crate) fn kill(self) {
        self.runtime.shutdown_background();
    }
}

async fn router(shop: Shop, database: &FilePath) -> Router {
    let backend = SqliteBackend::open(database, Limits::default()).expect("the database opens");
    backend
        .transaction(|transaction| {
            transaction.execute_batch("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, number INTEGER NOT NULL)")
        })
        .await
        .expect("a table of orders");
    let once = IdempotencyLayer::new(backend).on_unknown(OnUnknown::Repeat);
    Router::new()
        .route("/keyed/{number}", post(keyed).layer(once))
        .route("/plain/{number}", post(plain).get(look))
        .with_state(shop)
}

async fn slowly(number: u64, manners: Manners) {
    if manners.slow_one_in > 0 && number.is_multiple_of(manners.slow_one_in) {
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

fn is_refused(number: u64, manners: Manners) -> bool {
    manners.refuses_one_in > 0 && number % manners.refuses_one_in == 1
}

async fn keyed(
    State(shop): State<Shop>,
    Path(number): Path<u64>,
    Extension(records): Extension<Transactional>,
) -> Response {
    if is_refused(number, shop.manners) {
        return (StatusCode::UNPROCESSABLE_ENTITY, "sold out").into_response();
    }
    let committed = records.commit(move |transaction| {
        transaction.execute("INSERT INTO orders (number) VALUES (?1)", [number as i64])?;
        Ok::<_, rusqlite::Error>(Response::new(format!("ordered {number}")))
    });
    let committed = committed.await;
    slowly(number, shop.manners).await;
    match committed {
        Ok(response) => response.into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

/// Places an order for each request: it knows no keys.
async fn plain(State(shop): State<Shop>, Path(number): Path<u64>) -> Response {
    if is_refused(number, shop.manners) {
        return (StatusCode::BAD_REQUEST, "sold out").into_response();
    }
    let request = {
        let mut book = shop.book.0.lock().expect("no panic");
        *book.placed.entry(number).or_default() += 1;
        book.requests += 1;
        book.requests
    };
    slowly(number, shop.manners).await;
    let fails = shop.manners.fails_one_in;
    match fails > 0 && request.is_multiple_of(fails) {
        true => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        false => format!("ordered {number}").into_response(),
    }
}

async fn look(State(shop): State<Shop>, Path(number): Path<u64>) -> Response {
    match shop
        .book
        .0
        .lock()
        .expect("no panic")
        .placed
        .contains_key(&number)
    {
        true => "there".into_response(),
        false => (StatusCode::NOT_FOUND, "not there").into_response(),
    }
}
