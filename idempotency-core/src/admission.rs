//! What happens to a request: replay, refuse or execute. One function, the whole table.

use crate::{
    error::IdempotencyError,
    identity::{Fingerprint, Fingerprinted, Identity},
    sequence::{Lane, Sequence},
    store::{Attempt, Counted, Head, Lookup, Progress, Record, State, Store, TicketCounters},
    table::Vacant,
    time::Timestamp,
};
#[cfg(feature = "archive")]
use crate::{
    store::{LookingUp, NotInstalled},
    table::tail,
};
use ic_stable_structures::Memory;

pub use crate::store::{Reply, Ticket};

/// A request as admission sees it: hashed, and frozen before the function sees its arguments.
#[derive(Clone, Debug)]
pub struct Request<F = Fingerprint> {
    /// The name under which it is remembered.
    pub identity: Identity,
    /// What a retry must have in common with it.
    pub fingerprint: F,
    /// When the client made it, by the client's clock.
    pub created_at: Option<Timestamp>,
    /// Its place in its lane, where it is identified by its number: then `identity` is [`Identity::of_number`].
    pub sequence: Option<Sequence>,
    /// The scope whose quota it counts against, as [`Identity::of_scope`] gives it. It is needed where the policy has a quota.
    pub scope: Option<Identity>,
}

/// What to do with a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// It was executed before, with this reply.
    Replay(Reply),
    /// Answer with this error; nothing has changed.
    Refuse(IdempotencyError),
    /// Execute it. There is room for its record.
    Execute(Ticket),
}

/// Decides on `request` at time `now`.
///
/// | stored state | request | answer |
/// |---|---|---|
/// | any | other fingerprint | [`KeyReused`](IdempotencyError::KeyReused); the record is untouched |
/// | done | same | its reply; if that is not held: [`ReplyDropped`](IdempotencyError::ReplyDropped) |
/// | running in this heap, for no longer than the window | same | [`InProgress`](IdempotencyError::InProgress) |
/// | running for longer or in an earlier heap, or interrupted | same | [`OutcomeUnknown`](IdempotencyError::OutcomeUnknown) |
/// | absent | the number for which a strict lane waits | [`OutcomeUnknown`](IdempotencyError::OutcomeUnknown) |
/// | absent | `created_at < now − window − drift` | [`TooOld`](IdempotencyError::TooOld) |
/// | absent | `created_at > now + drift` | [`CreatedInFuture`](IdempotencyError::CreatedInFuture) |
/// | absent | sequence number used before | [`SequenceTooOld`](IdempotencyError::SequenceTooOld) |
/// | absent | sequence number too far ahead | [`SequenceGap`](IdempotencyError::SequenceGap) |
/// | absent | scope over its quota | [`QuotaExceeded`](IdempotencyError::QuotaExceeded) |
/// | absent | store full and nothing expired | [`Full`](IdempotencyError::Full) |
/// | absent | otherwise | execute |
/// | the store's memory is damaged | any | [`StoreDamaged`](IdempotencyError::StoreDamaged) |
///
/// There is no time within which a call must end: a callee may hold it for ever, and a future whose guard traps in the cleanup
/// neither goes on nor is dropped. So a request that has run for longer than the window is unknown. When its record expires, it
/// no longer counts against a quota and its room goes to other requests. It still does not run again: the heap remembers it
/// until it ends, or until the heap is gone.
///
/// The look-up comes first, so a retry of a request that was done is answered however late it comes and however full the store
/// is. Only a request that passes everything else makes the store forget an expired partition.
pub fn admit<M: Memory, F: Fingerprinted>(
    store: &Store<M>,
    request: &Request<F>,
    now: Timestamp,
) -> Decision {
    let verdict = match request.sequence {
        None => judge_key(store, request, now),
        Some(sequence) => judge_number(store, request, sequence, now),
    };
    match verdict {
        Ok(Verdict::Again(reply)) => Decision::Replay(reply),
        // Made where it stays: a ticket is dear to move.
        Ok(Verdict::New(place, counters)) => Decision::Execute(Ticket {
            head: Head {
                identity: request.identity,
                fingerprint: request.fingerprint.fingerprint(),
                since: now,
            },
            expires_at: store.policy().expires_at(request.created_at, now),
            place,
            counters,
        }),
        Err(error) => Decision::Refuse(error),
    }
}

