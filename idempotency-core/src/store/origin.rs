//! Where a request comes from: the first entry of its journal, and what can be said of a request with that.

use super::{
    journal,
    record::{Head, ScopeDigest},
    ticket::{Counted, Ticket, TicketCounters},
};
use crate::{
    identity::Identity,
    quota::Usage,
    sequence::{Lane, Sequence},
    table::{Damaged, Vacant, field},
    time::Timestamp,
};
use candid::Principal;

/// What a journal is charged with whose request is not durable, at most: its first entry alone, of up to 57 bytes.
pub(super) const ORIGIN_BYTES: u64 = 2 * journal::UNIT_BYTES;

/// Where a request comes from: what there must be to say whose it is, and to go on with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    /// The endpoint's name.
    pub(crate) endpoint: &'a str,
    pub(crate) scope: ScopeDigest,
    /// The caller and the argument of a durable request.
    pub(crate) kept: Option<(Principal, &'a [u8])>,
}

impl Origin<'_> {
    /// Of an attempt of which nobody asks.
    #[cfg(test)]
    pub(crate) const NOWHERE: Self = Self {
        endpoint: "",
        scope: [0; 8],
        kept: None,
    };

    /// The first entry of the journal, if there must be one.
    pub(super) fn entry(&self, ticket: &Ticket) -> Option<Vec<u8>> {
        let (lane, scope) = (ticket.sequence(), ticket.scope());
        if lane.is_none() && scope.is_none() && self.kept.is_none() {
            return None;
        }
        let has = [lane.is_some(), scope.is_some(), self.kept.is_some()];
        let mut entry = vec![
            has.iter()
                .rev()
                .fold(0, |all, has| all << 1 | u8::from(*has)),
        ];
        if let Some(sequence) = lane {
            entry.extend_from_slice(sequence.lane.name());
            entry.extend_from_slice(&sequence.number.to_le_bytes());
        }
        if let Some(scope) = scope {
            entry.extend_from_slice(scope.name());
        }
        if let Some((caller, argument)) = self.kept {
            entry.push(caller.as_slice().len() as u8);
            entry.extend_from_slice(caller.as_slice());
            entry.extend_from_slice(argument);
        }
        Some(entry)
    }

    /// The bytes that its entry is charged with, at most.
    pub(super) fn most_charge(argument: &[u8]) -> u64 {
        journal::most_charge(1 + 32 + 24 + 30 + argument.len())
    }
}

/// What the first entry of a journal says.
#[derive(Default)]
pub(super) struct Known {
    pub(super) lane: Option<(Identity, u64)>,
    pub(super) scope: Option<Identity>,
    pub(super) kept: Option<(Principal, Vec<u8>)>,
}

impl Known {
    pub(super) fn read(entry: &[u8]) -> Result<Self, Damaged> {
        fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Damaged> {
            let (taken, after) = rest.split_at_checked(length).ok_or(Damaged)?;
            *rest = after;
            Ok(taken)
        }
        fn identity(rest: &mut &[u8]) -> Result<Identity, Damaged> {
            Ok(Identity(field(&mut take(rest, 24)?)))
        }
        let rest = &mut &*entry;
        let has = take(rest, 1)?[0];
        let mut known = Self::default();
        if has & 1 != 0 {
            let lane = identity(rest)?;
            let number = u64::from_le_bytes(field(&mut take(rest, 8)?));
            known.lane = Some((lane, number));
        }
        if has & 2 != 0 {
            known.scope = Some(identity(rest)?);
        }
        if has & 4 != 0 {
            let length = take(rest, 1)?[0];
            let caller = take(rest, length.into())?;
            let caller = Principal::try_from_slice(caller).map_err(|_| Damaged)?;
            known.kept = Some((caller, rest.to_vec()));
        }
        Ok(known)
    }
}

/// A request that has begun and has not ended, as it is known now.
#[derive(Debug)]
pub(crate) struct Resumed {
    /// It ends with this, as with the ticket with which it began.
    pub(crate) ticket: Ticket,
    /// The caller and the argument of a durable request.
    pub(crate) kept: Option<(Principal, Vec<u8>)>,
    /// The entries of its steps, in order.
    pub(crate) steps: Vec<Vec<u8>>,
    /// Why it was parked last.
    pub(crate) note: Option<Vec<u8>>,
}

impl Ticket {
    /// Of a request that began some time ago.
    pub(super) fn again(
        head: Head,
        expires_at: Timestamp,
        lane: Option<(Identity, u64)>,
        scope: Option<Identity>,
    ) -> Self {
        let lane = lane.map(|(lane, number)| {
            let sequence = Sequence {
                lane,
                number,
                max_in_flight: 1,
                first_incomplete: None,
                is_shared: false,
            };
            (sequence, Counted::unknown(Lane::new(0)))
        });
        let usage = scope.map(|scope| (scope, Counted::unknown(Usage::new(head.since))));
        let has_counters = lane.is_some() || usage.is_some();
        Self {
            head,
            expires_at,
            place: Vacant::SOMEWHERE,
            counters: has_counters.then(|| Box::new(TicketCounters { lane, usage })),
        }
    }
}
