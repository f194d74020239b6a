//! What happens to a request: replay, refuse or execute. One function, the whole table.

use crate::{
    error::IdempotencyError,
    identity::{Fingerprint, Fingerprinted, Identity},
    quota::Usage,
    sequence::{Lane, Sequence},
    store::{Head, Record, State, Store},
    time::Timestamp,
};
use ic_stable_structures::Memory;

/// A request as admission sees it: hashed, and frozen before the function sees its arguments.
#[derive(Clone, Debug)]
pub struct Request<F = Fingerprint> {
    /// The name under which it is remembered.
    pub identity: Identity,
    /// What a retry must have in common with it.
    pub fingerprint: F,
    /// When the client made it, by the client's clock.
    pub created_at: Option<Timestamp>,
    /// What else it counts in. Most requests have nothing, and one is copied often.
    pub counts_in: Option<Box<CountsIn>>,
}

/// The counters that a request is checked against before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountsIn {
    /// Its place in its lane, where it is identified by its number: then `identity` is [`Identity::of_number`].
    pub sequence: Option<Sequence>,
    /// Whose quota it counts against, as [`Identity::of_scope`] gives it; needed where the policy has a quota.
    pub scope: Option<Identity>,
}

/// What to do with a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// It was executed before: send this reply again.
    Replay(Vec<u8>),
    /// Answer with this error; nothing has changed.
    Refuse(IdempotencyError),
    /// Execute it. There is room for its record.
    Execute(Ticket),
}

/// The right to execute a request, and what to record it under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) head: Head,
    pub(crate) expires_at: Timestamp,
    /// Most requests have none, and a ticket is copied often.
    pub(crate) counted: Option<Box<Counted>>,
}

impl Ticket {
    pub(crate) fn lane(&self) -> Option<&(Sequence, Lane)> {
        self.counted.as_ref()?.lane.as_ref()
    }

    pub(crate) fn usage(&self) -> Option<&(Identity, Usage)> {
        self.counted.as_ref()?.usage.as_ref()
    }
}

/// What else must be written when a request is recorded, as it was when the request was admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) lane: Option<(Sequence, Lane)>,
    pub(crate) usage: Option<(Identity, Usage)>,
}

/// Decides on `request` at time `now`.
///
/// | stored state | request | answer |
/// |---|---|---|
/// | any | other fingerprint | [`KeyReused`](IdempotencyError::KeyReused); the record is untouched |
/// | done | same | the first reply; if it is not held: [`ReplyDropped`](IdempotencyError::ReplyDropped) |
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
/// No call is known to end in any time: a callee may hold one for ever, and a future whose guard traps in the cleanup neither
/// goes on nor is dropped. So what has run for longer than the window is unknown. When its record expires it counts against no
/// quota and its room goes to others, and it still does not run again: the heap remembers it until it ends, or the heap does.
///
/// The look-up comes first, so a retry of something done is answered however late it comes and however full the store
/// is. Only a request that passes everything else makes the store give up an expired slice.
pub fn admit<M: Memory, F: Fingerprinted>(
    store: &Store<M>,
    request: &Request<F>,
    now: Timestamp,
) -> Decision {
    let decided = find(store, request).and_then(|found| match found {
        Found::Record(record) => Ok(known(store, record, &request.fingerprint, now)),
        Found::Stuck { since } => Err(IdempotencyError::OutcomeUnknown { since }),
        Found::Nothing(lane) => new(store, request, lane, now).map(Decision::Execute),
    });
    decided.unwrap_or_else(Decision::Refuse)
}

/// Whether a message can succeed, for `canister_inspect_message`: the error of a request that is not remembered and will never
/// run. Reads at most two records.
pub fn foresee<M: Memory>(
    store: &Store<M>,
    request: &Request<()>,
    now: Timestamp,
) -> Result<(), IdempotencyError> {
    let lane = match find(store, request)? {
        Found::Record(_) | Found::Stuck { .. } => return Ok(()),
        Found::Nothing(lane) => lane,
    };
    in_window(store, request.created_at, now)?;
    match lane.map_or(Ok(()), |lane| lane.admit()) {
        // What is missing may come before this message runs.
        Err(IdempotencyError::SequenceGap { .. }) => Ok(()),
        admitted => admitted,
    }
}

/// What is known of a request.
enum Found {
    Record(Record),
    /// No record any more, but its lane waits for it.
    Stuck {
        since: Timestamp,
    },
    /// No record, and the lane of its number if it has one.
    Nothing(Option<Box<InLane>>),
}

/// A number and its lane, as that is or would begin.
struct InLane {
    sequence: Sequence,
    lane: Lane,
    is_new: bool,
}

