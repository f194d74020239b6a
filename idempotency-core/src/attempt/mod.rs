//! One call of an idempotent method: begin, run, complete. This is what `#[idempotent]` calls.
//!
//! # What happens on a trap
//! - *Before the first await, or in a sync method:* the whole message is undone, record and effects alike. A retry runs.
//! - *After an await:* what was done up to that await stands. The `Running` guard is dropped in the cleanup callback
//!   and marks the record as interrupted: a retry is told that the outcome is unknown.
//! - *An upgrade while an await is outstanding:* no destructor runs. The record still says pending, of an incarnation
//!   that is gone, which is unknown as well.
//! - *A guard of the function's own that traps in the cleanup callback:* the future is neither dropped nor goes on, and its record
//!   says pending. Nobody can tell it from one that waits for a callee, so what has run for longer than the window is unknown,
//!   too. If it ends after all, its end is recorded.
//!
//! Nothing runs again by itself.
//!
//! # Answers that arrive after an upgrade
//! ic-cdk finds what awaits an answer by its address in the heap. An answer to a call from before an upgrade can so reach a
//! method that came later, and that awaits another answer at the same address. Each time an async method with the attribute
//! goes on after an await, and each time one is cancelled after a trap, it is checked whether this can be the same call: the
//! caller must be the one that it was, and the call can't have used fewer instructions than it had. Where that fails, the
//! callback and its cleanup both trap. The IC undoes both, so the later call stays as it was and gets its own answer when
//! that arrives. The client of the old call is told `CutOff`, and its record says unknown.
//!
//! No property of a call that the IC lets a callback see is unique to it. This remains:
//! - *An answer to a call of the same caller.* If that one used as many instructions as the later one, or more, it is taken for the
//!   later one's. The record of the later request then holds a reply made with the wrong answer, and the client of the old call
//!   gets that reply. Between canisters the deadlines of bounded-wait calls are compared too. Where only those differ nothing
//!   wrong is recorded, but a cleanup can't see them: the later call is cancelled, its record becomes unknown, and its own answer
//!   finds what is at that address then.
//! - *Calls that are made elsewhere:* in tasks which a method spawns, in timers, and in methods without the attribute. Those are
//!   not checked.
//! - *An answer that reaches no waiting call.* ic-cdk takes whatever is at the address for one. Mostly it traps, and the IC undoes
//!   it; but it may also write there, which harms the heap until the next upgrade: calls that need what was there trap. If the new
//!   module is not the old one, the callback may be another function.
//!
//! None of this can happen to a canister that was stopped: it stops when all its calls are answered. So stop a canister before you
//! upgrade it, and start it afterwards.

mod codec;
mod endpoint;
mod inspection;
mod watch;

pub use crate::identity::{Compared, LaneKey, RequestKey, Scope};
#[doc(hidden)]
pub use candid::candid_method;
pub use codec::{decode, encode_all, encode_one, map_all, map_one};
pub use endpoint::{
    Compare, CreatedAt, Description, Endpoint, Errors, MaxInFlight, Number, PlainReply, ReplyType,
    RequestId, max_in_flight,
};
#[doc(hidden)]
pub use idempotency_macros::inspect_methods;
pub use inspection::{Inspect, first_inspected, inspect};

use crate::{
    admission::{self, Decision, Request, Ticket},
    error::IdempotencyError,
    eviction,
    identity::{Argument, Identity},
    runtime,
    sequence::Sequence,
    store::{self, Store},
};
use candid::Principal;
use endpoint::trap;
use ic_stable_structures::Memory;
use std::{future::Future, thread::LocalKey};
use watch::watch;

/// What becomes of a call once its arguments are known.
enum Begun<A> {
    /// Answer with these bytes.
    Answer(Vec<u8>),
    /// Run it without a record.
    Unrecorded(A),
    /// Run and record it.
    Admitted(A, Ticket),
}

