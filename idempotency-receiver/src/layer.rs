//! The layer, and what can be set.

use crate::{
    backend::Backend,
    flights::Flights,
    key::KeySyntax,
    quorum::Quorum,
    service::IdempotencyService,
    settings::{OnUnknown, Settings, Verdict},
};
use http::{HeaderName, Method, request, response};
use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tower_layer::Layer;

/// One effect per `Idempotency-Key`: see the [crate's page](crate).
///
/// Clones, and services made from them, know of each other's requests. Put it inside of layers that authenticate, limit rates and
/// set cookies, and outside of those that change bodies or cut handlers off.
pub struct IdempotencyLayer<B> {
    settings: Arc<Settings>,
    backend: Arc<B>,
    flights: Arc<Flights>,
}

impl<B> Clone for IdempotencyLayer<B> {
    fn clone(&self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
            backend: Arc::clone(&self.backend),
            flights: Arc::clone(&self.flights),
        }
    }
}

impl<B> fmt::Debug for IdempotencyLayer<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("IdempotencyLayer")
            .field("name", &self.settings.name)
            .field("required", &self.settings.required)
            .field("on_unknown", &self.settings.on_unknown)
            .field("quorum", &self.settings.quorum)
            .finish_non_exhaustive()
    }
}

impl<B: Backend> IdempotencyLayer<B> {
    /// A layer with records there.
    pub fn new(backend: B) -> Self {
        Self {
            settings: Arc::default(),
            backend: Arc::new(backend),
            flights: Arc::default(),
        }
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(Arc::make_mut(&mut self.settings));
        self
    }

    /// Has requests without a key pass, without any promise. Otherwise they are refused with 400.
    pub fn optional(self) -> Self {
        self.set(|settings| settings.required = false)
    }

    /// Whose key it is, such as the user that a layer outside of this one has authenticated, or a digest of the API key. Requests
    /// of which the function says `None` are refused with 401.
    ///
    /// **Without it all senders share one key space.** Whoever knows another's key and body gets the answer to it, and whoever
    /// guesses a key before it is used takes it away. That is well if there is one sender, or if keys are secret and random.
    ///
    /// The layer's [`name`](Self::name), the method and the path belong to the identity in any case: the same key on another path
    /// is another request.
    pub fn scope<T: Into<Vec<u8>>>(
        self,
        scope: impl Fn(&request::Parts) -> Option<T> + Send + Sync + 'static,
    ) -> Self {
        self.set(|settings| settings.scope = Some(Arc::new(move |parts| scope(parts).map(T::into))))
    }

    /// A name that belongs to the identity. Give one to each layer where several have the same records but see the same paths,
    /// such as in routers that axum has nested: the path that they see lacks the prefix.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.set(|settings| settings.name = name.into())
    }

    /// The methods it applies to; others pass. At the beginning: `POST` and `PATCH`.
    pub fn methods(self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.set(|settings| settings.methods = methods.into_iter().collect())
    }

    /// The header that holds the key. At the beginning: `Idempotency-Key`.
    pub fn header(self, name: HeaderName) -> Self {
        self.set(|settings| settings.header = name)
    }

    /// How a key may be written. At the beginning: as a string in quotes.
    pub fn key_syntax(self, syntax: KeySyntax) -> Self {
        self.set(|settings| settings.syntax = syntax)
    }

    /// How many characters a key may have. At the beginning: 255.
    pub fn longest_key(self, characters: usize) -> Self {
        self.set(|settings| settings.longest_key = characters)
    }

    /// Headers that belong to the fingerprint, as the query and the body do: copies have to have the same. At the beginning:
    /// none.
    pub fn fingerprint_headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.set(|settings| settings.fingerprint_headers = names.into_iter().collect())
    }

    /// How large a request's body may be, in bytes, and how long it may take to arrive. At the beginning: 1 MiB and 10 seconds.
    /// Others are refused with 413 and 408.
    pub fn body_limits(self, bytes: usize, time: Duration) -> Self {
        self.set(|settings| (settings.largest_body, settings.slowest_body) = (bytes, time))
    }

    /// How large an answer may be, in bytes. At the beginning: 1 MiB. A larger one can't be recorded: then all get 500, "the
    /// answer could not be kept", and the request counts as executed.
    pub fn largest_answer(self, bytes: usize) -> Self {
        self.set(|settings| settings.largest_answer = bytes)
    }

    /// How long a copy waits for the answer of the first one, which is in flight, before it is refused with 409. At the
    /// beginning: 20 seconds, which is less than a canister waits for an outcall. So the copies of a replicated outcall, which
    /// arrive within milliseconds of each other, all get the same answer. With 0 they are refused at once, as the draft has it.
    ///
    /// At most `copies` wait for one answer, at the beginning 64.
    pub fn wait(self, time: Duration, copies: usize) -> Self {
        self.set(|settings| (settings.wait, settings.waiting) = (time, copies))
    }

    /// How many requests may be in flight, or wait for a quorum, at a time, and how many bytes their bodies may have together. At
    /// the beginning: 10,000 and 64 MiB. Others are refused with 503.
    pub fn in_flight(self, requests: usize, bytes: usize) -> Self {
        self.set(|settings| (settings.in_flight, settings.in_flight_bytes) = (requests, bytes))
    }

    /// The header that a replayed answer has, with the value `true`; `None` for none. At the beginning: `Idempotency-Replayed`.
    ///
    /// Copies that waited for the first one have the same answer as the first one, without it. A copy that comes later has it:
    /// switch it off for canisters that make replicated outcalls and don't drop the headers in their transform.
    pub fn replay_marker(self, name: Option<HeaderName>) -> Self {
        self.set(|settings| settings.marker = name)
    }

    /// What happens if it isn't known whether a request was executed. At the beginning: it is refused.
    pub fn on_unknown(self, on_unknown: OnUnknown) -> Self {
        self.set(|settings| settings.on_unknown = on_unknown)
    }

    /// What an answer says about the effect, where the handler does not say it itself. At the beginning: [`Verdict::of_status`].
    pub fn verdict(
        self,
        verdict: impl Fn(&response::Parts) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        self.set(|settings| settings.judge = Arc::new(verdict))
    }

    /// Executes a request only if enough have sent it.
    pub fn quorum(self, quorum: Quorum) -> Self {
        self.set(|settings| settings.quorum = Some(quorum))
    }

    /// Where your clients can read what your server does with keys, and for how long: the problems' types are names below it. At
    /// the beginning: the page of this crate.
    pub fn documentation(self, url: impl Into<String>) -> Self {
        self.set(|settings| settings.documentation = url.into())
    }

    /// Another clock, for tests.
    pub fn clock(self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.set(|settings| settings.clock = Arc::new(clock))
    }
}

impl<S, B> Layer<S> for IdempotencyLayer<B> {
    type Service = IdempotencyService<S, B>;

    fn layer(&self, inner: S) -> Self::Service {
        IdempotencyService {
            inner,
            settings: Arc::clone(&self.settings),
            backend: Arc::clone(&self.backend),
            flights: Arc::clone(&self.flights),
        }
    }
}
