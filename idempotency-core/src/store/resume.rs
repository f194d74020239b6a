//! Going on with what was cut off: which attempt takes over, what it finds, and how it leaves its request.

use super::{
    Store,
    contents::Contents,
    journal,
    open::{MOST_TRIES, NOTE_BYTES, NotRecorded, Open, pause},
    origin::{Origin, Resumed},
    record::{Attempt, State},
    records::Lookup,
};
use crate::{error::IdempotencyError, identity::Identity, table::Damaged, time::Timestamp};
use ic_stable_structures::Memory;

impl<M: Memory> Store<M> {
    /// Makes sure that a durable request with this argument can be recorded.
    ///
    /// # Errors
    /// `Full`, with the time at which to try again; `ArgumentTooLong`; or `StoreDamaged`.
    pub(crate) fn make_room_for_durable(
        &self,
        argument: &[u8],
        now: Timestamp,
    ) -> Result<(), IdempotencyError> {
        let most = self.policy().max_journal_bytes;
        if Origin::most_charge(argument) + NOTE_BYTES > u64::from(most) {
            return Err(IdempotencyError::argument_too_long(argument.len(), most));
        }
        self.make_room_for_journal(now)
    }

    /// A new attempt at a request whose outcome is unknown; `None` if it has ended, or may still be running, or if there is no room for its
    /// reply.
    pub(crate) fn acquire_unknown(&self, identity: &Identity) -> Result<Option<Attempt>, Damaged> {
        let Some(attempt) = self.pending_attempt(identity)? else {
            return Ok(None);
        };
        let mut inner = self.inner()?;
        let open = inner.open.get(attempt).filter(Open::is_unknown);
        match open.is_some_and(|open| inner.has_room_to_run_again(&open, &self.policy)) {
            true => inner.take_over(attempt, &self.policy).map(Some),
            false => Ok(None),
        }
    }

