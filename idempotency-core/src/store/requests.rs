//! Requests: room for them, their records, and their end.

use super::{
    Store,
    contents::{Contents, Running},
    keep_on::{Forgetting, MOST_MOVED},
    open::{Phase, Progress},
    origin::{ORIGIN_BYTES, Origin},
    record::{Attempt, Pending, Reply, State},
    records::{End, Ended, Lookup},
    ticket::Ticket,
};
use crate::{
    error::IdempotencyError,
    identity::{EarlyName, Identity},
    policy::Policy,
    table::Damaged,
    time::Timestamp,
};
use ic_stable_structures::Memory;
use std::time::Duration;

/// What has expired is with an archive after so long, while all goes well.
const SHIPPED_IN: Duration = Duration::from_secs(30);

/// [`Store::evict`] moves no more durable requests than for so many partitions.
const MOST_AT_ONCE: u32 = 32;

impl<M: Memory> Store<M> {
    /// What is known of a request.
    pub(crate) fn lookup(&self, identity: &Identity) -> Result<Lookup, Damaged> {
        self.inner()?.lookup(identity)
    }

    /// A request that has ended, and whose reply is held.
    pub(crate) fn ended(&self, name: &EarlyName) -> Result<Option<Ended>, Damaged> {
        self.inner()?.ended(name)
    }

    /// Requests created before this may have been executed and forgotten.
    pub(crate) fn floor(&self, now: Timestamp) -> Timestamp {
        self.inner.borrow().floor(now)
    }

    /// The last instant at which a request with this `created_at` can be executed.
    pub(crate) fn expiry(&self, created_at: Timestamp, now: Timestamp) -> Timestamp {
        self.inner.borrow().expiry(created_at, now, &self.policy)
    }

    /// Whether a request with this `created_at` would have a record now if it had ever been executed.
    pub(crate) fn would_be_known(&self, created_at: Timestamp, now: Timestamp) -> bool {
        let inner = self.inner.borrow();
        inner.expiry(created_at, now, &self.policy) > inner.forgotten_until
    }

    /// What becomes of an attempt that has not ended.
    pub(crate) fn progress(&self, attempt: Attempt) -> Progress {
        let inner = self.inner.borrow();
        match inner.open.get(attempt) {
            Some(open) if open.is_durable && open.phase != Phase::Parked => Progress::GoesOn,
            Some(open) if open.phase == Phase::Running => Progress::Running,
            Some(_) => Progress::Unknown,
            // Its record has expired, and its heap remembers it.
            None if inner.is_of_this_heap(attempt) => Progress::Running,
            None => Progress::Unknown,
        }
    }

    /// Makes sure that one more record with the largest reply fits, and what says where its request comes from if it has counters. Gives up
    /// one expired partition, and more only if there is no room otherwise.
    ///
    /// # Errors
    /// `Full`, with the time at which to try again, or `StoreDamaged`.
    pub(crate) fn make_room(
        &self,
        has_counters: bool,
        now: Timestamp,
    ) -> Result<(), IdempotencyError> {
        let (policy, mut inner) = (&self.policy, self.inner()?);
        let journal = if has_counters { ORIGIN_BYTES } else { 0 };
        // Mostly there is nothing to do, and one look says so.
        if inner.has_all(now, policy)
            && inner.has_room(policy, inner.reserved(policy), journal)
            && inner.reserve_segments(policy, 0)
        {
            return Ok(());
        }
        evict_and_make_room(&mut inner, policy, journal, now)
    }

    /// As [`make_room`](Self::make_room), for a request and its journal, too.
    pub(crate) fn make_room_for_journal(&self, now: Timestamp) -> Result<(), IdempotencyError> {
        let (policy, mut inner) = (&self.policy, self.inner()?);
        make_room(
            &mut inner,
            policy,
            (1, policy.max_journal_bytes.into()),
            now,
        )
    }