impl InLane {
    fn admit(&self) -> Result<(), IdempotencyError> {
        self.lane.admit(self.sequence.number)
    }
}

#[inline]
fn find<M: Memory, F>(store: &Store<M>, request: &Request<F>) -> Result<Found, IdempotencyError> {
    let sequence = request.counts_in.as_ref().and_then(|it| it.sequence);
    let lane = match sequence {
        None => None,
        Some(sequence) => {
            let known = store.lane(&sequence.lane)?;
            let is_new = known.is_none();
            let lane = known
                .unwrap_or_else(|| Lane::new(store.sequence_floor()))
                .with_max_in_flight(sequence.max_in_flight);
            Some(Box::new(InLane {
                sequence,
                lane,
                is_new,
            }))
        }
    };
    // A number that its lane has not used has no record.
    if let Some(it) = &lane
        && !it.lane.has_used(it.sequence.number)
    {
        return Ok(Found::Nothing(lane));
    }
    if let Some(record) = store.lookup(&request.identity)? {
        return Ok(Found::Record(record));
    }
    let stuck_since = (lane.as_ref()).and_then(|it| it.lane.stuck_since(it.sequence.number));
    Ok(match stuck_since {
        Some(since) => Found::Stuck { since },
        None => Found::Nothing(lane),
    })
}

fn known<M: Memory>(
    store: &Store<M>,
    record: Record,
    fingerprint: &impl Fingerprinted,
    now: Timestamp,
) -> Decision {
    if !fingerprint.matches(&record.fingerprint) {
        return Decision::Refuse(IdempotencyError::KeyReused);
    }
    let since = record.since;
    match record.state {
        State::Done(reply) => Decision::Replay(reply),
        State::ReplyDropped => {
            Decision::Refuse(IdempotencyError::ReplyDropped { executed_at: since })
        }
        State::Pending(attempt)
            if store.is_running(attempt) && !store.policy().is_overdue(since, now) =>
        {
            Decision::Refuse(IdempotencyError::InProgress { since })
        }
        State::Pending(_) | State::Interrupted => {
            Decision::Refuse(IdempotencyError::OutcomeUnknown { since })
        }
    }
}

// A ticket that is handed from function to function is copied each time.
#[inline]
fn new<M: Memory, F: Fingerprinted>(
    store: &Store<M>,
    request: &Request<F>,
    lane: Option<Box<InLane>>,
    now: Timestamp,
) -> Result<Ticket, IdempotencyError> {
    in_window(store, request.created_at, now)?;
    let counted = match &request.counts_in {
        None => None,
        Some(counts_in) => Some(counted(store, counts_in, lane, now)?),
    };
    store.make_room(now)?;
    Ok(Ticket {
        counted,
        head: Head {
            identity: request.identity,
            fingerprint: request.fingerprint.fingerprint(),
            since: now,
        },
        expires_at: store.policy().expires_at(request.created_at, now),
    })
}

/// Whether a request that is not remembered is young enough not to have been forgotten, and not too young.
fn in_window<M: Memory>(
    store: &Store<M>,
    created_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), IdempotencyError> {
    let policy = store.policy();
    if let Some(created_at) = created_at {
        if policy.expires_at(Some(created_at), now) < now || created_at < store.floor() {
            return Err(IdempotencyError::TooOld);
        }
        if created_at > now.plus(policy.drift) {
            return Err(IdempotencyError::CreatedInFuture { now });
        }
    }
    Ok(())
}

/// What is known of the request's lane and scope, if it may be executed as far as they go. There is room for them.
fn counted<M: Memory>(
    store: &Store<M>,
    counts_in: &CountsIn,
    lane: Option<Box<InLane>>,
    now: Timestamp,
) -> Result<Box<Counted>, IdempotencyError> {
    let mut counted = Box::<Counted>::default();
    let mut has_new = false;
    if let Some(lane) = lane {
        lane.admit()?;
        has_new |= lane.is_new;
        counted.lane = Some((lane.sequence, lane.lane));
    }
    if let Some((quota, scope)) = store.policy().quota.zip(counts_in.scope) {
        let (usage, is_known) = store.usage(&scope, now)?;
        has_new |= !is_known;
        usage.admit(&quota, store.policy())?;
        counted.usage = Some((scope, usage));
    }
    if has_new {
        let lane = counted.lane.iter().map(|(sequence, _)| sequence.lane);
        let scope = counted.usage.iter().map(|(scope, _)| *scope);
        store.make_room_for_tallies(lane.chain(scope), now)?;
    }
    Ok(counted)
}
