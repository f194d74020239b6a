//! `outcomes!`: what became of calls, for clients that ask.

#[cfg(feature = "archive")]
use super::watch::watch;
use super::{
    attribute::Attribute,
    endpoint::{Description, Endpoint},
    request::{Identified, identify},
};
#[cfg(feature = "archive")]
use crate::access::Later;
use crate::{
    certified::registry::{self, Proof},
    error::IdempotencyError,
    identity::{Argument, Fingerprint, Fingerprinted},
    outcome::{Asked, Known, Outcome},
    runtime::{Canister, Runtime},
    store::{Reply, Shown},
    time::Timestamp,
};
use candid::Principal;
use serde_bytes::ByteBuf;

/// An endpoint that can be asked about its requests.
pub trait Ask {
    /// The exported name of its method.
    fn method(&self) -> &'static str;

    /// What became of the request that the caller makes with an argument.
    fn outcome(
        &self,
        caller: &Principal,
        argument: &[u8],
        now: Timestamp,
    ) -> Result<Outcome, IdempotencyError>;

    /// As [`outcome`](Self::outcome), and asks archives.
    #[cfg(feature = "archive")]
    fn outcome_ever<'a>(
        &'a self,
        caller: &'a Principal,
        argument: &'a [u8],
        now: &'a dyn Fn() -> Timestamp,
    ) -> Later<'a, Outcome>;

    /// What the canister certifies of it.
    fn shown(&self, caller: &Principal, argument: &[u8]) -> Result<Shown, IdempotencyError>;
}

impl<A, R, S, I> Ask for Attribute<A, R, S, I> {
    fn method(&self) -> &'static str {
        self.endpoint.method
    }

    fn outcome(
        &self,
        caller: &Principal,
        argument: &[u8],
        now: Timestamp,
    ) -> Result<Outcome, IdempotencyError> {
        if let Some(ended) = self.ended(caller, argument)? {
            return Ok(ended);
        }
        let read = Read::new(&self.endpoint, caller, argument)?;
        let Identified {
            identity, sequence, ..
        } = &read.identified;
        let created_at = read.description.created_at;
        let (outcome, known) = self.store.outcome((identity, *sequence), created_at, now)?;
        read.is_of(&self.endpoint, known.map(|known| known.fingerprint))?;
        for_retries(outcome, known, |reply| self.endpoint.replayed(reply))
    }

    #[cfg(feature = "archive")]
    fn outcome_ever<'a>(
        &'a self,
        caller: &'a Principal,
        argument: &'a [u8],
        now: &'a dyn Fn() -> Timestamp,
    ) -> Later<'a, Outcome> {
        Box::pin(async move {
            if let Some(ended) = self.ended(caller, argument)? {
                return Ok(ended);
            }
            let read = Read::new(&self.endpoint, caller, argument)?;
            let request = (read.identified.identity, read.identified.sequence);
            let created_at = read.description.created_at;
            let answer = self.store.outcome_ever(request, created_at, now).await;
            let (outcome, known) = answer?;
            read.is_of(&self.endpoint, known.map(|known| known.fingerprint))?;
            for_retries(outcome, known, |reply| self.endpoint.replayed(reply))
        })
    }

    fn shown(&self, caller: &Principal, argument: &[u8]) -> Result<Shown, IdempotencyError> {
        let read = Read::new(&self.endpoint, caller, argument)?;
        let created_at = read.description.created_at;
        let shown = self.store.proof(&read.identified.identity, created_at)?;
        let shown = shown.ok_or_else(|| {
            IdempotencyError::not_certified("`certified::install` was not called for the store")
        })?;
        read.is_of(&self.endpoint, shown.fingerprint)?;
        Ok(shown)
    }
}

impl<A, R, S, I> Attribute<A, R, S, I> {
    /// What became of a call that has ended, and is recognised before its argument is decoded.
    fn ended(
        &self,
        caller: &Principal,
        argument: &[u8],
    ) -> Result<Option<Outcome>, IdempotencyError> {
        let argument = Argument::of_call(argument, self.endpoint.name, caller);
        let Some(name) = self.endpoint.early_name(&argument, caller) else {
            return Ok(None);
        };
        let Some(ended) = self.store.ended(&name)? else {
            return Ok(None);
        };
        Ok(Some(Outcome::Done {
            reply: told(self.endpoint.replayed(ended.reply))?,
            executed_at: ended.since,
            guaranteed_until: ended.until,
        }))
    }
}

/// An outcome with what a retry gets, of the reply as it was kept.
pub(super) fn for_retries(
    mut outcome: Outcome,
    known: Option<Known>,
    replayed: impl FnOnce(Reply) -> Result<Vec<u8>, String>,
) -> Result<Outcome, IdempotencyError> {
    if let (Outcome::Done { reply, .. }, Some(known)) = (&mut outcome, known) {
        let kept = Reply {
            bytes: std::mem::take(reply).into_vec(),
            is_for_retries: known.is_for_retries,
        };
        *reply = told(replayed(kept))?;
    }
    Ok(outcome)
}