    /// Records an attempt before it runs. [`make_room`](Self::make_room) has found room for it, and
    /// [`make_room_for_journal`](Self::make_room_for_journal) if it is durable.
    pub(crate) fn begin(&self, ticket: &Ticket, origin: &Origin<'_>) -> Result<Attempt, Damaged> {
        let mut inner = self.inner()?;
        let attempt = inner.next_attempt();
        let charged = inner.count(ticket, None, ticket.head.since, &self.policy)?;
        let scope = origin.scope;
        let pending = State::Pending(Pending { attempt, scope });
        let place = inner.insert(ticket, pending, &self.policy)?;
        let running = Running {
            head: ticket.head,
            partition: place.0,
            scope,
            has_started: false,
            charge: charged.charge,
        };
        inner.running.insert(attempt.0, running);
        inner.open_request(ticket, attempt, origin, place, Phase::Running)?;
        self.counts.execution();
        #[cfg(feature = "http")]
        self.sample(&inner, ticket.head.since);
        Ok(attempt)
    }

    /// As [`record_reply`](Self::record_reply), with what the first caller is sent.
    ///
    /// # Errors
    /// [`Damaged`]
    pub fn record(&self, ticket: &Ticket, reply: &[u8]) -> Result<(), Damaged> {
        self.record_reply(ticket, Reply::first(reply))
    }

    /// Records an executed request and its reply in one go, as [`admit`](crate::admission::admit) has allowed it in the
    /// same message.
    ///
    /// # Errors
    /// [`Damaged`]: then the message must trap, or the request can run again.
    pub fn record_reply(&self, ticket: &Ticket, reply: Reply<&[u8]>) -> Result<(), Damaged> {
        self.record_at(ticket, reply, ticket.head.since)?;
        self.counts.execution();
        Ok(())
    }

    /// As [`record_reply`](Self::record_reply), of a request that may have been executed before this message, whose time is `now`.
    pub(crate) fn record_at(
        &self,
        ticket: &Ticket,
        reply: Reply<&[u8]>,
        now: Timestamp,
    ) -> Result<(), Damaged> {
        let mut inner = self.inner()?;
        let charged = inner.count(ticket, Some(reply), now, &self.policy)?;
        if !charged.is_in_lane {
            inner.insert(ticket, State::Done(reply), &self.policy)?;
        }
        #[cfg(feature = "http")]
        self.sample(&inner, now);
        Ok(())
    }

    /// The attempt ended with this reply, or with one that is not to be held. `false`, and nothing changes, if the record
    /// is not (or no longer) this attempt's.
    pub(crate) fn complete(
        &self,
        ticket: &Ticket,
        attempt: Attempt,
        reply: Option<Reply<&[u8]>>,
        now: Timestamp,
    ) -> Result<bool, Damaged> {
        let mut inner = self.inner()?;
        let counted_until = inner.counted_until(attempt);
        let (state, policy) = (reply.map_or(State::ReplyDropped, State::Done), &self.policy);
        let durable = inner.open.get(attempt).filter(|open| open.is_durable);
        let journal_bytes = durable.map_or(0, |open| open.journal_bytes);
        let ended = inner.end(ticket, attempt, Some(state), now, policy)?;
        if ended == End::NotItsOwn {
            return Ok(false);
        }
        inner.end_in_lane(ticket, now, policy)?;
        if let End::Recorded(partition) = ended {
            let reply_bytes = journal_bytes + reply.map_or(0, |reply| reply.bytes.len()) as u64;
            inner.end_in_quota(ticket, counted_until, partition, reply_bytes, now, policy)?;
        }
        Ok(true)
    }

    /// The attempt was interrupted; as [`complete`](Self::complete).
    pub(crate) fn interrupt(
        &self,
        ticket: &Ticket,
        attempt: Attempt,
        now: Timestamp,
    ) -> Result<bool, Damaged> {
        let mut inner = self.inner()?;
        let counted_until = inner.counted_until(attempt);
        let ended = inner.end(ticket, attempt, None, now, &self.policy)?;
        if let End::Recorded(partition) = ended {
            inner.end_in_quota(ticket, counted_until, partition, 0, now, &self.policy)?;
        }
        Ok(ended != End::NotItsOwn)
    }

    /// The attempt did nothing and is forgotten, in the message in which it began; as [`complete`](Self::complete).
    pub(crate) fn release(&self, ticket: &Ticket, attempt: Attempt) -> Result<bool, Damaged> {
        let mut inner = self.inner()?;
        let is_released = inner.release(&ticket.head.identity, attempt)?;
        if is_released {
            inner.release_in_lane(ticket, &self.policy)?;
        }
        Ok(is_released)
    }