/// Asks the archives, if what they know counts besides `decision`: `None` if they need not be asked.
///
/// They are asked only when one of them may hold the request, and
/// - it would be executed, has no sequence number, and its `created_at` does not show that the store would still know it; or there is no
///   room for it, or its scope is over its quota, as retries are answered all the same;
/// - it is refused as [`TooOld`](IdempotencyError::TooOld) or [`SequenceTooOld`](IdempotencyError::SequenceTooOld): a late retry.
///
/// # Errors
/// [`Other`](IdempotencyError::Other) with code 9 if the archives were not opened in this heap: nothing new is executed then. `StoreDamaged`.
#[cfg(feature = "archive")]
pub(crate) fn ask_archives<M: Memory, F>(
    store: &Store<M>,
    request: &Request<F>,
    decision: &Decision,
    now: Timestamp,
) -> Result<Option<LookingUp>, IdempotencyError> {
    use IdempotencyError::{Full, QuotaExceeded, SequenceTooOld, TooOld};

    let is_new = match decision {
        Decision::Execute(_) | Decision::Refuse(Full { .. } | QuotaExceeded { .. }) => true,
        Decision::Refuse(TooOld | SequenceTooOld { .. }) => false,
        Decision::Replay(_) | Decision::Refuse(_) => return Ok(None),
    };
    let keeper = match store.keeper() {
        Ok(Some(keeper)) => keeper,
        Ok(None) => return Ok(None),
        Err(NotInstalled) => return Err(IdempotencyError::archive_not_installed()),
    };
    let would_be_known =
        || (request.created_at).is_some_and(|created_at| store.would_be_known(created_at, now));
    // A number that its lane has not used was never executed.
    if is_new && (request.sequence.is_some() || would_be_known()) {
        return Ok(None);
    }
    let id = tail(request.identity.name());
    Ok((keeper.may_hold(&id)?).then(|| keeper.look_up(id)))
}

/// Decides on a request that an archive holds, and the store does not: as if this were the store's record.
#[cfg(feature = "archive")]
pub(crate) fn admit_archived<M: Memory>(
    store: &Store<M>,
    fingerprint: &impl Fingerprinted,
    record: Record,
    now: Timestamp,
) -> Decision {
    match known(store, record, fingerprint, now) {
        Ok(reply) => Decision::Replay(reply),
        Err(error) => Decision::Refuse(error),
    }
}

/// What is to be done with a request that is not refused.
enum Verdict {
    /// It has this reply.
    Again(Reply),
    /// It may run: where its record goes, and its counters if it has any.
    New(Vacant, Option<Box<TicketCounters>>),
}

/// Whether a message can succeed, for `canister_inspect_message`: the error of a request that is not remembered and will never
/// run. Reads at most two records. What an archive may hold, it may have the reply to.
///
/// # Errors
/// What the method would answer with.
pub fn foresee<M: Memory>(
    store: &Store<M>,
    request: (&Identity, Option<Sequence>),
    created_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), IdempotencyError> {
    let foreseen = foresee_in(store, request, created_at, now);
    #[cfg(feature = "archive")]
    if let Err(IdempotencyError::TooOld | IdempotencyError::SequenceTooOld { .. }) = foreseen {
        let (identity, _) = request;
        match store.keeper() {
            Ok(Some(keeper)) if keeper.may_hold(&tail(identity.name()))? => return Ok(()),
            Ok(_) => {}
            // The method itself says so.
            Err(NotInstalled) => return Ok(()),
        }
    }
    foreseen
}

/// As [`foresee`], by the store alone.
fn foresee_in<M: Memory>(
    store: &Store<M>,
    (identity, sequence): (&Identity, Option<Sequence>),
    created_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), IdempotencyError> {
    let lane = match sequence {
        None => None,
        Some(sequence) => {
            let (mut lane, mut record) = (Counted::unknown(Lane::new(0)), None);
            store.read_lane(&sequence, (&mut lane, &mut record))?;
            let lane = lane.counter;
            if record.is_some() || lane.stuck_since(sequence.number).is_some() {
                return Ok(());
            }
            Some((lane, sequence.number))
        }
    };
    if let Lookup::Known(_) = store.lookup(identity)? {
        return Ok(());
    }
    in_window(store, created_at, now)?;
    match lane.map_or(Ok(()), |(lane, number)| lane.admit(number)) {
        // What is missing may come before this message runs.
        Err(IdempotencyError::SequenceGap { .. }) => Ok(()),
        admitted => admitted,
    }
}

fn judge_key<M: Memory, F: Fingerprinted>(
    store: &Store<M>,
    request: &Request<F>,
    now: Timestamp,
) -> Result<Verdict, IdempotencyError> {
    let place = match store.lookup(&request.identity) {
        Ok(Lookup::Known(record)) => {
            return known(store, record, &request.fingerprint, now).map(Verdict::Again);
        }
        Ok(Lookup::Unknown(place)) => place,
        // With `?` the record would be moved once more.
        Err(error) => return Err(error.into()),
    };
    in_window(store, request.created_at, now)?;
    let counters = match store.policy().quota.and(request.scope) {
        None => None,
        Some(scope) => Some(count_scope(store, scope, now)?),
    };
    store.make_room(counters.is_some(), now)?;
    Ok(Verdict::New(place, counters))
}

fn judge_number<M: Memory, F: Fingerprinted>(
    store: &Store<M>,
    request: &Request<F>,
    sequence: Sequence,
    now: Timestamp,
) -> Result<Verdict, IdempotencyError> {
    let mut counters = TicketCounters::none();
    match admit_number(store, request, sequence, &mut counters, now) {
        Ok(None) => Ok(Verdict::New(Vacant::SOMEWHERE, Some(counters))),
        Ok(Some(reply)) => {
            counters.spare();
            Ok(Verdict::Again(reply))
        }
        Err(error) => {
            counters.spare();
            Err(error)
        }
    }
}