/// Serves a call of a sync method: everything it does commits in this message, or nothing.
pub fn call<M: Memory, A, R>(
    store: &'static LocalKey<Store<M>>,
    endpoint: &Endpoint<A, R>,
    run: impl FnOnce(A) -> R,
) {
    let reply = match begin(store, endpoint) {
        Begun::Answer(reply) => reply,
        Begun::Unrecorded(args) => endpoint.encoded(run(args)).0,
        Begun::Admitted(args, ticket) => {
            let (reply, is_error) = endpoint.encoded(run(args));
            if !(is_error && endpoint.errors == Errors::Forget) {
                store.with(|store| {
                    let most = store.policy().max_reply_bytes as usize;
                    if reply.len() > most {
                        trap(&format!(
                            "ReplyTooLarge: the reply takes {} bytes and max_reply_bytes is {most}; nothing has \
                             happened, ask for less or raise max_reply_bytes",
                            reply.len()
                        ));
                    }
                    store.record(&ticket, &reply).unwrap_or_else(damaged);
                });
                eviction::schedule(store, ticket.head.since);
            }
            reply
        }
    };
    runtime::reply(&reply);
}

/// Serves a call of an async method: pending from its first await on.
pub async fn call_async<M: Memory, A, R, F: Future<Output = R>>(
    store: &'static LocalKey<Store<M>>,
    endpoint: &Endpoint<A, R>,
    run: impl FnOnce(A) -> F,
) {
    let reply = match begin(store, endpoint) {
        Begun::Answer(reply) => reply,
        Begun::Unrecorded(args) => endpoint.encoded(watch(run(args)).await.0).0,
        Begun::Admitted(args, ticket) => {
            let running = Running::begin(store, ticket);
            let (reply, suspended) = watch(run(args)).await;
            let (reply, is_error) = endpoint.encoded(reply);
            if is_error && !suspended && endpoint.errors == Errors::Forget {
                running.release();
            } else {
                running.complete(&reply);
            }
            reply
        }
    };
    runtime::reply(&reply);
}

fn begin<M: Memory, A, R>(
    store: &'static LocalKey<Store<M>>,
    endpoint: &Endpoint<A, R>,
) -> Begun<A> {
    if let Some(other) = store.with(|store| store.claim(endpoint.name, endpoint.method)) {
        trap(&format!(
            "SharedName: in their store {other} and {} have one name, {}, and would be answered with each other's replies; give one \
             of them another `name = \"…\"`; nothing has happened",
            endpoint.method, endpoint.name
        ));
    }
    let (caller, now) = (runtime::caller(), runtime::time());
    let bytes = runtime::argument();
    let args = match (endpoint.decode)(&bytes) {
        Ok(args) => args,
        Err(error) => trap(&malformed(endpoint.name, &error)),
    };
    let description = (endpoint.describe)(&args);
    let argument = Argument::new(&bytes);
    let Identified {
        identity,
        sequence,
        scope,
    } = match identify(store, endpoint, &description, &argument, &caller) {
        Ok(Some(identified)) => identified,
        Ok(None) => return paid(endpoint, Begun::Unrecorded(args)),
        Err(error) => return Begun::Answer(endpoint.refusal(error)),
    };
    let fingerprint = endpoint.fingerprint(&args, &argument, &description);
    let request = Request {
        identity,
        fingerprint,
        created_at: description.created_at,
        sequence,
        scope,
    };
    match store.with(|store| admission::admit(store, &request, now)) {
        Decision::Replay(reply) => Begun::Answer(endpoint.replayed(reply)),
        Decision::Refuse(error) => Begun::Answer(endpoint.refusal(error)),
        Decision::Execute(ticket) => paid(endpoint, Begun::Admitted(args, ticket)),
    }
}

/// What is wrong with the argument, down to the cause: candid says first which argument it is, then why.
fn malformed(endpoint: &str, error: &candid::Error) -> String {
    format!(
        "MalformedArgument: the argument of {endpoint} does not decode: {error:#}; nothing has happened"
    )
}

/// A request's name, and what its counters are known by.
struct Identified {
    identity: Identity,
    sequence: Option<Sequence>,
    scope: Option<Identity>,
}

