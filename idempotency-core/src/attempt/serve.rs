//! One call of an idempotent method: begin, run, complete.

use super::{
    endpoint::{Endpoint, Errors},
    guard::Guard,
    request::identify,
    watch::watch,
};
use crate::{
    access::StoreAccess,
    admission::{self, Decision, Request, Ticket},
    error::IdempotencyError,
    eviction,
    identity::Argument,
    runtime::{Canister, Runtime},
    store::{Damaged, Store},
};
use candid::Principal;
use ic_stable_structures::Memory;
use std::{future::Future, thread::LocalKey};

/// Serves a call of a sync method: everything it does commits in this message, or nothing.
pub fn call<M: Memory, A, R>(
    store: &'static LocalKey<Store<M>>,
    endpoint: &'static Endpoint<A, R>,
    run: impl FnOnce(A) -> R,
) {
    serve(&Canister, &store, endpoint, run);
}

/// Serves a call of an async method: pending from its first await on.
pub fn call_async<M: Memory, A, R, F: Future<Output = R>>(
    store: &'static LocalKey<Store<M>>,
    endpoint: &'static Endpoint<A, R>,
    run: impl FnOnce(A) -> F,
) -> impl Future<Output = ()> {
    serve_async(Canister, store, endpoint, run)
}

/// As [`call`], on any runtime.
pub(super) fn serve<A, R>(
    runtime: &impl Runtime,
    store: &impl StoreAccess,
    endpoint: &Endpoint<A, R>,
    run: impl FnOnce(A) -> R,
) {
    answer(runtime, answered(runtime, store, endpoint, run));
}

/// As [`call_async`], on any runtime.
pub(super) async fn serve_async<A, R, F: Future<Output = R>>(
    runtime: impl Runtime,
    store: impl StoreAccess,
    endpoint: &Endpoint<A, R>,
    run: impl FnOnce(A) -> F,
) {
    let answered = answered_async(&runtime, store, endpoint, run).await;
    answer(&runtime, answered);
}

/// The bytes to answer with, or the text to trap with.
type Answered = Result<Vec<u8>, String>;

fn answer(runtime: &impl Runtime, answered: Answered) {
    match answered {
        Ok(reply) => runtime.reply(&reply),
        Err(text) => runtime.trap(&text),
    }
}

fn answered<A, R>(
    runtime: &impl Runtime,
    store: &impl StoreAccess,
    endpoint: &Endpoint<A, R>,
    run: impl FnOnce(A) -> R,
) -> Answered {
    let (args, ticket) = match begin(runtime, store, endpoint) {
        Begun::Answer(answered) => return answered,
        Begun::Unrecorded(args) => return Ok(endpoint.encoded(run(args))?.0),
        Begun::Admitted(args, ticket) => (args, ticket),
    };
    let (reply, is_error) = endpoint.encoded(run(args))?;
    if !(is_error && endpoint.errors == Errors::Forget) {
        store.with(|store| record(store, &ticket, &reply))?;
        eviction::schedule(runtime, store, ticket.head.since);
    }
    Ok(reply)
}

async fn answered_async<A, R, F: Future<Output = R>>(
    runtime: &impl Runtime,
    store: impl StoreAccess,
    endpoint: &Endpoint<A, R>,
    run: impl FnOnce(A) -> F,
) -> Answered {
    let (args, ticket) = match begin(runtime, &store, endpoint) {
        Begun::Answer(answered) => return answered,
        Begun::Unrecorded(args) => {
            let (reply, _) = watch(runtime.clone(), run(args)).await;
            return Ok(endpoint.encoded(reply)?.0);
        }
        Begun::Admitted(args, ticket) => (args, ticket),
    };
    let since = ticket.head.since;
    let guard = Guard::begin(runtime.clone(), store.clone(), ticket).map_err(damaged)?;
    eviction::schedule(runtime, &store, since);
    let (reply, was_suspended) = watch(runtime.clone(), run(args)).await;
    let (reply, is_error) = endpoint.encoded(reply)?;
    let ended = match is_error && !was_suspended && endpoint.errors == Errors::Forget {
        true => guard.release(),
        false => guard.complete(&reply),
    };
    ended.map_err(damaged)?;
    Ok(reply)
}

/// What becomes of a call once its arguments are known.
enum Begun<A> {
    /// It ends here.
    Answer(Answered),
    /// Run it without a record.
    Unrecorded(A),
    /// Run and record it.
    Admitted(A, Ticket),
}

