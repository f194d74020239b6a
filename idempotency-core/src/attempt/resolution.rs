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
use std::future::{IntoFuture, Ready, ready};

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

/// What `on_unknown` leads to.
pub(super) enum Settled<A, R: Runtime, S: StoreAccess> {
    Answer(Result<Vec<u8>, String>),
    /// The method is to be executed, in the attempt that was acquired.
    NotExecuted(A, Guard<R, S>),
}

/// What becomes of a retry that is refused: if its outcome is unknown, `on_unknown` settles it. Meanwhile the request is in progress, and
/// if `on_unknown` fails itself, it is unknown again.
pub(super) async fn settle<A, R, N: Runtime, S: StoreAccess, Q>(
    runtime: &N,
    store: &S,
    endpoint: &Endpoint<A, R>,
    refused: Refused<A>,
    resolve: Option<impl FnOnce(A, Unknown) -> Q>,
) -> Settled<A, N, S>
where
    Q: IntoFuture<Output = Resolution<R>>,
{
    let Refused {
        args,
        identity,
        error,
        argument,
    } = refused;
    let (Some(resolve), IdempotencyError::OutcomeUnknown { since }) = (resolve, &error) else {
        return Settled::Answer(endpoint.refusal(error));
    };
    let acquired = store.with(|store| {
        let attempt = store.acquire_unknown(&identity)?;
        let resumed = attempt.map(|attempt| Ok((attempt, store.resumed(attempt)?)));
        resumed.transpose()
    });
    let (attempt, resumed) = match acquired {
        Ok(Some((attempt, Some(resumed)))) => (attempt, resumed),
        // It runs, for longer than its window.
        Ok(_) => return Settled::Answer(endpoint.refusal(error)),
        Err(it) => return Settled::Answer(Err(damaged(it))),
    };
    let guard = Guard::of(runtime.clone(), store.clone(), resumed.ticket, attempt);
    let unknown = Unknown {
        since: *since,
        steps: vec![],
        reason: None,
    };
    let (resolution, _) = watch(runtime.clone(), resolve(args, unknown).into_future()).await;
    match resolution {
        Resolution::Done(reply) => {
            let done = endpoint.encoded(reply).and_then(|(reply, _)| {
                guard.complete(&reply).map_err(damaged)?;
                endpoint.replayed(reply)
            });
            Settled::Answer(done)
        }
        Resolution::NotExecuted => match (endpoint.decode)(&argument) {
            Ok(args) => Settled::NotExecuted(args, guard),
            // The same bytes have been decoded before.
            Err(_) => Settled::Answer(endpoint.refusal(error)),
        },
        Resolution::StillUnknown => {
            drop(guard);
            Settled::Answer(endpoint.refusal(error))
        }
    }
}