/// Names a request; `None` if it has no key and needs none. Whoever names one must be told from others.
fn identify<M: Memory, A, R>(
    store: &'static LocalKey<Store<M>>,
    endpoint: &Endpoint<A, R>,
    description: &Description,
    argument: &Argument<'_>,
    caller: &Principal,
) -> Result<Option<Identified>, IdempotencyError> {
    let is_nobody = *caller == Principal::anonymous() && !endpoint.anonymous;
    let id = match &description.id {
        None if !endpoint.required => return Ok(None),
        _ if is_nobody => return Err(IdempotencyError::AnonymousRefused),
        None => return Err(IdempotencyError::MissingKey),
        Some(id) => id,
    };
    let scope = &description.scope;
    let (identity, sequence) = match id {
        RequestId::Key(key) => (Identity::new(endpoint.name, scope, caller, key)?, None),
        RequestId::Arguments => {
            let key = RequestKey::of_argument(argument);
            (Identity::new(endpoint.name, scope, caller, &key)?, None)
        }
        RequestId::Number {
            number,
            lane,
            max_in_flight,
            first_incomplete,
        } => {
            let sequence = Sequence {
                lane: Identity::of_lane(endpoint.name, scope, caller, lane)?,
                number: *number,
                max_in_flight: *max_in_flight,
                first_incomplete: *first_incomplete,
            };
            (Identity::of_number(&sequence.lane, *number), Some(sequence))
        }
    };
    let scope = match store.with(|store| store.policy().quota.is_some()) {
        true => Some(Identity::of_scope(endpoint.name, scope, caller)?),
        false => None,
    };
    Ok(Some(Identified {
        identity,
        sequence,
        scope,
    }))
}

/// What is to run, once it is paid for.
fn paid<A, R>(endpoint: &Endpoint<A, R>, begun: Begun<A>) -> Begun<A> {
    match charge(endpoint.cycles) {
        Ok(()) => begun,
        Err(error) => Begun::Answer(endpoint.refusal(error)),
    }
}

/// A canister pays for each execution before it begins; a call from outside brings no cycles.
fn charge(cycles: u128) -> Result<(), IdempotencyError> {
    if cycles == 0 || !runtime::is_called_by_canister() {
        return Ok(());
    }
    if runtime::cycles_available() < cycles {
        let cycles = u64::try_from(cycles).unwrap_or(u64::MAX);
        return Err(IdempotencyError::CyclesRequired { cycles });
    }
    runtime::accept_cycles(cycles);
    Ok(())
}

/// Owns the record of an async attempt until it ends. Dropped before that, it leaves the record interrupted.
struct Running<M: Memory + 'static> {
    store: &'static LocalKey<Store<M>>,
    ticket: Ticket,
    attempt: store::Attempt,
    ended: bool,
}

impl<M: Memory + 'static> Running<M> {
    fn begin(store: &'static LocalKey<Store<M>>, ticket: Ticket) -> Self {
        let attempt = store.with(|store| store.begin(&ticket).unwrap_or_else(damaged));
        eviction::schedule(store, ticket.head.since);
        Self {
            store,
            ticket,
            attempt,
            ended: false,
        }
    }

    /// The effects stand whatever the size of the reply, so one that is too large is dropped and the record stays.
    fn complete(mut self, reply: &[u8]) {
        self.store.with(|store| {
            let fits = reply.len() <= store.policy().max_reply_bytes as usize;
            let reply = fits.then_some(reply);
            store
                .complete(&self.ticket, self.attempt, reply, runtime::time())
                .unwrap_or_else(damaged)
        });
        self.ended = true;
    }

    fn release(mut self) {
        self.store
            .with(|store| store.release(&self.ticket, self.attempt))
            .unwrap_or_else(damaged);
        self.ended = true;
    }
}

impl<M: Memory + 'static> Drop for Running<M> {
    fn drop(&mut self) {
        if !self.ended {
            // There is nobody to tell of a damaged store here; the record stays pending, which does not run again either.
            let _ = self
                .store
                .with(|store| store.interrupt(&self.ticket, self.attempt, runtime::time()));
        }
    }
}

/// The message is undone: a request that can't be recorded has not run.
fn damaged<T>(damaged: store::Damaged) -> T {
    trap(&IdempotencyError::from(damaged).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

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
