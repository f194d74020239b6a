//! The service: from a request to its answer.

use crate::{
    answer::Answer,
    backend::Backend,
    digest::RequestId,
    flights::{Flights, Joined, Landed, Phase, Room, Sent, Waiter},
    key::{NoKey, key},
    problem::Problem,
    run::{Handled, Run},
    settings::Settings,
};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use std::{
    error::Error,
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::time::timeout;
use tower_service::Service;

/// What [`IdempotencyLayer`](crate::IdempotencyLayer) makes of a service.
pub struct IdempotencyService<S, B> {
    pub(crate) inner: S,
    pub(crate) settings: Arc<Settings>,
    pub(crate) backend: Arc<B>,
    pub(crate) flights: Arc<Flights>,
}

impl<S: Clone, B> Clone for IdempotencyService<S, B> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            settings: Arc::clone(&self.settings),
            backend: Arc::clone(&self.backend),
            flights: Arc::clone(&self.flights),
        }
    }
}

impl<S: fmt::Debug, B> fmt::Debug for IdempotencyService<S, B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("IdempotencyService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// The body of an answer: what the service inside gave, for requests that pass, or what is recorded.
pub type AnswerBody<T> = Either<T, Full<Bytes>>;

type BoxError = Box<dyn Error + Send + Sync>;

impl<S, B, Q, A> Service<Request<Q>> for IdempotencyService<S, B>
where
    S: Service<Request<Q>, Response = Response<A>> + Clone + Send + 'static,
    S::Future: Send,
    B: Backend,
    Q: Body + From<Bytes> + Send + 'static,
    Q::Data: Send,
    Q::Error: Into<BoxError>,
    A: Body + Send + 'static,
    A::Data: Send,
    A::Error: Into<BoxError>,
{
    type Response = Response<AnswerBody<A>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let clone = self.clone();
        // The one that is ready is called; the clone may not be.
        let mut this = mem::replace(self, clone);
        let applies = this.settings.methods.contains(request.method())
            && (this.settings.required || request.headers().contains_key(&this.settings.header));
        if !applies {
            let passed = this.inner.call(request);
            return Box::pin(async move { Ok(passed.await?.map(Either::Left)) });
        }
        Box::pin(async move {
            let settings = Arc::clone(&this.settings);
            let landed = this.land(request).await.unwrap_or_else(|problem| Landed {
                answer: settings.problem(problem),
                replayed: false,
            });
            let mut response = landed.answer.into_response();
            if let Some(marker) = settings.marker.clone().filter(|_| landed.replayed) {
                response
                    .headers_mut()
                    .insert(marker, HeaderValue::from_static("true"));
            }
            Ok(response.map(Either::Right))
        })
    }
}

impl<S, B: Backend> IdempotencyService<S, B> {
    /// The answer to a request with a key.
    async fn land<Q, A>(self, request: Request<Q>) -> Result<Landed, Problem>
    where
        S: Service<Request<Q>, Response = Response<A>> + Send + 'static,
        S::Future: Send,
        Q: Body + From<Bytes> + Send + 'static,
        Q::Data: Send,
        Q::Error: Into<BoxError>,
        A: Body + Send + 'static,
        A::Data: Send,
        A::Error: Into<BoxError>,
    {
        let settings = self.settings;
        let (parts, body) = request.into_parts();
        let key = key(
            &parts.headers,
            &settings.header,
            settings.syntax,
            settings.longest_key,
        );
        let key = key.map_err(|no| match no {
            NoKey::Missing => Problem::MissingKey,
            NoKey::Malformed => Problem::MalformedKey,
            NoKey::TooLong => Problem::KeyTooLong,
        })?;
        let scope = match &settings.scope {
            Some(scope) => scope(&parts).ok_or(Problem::NoScope)?,
            None => vec![],
        };
        let body = read(body, &settings).await?;
        let id = RequestId::new(
            &settings.name,
            &scope,
            &key,
            &settings.fingerprint_headers,
            &parts,
            &body,
        );
        let (sent, needed) = sent(&settings, &parts);
        let room = Room {
            waiting: settings.waiting,
            flights: settings.in_flight,
            bytes: settings.in_flight_bytes,
        };
        let (waiter, leads) = match self.flights.join(id, body.len(), sent, needed, room) {
            Joined::Busy => return Err(Problem::Busy),
            Joined::Crowded(phase) => return Err(still(phase)),
            Joined::Follows(waiter) => (waiter, false),
            Joined::Leads(waiter, leader) => {
                let handler = handler(self.inner, Arc::clone(&settings));
                let run = Run {
                    settings: Arc::clone(&settings),
                    backend: self.backend,
                    leader,
                    key,
                };
                // A task of its own: a client that goes away must not leave an effect half done.
                tokio::spawn(run.run(Request::from_parts(parts, body), handler));
                (waiter, true)
            }
        };
        wait(waiter, leads, &settings).await
    }
}

/// Waits for the answer: as long as it takes if the request was the first one, as it would without this layer.
async fn wait(mut waiter: Waiter, leads: bool, settings: &Settings) -> Result<Landed, Problem> {
    let landed = match timeout(settings.wait, waiter.landed()).await {
        Ok(landed) => landed,
        Err(_) => match waiter.phase() {
            Phase::Running if leads => waiter.landed().await,
            phase => return Err(still(phase)),
        },
    };
    landed.ok_or(Problem::Unavailable)
}

/// What those are told who don't wait any longer.
fn still(phase: Phase) -> Problem {
    match phase {
        Phase::Gathering => Problem::TooFewCopies,
        Phase::Running => Problem::InProgress,
        Phase::Lost => Problem::KeyReused,
    }
}

/// Who sent a request, and how many are needed.
fn sent(settings: &Settings, parts: &Parts) -> (Sent, usize) {
    let Some(quorum) = &settings.quorum else {
        return (Sent::ByAnyone, 1);
    };
    let sent = match &quorum.sender {
        None => Sent::ByAnyone,
        // Told from all senders by its first byte.
        Some(sender) => Sent::By(match sender(parts) {
            Some(sender) => [b"s", &sender[..]].concat(),
            None => vec![],
        }),
    };
    (sent, quorum.needed)
}

async fn read<Q>(body: Q, settings: &Settings) -> Result<Bytes, Problem>
where
    Q: Body,
    Q::Error: Into<BoxError>,
{
    if body.size_hint().lower() > settings.largest_body as u64 {
        return Err(Problem::BodyTooLarge);
    }
    let read = Limited::new(body, settings.largest_body).collect();
    match timeout(settings.slowest_body, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::BodyTooLarge),
        Ok(Err(_)) => Err(Problem::BodyBroken),
        Err(_) => Err(Problem::BodyTooSlow),
    }
}

/// Calls the service inside, and reads its answer.
fn handler<S, Q, A>(mut inner: S, settings: Arc<Settings>) -> crate::run::Handler
where
    S: Service<Request<Q>, Response = Response<A>> + Send + 'static,
    S::Future: Send,
    Q: Body + From<Bytes> + Send + 'static,
    A: Body + Send + 'static,
    A::Data: Send,
    A::Error: Into<BoxError>,
{
    Box::new(move |request| -> Handled {
        Box::pin(async move {
            let response = inner.call(request.map(Q::from)).await.ok()?;
            let (parts, body) = response.into_parts();
            let verdict = settings.verdict(&parts);
            let answer = match Limited::new(body, settings.largest_answer).collect().await {
                Ok(body) => Answer::new(Response::from_parts(parts, body.to_bytes())),
                Err(_) => settings.problem(Problem::AnswerNotKept),
            };
            Some((verdict, answer))
        })
    })
}
