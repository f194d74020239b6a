//! The beginning of a call: who calls, for which request, and whether it runs.

use super::{
    asking::{Archives, Asking, Kind},
    endpoint::Endpoint,
    request::identify,
};
use crate::{
    access::StoreAccess,
    admission::{self, Decision, Request, Ticket},
    error::IdempotencyError,
    identity::{Argument, Identity},
    runtime::Runtime,
    store::{Damaged, ScopeDigest},
};
use candid::Principal;

/// What becomes of a call once its arguments are known.
pub(super) enum Begun<A> {
    /// It ends here.
    Answer(Result<Vec<u8>, String>),
    /// Run it without a record.
    Unrecorded(A),
    /// Run and record it.
    Admitted(Admitted<A>),
    /// Answer with the error, unless it says that the outcome is unknown, or not there yet, and somebody can do something about it.
    Refused(Refused<A>),
}

/// A call that runs.
pub(super) struct Admitted<A> {
    pub(super) args: A,
    pub(super) ticket: Ticket,
    /// Of an async method.
    pub(super) scope: ScopeDigest,
    /// As it was sent.
    pub(super) argument: Vec<u8>,
}

/// A call that does not run.
pub(super) struct Refused<A> {
    pub(super) args: A,
    pub(super) identity: Identity,
    pub(super) error: IdempotencyError,
    /// As it was sent.
    pub(super) argument: Vec<u8>,
}

/// Decides what becomes of a call, or whom to ask first.
pub(super) fn begin<A, R>(
    runtime: &impl Runtime,
    store: &impl StoreAccess,
    endpoint: &Endpoint<A, R>,
    kind: Kind,
) -> Result<Begun<A>, Asking> {
    if let Some(other) = store.with(|store| store.claim(endpoint.name, endpoint.method)) {
        return Ok(Begun::Answer(Err(shared_name(endpoint, other))));
    }
    let (caller, bytes) = (runtime.caller(), runtime.argument());
    decide(
        runtime,
        store,
        endpoint,
        (kind, caller, bytes),
        Archives::NotAsked,
    )
}

/// Decides what becomes of a call of a caller with an argument, with what archives have said of it.
// Without archives there is one caller, and what is decided is dear to move.
pub(super) fn decide<A, R>(
    runtime: &impl Runtime,
    store: &impl StoreAccess,
    endpoint: &Endpoint<A, R>,
    (kind, caller, bytes): (Kind, Principal, Vec<u8>),
    archives: Archives,
) -> Result<Begun<A>, Asking> {
    let argument = Argument::of_call(&bytes, endpoint.name, &caller);
    let early = endpoint.early_name(&argument, &caller);
    if let Some(name) = &early
        && let Ok(Some(ended)) = store.with(|store| store.ended(name))
    {
        return Ok(Begun::Answer(endpoint.replay(store, ended.reply)));
    }
    let now = runtime.time();
    let args = match (endpoint.decode)(&bytes) {
        Ok(args) => args,
        Err(error) => return Ok(Begun::Answer(Err(malformed(endpoint.name, &error)))),
    };
    let description = (endpoint.describe)(&args);
    #[cfg(feature = "archive")]
    let may_ask = matches!(archives, Archives::NotAsked)
        && store.with(|store| store.policy().archive.is_some());
    let has_quota = store.with(|store| store.policy().quota.is_some());
    let known = (early, has_quota);
    let identified = match identify(endpoint, &description, &argument, &caller, known) {
        Ok(Some(identified)) => identified,
        Ok(None) => {
            return Ok(match charge(runtime, &caller, endpoint.cycles) {
                Ok(()) => Begun::Unrecorded(args),
                Err(error) => Begun::Answer(endpoint.refusal(store, error)),
            });
        }
        Err(error) => return Ok(Begun::Answer(endpoint.refusal(store, error))),
    };
    let fingerprint = endpoint.fingerprint(&args, &argument, &description);
    let request = Request {
        identity: identified.identity,
        fingerprint,
        created_at: description.created_at,
        sequence: identified.sequence,
        scope: identified.scope,
    };
    let decision = match archives {
        Archives::NotAsked => store.with(|store| admission::admit(store, &request, now)),
        #[cfg(feature = "archive")]
        Archives::DontKnow => store.with(|store| admission::admit(store, &request, now)),
        #[cfg(feature = "archive")]
        Archives::Hold(record) => {
            store.with(|store| admission::admit_archived(store, &request.fingerprint, record, now))
        }
    };
    #[cfg(feature = "archive")]
    if may_ask {
        match store.with(|store| admission::ask_archives(store, &request, &decision, now)) {
            Ok(None) => {}
            Ok(Some(answer)) => {
                let call = (kind, caller, bytes);
                return Err(Asking { call, answer });
            }
            Err(error) => return Ok(Begun::Answer(endpoint.refusal(store, error))),
        }
    }
    let identity = request.identity;
    match decision {
        Decision::Replay(reply) => Ok(Begun::Answer(endpoint.replay(store, reply))),
        Decision::Refuse(error) => Ok(Begun::Refused(Refused {
            args,
            identity,
            error,
            argument: bytes,
        })),
        Decision::Execute(ticket) => {
            // Before it is paid for.
            if kind == Kind::Durable
                && let Err(error) = store.with(|store| store.make_room_for_durable(&bytes, now))
            {
                return Ok(Begun::Answer(endpoint.refusal(store, error)));
            }
            if let Err(error) = charge(runtime, &caller, endpoint.cycles) {
                return Ok(Begun::Answer(endpoint.refusal(store, error)));
            }
            Ok(Begun::Admitted(Admitted {
                args,
                ticket,
                scope: match kind {
                    Kind::Sync => ScopeDigest::default(),
                    // An operator is told whose request is unknown. What it is made of has been hashed before.
                    Kind::Async | Kind::Durable => {
                        Identity::scope_digest(endpoint.name, &description.scope, &caller)
                            .unwrap_or_default()
                    }
                },
                argument: bytes,
            }))
        }
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
pub(super) fn damaged(damaged: Damaged) -> String {
    IdempotencyError::from(damaged).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::decode;

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
