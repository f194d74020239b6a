//! A server whose effects are counted.

use axum::{
    Extension, Router,
    body::{Body, to_bytes},
    extract::State,
    response::{IntoResponse, Response},
    routing::any,
};
use http::{Extensions, HeaderMap, Request, StatusCode};
use idempotency_receiver::{
    Answer, IdempotencyLayer, Limits, MemoryBackend, RequestId, RequestKey, SqliteBackend, Verdict,
    backend::{Attempt, Backend, BackendError, Begun, Mode, Settlement},
};
use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;
use tokio::{sync::Semaphore, task::yield_now, time::timeout};
use tower::ServiceExt;

/// What the handler does, and did.
#[derive(Clone)]
pub(crate) struct World(Arc<Inside>);

struct Inside {
    effects: Mutex<Vec<(String, RequestKey)>>,
    /// One permit lets one request whose body begins with `hold` end.
    gate: Semaphore,
    now: Mutex<SystemTime>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inside {
            effects: Mutex::default(),
            gate: Semaphore::new(0),
            now: Mutex::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
        }))
    }

    /// The bodies of the requests that were executed.
    pub(crate) fn effects(&self) -> Vec<String> {
        let effects = self.0.effects.lock().expect("nobody panics with it");
        effects.iter().map(|(body, _)| body.clone()).collect()
    }

    /// What the handler was told of the requests that were executed.
    pub(crate) fn keys(&self) -> Vec<RequestKey> {
        let effects = self.0.effects.lock().expect("nobody panics with it");
        effects.iter().map(|(_, key)| key.clone()).collect()
    }

    /// Waits until so many requests were executed, or are held.
    pub(crate) async fn reach(&self, effects: usize) {
        let reached = async {
            while self.effects().len() < effects {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(30), reached)
            .await
            .expect("it gets there");
    }

    /// Lets requests end that are held.
    pub(crate) fn release(&self, requests: usize) {
        self.0.gate.add_permits(requests);
    }

    /// Lets time go by for the records.
    pub(crate) fn advance(&self, time: Duration) {
        *self.0.now.lock().expect("nobody panics with it") += time;
    }

    pub(crate) fn now(&self) -> SystemTime {
        *self.0.now.lock().expect("nobody panics with it")
    }

    /// A layer with the world's clock.
    pub(crate) fn layer<B: Backend>(&self, backend: B) -> IdempotencyLayer<B> {
        let world = self.clone();
        IdempotencyLayer::new(backend).clock(move || world.now())
    }

    /// A router with such a layer around the handler, at each path.
    pub(crate) fn router<B: Backend>(&self, layer: IdempotencyLayer<B>) -> Router {
        let handler = any(act).layer(layer);
        Router::new()
            .route("/{*path}", handler)
            .with_state(self.clone())
    }
}

/// Has an effect, then does what the body says.
async fn act(
    State(World(inside)): State<World>,
    key: Option<Extension<RequestKey>>,
    body: String,
) -> Response {
    let number = {
        let mut effects = inside.effects.lock().expect("nobody panics with it");
        // Requests that pass have none.
        if let Some(Extension(key)) = key {
            effects.push((body.clone(), key));
        } else {
            return "passed".into_response();
        }
        effects.len()
    };
    if body.starts_with("hold") {
        let permit = inside.gate.acquire().await.expect("the gate stays");
        permit.forget();
    }
    assert!(!body.starts_with("panic"), "as it was told");
    if let Some(status) = body.strip_prefix("status ") {
        let status = status.parse().expect("it is a number");
        let status = StatusCode::from_u16(status).expect("it is a status");
        return (status, format!("effect {number}")).into_response();
    }
    if body.starts_with("nothing") {
        return (Extension(Verdict::NotExecuted), StatusCode::BAD_GATEWAY).into_response();
    }
    if body.starts_with("large") {
        return "x".repeat(2_000_000).into_response();
    }
    let headers = [
        ("location", format!("/orders/{number}")),
        ("set-cookie", "secret".to_owned()),
    ];
    (StatusCode::CREATED, headers, format!("effect {number}\0")).into_response()
}

/// What a client got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    /// The name at the end of a problem's type.
    pub(crate) fn problem(&self) -> &str {
        let field = self.body.split('"').find(|text| text.contains('#'));
        field
            .and_then(|kind| kind.split('#').nth(1))
            .unwrap_or_default()
    }

    pub(crate) fn is_replay(&self) -> bool {
        self.headers.contains_key("idempotency-replayed")
    }
}

/// A request to `/orders`, as it is before it is sent.
pub(crate) fn request(key: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post("/orders").header("idempotency-key", format!("\"{key}\""));
    request.body(body.into()).expect("it is a request")
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Reply {
    let sent = router.clone().oneshot(request);
    // So that nothing hangs.
    let response = timeout(Duration::from_secs(30), sent)
        .await
        .expect("it is answered");
    reply(response.expect("a router doesn't fail")).await
}

async fn reply(response: Response) -> Reply {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("the body is there");
    Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).expect("it is text"),
    }
}

pub(crate) async fn post(router: &Router, key: &str, body: &str) -> Reply {
    send(router, request(key, body.to_owned())).await
}

/// Lets other tasks go on as far as they come.
pub(crate) async fn settled() {
    for _ in 0..100 {
        yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// Either backend.
#[derive(Clone, Debug)]
pub(crate) enum Any {
    Memory(MemoryBackend),
    Sqlite(SqliteBackend),
}

impl Any {
    /// One of each, new.
    pub(crate) fn both(directory: &TempDir, limits: Limits) -> [Self; 2] {
        [
            Self::Memory(MemoryBackend::new(limits)),
            Self::Sqlite(open(directory.path(), limits)),
        ]
    }

    pub(crate) async fn remembered(&self) -> u64 {
        match self {
            Self::Memory(backend) => backend.remembered(),
            Self::Sqlite(backend) => backend.remembered().await.expect("it can be read"),
        }
    }
}

/// The database in this directory.
pub(crate) fn open(directory: &Path, limits: Limits) -> SqliteBackend {
    SqliteBackend::open(directory.join("records.db"), limits).expect("it can be opened")
}

pub(crate) fn directory() -> TempDir {
    TempDir::new().expect("there is room")
}

impl Backend for Any {
    async fn begin(
        &self,
        id: RequestId,
        mode: Mode,
        now: SystemTime,
    ) -> Result<Begun, BackendError> {
        match self {
            Self::Memory(backend) => backend.begin(id, mode, now).await,
            Self::Sqlite(backend) => backend.begin(id, mode, now).await,
        }
    }

    async fn settle(
        &self,
        attempt: &Attempt,
        settlement: Settlement,
        now: SystemTime,
    ) -> Result<Option<Answer>, BackendError> {
        match self {
            Self::Memory(backend) => backend.settle(attempt, settlement, now).await,
            Self::Sqlite(backend) => backend.settle(attempt, settlement, now).await,
        }
    }

    fn abandon(&self, attempt: &Attempt, now: SystemTime) {
        match self {
            Self::Memory(backend) => backend.abandon(attempt, now),
            Self::Sqlite(backend) => backend.abandon(attempt, now),
        }
    }

    fn prepare(&self, attempt: &Attempt, now: SystemTime, extensions: &mut Extensions) {
        match self {
            Self::Memory(backend) => backend.prepare(attempt, now, extensions),
            Self::Sqlite(backend) => backend.prepare(attempt, now, extensions),
        }
    }
}
