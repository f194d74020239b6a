//! What became of a request: what a canister answers to a client that asks instead of sending the request again.
//!
//! [`outcomes!`](crate::outcomes) answers for the methods of a canister. The answer has the strength of the call that asks:
//! - as a query, that of one replica. It takes milliseconds; a replica that lies, or is behind, is believed.
//! - as an update (each query method can be called as one), that of the subnet, which certifies the reply as any other.
//!
//! A query does not ask archives. Of a request that an archive may hold, [`outcomes!`](crate::outcomes) says what is true without asking:
//! [`Verdict::MayHaveRun`] if it is not executed any more, or else the error [`Other`](IdempotencyError::Other) with code 10. With the
//! feature `archive`, `outcomes_ever!` asks them, and the time that has passed since does not matter.
//!
//! A canister's own query tells its operators, who may ask in any scope: [`Handle::outcome`](crate::attempt::Handle::outcome).
//!
//! # How these types may change
//! They stand in replies, as [`IdempotencyError`] does: no version adds a case, and a later one may add
//! fields, in candid each an `opt`.

use crate::{
    admission,
    documented::documented_natively,
    error::IdempotencyError,
    identity::{Fingerprint, Identity},
    sequence::{Lane, Sequence},
    store::{Counted, Damaged, Lookup, Pending, Record, State, Store},
    time::Timestamp,
};
#[cfg(feature = "archive")]
use crate::{
    store::{Archived, LookingUp, NotInstalled},
    table::tail,
};
use candid::CandidType;
use ic_stable_structures::Memory;
use serde::Deserialize;
use serde_bytes::ByteBuf;

documented_natively! {
/// A call that somebody made, or may have made: the method and the bytes that were its argument.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Asked {
    /// The exported name of the method.
    pub method: String,
    /// The argument as it was sent: the same bytes, or others that mean the same request.
    pub arg: ByteBuf,
}
}

