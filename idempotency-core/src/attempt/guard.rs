//! The drop guard of an async attempt.

use crate::{
    access::StoreAccess,
    admission::Ticket,
    runtime::Runtime,
    store::{Attempt, Damaged},
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
    pub(super) fn begin(runtime: R, store: S, ticket: Ticket) -> Result<Self, Damaged> {
        let attempt = store.with(|store| store.begin(&ticket))?;
        Ok(Self {
            runtime,
            store,
            ticket,
            attempt,
            has_ended: false,
        })
    }

    /// Records the reply. The effects stand whatever its size is, so of one that is too large the record stays without it.
    pub(super) fn complete(mut self, reply: &[u8]) -> Result<(), Damaged> {
        let now = self.runtime.time();
        self.store.with(|store| {
            let fits = reply.len() <= store.policy().max_reply_bytes as usize;
            let reply = fits.then_some(reply);
            store.complete(&self.ticket, self.attempt, reply, now)
        })?;
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
        }
    }
}
