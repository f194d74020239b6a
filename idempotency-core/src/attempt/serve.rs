//! One call of an idempotent method: begin, run, complete.

#[cfg(feature = "archive")]
use super::second_look::look_again;
use super::{
    asking::Kind,
    begin::{Admitted, Begun, begin, damaged},
    endpoint::{Endpoint, Errors},
    guard::Guard,
    resolution::{OnUnknown, Settled, settle},
    watch::watch,
};
use crate::{
    access::StoreAccess,
    admission::Ticket,
    eviction,
    runtime::{Canister, Runtime},
    store::{Origin, Reply, Store},
};
use ic_stable_structures::Memory;
#[cfg(feature = "archive")]
use std::convert::Infallible;
use std::{future::Future, thread::LocalKey};

/// Serves a call of a sync method: everything it does commits in one message, or nothing. That is this message, or if an archive may hold
/// the request, that of the archives' answer.
pub fn call<M: Memory, A, R>(
    store: &'static LocalKey<Store<M>>,
    endpoint: &'static Endpoint<A, R>,
    run: impl FnOnce(A) -> R + 'static,
) {
    serve(&Canister, &store, endpoint, run);
}

/// Serves a call of an async method: pending from its first await on.
pub fn call_async<M: Memory, A, R, F: Future<Output = R>>(
    store: &'static LocalKey<Store<M>>,
    endpoint: &'static Endpoint<A, R>,
    run: impl FnOnce(A) -> F,
    on_unknown: impl OnUnknown<A, R>,
) -> impl Future<Output = ()> {
    serve_async(Canister, store, endpoint, run, on_unknown)
}

/// As [`call`], on any runtime.
pub(super) fn serve<A, R>(
    runtime: &impl Runtime,
    store: &impl StoreAccess,
    endpoint: &'static Endpoint<A, R>,
    run: impl FnOnce(A) -> R + 'static,
) {
    let begun = match begin(runtime, store, endpoint, Kind::Sync) {
        Ok(begun) => begun,
        #[cfg(not(feature = "archive"))]
        Err(nobody) => match nobody {},
        #[cfg(feature = "archive")]
        Err(asking) => {
            let (its, store) = (runtime.clone(), store.clone());
            return runtime.in_background(async move {
                let begun = look_again(&its, &store, endpoint, asking).await;
                answer(&its, answered(&its, &store, endpoint, begun, run));
            });
        }
    };
    answer(runtime, answered(runtime, store, endpoint, begun, run));
}

/// As [`call_async`], on any runtime.
pub(super) async fn serve_async<A, R, F: Future<Output = R>>(
    runtime: impl Runtime,
    store: impl StoreAccess,
    endpoint: &Endpoint<A, R>,
    run: impl FnOnce(A) -> F,
    on_unknown: impl OnUnknown<A, R>,
) {
    let answered = answered_async(&runtime, store, endpoint, run, on_unknown).await;
    answer(&runtime, answered);
}

/// The bytes to answer with, or the text to trap with.
pub(super) type Answered = Result<Vec<u8>, String>;

pub(super) fn answer(runtime: &impl Runtime, answered: Answered) {
    match answered {
        Ok(reply) => runtime.reply(&reply),
        Err(text) => runtime.trap(&text),
    }
}

// As `decide`.
fn answered<A, R>(
    runtime: &impl Runtime,
    store: &impl StoreAccess,
    endpoint: &Endpoint<A, R>,
    begun: Begun<A>,
    run: impl FnOnce(A) -> R,
) -> Answered {
    let Admitted { args, ticket, .. } = match begun {
        Begun::Answer(answered) => return answered,
        Begun::Unrecorded(args) => return endpoint.encoded(run(args)),
        Begun::Admitted(admitted) => admitted,
        Begun::Refused(refused) => return endpoint.refusal(store, refused.error),
    };
    let reply = run(args);
    if (endpoint.is_error)(&reply) && endpoint.errors == Errors::Forget {
        return endpoint.encoded(reply);
    }
    let answer = endpoint.answer(reply)?;
    store.with(|store| record(store, &ticket, answer.kept()))?;
    eviction::schedule(runtime, store, ticket.head.since);
    Ok(answer.first)
}

async fn answered_async<A, R, F: Future<Output = R>, O: OnUnknown<A, R>>(
    runtime: &impl Runtime,
    store: impl StoreAccess,
    endpoint: &Endpoint<A, R>,
    run: impl FnOnce(A) -> F,
    on_unknown: O,
) -> Answered {
    // What was decided is dear to move, and is taken apart where it lies.
    let begun = begin(runtime, &store, endpoint, Kind::Async);
    #[cfg(feature = "archive")]
    let begun = match begun {
        Ok(begun) => Ok::<_, Infallible>(begun),
        Err(asking) => Ok(look_again(runtime, &store, endpoint, asking).await),
    };
    let (args, guard) = match begun {
        Ok(Begun::Answer(answered)) => return answered,
        Ok(Begun::Unrecorded(args)) => {
            let (reply, _) = watch(runtime.clone(), run(args)).await;
            return endpoint.encoded(reply);
        }
        Ok(Begun::Admitted(Admitted {
            args,
            ticket,
            scope,
            ..
        })) => {
            let origin = Origin {
                endpoint: endpoint.name,
                scope,
                kept: None,
            };
            let since = ticket.head.since;
            let guard = Guard::begin(runtime.clone(), store.clone(), ticket, &origin);
            let guard = guard.map_err(damaged)?;
            eviction::schedule(runtime, &store, since);
            (args, guard)
        }
        Ok(Begun::Refused(refused)) if !O::ASKS => return endpoint.refusal(&store, refused.error),
        Ok(Begun::Refused(refused)) => {
            match settle(runtime, &store, endpoint, refused, on_unknown).await {
                Settled::Answer(answered) => return answered,
                Settled::NotExecuted(args, guard) => (args, guard),
            }
        }
    };
    let (reply, was_suspended) = watch(runtime.clone(), run(args)).await;
    if (endpoint.is_error)(&reply) && !was_suspended && endpoint.errors == Errors::Forget {
        let reply = endpoint.encoded(reply)?;
        guard.release().map_err(damaged)?;
        return Ok(reply);
    }
    let answer = endpoint.answer(reply)?;
    guard.complete(answer.kept()).map_err(damaged)?;
    Ok(answer.first)
}

/// Records the reply of a sync method, or says why the message must be undone.
fn record<M: Memory>(store: &Store<M>, ticket: &Ticket, reply: Reply<&[u8]>) -> Result<(), String> {
    let most = store.policy().max_reply_bytes as usize;
    if reply.bytes.len() > most {
        return Err(format!(
            "ReplyTooLarge: the reply{} takes {} bytes and max_reply_bytes is {most}; nothing has happened, ask for less or raise \
             max_reply_bytes",
            if reply.is_for_retries {
                " for retries"
            } else {
                ""
            },
            reply.bytes.len()
        ));
    }
    store.record_reply(ticket, reply).map_err(damaged)
}