/// The reply to a number that has one; otherwise it may run, and these are its counters.
fn admit_number<M: Memory, F: Fingerprinted>(
    store: &Store<M>,
    request: &Request<F>,
    sequence: Sequence,
    counters: &mut TicketCounters,
    now: Timestamp,
) -> Result<Option<Reply>, IdempotencyError> {
    let lane = counters
        .lane
        .insert((sequence, Counted::unknown(Lane::new(0))));
    let (Sequence { number, .. }, lane) = (sequence, &mut lane.1);
    let mut in_lane = None;
    store.read_lane(&sequence, (lane, &mut in_lane))?;
    // A number that its lane has not used has no record.
    if lane.counter.has_used(number) {
        if let Some(record) = in_lane {
            return known(store, record, &request.fingerprint, now).map(Some);
        }
        if let Lookup::Known(record) = store.lookup(&request.identity)? {
            return known(store, record, &request.fingerprint, now).map(Some);
        }
        if let Some(since) = lane.counter.stuck_since(number) {
            return Err(IdempotencyError::OutcomeUnknown { since });
        }
    }
    in_window(store, request.created_at, now)?;
    lane.counter.admit(number)?;
    // Where numbers don't wait for each other, one says nothing of the reply to another.
    let holds_another = !lane.counter.is_strict() && lane.counter.last().is_some();
    if holds_another {
        lane.counter.give_up_last();
    }
    let scope = store.policy().quota.and(request.scope);
    count(store, counters, scope, now)?;
    if holds_another {
        store.make_room(false, now)?;
        store.move_record_out(&sequence.lane, now)?;
    }
    store.make_room(true, now)?;
    Ok(None)
}

/// The reply of a request that is known, or why it has none.
#[inline]
fn known<M: Memory>(
    store: &Store<M>,
    record: Record,
    fingerprint: &impl Fingerprinted,
    now: Timestamp,
) -> Result<Reply, IdempotencyError> {
    if !fingerprint.matches(&record.fingerprint) {
        return Err(IdempotencyError::KeyReused);
    }
    let since = record.since;
    match record.state {
        State::Done(reply) => Ok(reply),
        State::ReplyDropped => Err(IdempotencyError::ReplyDropped { executed_at: since }),
        State::Pending(pending) => Err(pending_error(store, pending.attempt, since, now)),
    }
}

/// What a request is refused with that has not ended. Apart from what is done with those that have: a look-up costs less so.
#[cold]
#[inline(never)]
pub(crate) fn pending_error<M: Memory>(
    store: &Store<M>,
    attempt: Attempt,
    since: Timestamp,
    now: Timestamp,
) -> IdempotencyError {
    match store.progress(attempt) {
        Progress::Running if store.policy().is_overdue(since, now) => {
            IdempotencyError::OutcomeUnknown { since }
        }
        Progress::Running | Progress::GoesOn => IdempotencyError::InProgress { since },
        Progress::Unknown => IdempotencyError::OutcomeUnknown { since },
    }
}

/// Whether a request that is not remembered is young enough not to have been forgotten, and not too young.
pub(crate) fn in_window<M: Memory>(
    store: &Store<M>,
    created_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), IdempotencyError> {
    let policy = store.policy();
    if let Some(created_at) = created_at {
        if policy.expires_at(Some(created_at), now) < now || created_at < store.floor(now) {
            return Err(IdempotencyError::TooOld);
        }
        if created_at > now.plus(policy.drift) {
            return Err(IdempotencyError::CreatedInFuture { now });
        }
    }
    Ok(())
}

/// The counters of a request without a number, as [`count`].
pub(crate) fn count_scope<M: Memory>(
    store: &Store<M>,
    scope: Identity,
    now: Timestamp,
) -> Result<Box<TicketCounters>, IdempotencyError> {
    let mut counters = TicketCounters::none();
    count(store, &mut counters, Some(scope), now)?;
    Ok(counters)
}

/// Counts a request, if it may be executed as far as its scope goes. There is room for its counters.
fn count<M: Memory>(
    store: &Store<M>,
    counters: &mut TicketCounters,
    scope: Option<Identity>,
    now: Timestamp,
) -> Result<(), IdempotencyError> {
    if let Some((quota, scope)) = store.policy().quota.zip(scope) {
        let usage = store.usage(&scope, now)?;
        usage.counter.admit(&quota, store.policy())?;
        counters.usage = Some((scope, usage));
    }
    let (lane, usage) = (counters.lane.as_ref(), counters.usage.as_ref());
    let has_new = lane.is_some_and(|(_, lane)| lane.is_new())
        || usage.is_some_and(|(_, usage)| usage.is_new());
    if has_new {
        let lane = lane.map(|(sequence, _)| sequence.lane);
        let both = lane.into_iter().chain(usage.map(|(scope, _)| *scope));
        store.make_room_for_counters(both, now)?;
    }
    Ok(())
}