documented_natively! {
/// What became of a request.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub enum Outcome {
    /// It was executed. A retry gets this reply.
    Done {
        /// The reply in candid. An `Err` that the method remembers is a reply, too.
        reply: ByteBuf,
        /// The time at which it began.
        executed_at: Timestamp,
        /// The last instant at which the canister is certain to remember it; a number of a strict lane only while no higher one has begun. What
        /// is archived is remembered for ever: until the greatest timestamp.
        guaranteed_until: Timestamp,
    },
    /// It was executed, and the canister no longer has its reply.
    ReplyDropped {
        /// The time at which it began.
        executed_at: Timestamp,
        /// The last instant at which the canister is certain to remember it.
        guaranteed_until: Timestamp,
        /// The SHA-256 of the reply that a retry got, where an archive has kept that.
        digest: Option<ByteBuf>,
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
}

documented_natively! {
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
    /// It has not run and never will: its `created_at` is so old that the canister refuses it, and its record would still be there, or an
    /// archive would hold it.
    NeverRan,
    /// It never runs from now on, and may have run: if it did, its record is forgotten, or an archive that was not asked holds it.
    MayHaveRun,
}
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

impl Known {
    fn of(record: &Record) -> Self {
        Self {
            fingerprint: record.fingerprint,
            is_for_retries: matches!(&record.state, State::Done(reply) if reply.is_for_retries),
        }
    }
}

/// What became of a request, with its reply as it was kept, and what else its record says if there is one. Costs a look-up or two; of a
/// durable request that has not ended the journal is read, too. Archives are not asked.
///
/// # Errors
/// `StoreDamaged`; with archives [`Other`](IdempotencyError::Other) with code 10 if nothing is true without asking them.
pub(crate) fn outcome<M: Memory>(
    store: &Store<M>,
    (identity, sequence): (&Identity, Option<Sequence>),
    created_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(Outcome, Option<Known>), IdempotencyError> {
    let lane = match find(store, (identity, sequence), now)? {
        Kept::Known(outcome, known) => return Ok((outcome, Some(known))),
        Kept::Absent(lane) => lane,
    };
    #[cfg(feature = "archive")]
    let elsewhere = match store.keeper() {
        Ok(None) => Elsewhere::Nowhere,
        Ok(Some(keeper)) => match keeper.may_hold(&tail(identity.name()))? {
            true => Elsewhere::Perhaps,
            false => Elsewhere::NotSince(keeper.forgot_until()),
        },
        Err(NotInstalled) => Elsewhere::Perhaps,
    };
    #[cfg(not(feature = "archive"))]
    let elsewhere = Elsewhere::Nowhere;
    Ok((absent(store, lane, created_at, elsewhere, now)?, None))
}

/// The archives' answer about a request, if its outcome depends on it.
///
/// # Errors
/// `StoreDamaged`; [`Other`](IdempotencyError::Other) with code 9 if the archives were not opened in this heap.
#[cfg(feature = "archive")]
pub(crate) fn ask_archives<M: Memory>(
    store: &Store<M>,
    (identity, sequence): (&Identity, Option<Sequence>),
    created_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<LookingUp>, IdempotencyError> {
    let Kept::Absent(lane) = find(store, (identity, sequence), now)? else {
        return Ok(None);
    };
    let without = absent(store, lane, created_at, Elsewhere::Perhaps, now);
    let depends = match without {
        Ok(Outcome::Absent { verdict, .. }) => verdict == Verdict::MayHaveRun,
        Ok(_) => false,
        Err(_) => true,
    };
    if !depends {
        return Ok(None);
    }
    let keeper = match store.keeper() {
        Ok(Some(keeper)) => keeper,
        Ok(None) => return Ok(None),
        Err(NotInstalled) => return Err(IdempotencyError::archive_not_installed()),
    };
    let id = tail(identity.name());
    Ok((keeper.may_hold(&id)?).then(|| keeper.look_up(id)))
}

/// As [`outcome`], with the archives' answer, in its message.
///
/// # Errors
/// As [`outcome`].
#[cfg(feature = "archive")]
pub(crate) fn outcome_with<M: Memory>(
    store: &Store<M>,
    (identity, sequence): (&Identity, Option<Sequence>),
    created_at: Option<Timestamp>,
    archived: Option<Archived>,
    now: Timestamp,
) -> Result<(Outcome, Option<Known>), IdempotencyError> {
    let lane = match find(store, (identity, sequence), now)? {
        Kept::Known(outcome, known) => return Ok((outcome, Some(known))),
        Kept::Absent(lane) => lane,
    };
    let Some(Archived { record, digest }) = archived else {
        let forgot_until = match store.keeper() {
            Ok(Some(keeper)) => keeper.forgot_until(),
            _ => FOR_EVER,
        };
        let elsewhere = Elsewhere::NotSince(forgot_until);
        return Ok((absent(store, lane, created_at, elsewhere, now)?, None));
    };
    let known = Known::of(&record);
    let mut outcome = told(store, record, now, || Ok(Some(FOR_EVER)))?;
    if let Outcome::ReplyDropped { digest: told, .. } = &mut outcome {
        *told = digest.map(|digest| ByteBuf::from(digest.to_vec()));
    }
    Ok((outcome, Some(known)))
}

/// Until when an archive remembers.
#[cfg(feature = "archive")]
const FOR_EVER: Timestamp = Timestamp::from_nanos(u64::MAX);

/// What a store says of a request.
enum Kept {
    /// What became of it.
    Known(Outcome, Known),
    /// It has no record; its lane, if it has a number.
    Absent(Option<(Sequence, Lane)>),
}

/// What is known of a request that its store has no record of.
#[derive(Clone, Copy)]
enum Elsewhere {
    /// There are no archives.
    Nowhere,
    /// An archive may hold it.
    #[cfg(feature = "archive")]
    Perhaps,
    /// No archive holds it. Before there were archives, the store forgot records that expired up to this instant.
    #[cfg(feature = "archive")]
    NotSince(Timestamp),
}

/// What the store itself says of a request.
fn find<M: Memory>(
    store: &Store<M>,
    (identity, sequence): (&Identity, Option<Sequence>),
    now: Timestamp,
) -> Result<Kept, IdempotencyError> {
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
            Lookup::Unknown(_) => return Ok(Kept::Absent(lane)),
        },
    };
    let known = Known::of(&record);
    let outcome = told(store, record, now, || match &sequence {
        Some(sequence) => store.number_guaranteed_until(identity, sequence),
        None => store.guaranteed_until(identity),
    })?;
    Ok(Kept::Known(outcome, known))
}

/// What a record says. `known_until`: until when it is certain to be there.
fn told<M: Memory>(
    store: &Store<M>,
    record: Record,
    now: Timestamp,
    known_until: impl FnOnce() -> Result<Option<Timestamp>, Damaged>,
) -> Result<Outcome, IdempotencyError> {
    let executed_at = record.since;
    Ok(match record.state {
        State::Done(reply) => Outcome::Done {
            reply: ByteBuf::from(reply.bytes),
            executed_at,
            guaranteed_until: known_until()?.unwrap_or(now),
        },
        State::ReplyDropped => Outcome::ReplyDropped {
            executed_at,
            guaranteed_until: known_until()?.unwrap_or(now),
            digest: None,
        },
        State::Pending(Pending { attempt, .. }) => {
            let (since, step) = (record.since, store.last_step(attempt)?);
            match admission::pending_error(store, attempt, since, now) {
                IdempotencyError::InProgress { .. } => Outcome::Pending { since, step },
                _ => Outcome::Unknown { since, step },
            }
        }
    })
}

/// What follows if there is no record.
///
/// # Errors
/// An archive may hold the request, so it is executed or not: `archive_not_asked`.
fn absent<M: Memory>(
    store: &Store<M>,
    lane: Option<(Sequence, Lane)>,
    created_at: Option<Timestamp>,
    elsewhere: Elsewhere,
    now: Timestamp,
) -> Result<Outcome, IdempotencyError> {
    let mut is_used = None;
    if let Some((sequence, lane)) = lane {
        if let Some(since) = lane.stuck_since(sequence.number) {
            return Ok(Outcome::Unknown { since, step: None });
        }
        is_used = Some(lane.has_used(sequence.number));
    }
    let would_run = admission::in_window(store, created_at, now) != Err(IdempotencyError::TooOld);
    let would_be_known = || created_at.is_some_and(|it| store.would_be_known(it, now));
    // Archived, if it was ever executed and is not in the store.
    let would_be_archived = match elsewhere {
        Elsewhere::Nowhere => false,
        #[cfg(feature = "archive")]
        Elsewhere::Perhaps if is_used.is_none() && would_run && !would_be_known() => {
            return Err(IdempotencyError::archive_not_asked());
        }
        #[cfg(feature = "archive")]
        Elsewhere::Perhaps => false,
        #[cfg(feature = "archive")]
        Elsewhere::NotSince(instant) => {
            created_at.is_some_and(|it| store.expiry(it, now) > instant)
        }
    };
    let verdict = match (is_used, created_at) {
        // A strict lane may have had its record, and no archive.
        (Some(true), _) => Verdict::MayHaveRun,
        (_, created_at) if would_run => Verdict::CanStillRun {
            until: created_at.map(|created_at| store.expiry(created_at, now)),
        },
        // A number that was used stays used.
        (Some(false), _) => Verdict::NeverRan,
        (None, Some(_)) if would_be_archived || would_be_known() => Verdict::NeverRan,
        (None, _) => Verdict::MayHaveRun,
    };
    let as_of = now;
    Ok(Outcome::Absent { as_of, verdict })
}
