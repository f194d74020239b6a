//! One call of a durable method, and what goes on with it when it is cut off.
//!
//! ```text
//! client's message ──► drive ──► attempt     each a call context of its own
//! recovery's timer ──► drive ──► attempt
//! ```
//!
//! - *Drive* calls the canister itself and waits until the attempt has ended, however it does. What became of the request it reads from the
//!   store, and never from the answer. So it does not matter whose answer wakes it.
//! - An *attempt* executes the method on top of the journal. It is called with as many cycles as its number says, and never accepts them: a
//!   callback can ask how many there are, and no other call of the canister to itself brings as many. So whoever is woken knows for
//!   certain whether the answer is for its own attempt (G15). The cycles come back with its answer.
//!
//! Both are messages to a method that `#[idempotent(durable)]` exports beside the user's, and only the canister itself may call it.

#[cfg(feature = "archive")]
use super::second_look::look_again;
use super::{
    asking::Kind,
    begin::{Admitted, Begun, Refused, begin, damaged},
    endpoint::Endpoint,
    going_on::{attempt, drive},
    resolution::OnUnknown,
    serve::Answered,
};
use crate::{
    access::StoreAccess,
    error::IdempotencyError,
    eviction,
    identity::Identity,
    recovery::{self, Message},
    runtime::{Canister, Runtime},
    steps::Steps,
    store::{Attempt, Damaged, Lookup, Origin, Progress, State, Store},
};
use ic_stable_structures::Memory;
#[cfg(feature = "archive")]
use std::convert::Infallible;
use std::{future::Future, thread::LocalKey};

/// Serves a call of a durable method. `asks` says whether it has `on_unknown`.
pub fn call_durable<M: Memory, A, R>(
    store: &'static LocalKey<Store<M>>,
    endpoint: &'static Endpoint<A, R>,
    asks: bool,
) -> impl Future<Output = ()> {
    serve_durable(Canister, store, endpoint, asks)
}

/// Serves the canister's calls to itself that go on with a durable method.
///
/// # Panics
/// Traps if somebody else calls.
pub fn go_on<M: Memory, A, R, F: Future<Output = R>>(
    store: &'static LocalKey<Store<M>>,
    endpoint: &'static Endpoint<A, R>,
    run: impl FnOnce(Steps, A) -> F,
    on_unknown: impl OnUnknown<A, R>,
) -> impl Future<Output = ()> {
    serve_going_on(Canister, store, endpoint, run, on_unknown)
}

/// As [`call_durable`], on any runtime.
pub(super) async fn serve_durable<A, R>(
    runtime: impl Runtime,
    store: impl StoreAccess,
    endpoint: &Endpoint<A, R>,
    asks: bool,
) {
    match answered_durable(&runtime, &store, endpoint, asks).await {
        Ok(reply) => runtime.reply(&reply),
        // Not by a trap: that would undo what was noted of an attempt that failed, and the timer with which it goes on.
        Err(text) => runtime.reject(&text),
    }
}

/// What can't be recorded must be undone.
fn sound<T>(runtime: &impl Runtime, result: Result<T, Damaged>) -> T {
    result.unwrap_or_else(|it| runtime.trap(&damaged(it)))
}

/// As [`go_on`], on any runtime.
pub(super) async fn serve_going_on<A, R, F: Future<Output = R>>(
    runtime: impl Runtime,
    store: impl StoreAccess,
    endpoint: &Endpoint<A, R>,
    run: impl FnOnce(Steps, A) -> F,
    on_unknown: impl OnUnknown<A, R>,
) {
    if runtime.caller() != runtime.canister() {
        runtime.trap("NotForClients: this method is the canister's own, which goes on with cut-off requests by it");
    }
    let ended = match Message::read(&runtime.argument()) {
        Some(Message::GoOn(last)) => match store.with(|store| store.go_on(last)) {
            Ok(Some(next)) => drive(&runtime, &store, endpoint.name, Message::Attempt(next)).await,
            // Another has taken over, or it has ended.
            Ok(None) => Ok(()),
            Err(damaged) => Err(damaged),
        },
        Some(message @ (Message::Attempt(number) | Message::Resolve(number))) => {
            let asks_first = matches!(message, Message::Resolve(_));
            attempt(
                &runtime,
                &store,
                endpoint,
                (number, asks_first),
                run,
                on_unknown,
            )
            .await
        }
        None => Ok(()),
    };
    sound(&runtime, ended);
    // Not only when the driver is answered: it may trap then.
    recovery::schedule(&runtime, &store, runtime.time());
    runtime.reply(&[]);
}