/// What is told of what a retry is answered with.
fn told(replayed: Result<Vec<u8>, String>) -> Result<ByteBuf, IdempotencyError> {
    replayed
        .map(ByteBuf::from)
        .map_err(|text| IdempotencyError::undecodable(&text))
}

/// A call that somebody asks about, as its endpoint reads it.
struct Read<'a, A> {
    args: A,
    argument: Argument<'a>,
    description: Description,
    identified: Identified,
}

impl<'a, A> Read<'a, A> {
    fn new<R>(
        endpoint: &Endpoint<A, R>,
        caller: &'a Principal,
        argument: &'a [u8],
    ) -> Result<Self, IdempotencyError> {
        let args = (endpoint.decode)(argument)
            .map_err(|error| IdempotencyError::undecodable(&format!("{error:#}")))?;
        let description = (endpoint.describe)(&args);
        let argument = Argument::of_call(argument, endpoint.name, caller);
        let has_quota = false;
        let identified = identify(endpoint, &description, &argument, caller, (None, has_quota))?
            .ok_or(IdempotencyError::MissingKey)?;
        Ok(Self {
            args,
            argument,
            description,
            identified,
        })
    }

    /// Whether what is stored, if anything is, is of this call.
    fn is_of<R>(
        &self,
        endpoint: &Endpoint<A, R>,
        stored: Option<Fingerprint>,
    ) -> Result<(), IdempotencyError> {
        let fingerprint = endpoint.fingerprint(&self.args, &self.argument, &self.description);
        match stored {
            Some(stored) if !fingerprint.matches(&stored) => Err(IdempotencyError::KeyReused),
            _ => Ok(()),
        }
    }
}

/// What became of the caller's calls, each of a method of one of the endpoints.
pub fn outcomes(calls: &[Asked], endpoints: &[&dyn Ask]) -> Vec<Result<Outcome, IdempotencyError>> {
    outcomes_in(&Canister, calls, endpoints)
}

/// As [`outcomes`], on any runtime.
pub(super) fn outcomes_in(
    runtime: &impl Runtime,
    calls: &[Asked],
    endpoints: &[&dyn Ask],
) -> Vec<Result<Outcome, IdempotencyError>> {
    let (caller, now) = (runtime.caller(), runtime.time());
    let one = |asked: &Asked| endpoint_of(asked, endpoints)?.outcome(&caller, &asked.arg, now);
    calls.iter().map(one).collect()
}

/// What became of the caller's calls, as archives know it.
#[cfg(feature = "archive")]
pub async fn outcomes_ever(
    calls: &[Asked],
    endpoints: &[&dyn Ask],
) -> Vec<Result<Outcome, IdempotencyError>> {
    outcomes_ever_in(&Canister, calls, endpoints).await
}

/// As [`outcomes_ever`], on any runtime. One after the other: what is said of a call must be said in the message of the archives' answer.
#[cfg(feature = "archive")]
pub(super) async fn outcomes_ever_in(
    runtime: &impl Runtime,
    calls: &[Asked],
    endpoints: &[&dyn Ask],
) -> Vec<Result<Outcome, IdempotencyError>> {
    let caller = runtime.caller();
    let now = || runtime.time();
    let mut outcomes = Vec::with_capacity(calls.len());
    for asked in calls {
        outcomes.push(match endpoint_of(asked, endpoints) {
            Ok(endpoint) => {
                let outcome = endpoint.outcome_ever(&caller, &asked.arg, &now);
                watch(runtime.clone(), outcome).await.0
            }
            Err(error) => Err(error),
        });
    }
    outcomes
}

fn endpoint_of<'a>(
    asked: &Asked,
    endpoints: &[&'a dyn Ask],
) -> Result<&'a dyn Ask, IdempotencyError> {
    let endpoint = endpoints.iter().find(|it| it.method() == asked.method);
    endpoint
        .copied()
        .ok_or_else(|| IdempotencyError::not_offered(&asked.method))
}

/// What proves to a client what became of one of the caller's calls, of a method of one of the endpoints.
pub fn proof(asked: &Asked, endpoints: &[&dyn Ask]) -> Result<Proof, IdempotencyError> {
    proof_in(&Canister, asked, endpoints)
}

/// As [`proof`], on any runtime.
pub(super) fn proof_in(
    runtime: &impl Runtime,
    asked: &Asked,
    endpoints: &[&dyn Ask],
) -> Result<Proof, IdempotencyError> {
    let endpoint = endpoint_of(asked, endpoints)?;
    let certificate = runtime.data_certificate().ok_or_else(|| {
        IdempotencyError::not_certified(
            "there is a certificate only in a query that is not replicated",
        )
    })?;
    let shown = endpoint.shown(&runtime.caller(), &asked.arg)?;
    let witness = registry::witness(&shown.label, shown.witness, runtime.time());
    Ok(Proof {
        certificate: certificate.into(),
        witness: witness.into(),
        label: shown.label,
        reply: shown.reply.map(Into::into),
    })
}
