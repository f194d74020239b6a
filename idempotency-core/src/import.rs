//! Requests that a canister executed before its methods had the attribute, taken over as if they had had it.
//!
//! A canister with a deduplication of its own remembers requests that the store does not know. After the upgrade that adds the
//! attribute, a retry of them would run again. [`import!`](macro@crate::import) gives them to the store, some in each message.
//!
//! | the store knows the request as | with | what happens |
//! |---|---|---|
//! | done | the same reply | it is `known`; nothing changes |
//! | done, the reply dropped | | it is `known`; nothing changes |
//! | done | another reply | [`ReplyDiffers`](ImportProblem::ReplyDiffers) |
//! | any | other arguments | [`ArgumentsDiffer`](ImportProblem::ArgumentsDiffer) |
//! | running, or of unknown outcome | | [`NotEnded`](ImportProblem::NotEnded) |
//! | absent | its window over | it is `expired`; nothing changes |
//! | absent | a time that is yet to come | [`ExecutedInFuture`](ImportProblem::ExecutedInFuture), `CreatedInFuture` |
//! | absent | a reply that the policy does not allow | [`ReplyTooLarge`](ImportProblem::ReplyTooLarge) |
//! | absent | its scope over its quota, or the store full | `QuotaExceeded`, `Full` |
//! | absent | otherwise | it is `added` |
//!
//! What is added expires when it would have expired if it had run here. It counts against capacity and quota.

use crate::{
    admission::{self, Request},
    error::IdempotencyError,
    identity::{Fingerprinted, Identity},
    store::{Head, Lookup, Record, Reply, State, Store, Ticket},
    table::Damaged,
    time::Timestamp,
};
use candid::{CandidType, Principal};
use ic_stable_structures::Memory;
use serde::Deserialize;
use std::fmt;

/// A call of a method that was executed before the method had the attribute. `A` is the tuple of the method's arguments, `R` its
/// reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed<A, R> {
    /// Who made the call.
    pub caller: Principal,
    /// What it was called with.
    pub arguments: Arguments<A>,
    /// When it was executed.
    pub executed_at: Timestamp,
    /// What it answered. A retry gets it from now on, or what `on_replay` makes of it; an `Err` as well, whatever `errors` says.
    pub reply: R,
}

/// The arguments of a call, as far as the canister has kept them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arguments<A> {
    /// All of them, as the client sent them. A retry with others is refused as the attribute says.
    Whole(A),
    /// Only what `key`, `scope` and `created_at` read; the rest may be anything. A retry is known by its key alone.
    InPart(A),
}

/// What became of the requests that an import took.
#[derive(CandidType, Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// The number of requests that the store knows from now on.
    pub added: u64,
    /// The number of requests that the store knew before, with the same reply.
    pub known: u64,
    /// The number of requests whose window is over.
    pub expired: u64,
    /// Whether the iterator ended before the import had taken as many requests as it may.
    pub is_complete: bool,
}

impl Imported {
    /// The number of requests that were taken from the iterator and are settled: the next import goes on after them.
    pub fn taken(&self) -> u64 {
        self.added + self.known + self.expired
    }

    pub(crate) fn count(&mut self, taken: Taken) {
        match taken {
            Taken::Added => self.added += 1,
            Taken::Known => self.known += 1,
            Taken::Expired => self.expired += 1,
        }
    }
}

/// Why an import stopped at a request. The requests before it are imported; nothing of it and of those after it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportError {
    /// What became of the requests before it. So it is number [`taken`](Imported::taken) of this import, counted from 0.
    pub imported: Imported,
    /// The name of the request, if it has one.
    pub identity: Option<Identity>,
    /// What is wrong with it.
    pub problem: ImportProblem,
}

/// What keeps a request from being imported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImportProblem {
    /// The store knows the request with other arguments.
    ArgumentsDiffer,
    /// The store knows the request with another reply: it ran twice, or two requests have one key; or it was imported before, when
    /// the method had another `on_replay`.
    ReplyDiffers,
    /// The store knows the request as one that has not ended, or whose outcome is unknown.
    NotEnded {
        /// The time at which it began.
        since: Timestamp,
    },
    /// `executed_at` is later than the canister's time. Check its unit.
    ExecutedInFuture {
        /// The canister's time.
        now: Timestamp,
    },
    /// The reply, or what `on_replay` makes of it for retries, is longer than `max_reply_bytes` of the policy.
    ReplyTooLarge {
        /// The length of the reply, in bytes.
        bytes: u64,
        /// The greatest length that is allowed, in bytes.
        max: u64,
    },
    /// The arguments or the reply can't be encoded.
    NotEncodable {
        /// The reason, for people.
        message: String,
    },
    /// The method has `decode_with`, so nobody knows what its clients sent: give the arguments as [`Arguments::InPart`].
    ArgumentsNotCandid,
    /// What the method would answer to a new request: there is no room for it, it has no key, or its `created_at` is too far in
    /// the future.
    Refused(IdempotencyError),
}