async fn answered_durable<A, R>(
    runtime: &impl Runtime,
    store: &impl StoreAccess,
    endpoint: &Endpoint<A, R>,
    asks: bool,
) -> Answered {
    // What was decided is dear to move, and is taken apart where it lies.
    let begun = begin(runtime, store, endpoint, Kind::Durable);
    #[cfg(feature = "archive")]
    let begun = match begun {
        Ok(begun) => Ok::<_, Infallible>(begun),
        Err(asking) => Ok(look_again(runtime, store, endpoint, asking).await),
    };
    let (identity, message, is_first) = match begun {
        Ok(Begun::Answer(answered)) => return answered,
        // Without a key there is nothing to go on with.
        Ok(Begun::Unrecorded(_)) => return endpoint.refusal(store, IdempotencyError::MissingKey),
        Ok(Begun::Admitted(admitted)) => {
            let identity = admitted.ticket.head.identity;
            let attempt = sound(runtime, record(runtime, store, endpoint.name, admitted));
            (identity, Message::Attempt(attempt), true)
        }
        Ok(Begun::Refused(refused)) => {
            match sound(runtime, again(runtime, store, &refused, asks)) {
                Some(message) => (refused.identity, message, false),
                None => return endpoint.refusal(store, refused.error),
            }
        }
    };
    sound(runtime, drive(runtime, store, endpoint.name, message).await);
    outcome(runtime, store, endpoint, &identity, is_first)
}

/// Records a new request with all that it needs to go on.
fn record<A>(
    runtime: &impl Runtime,
    store: &impl StoreAccess,
    endpoint: &str,
    admitted: Admitted<A>,
) -> Result<Attempt, Damaged> {
    let Admitted {
        ticket,
        scope,
        argument,
        ..
    } = admitted;
    let since = ticket.head.since;
    let origin = Origin {
        endpoint,
        scope,
        kept: Some((runtime.caller(), &argument)),
    };
    let attempt = store.with(|store| store.begin(&ticket, &origin))?;
    eviction::schedule(runtime, store, since);
    Ok(attempt)
}

/// What a retry of a request can do that has no reply yet: go on with it if it is due, or have it resolved if it was parked.
fn again<A>(
    runtime: &impl Runtime,
    store: &impl StoreAccess,
    refused: &Refused<A>,
    asks: bool,
) -> Result<Option<Message>, Damaged> {
    let (identity, now) = (&refused.identity, runtime.time());
    store.with(|store| match refused.error {
        IdempotencyError::InProgress { .. } => match store.due_attempt(identity, now)? {
            Some(due) if store.count_try(due, now)? => Ok(store.go_on(due)?.map(Message::Attempt)),
            _ => Ok(None),
        },
        IdempotencyError::OutcomeUnknown { .. } if asks => {
            Ok(store.acquire_unknown(identity)?.map(Message::Resolve))
        }
        _ => Ok(None),
    })
}

/// What the client is told when an attempt has ended.
fn outcome<A, R>(
    runtime: &impl Runtime,
    store: &impl StoreAccess,
    endpoint: &Endpoint<A, R>,
    identity: &Identity,
    is_first: bool,
) -> Answered {
    let known = sound(
        runtime,
        store.with(|store| {
            let Lookup::Known(record) = store.lookup(identity)? else {
                return Ok(None);
            };
            let progress = match &record.state {
                State::Pending(pending) => store.progress(pending.attempt),
                State::Done(_) | State::ReplyDropped => Progress::GoesOn,
            };
            Ok(Some((record, progress)))
        }),
    );
    let Some((record, progress)) = known else {
        // Its operator has settled meanwhile that it did nothing.
        return Err(NOTHING_HAPPENED.into());
    };
    let since = record.since;
    match (record.state, progress) {
        (State::Done(reply), _) if is_first => Ok(reply.bytes),
        (State::Done(reply), _) => endpoint.replay(store, reply),
        (State::ReplyDropped, _) => {
            endpoint.refusal(store, IdempotencyError::ReplyDropped { executed_at: since })
        }
        (State::Pending(_), Progress::Unknown) => {
            endpoint.refusal(store, IdempotencyError::OutcomeUnknown { since })
        }
        (State::Pending(_), Progress::Running | Progress::GoesOn) => {
            endpoint.refusal(store, IdempotencyError::InProgress { since })
        }
    }
}

const NOTHING_HAPPENED: &str =
    "NotExecuted: an operator has settled that the request did nothing; send it again";
