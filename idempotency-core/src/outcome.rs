//! What became of a request: what a canister answers to a client that asks instead of sending the request again.
//!
//! [`outcomes!`](crate::outcomes) answers for the methods of a canister. The answer has the strength of the call that asks:
//! - as a query, that of one replica. It takes milliseconds; a replica that lies, or is behind, is believed.
//! - as an update (each query method can be called as one), that of the subnet, which certifies the reply as any other.
//!
//! A canister's own query tells its operators, who may ask in any scope: [`Handle::outcome`](crate::attempt::Handle::outcome).
//!
//! # How these types may change
//! They stand in replies, as [`IdempotencyError`] does: no version adds a case, and a later one may add
//! fields, in candid each an `opt`.

use crate::{
    admission,
    error::IdempotencyError,
    identity::{Fingerprint, Identity},
    sequence::{Lane, Sequence},
    store::{Counted, Lookup, Pending, State, Store},
    time::Timestamp,
};
use candid::CandidType;
use ic_stable_structures::Memory;
use serde::Deserialize;
use serde_bytes::ByteBuf;

/// A call that somebody made, or may have made: the method and the bytes that were its argument.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Asked {
    /// The exported name of the method.
    pub method: String,
    /// The argument as it was sent: the same bytes, or others that mean the same request.
    pub arg: ByteBuf,
}

/// What became of a request.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub enum Outcome {
    /// It was executed. A retry gets this reply.
    Done {
        /// The reply in candid. An `Err` that the method remembers is a reply, too.
        reply: ByteBuf,
        /// The time at which it began.
        executed_at: Timestamp,
        /// The last instant at which the canister is certain to remember it; a number of a strict lane only while no higher one has begun.
        guaranteed_until: Timestamp,
    },
    /// It was executed, and the canister no longer has its reply.
    ReplyDropped {
        /// The time at which it began.
        executed_at: Timestamp,
        /// The last instant at which the canister is certain to remember it.
        guaranteed_until: Timestamp,
    },
    /// It is running, or goes on by itself. Ask again later.
    Pending {
        /// The time at which it began.
        since: Timestamp,
        /// The step of a durable request that began last, if any did.
        step: Option<String>,
    },
    /// It began, and nobody knows what it did. Operators, or the method's own `on_unknown`, may settle it.
    Unknown {
        /// The time at which it began.
        since: Timestamp,
        /// The step of a durable request that began last, if any did.
        step: Option<String>,
    },
    /// The canister has no record of it.
    Absent {
        /// The canister's time: what runs later is not in this answer.
        as_of: Timestamp,
        /// What follows from that.
        verdict: Verdict,
    },
}

/// What follows from the absence of a request's record.
///
/// A request whose `Err` is not remembered did nothing, and counts as one that never ran.
#[derive(CandidType, Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Verdict {
    /// It would run if it came now: a message that is still on its way may do so. The IC delivers none after its `ingress_expiry`.
    /// A request without a `created_at` and without a sequence number may also have run more than a window ago, and be forgotten.
    CanStillRun {
        /// The last instant at which it can run, as the policy is now; `None` if it has no `created_at`. An upgrade to a longer window may
        /// let a request run later that is created after the upgrade.
        until: Option<Timestamp>,
    },
    /// It has not run and never will: its `created_at` is so old that the canister refuses it, and its record would still be there.
    NeverRan,
    /// It never runs from now on, and may have run: if it did, its record is forgotten.
    MayHaveRun,
}

/// What the record of a request says that its outcome does not.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// What a retry must have in common with it.
    pub(crate) fingerprint: Fingerprint,
    /// Of a reply that was kept: [`Reply::is_for_retries`](crate::store::Reply::is_for_retries).
    pub(crate) is_for_retries: bool,
}

/// What became of a request, with its reply as it was kept, and what else its record says if there is one. Costs a look-up or two; of a
/// durable request that has not
/// ended the journal is read, too.
///
/// # Errors
/// `StoreDamaged`.
pub(crate) fn outcome<M: Memory>(
    store: &Store<M>,
    (identity, sequence): (&Identity, Option<Sequence>),
    created_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(Outcome, Option<Known>), IdempotencyError> {
    let mut in_lane = None;
    let lane = match sequence {
        Some(sequence) => {
            let mut lane = Counted::unknown(Lane::new(0));
            store.read_lane(&sequence, (&mut lane, &mut in_lane))?;
            Some((sequence, lane.counter))
        }
        None => None,
    };
    let record = match in_lane {
        Some(record) => record,
        None => match store.lookup(identity)? {
            Lookup::Known(record) => record,
            Lookup::Unknown(_) => return Ok((absent(store, lane, created_at, now), None)),
        },
    };
    let known = Known {
        fingerprint: record.fingerprint,
        is_for_retries: matches!(&record.state, State::Done(reply) if reply.is_for_retries),
    };
    let executed_at = record.since;
    let known_until = || match &sequence {
        Some(sequence) => store.number_guaranteed_until(identity, sequence),
        None => store.guaranteed_until(identity),
    };
    let outcome = match record.state {
        State::Done(reply) => Outcome::Done {
            reply: ByteBuf::from(reply.bytes),
            executed_at,
            guaranteed_until: known_until()?.unwrap_or(now),
        },
        State::ReplyDropped => Outcome::ReplyDropped {
            executed_at,
            guaranteed_until: known_until()?.unwrap_or(now),
        },
        State::Pending(Pending { attempt, .. }) => {
            let (since, step) = (record.since, store.last_step(attempt)?);
            match admission::pending_error(store, attempt, since, now) {
                IdempotencyError::InProgress { .. } => Outcome::Pending { since, step },
                _ => Outcome::Unknown { since, step },
            }
        }
    };
    Ok((outcome, Some(known)))
}

/// What follows if there is no record.
fn absent<M: Memory>(
    store: &Store<M>,
    lane: Option<(Sequence, Lane)>,
    created_at: Option<Timestamp>,
    now: Timestamp,
) -> Outcome {
    let mut is_used = None;
    if let Some((sequence, lane)) = lane {
        if let Some(since) = lane.stuck_since(sequence.number) {
            return Outcome::Unknown { since, step: None };
        }
        is_used = Some(lane.has_used(sequence.number));
    }
    let would_run = admission::in_window(store, created_at, now) != Err(IdempotencyError::TooOld);
    let verdict = match (is_used, created_at) {
        (Some(true), _) => Verdict::MayHaveRun,
        (_, created_at) if would_run => Verdict::CanStillRun {
            until: created_at.map(|created_at| store.expiry(created_at, now)),
        },
        // A number that was used stays used.
        (Some(false), _) => Verdict::NeverRan,
        (None, Some(created_at)) if store.would_be_known(created_at, now) => Verdict::NeverRan,
        (None, _) => Verdict::MayHaveRun,
    };
    let as_of = now;
    Outcome::Absent { as_of, verdict }
}
