//! What a layer does, as its author has set it.

use crate::answer::Answer;
use crate::{
    digest::Digest,
    key::KeySyntax,
    problem::{DOCUMENTATION, Problem},
    quorum::Quorum,
};
use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode, request, response};
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// What an answer of the handler says about the effect.
///
/// A handler that knows better than the status tells puts one of these into its response's extensions; in axum:
/// `(Extension(Verdict::NotExecuted), StatusCode::BAD_GATEWAY)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was executed, or refused for good: the answer is remembered, and replayed.
    Executed,
    /// It certainly did nothing: nothing is remembered, and a copy is executed.
    NotExecuted,
    /// It may have done what it should, or a part: what happens to copies says [`OnUnknown`].
    Unknown,
}

impl Verdict {
    /// What a status says: `NotExecuted` for 425, 429 and 503, by which a server says that it didn't process the request;
    /// `Unknown` for 408, with which layers for timeouts cut handlers off, and all other 5xx; `Executed` for the rest.
    pub fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            425 | 429 | 503 => Self::NotExecuted,
            408 | 500.. => Self::Unknown,
            _ => Self::Executed,
        }
    }
}

/// What happens to a request when it isn't known whether an earlier attempt has executed it: the process was killed, the handler
/// panicked, or its answer was a [`Verdict::Unknown`].
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum OnUnknown {
    /// It is refused with 409, "the outcome is unknown", until its record expires. **At most once.** The default.
    #[default]
    Refuse,
    /// The function that [`ask`](Self::ask) was given finds out.
    Ask(Resolver),
    /// It is executed again. **At least once**; and **exactly once** where all that the handler does is done in the transaction
    /// that it is handed
    /// ([`Transactional`](https://docs.rs/idempotency-receiver/latest/idempotency_receiver/struct.Transactional.html)), as an
    /// attempt that has not been recorded has done nothing then.
    Repeat,
}

/// See [`OnUnknown::ask`].
type Resolver = Arc<
    dyn Fn(Request<Bytes>, RequestKey) -> Pin<Box<dyn Future<Output = Resolution> + Send>>
        + Send
        + Sync,
>;

impl OnUnknown {
    /// Asks this function, which is given the request that has come again, and looks whether the effect is there. No other
    /// attempt runs meanwhile. If it panics, the outcome stays unknown.
    pub fn ask<F>(
        resolver: impl Fn(Request<Bytes>, RequestKey) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Resolution> + Send + 'static,
    {
        Self::Ask(Arc::new(move |request, key| {
            Box::pin(resolver(request, key))
        }))
    }
}

impl fmt::Debug for OnUnknown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Refuse => "Refuse",
            Self::Ask(_) => "Ask",
            Self::Repeat => "Repeat",
        })
    }
}

/// What became of an attempt whose outcome was unknown.
#[derive(Debug)]
pub enum Resolution {
    /// It was executed. This is remembered as its answer.
    Executed(Response<Bytes>),
    /// It was not executed: now it is.
    NotExecuted,
    /// Nobody knows. The request is refused as by [`OnUnknown::Refuse`].
    StillUnknown,
}

/// Which request the handler executes: an extension of the request that it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestKey {
    /// The key, as the client gave it, without quotes.
    pub key: String,
    /// A digest of scope, method, path and key: the same in each attempt, and unlike that of any other request. It makes a good
    /// name for what the handler does elsewhere: a key for the next server, a `Message-ID`.
    pub identity: Digest,
    /// How many attempts there were, this one included: more than 1 where the outcome of an earlier one is unknown.
    pub attempt: u64,
}

/// Whose key it is.
pub(crate) type Scope = Arc<dyn Fn(&request::Parts) -> Option<Vec<u8>> + Send + Sync>;
type Judge = Arc<dyn Fn(&response::Parts) -> Verdict + Send + Sync>;
type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What a layer does.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) methods: Vec<Method>,
    pub(crate) header: HeaderName,
    pub(crate) syntax: KeySyntax,
    pub(crate) longest_key: usize,
    pub(crate) required: bool,
    pub(crate) scope: Option<Scope>,
    pub(crate) fingerprint_headers: Vec<HeaderName>,
    pub(crate) largest_body: usize,
    pub(crate) slowest_body: Duration,
    pub(crate) largest_answer: usize,
    pub(crate) wait: Duration,
    pub(crate) waiting: usize,
    pub(crate) in_flight: usize,
    pub(crate) in_flight_bytes: usize,
    pub(crate) marker: Option<HeaderName>,
    pub(crate) on_unknown: OnUnknown,
    pub(crate) judge: Judge,
    pub(crate) quorum: Option<Quorum>,
    pub(crate) documentation: String,
    pub(crate) clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: String::new(),
            methods: vec![Method::POST, Method::PATCH],
            header: HeaderName::from_static("idempotency-key"),
            syntax: KeySyntax::Strict,
            longest_key: 255,
            required: true,
            scope: None,
            fingerprint_headers: vec![],
            largest_body: 1 << 20,
            slowest_body: Duration::from_secs(10),
            largest_answer: 1 << 20,
            wait: Duration::from_secs(20),
            waiting: 64,
            in_flight: 10_000,
            in_flight_bytes: 64 << 20,
            marker: Some(HeaderName::from_static("idempotency-replayed")),
            on_unknown: OnUnknown::Refuse,
            judge: Arc::new(|parts| Verdict::of_status(parts.status)),
            quorum: None,
            documentation: DOCUMENTATION.to_owned(),
            clock: Arc::new(SystemTime::now),
        }
    }
}

impl Settings {
    pub(crate) fn problem(&self, problem: Problem) -> Answer {
        problem.answer(&self.documentation)
    }

    /// What an answer says about the effect.
    pub(crate) fn verdict(&self, parts: &response::Parts) -> Verdict {
        match parts.extensions.get::<Verdict>() {
            Some(verdict) => *verdict,
            None => (self.judge)(parts),
        }
    }
}
