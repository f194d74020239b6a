//! A boundary node on loopback that drops, delays, duplicates, reorders and corrupts requests and answers, by a seed; or lies by a plan.

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, Uri},
    response::IntoResponse,
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// What a boundary node does with a request: the answer's status and body.
pub(crate) trait Conduct: Send + Sync + 'static {
    fn answer(
        &self,
        upstream: Upstream,
        path: String,
        body: Bytes,
    ) -> impl Future<Output = (u16, Vec<u8>)> + Send;
}

/// The replica behind it.
#[derive(Clone)]
pub(crate) struct Upstream {
    url: Arc<str>,
    client: reqwest::Client,
}

impl Upstream {
    pub(crate) async fn forward(&self, path: &str, body: Bytes) -> (u16, Vec<u8>) {
        let url = format!("{}{}", self.url, path.trim_start_matches('/'));
        let request = self
            .client
            .post(url)
            .header("content-type", "application/cbor")
            .body(body);
        match request.send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                (
                    status,
                    answer.bytes().await.map(Vec::from).unwrap_or_default(),
                )
            }
            Err(_) => (502, vec![]),
        }
    }
}

/// Starts one; where it listens.
pub(crate) async fn start<C: Conduct>(upstream: &str, conduct: Arc<C>) -> String {
    let upstream = Upstream {
        url: upstream.into(),
        client: reqwest::Client::new(),
    };
    let handler =
        async |State((upstream, conduct)): State<(Upstream, Arc<C>)>, uri: Uri, body: Bytes| {
            let (status, body) = conduct.answer(upstream, uri.path().to_owned(), body).await;
            (StatusCode::from_u16(status).unwrap(), body).into_response()
        };
    let routes = Router::new()
        .fallback(handler)
        .with_state((upstream, conduct));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

/// Bad luck, in percent of the requests and of the answers.
pub(crate) struct Lossy {
    rng: Mutex<fastrand::Rng>,
    bad: u8,
    pub(crate) faults: AtomicU64,
}

impl Lossy {
    pub(crate) fn new(seed: u64, bad: u8) -> Self {
        Self {
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
            bad,
            faults: AtomicU64::new(0),
        }
    }

    /// What goes wrong, if anything does, and a number for it.
    fn fault(&self) -> Option<(u8, u64)> {
        let mut rng = self.rng.lock().unwrap();
        let is_bad = rng.u8(..100) < self.bad;
        is_bad.then(|| {
            self.faults.fetch_add(1, Ordering::Relaxed);
            (rng.u8(..5), rng.u64(..))
        })
    }
}

/// A byte is another.
fn corrupted(body: Vec<u8>, number: u64) -> Vec<u8> {
    let mut body = body;
    let length = body.len() as u64;
    if let Some(byte) = body.get_mut((number % length.max(1)) as usize) {
        *byte ^= 1 << (number % 7);
    }
    body
}

impl Conduct for Lossy {
    async fn answer(&self, upstream: Upstream, path: String, body: Bytes) -> (u16, Vec<u8>) {
        let late = |number: u64| Duration::from_millis(number % 3_000);
        let answer = match self.fault() {
            None => upstream.forward(&path, body).await,
            // Dropped.
            Some((0, _)) => return (504, vec![]),
            // Answered at once, and delivered later than what is sent then.
            Some((1, number)) => {
                tokio::spawn(async move {
                    tokio::time::sleep(late(number)).await;
                    upstream.forward(&path, body).await
                });
                return (202, vec![]);
            }
            // Duplicated.
            Some((2, _)) => {
                let (first, _) = tokio::join!(
                    upstream.forward(&path, body.clone()),
                    upstream.forward(&path, body.clone())
                );
                first
            }
            Some((3, number)) => {
                upstream
                    .forward(&path, corrupted(body.into(), number).into())
                    .await
            }
            Some((_, number)) => {
                tokio::time::sleep(late(number) / 4).await;
                upstream.forward(&path, body).await
            }
        };
        let (status, body) = answer;
        match self.fault() {
            None => (status, body),
            Some((0, _)) => (504, vec![]),
            Some((1, _)) => (400, b"a lie".into()),
            Some((2, _)) => (202, vec![]),
            Some((3, number)) => (status, corrupted(body, number)),
            Some((_, number)) => {
                tokio::time::sleep(late(number) / 4).await;
                (status, body)
            }
        }
    }
}
