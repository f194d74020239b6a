//! The drop guard of an async attempt.

use crate::{
    access::StoreAccess,
    admission::Ticket,
    recovery,
    runtime::Runtime,
    store::{Attempt, Damaged, Origin, Reply, Store},
    time::Timestamp,
};

/// Owns the record of an async attempt until the attempt ends. A guard that is dropped before that leaves the record
/// interrupted: the cleanup callback that follows a trap drops it.
pub(super) struct Guard<R: Runtime, S: StoreAccess> {
    runtime: R,
    store: S,
    ticket: Ticket,
    attempt: Attempt,
    has_ended: bool,
}

impl<R: Runtime, S: StoreAccess> Guard<R, S> {
    /// Records that the attempt is pending.
    pub(super) fn begin(
        runtime: R,
        store: S,
        ticket: Ticket,
        origin: &Origin<'_>,
    ) -> Result<Self, Damaged> {
        let attempt = store.with(|store| store.begin(&ticket, origin))?;
        Ok(Self::of(runtime, store, ticket, attempt))
    }

    /// Of an attempt that is recorded as pending.
    pub(super) fn of(runtime: R, store: S, ticket: Ticket, attempt: Attempt) -> Self {
        Self {
            runtime,
            store,
            ticket,
            attempt,
            has_ended: false,
        }
    }

    /// Records the reply. The effects stand whatever its size is, so of one that is too large the record stays without it.
    pub(super) fn complete(mut self, reply: Reply<&[u8]>) -> Result<(), Damaged> {
        let now = self.runtime.time();
        self.store.with(|store| {
            let fits = reply.bytes.len() <= store.policy().max_reply_bytes as usize;
            let reply = fits.then_some(reply);
            store.complete(&self.ticket, self.attempt, reply, now)
        })?;
        self.has_ended = true;
        Ok(())
    }

    /// The request, a durable one, goes on at a time.
    pub(super) fn sleep(self, until: Timestamp) -> Result<(), Damaged> {
        self.leave(|store, attempt| store.sleep(attempt, until))
    }

    /// The request, a durable one, does not go on by itself.
    pub(super) fn park(self, reason: &str) -> Result<(), Damaged> {
        self.leave(|store, attempt| store.park(attempt, reason))
    }

    /// The request, a durable one, did nothing, and begins anew.
    pub(super) fn restart(self) -> Result<(), Damaged> {
        let now = self.runtime.time();
        self.leave(|store, attempt| store.restart(attempt, now))
    }

    fn leave(
        mut self,
        leave: impl FnOnce(&Store<S::Memory>, Attempt) -> Result<(), Damaged>,
    ) -> Result<(), Damaged> {
        (self.store).with(|store| leave(store, self.attempt))?;
        self.has_ended = true;
        Ok(())
    }

    /// Forgets the request, in the message in which the attempt began: a retry runs.
    pub(super) fn release(mut self) -> Result<(), Damaged> {
        (self.store).with(|store| store.release(&self.ticket, self.attempt))?;
        self.has_ended = true;
        Ok(())
    }
}

impl<R: Runtime, S: StoreAccess> Drop for Guard<R, S> {
    fn drop(&mut self) {
        if !self.has_ended {
            let now = self.runtime.time();
            // There is nobody to tell of a damaged store here; the record stays pending, which does not run again either.
            let _ = (self.store).with(|store| store.interrupt(&self.ticket, self.attempt, now));
            // If it is a durable one, what goes on with it must not depend on the messages that follow: they may trap, too.
            recovery::schedule(&self.runtime, &self.store, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        admission::{Decision, Request, admit},
        attempt::tests::{ic::TestStore, native::Native},
        identity::{Fingerprint, Identity},
        policy::Policy,
        store::{Lookup, State},
    };
    use ic_stable_structures::VectorMemory;

    const START: Timestamp = Timestamp::from_nanos(0);

    /// G5: whatever becomes of an attempt, the record of a later one stays as that leaves it.
    #[test]
    fn g5_an_attempt_that_is_over_does_not_touch_a_later_ones_record() {
        type End = fn(Guard<Native, TestStore>) -> Result<(), Damaged>;
        let ends: [End; 3] = [
            |stale| stale.complete(Reply::first(b"stale")),
            |stale| stale.release(),
            |stale| {
                drop(stale);
                Ok(())
            },
        ];
        for end in ends {
            let store = Store::open(VectorMemory::default(), Policy::new(), START).unwrap();
            let request = Request {
                identity: Identity([7; 24]),
                fingerprint: Fingerprint::default(),
                created_at: None,
                sequence: None,
                scope: None,
            };
            let Decision::Execute(ticket) = admit(&store, &request, START) else {
                panic!("it is new");
            };
            let store = TestStore::new(store);
            let begin = || {
                let ticket = ticket.clone();
                Guard::begin(Native::default(), store.clone(), ticket, &Origin::NOWHERE).unwrap()
            };
            let state = || match store.with(|store| store.lookup(&request.identity).unwrap()) {
                Lookup::Known(record) => record.state,
                Lookup::Unknown(_) => panic!("it is not known"),
            };

            let stale = begin();
            store
                .with(|store| store.release(&ticket, stale.attempt))
                .unwrap();
            let later = begin();
            let pending = state();
            assert!(matches!(&pending, State::Pending(it) if it.attempt == later.attempt));
            end(stale).unwrap();
            assert_eq!(state(), pending);
            later.complete(Reply::first(b"later")).unwrap();
            assert_eq!(state(), State::Done(Reply::first(b"later".to_vec())));
        }
    }
}