impl fmt::Display for ImportProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ArgumentsDiffer => write!(f, "the store knows it with other arguments"),
            Self::ReplyDiffers => write!(
                f,
                "the store knows it with another reply: it ran twice, or two requests have one key"
            ),
            Self::NotEnded { since } => write!(
                f,
                "the store knows it as a request that began at {since} and has not ended"
            ),
            Self::ExecutedInFuture { now } => write!(
                f,
                "executed_at is later than the canister's time, {now}; check its unit"
            ),
            Self::ReplyTooLarge { bytes, max } => write!(
                f,
                "its reply takes {bytes} bytes and max_reply_bytes is {max}"
            ),
            Self::NotEncodable { message } => write!(f, "it can't be encoded: {message}"),
            Self::ArgumentsNotCandid => write!(
                f,
                "its method has `decode_with`: give its arguments as `Arguments::InPart`"
            ),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "request {} of this import can't be imported",
            self.imported.taken()
        )?;
        if let Some(identity) = &self.identity {
            write!(f, ", identity ")?;
            for byte in identity.name() {
                write!(f, "{byte:02x}")?;
            }
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for ImportError {}

impl From<IdempotencyError> for ImportProblem {
    fn from(error: IdempotencyError) -> Self {
        Self::Refused(error)
    }
}

impl From<Damaged> for ImportProblem {
    fn from(damaged: Damaged) -> Self {
        Self::Refused(damaged.into())
    }
}

/// An executed call as its attribute describes it.
#[doc(hidden)]
#[allow(missing_debug_implementations)] // what it is compared by has none
pub struct Past<'a> {
    /// It has no sequence number.
    pub(crate) request: Request<&'a dyn Fingerprinted>,
    /// Whether its arguments are known, and must be those of the record.
    pub(crate) is_whole: bool,
    pub(crate) executed_at: Timestamp,
    /// The reply as it was sent.
    pub(crate) first: &'a [u8],
    /// The reply as it is kept.
    pub(crate) kept: Reply<&'a [u8]>,
}

/// What became of a request.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Added,
    Known,
    Expired,
}

/// Takes a request over at time `now`, as the table above says.
pub(crate) fn take_over<M: Memory>(
    store: &Store<M>,
    past: &Past<'_>,
    now: Timestamp,
) -> Result<Taken, ImportProblem> {
    let Past {
        request,
        executed_at,
        kept,
        ..
    } = past;
    let place = match store.lookup(&request.identity)? {
        Lookup::Known(record) => return agree(past, &record).map(|()| Taken::Known),
        Lookup::Unknown(place) => place,
    };
    let policy = store.policy();
    let expires_at = policy.expires_at(request.created_at, *executed_at);
    if expires_at < now {
        return Ok(Taken::Expired);
    }
    if *executed_at > now {
        return Err(ImportProblem::ExecutedInFuture { now });
    }
    let latest = now.plus(policy.drift);
    if request.created_at.is_some_and(|at| at > latest) {
        return Err(IdempotencyError::CreatedInFuture { now }.into());
    }
    if kept.bytes.len() > policy.max_reply_bytes as usize {
        return Err(ImportProblem::ReplyTooLarge {
            bytes: kept.bytes.len() as u64,
            max: policy.max_reply_bytes.into(),
        });
    }
    let counters = match policy.quota.and(request.scope) {
        None => None,
        Some(scope) => Some(admission::count_scope(store, scope, now)?),
    };
    store.make_room(false, now)?;
    let ticket = Ticket {
        head: Head {
            identity: request.identity,
            fingerprint: request.fingerprint.fingerprint(),
            since: *executed_at,
        },
        expires_at,
        place,
        counters,
    };
    store.record_at(&ticket, *kept, now)?;
    Ok(Taken::Added)
}

/// Whether the store's record is that of the request.
fn agree(past: &Past<'_>, record: &Record) -> Result<(), ImportProblem> {
    if past.is_whole && !past.request.fingerprint.matches(&record.fingerprint) {
        return Err(ImportProblem::ArgumentsDiffer);
    }
    let since = record.since;
    match &record.state {
        State::Done(reply) => {
            let expected = match reply.is_for_retries {
                true => past.kept.bytes,
                false => past.first,
            };
            match reply.bytes == expected {
                true => Ok(()),
                false => Err(ImportProblem::ReplyDiffers),
            }
        }
        State::ReplyDropped => Ok(()),
        State::Pending(_) => Err(ImportProblem::NotEnded { since }),
    }
}
