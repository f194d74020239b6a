//! `on_unknown`: settling a request whose outcome is unknown.

use super::{
    begin::{Refused, damaged},
    endpoint::Endpoint,
    guard::Guard,
    watch::watch,
};
use crate::{
    access::StoreAccess, error::IdempotencyError, runtime::Runtime, steps::RecordedStep,
    time::Timestamp,
};
use std::future::{Future, IntoFuture, Ready, ready};

/// What `on_unknown` has found out about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution<R> {
    /// It was executed, and this is its reply: the client gets it, and so does every retry.
    Done(R),
    /// It has certainly done nothing. It is executed, now or as soon as it can be.
    NotExecuted,
    /// Nobody can tell yet: the client is told that the outcome is unknown. The next retry asks again.
    StillUnknown,
}

/// So that `on_unknown` may be sync or async.
impl<R> IntoFuture for Resolution<R> {
    type Output = Self;
    type IntoFuture = Ready<Self>;

    fn into_future(self) -> Ready<Self> {
        ready(self)
    }
}

/// What `on_unknown` may return.
#[diagnostic::on_unimplemented(
    message = "`on_unknown` returns a `Resolution` of the method's reply, `Resolution<{R}>`, not `{Self}`",
    label = "say what has become of the request: `Resolution::Done(reply)`, `NotExecuted` or `StillUnknown`"
)]
pub trait Resolves<R>: IntoFuture<Output = Resolution<R>> {}

impl<R> Resolves<R> for Resolution<R> {}

#[diagnostic::do_not_recommend]
impl<R, F: Future<Output = Resolution<R>>> Resolves<R> for F {}

/// What is known of a request whose outcome is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unknown {
    /// The time at which its first execution began.
    pub since: Timestamp,
    /// The steps that a durable method recorded, in the order in which they began. Other methods record none.
    pub steps: Vec<RecordedStep>,
    /// Why a durable request does not go on by itself; `None` of other methods.
    pub reason: Option<String>,
}

/// `on_unknown`, or that there is none. Which it is, is known when the method is compiled: a method without it pays nothing.
pub trait OnUnknown<A, R> {
    /// Whether there is anybody to ask.
    const ASKS: bool;

    /// Asks what became of a request with these arguments.
    fn ask(self, args: A, unknown: Unknown) -> impl Future<Output = Resolution<R>>;
}

/// There is no `on_unknown`.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl<A, R> OnUnknown<A, R> for Nobody {
    const ASKS: bool = false;

    async fn ask(self, _: A, _: Unknown) -> Resolution<R> {
        Resolution::StillUnknown
    }
}

/// `on_unknown = …`: a function that is sync or async.
#[derive(Clone, Copy, Debug)]
pub struct Asks<F>(pub F);

impl<A, R, F, Q> OnUnknown<A, R> for Asks<F>
where
    F: FnOnce(A, Unknown) -> Q,
    Q: Resolves<R>,
{
    const ASKS: bool = true;

    fn ask(self, args: A, unknown: Unknown) -> impl Future<Output = Resolution<R>> {
        self.0(args, unknown).into_future()
    }
}

/// What `on_unknown` leads to.
pub(super) enum Settled<A, R: Runtime, S: StoreAccess> {
    Answer(Result<Vec<u8>, String>),
    /// The method is to be executed, in the attempt that was acquired.
    NotExecuted(A, Guard<R, S>),
}

/// What becomes of a retry that is refused: if its outcome is unknown, `on_unknown` settles it. Meanwhile the request is in progress, and
/// if `on_unknown` fails itself, it is unknown again.
pub(super) async fn settle<A, R, N: Runtime, S: StoreAccess>(
    runtime: &N,
    store: &S,
    endpoint: &Endpoint<A, R>,
    refused: Refused<A>,
    on_unknown: impl OnUnknown<A, R>,
) -> Settled<A, N, S> {
    let Refused {
        args,
        identity,
        error,
        argument,
    } = refused;
    let IdempotencyError::OutcomeUnknown { since } = &error else {
        return Settled::Answer(endpoint.refusal(store, error));
    };
    let acquired = store.with(|store| {
        let attempt = store.acquire_unknown(&identity)?;
        let resumed = attempt.map(|attempt| Ok((attempt, store.resumed(attempt)?)));
        resumed.transpose()
    });
    let (attempt, resumed) = match acquired {
        Ok(Some((attempt, Some(resumed)))) => (attempt, resumed),
        // It runs, for longer than its window.
        Ok(_) => return Settled::Answer(endpoint.refusal(store, error)),
        Err(it) => return Settled::Answer(Err(damaged(it))),
    };
    let guard = Guard::of(runtime.clone(), store.clone(), resumed.ticket, attempt);
    let unknown = Unknown {
        since: *since,
        steps: vec![],
        reason: None,
    };
    let (resolution, _) = watch(runtime.clone(), on_unknown.ask(args, unknown)).await;
    match resolution {
        Resolution::Done(reply) => {
            let done = endpoint.answer(reply).and_then(|answer| {
                guard.complete(answer.kept()).map_err(damaged)?;
                store.with(|store| store.count_replay());
                Ok(answer.for_retries())
            });
            Settled::Answer(done)
        }
        Resolution::NotExecuted => match (endpoint.decode)(&argument) {
            Ok(args) => Settled::NotExecuted(args, guard),
            // The same bytes have been decoded before.
            Err(_) => Settled::Answer(endpoint.refusal(store, error)),
        },
        Resolution::StillUnknown => {
            drop(guard);
            Settled::Answer(endpoint.refusal(store, error))
        }
    }
}