    /// Gives up partitions of counters that have been idle, and partitions whose records have all expired and been retained, for
    /// as long as the policy says: the oldest first, no more than `most`. How many it gave up. Each costs the same, however many
    /// records it holds.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn evict(&self, now: Timestamp, most: u32) -> Result<u32, Damaged> {
        let mut inner = self.inner()?;
        let evicted = evict(&mut inner, &self.policy, now, most)?;
        #[cfg(feature = "http")]
        self.sample(&inner, now);
        Ok(evicted)
    }

    /// The first instant at which something can be evicted.
    #[cfg(feature = "timers")]
    pub(crate) fn next_eviction(&self) -> Option<Timestamp> {
        let inner = self.inner.borrow();
        let requests = inner.first_expiry();
        let requests = requests.filter(|_| !self.policy.has_archive());
        let requests = requests.map(|expiry| expiry.plus(self.policy.retention));
        let counters = inner.counters.oldest();
        let counters = counters.map(|oldest| Timestamp::from_nanos(oldest.until));
        let first = requests.into_iter().chain(counters).min()?;
        Some(first.plus(Duration::from_nanos(1)).max(inner.postponed))
    }
}

/// As [`Store::evict`].
#[inline]
fn evict<M: Memory>(
    inner: &mut Contents<M>,
    policy: &Policy,
    now: Timestamp,
    most: u32,
) -> Result<u32, Damaged> {
    let mut evicted = inner.forget_idle_counters(now, most);
    let is_over = |expiry: Timestamp| expiry.plus(policy.retention) < now;
    while evicted < most && !policy.has_archive() && inner.first_expiry().is_some_and(is_over) {
        let most_moved = MOST_MOVED * (most - evicted).min(MOST_AT_ONCE) as usize;
        if inner.forget_expired(now, most_moved, policy)? != Forgetting::Done {
            break;
        }
        evicted += 1;
    }
    Ok(evicted)
}

/// As [`Store::make_room`], where something has expired or there is no room.
#[cold]
#[inline(never)]
fn evict_and_make_room<M: Memory>(
    inner: &mut Contents<M>,
    policy: &Policy,
    journal: u64,
    now: Timestamp,
) -> Result<(), IdempotencyError> {
    evict(inner, policy, now, 1)?;
    make_room(inner, policy, (0, journal), now)
}

/// Makes room for one more request, and so many journals of durable ones, with so many bytes of its journal.
#[inline(always)]
fn make_room<M: Memory>(
    inner: &mut Contents<M>,
    policy: &Policy,
    (journals, journal): (u64, u64),
    now: Timestamp,
) -> Result<(), IdempotencyError> {
    loop {
        let reserved = inner.reserved(policy);
        let oldest = inner.first_expiry().unwrap_or(now);
        let has_expired = oldest < now;
        // A full table has a place for one more partition when it gives up one.
        let gives_up = has_expired && !policy.has_archive();
        if (inner.has_place_for_partition() || !gives_up)
            && inner.has_room(policy, reserved, journal)
            && inner.reserve_segments(policy, journals)
        {
            return Ok(());
        }
        let forgetting = match gives_up {
            true => inner.forget_expired(now, MOST_MOVED, policy)?,
            false => Forgetting::NoRoom,
        };
        if forgetting == Forgetting::Done {
            continue;
        }
        let has_entries = inner.requests.rows < policy.capacity;
        // Where there is more to be moved, there will be room soon.
        let may_drop = has_entries && policy.drops_replies && forgetting == Forgetting::NoRoom;
        // What an archive is about to be sent stays whole.
        let is_shipped = has_expired && policy.has_archive();
        if may_drop && inner.drop_oldest_replies(is_shipped) {
            continue;
        }
        // What is running may end at any time, and need no more room for its reply.
        let may_have_room_soon = gives_up || reserved > 0 && inner.has_room(policy, 0, journal);
        let until = match may_have_room_soon {
            true => now,
            false if policy.has_archive() => oldest.max(now).plus(SHIPPED_IN),
            false => oldest,
        };
        let retry_after = until.plus(Duration::from_nanos(1));
        return Err(IdempotencyError::Full { retry_after });
    }
}