    /// The last attempt at a durable request that may go on by now.
    pub(crate) fn due_attempt(
        &self,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<Option<Attempt>, Damaged> {
        let attempt = self.pending_attempt(identity)?;
        let inner = self.inner()?;
        Ok(attempt.filter(|attempt| {
            let open = inner.open.get(*attempt);
            open.is_some_and(|open| open.is_due(now))
        }))
    }

    /// The last attempt at a request that has not ended.
    fn pending_attempt(&self, identity: &Identity) -> Result<Option<Attempt>, Damaged> {
        Ok(match self.lookup(identity)? {
            Lookup::Known(record) => match record.state {
                State::Pending(pending) => Some(pending.attempt),
                State::Done(_) | State::ReplyDropped => None,
            },
            Lookup::Unknown(_) => None,
        })
    }

    /// A new attempt at a durable request whose last attempt this was, and which goes on by itself; `None` if another has taken over.
    pub(crate) fn go_on(&self, attempt: Attempt) -> Result<Option<Attempt>, Damaged> {
        let mut inner = self.inner()?;
        match inner.open.get(attempt).is_some_and(|open| open.goes_on()) {
            true => inner.take_over(attempt, &self.policy).map(Some),
            false => Ok(None),
        }
    }

    /// An attempt is executed: what it goes on with. `None` if it does not run any more, or was executed before.
    pub(crate) fn start(&self, attempt: Attempt) -> Result<Option<Resumed>, Damaged> {
        let mut inner = self.inner()?;
        let Some(running) = inner.running.get_mut(&attempt.0) else {
            return Ok(None);
        };
        match std::mem::replace(&mut running.has_started, true) {
            true => Ok(None),
            false => inner.resumed(attempt),
        }
    }

    /// Whether an attempt has begun to be executed, and has not ended.
    pub(crate) fn has_started(&self, attempt: Attempt) -> bool {
        let inner = self.inner.borrow();
        (inner.running.get(&attempt.0)).is_some_and(|running| running.has_started)
    }

    /// What an attempt that runs goes on with; `None` if it does not run any more.
    pub(crate) fn resumed(&self, attempt: Attempt) -> Result<Option<Resumed>, Damaged> {
        let mut inner = self.inner()?;
        match inner.running.contains_key(&attempt.0) {
            true => inner.resumed(attempt),
            false => Ok(None),
        }
    }

    /// Whether entries of these lengths can be recorded, one after the other.
    pub(crate) fn has_room_for_steps(&self, attempt: Attempt, lengths: &[usize]) -> bool {
        let charge = lengths
            .iter()
            .map(|length| journal::most_charge(*length))
            .sum();
        let open = self.inner().and_then(|mut inner| inner.measured(attempt));
        match open {
            Ok(open) => open.is_some_and(|open| open.has_room(charge, &self.policy)),
            // To be told when it is recorded.
            Err(Damaged) => true,
        }
    }

    /// Records an entry of the steps of an attempt that runs.
    pub(crate) fn append_step(&self, attempt: Attempt, entry: &[u8]) -> Result<(), NotRecorded> {
        let mut inner = self.inner()?;
        if !inner.running.contains_key(&attempt.0) {
            return Err(NotRecorded::Damaged);
        }
        let open = inner.measured(attempt)?.ok_or(Damaged)?;
        if !open.has_room(journal::most_charge(entry.len()), &self.policy) {
            return Err(NotRecorded::Full);
        }
        Ok(inner.append_step(attempt, open, entry)?)
    }

    /// An attempt that runs ends, and its request goes on at a time.
    pub(crate) fn sleep(&self, attempt: Attempt, until: Timestamp) -> Result<(), Damaged> {
        self.leave(attempt, |inner| inner.put_to_sleep(attempt, until))
    }

    /// An attempt that runs ends, and its request waits for whoever resolves it.
    pub(crate) fn park(&self, attempt: Attempt, reason: &str) -> Result<(), Damaged> {
        let reason = shortened(reason);
        self.leave(attempt, |inner| inner.park(attempt, reason, &self.policy))
    }

    /// An attempt that runs ends, and its request, which did nothing, begins anew.
    pub(crate) fn restart(&self, attempt: Attempt, now: Timestamp) -> Result<(), Damaged> {
        self.leave(attempt, |inner| inner.restart(attempt, now))
    }

    /// An attempt ended in a trap; nothing happens if it does not run.
    pub(crate) fn cut_off(&self, attempt: Attempt, now: Timestamp) -> Result<(), Damaged> {
        self.leave(attempt, |inner| inner.cut_off(attempt, now, &self.policy))
    }

    fn leave(
        &self,
        attempt: Attempt,
        leave: impl FnOnce(&mut Contents<M>) -> Result<(), Damaged>,
    ) -> Result<(), Damaged> {
        let mut inner = self.inner()?;
        match inner.running.contains_key(&attempt.0) {
            true => leave(&mut inner),
            false => Ok(()),
        }
    }

    /// Durable requests that go on by now: the last attempt at each and its endpoint's name, those first that could first, no more than
    /// `most`. Until they go on, they count as tried once more.
    #[cfg(any(test, feature = "timers"))]
    pub(crate) fn take_due(
        &self,
        now: Timestamp,
        most: usize,
    ) -> Result<Vec<(Attempt, String)>, Damaged> {
        let due: Vec<_> = self.inner()?.open.due(now).take(most).collect();
        let mut taken = vec![];
        for attempt in due {
            if self.count_try(attempt, now)? {
                let inner = self.inner()?;
                let open = inner.open.get(attempt).ok_or(Damaged)?;
                taken.push((attempt, inner.endpoint(&open).to_owned()));
            }
        }
        Ok(taken)
    }

    /// A durable request that goes on by itself is about to be tried once more. `false` if that is too often: it is parked then.
    pub(crate) fn count_try(&self, attempt: Attempt, now: Timestamp) -> Result<bool, Damaged> {
        let mut inner = self.inner()?;
        let mut open = inner.open.get(attempt).ok_or(Damaged)?;
        open.tries = open.tries.saturating_add(1);
        open.until = now.plus(pause(open.tries)).as_nanos();
        let may_go_on = open.tries <= MOST_TRIES;
        if !may_go_on {
            inner.give_up(&mut open, &self.policy)?;
        }
        inner.keep_open(attempt, open)?;
        Ok(may_go_on)
    }

    /// The first time at which a durable request goes on by itself.
    #[cfg(feature = "timers")]
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.inner.borrow().open.first_due()
    }
}

/// The longest reason that is kept, in bytes.
const MOST_REASON_BYTES: usize = 1_000;

fn shortened(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(MOST_REASON_BYTES)]
}
