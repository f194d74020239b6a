//! Requests whose outcome is unknown: listed and settled by operators.

use super::{
    Store,
    contents::Contents,
    forest::Gone,
    open::{Open, Phase},
    record::{Attempt, Head, State},
    room::segments_of_end,
    settlement::{Resolved, Settlement, UnknownRequest},
};
use crate::{
    error::IdempotencyError, identity::Identity, policy::Policy, steps::last_step, table::Damaged,
    time::Timestamp,
};
use ic_stable_structures::Memory;
use serde_bytes::ByteBuf;
use std::time::Duration;

impl<M: Memory> Store<M> {
    /// The requests whose outcome is unknown, and those that were parked: by the numbers of their last attempts, those after `after`, no
    /// more than `most`. Pass 0 first, and then the number of the last one that you got. Durable requests that go on by themselves are
    /// not among them. Costs some 3,000 instructions for each, 9,000 for one that was parked, and more for a long journal.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn unknown(&self, after: u64, most: usize) -> Result<Vec<UnknownRequest>, Damaged> {
        let mut inner = self.inner()?;
        let found: Vec<_> = inner.open.unknown_after(after).take(most).collect();
        let mut requests = vec![];
        for (number, open) in found {
            requests.push(inner.unknown(Attempt(number), &open)?);
        }
        Ok(requests)
    }

    /// The step of a durable request that began last, if its last attempt is this one and it has not ended.
    pub(crate) fn last_step(&self, attempt: Attempt) -> Result<Option<String>, Damaged> {
        let resumed = self.inner()?.resumed(attempt)?;
        Ok(resumed.and_then(|resumed| last_step(&resumed.steps)))
    }

    /// Settles a request that has not ended and is not running: an operator has found out what it did. The reply, if there is one, is
    /// kept as if the method had given it.
    ///
    /// `endpoint!(order).of(client).resolve(&key, …)` calls it for an endpoint's request: see [`endpoint!`](crate::endpoint).
    ///
    /// What began in this heap and has not ended may still be running, however long ago that was, and is left alone: upgrade the canister
    /// first. A number of a lane with `max_in_flight` above 1 that did nothing can only run if its lane has not gone past it.
    ///
    /// # Errors
    /// `Full` if there is no room for the reply, `Other` if it is longer than `max_reply_bytes`, or `StoreDamaged`; nothing has changed.
    pub fn resolve(
        &self,
        identity: &Identity,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<Resolved, IdempotencyError> {
        self.inner()?
            .resolve(identity, settlement, now, &self.policy)
    }
}

impl<M: Memory> Contents<M> {
    fn unknown(&mut self, attempt: Attempt, open: &Open) -> Result<UnknownRequest, Damaged> {
        let (
            Head {
                identity, since, ..
            },
            pending,
        ) = self.pending(open)?;
        let resumed = self.resumed(attempt)?.ok_or(Damaged)?;
        let is_parked = open.phase == Phase::Parked;
        let note = resumed.note.filter(|_| is_parked);
        Ok(UnknownRequest {
            number: attempt.0,
            identity,
            endpoint: self.endpoint(open).to_owned(),
            scope: ByteBuf::from(pending.scope),
            since,
            last_step: last_step(&resumed.steps),
            reason: note.map(|note| String::from_utf8_lossy(&note).into_owned()),
        })
    }

    fn resolve(
        &mut self,
        identity: &Identity,
        settlement: &Settlement,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<Resolved, IdempotencyError> {
        let Some((occupied, record)) = self.find(identity)? else {
            return Ok(match self.overdue.get(identity) {
                Some(record) => Resolved::Running {
                    since: record.since,
                },
                None => Resolved::NotKnown,
            });
        };
        let since = record.since;
        let State::Pending(pending) = record.state else {
            return Ok(Resolved::HasEnded { since });
        };
        let attempt = pending.attempt;
        if self.running.contains_key(&attempt.0) {
            return Ok(Resolved::Running { since });
        }
        let Some(resumed) = self.resumed(attempt)? else {
            // It was begun by a version of the library that kept no cells, and by a heap that is gone.
            return Ok(Resolved::NotKnown);
        };
        let ticket = resumed.ticket;
        let open = self.open.get(attempt).ok_or(Damaged)?;
        let reply = match settlement {
            Settlement::Done(reply) => Some(reply.as_slice()),
            Settlement::NotExecuted => None,
        };
        self.has_room_to_settle(&open, reply.unwrap_or_default().len(), now, policy)?;
        self.close_request(attempt)?;
        match reply {
            Some(reply) => {
                self.settle_record(&ticket.head, occupied.row(), State::Done(reply))?;
                self.end_in_lane(&ticket, now, policy)?;
                let (partition, bytes) = (occupied.slot.partition, reply.len() as u64);
                let bytes = bytes
                    + if open.is_durable {
                        open.journal_bytes
                    } else {
                        0
                    };
                self.end_in_quota(&ticket, u64::MAX, partition, bytes, now, policy)?;
            }
            None => {
                let row = (occupied, &ticket.head.fingerprint);
                self.release_record(identity, row, Gone::DidNothing)?;
                self.release_in_lane(&ticket, policy)?;
            }
        }
        Ok(Resolved::Settled { since })
    }

    /// Whether a request can end with so many bytes as its reply.
    fn has_room_to_settle(
        &self,
        open: &Open,
        bytes: usize,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), IdempotencyError> {
        if bytes > policy.max_reply_bytes as usize {
            return Err(IdempotencyError::reply_too_long(
                bytes,
                policy.max_reply_bytes,
            ));
        }
        let taken = self.bytes(self.reserved(policy)) + bytes as u64;
        // Room was set aside for what waits.
        let fits = bytes == 0 || open.is_waiting() || taken <= policy.capacity_bytes;
        match fits && self.table.segments.reserve(segments_of_end(bytes as u64)) {
            true => Ok(()),
            false => {
                let oldest = self.first_expiry().unwrap_or(now).max(now);
                let retry_after = oldest.plus(Duration::from_nanos(1));
                Err(IdempotencyError::Full { retry_after })
            }
        }
    }

    /// Whether a request of which the outcome is unknown can be executed once more, with the largest reply.
    pub(super) fn has_room_to_run_again(&self, open: &Open, policy: &Policy) -> bool {
        let most = u64::from(policy.max_reply_bytes);
        let fits = self.bytes(self.reserved(policy)) + most <= policy.capacity_bytes;
        open.is_waiting() || fits && self.reserve_segments(policy, 0)
    }
}