fn begin<A, R>(
    runtime: &impl Runtime,
    store: &impl StoreAccess,
    endpoint: &Endpoint<A, R>,
) -> Begun<A> {
    if let Some(other) = store.with(|store| store.claim(endpoint.name, endpoint.method)) {
        return Begun::Answer(Err(shared_name(endpoint, other)));
    }
    let (caller, now) = (runtime.caller(), runtime.time());
    let bytes = runtime.argument();
    let args = match (endpoint.decode)(&bytes) {
        Ok(args) => args,
        Err(error) => return Begun::Answer(Err(malformed(endpoint.name, &error))),
    };
    let description = (endpoint.describe)(&args);
    let argument = Argument::new(&bytes);
    let has_quota = store.with(|store| store.policy().quota.is_some());
    let (identity, counts_in) =
        match identify(endpoint, &description, &argument, &caller, has_quota) {
            Ok(Some(identified)) => identified,
            Ok(None) => return paid(runtime, endpoint, &caller, Begun::Unrecorded(args)),
            Err(error) => return Begun::Answer(endpoint.refusal(error)),
        };
    let fingerprint = endpoint.fingerprint(&args, &argument, &description);
    let request = Request {
        identity,
        fingerprint,
        created_at: description.created_at,
        counts_in,
    };
    match store.with(|store| admission::admit(store, &request, now)) {
        Decision::Replay(reply) => Begun::Answer(endpoint.replayed(reply)),
        Decision::Refuse(error) => Begun::Answer(endpoint.refusal(error)),
        Decision::Execute(ticket) => {
            paid(runtime, endpoint, &caller, Begun::Admitted(args, ticket))
        }
    }
}

/// What is to run, once it is paid for.
fn paid<A, R>(
    runtime: &impl Runtime,
    endpoint: &Endpoint<A, R>,
    caller: &Principal,
    begun: Begun<A>,
) -> Begun<A> {
    match charge(runtime, caller, endpoint.cycles) {
        Ok(()) => begun,
        Err(error) => Begun::Answer(endpoint.refusal(error)),
    }
}

/// A canister pays for each execution before it begins; a call from outside brings no cycles.
fn charge(
    runtime: &impl Runtime,
    caller: &Principal,
    cycles: u128,
) -> Result<(), IdempotencyError> {
    if cycles == 0 || !is_canister(caller) {
        return Ok(());
    }
    if runtime.cycles_available() < cycles {
        let cycles = u64::try_from(cycles).unwrap_or(u64::MAX);
        return Err(IdempotencyError::CyclesRequired { cycles });
    }
    runtime.accept_cycles(cycles);
    Ok(())
}

/// The principals of canisters, and only those, are 10 bytes long and end in 1.
fn is_canister(caller: &Principal) -> bool {
    matches!(caller.as_slice(), [_, _, _, _, _, _, _, _, _, 1])
}

/// Records the reply of a sync method, or says why the message must be undone.
fn record<M: Memory>(store: &Store<M>, ticket: &Ticket, reply: &[u8]) -> Result<(), String> {
    let most = store.policy().max_reply_bytes as usize;
    if reply.len() > most {
        return Err(format!(
            "ReplyTooLarge: the reply takes {} bytes and max_reply_bytes is {most}; nothing has happened, ask for less or raise \
             max_reply_bytes",
            reply.len()
        ));
    }
    store.record(ticket, reply).map_err(damaged)
}

/// Two methods of one name would be answered with each other's replies.
fn shared_name<A, R>(endpoint: &Endpoint<A, R>, other: &str) -> String {
    format!(
        "SharedName: in their store {other} and {} have one name, {}, and would be answered with each other's replies; give one \
         of them another `name = \"…\"`; nothing has happened",
        endpoint.method, endpoint.name
    )
}

/// What is wrong with the argument, down to the cause: candid says first which argument it is, then why.
fn malformed(endpoint: &str, error: &candid::Error) -> String {
    format!(
        "MalformedArgument: the argument of {endpoint} does not decode: {error:#}; nothing has happened"
    )
}

/// A request that can't be recorded must not have run, so the message is undone.
fn damaged(damaged: Damaged) -> String {
    IdempotencyError::from(damaged).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::codec::decode;

    #[test]
    fn a_client_is_told_why_its_argument_does_not_decode() {
        let wrong_type = candid::encode_one("text").unwrap();
        let error = decode::<(u64,)>(&wrong_type).unwrap_err();
        let text = malformed("pay", &error);
        assert!(
            text.contains("argument 0") && text.contains("text"),
            "{text}"
        );

        let too_long = candid::encode_args((1u64, vec![candid::Nat::from(1u8); 100_000])).unwrap();
        let error = decode::<(u64,)>(&too_long).unwrap_err();
        let text = malformed("pay", &error);
        assert!(text.contains("Skipping cost exceeds the limit"), "{text}");
        assert!(text.len() < 2_000, "{text}");
    }
}
