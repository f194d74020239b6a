//! What admission allows, and the store needs to carry it out.

use super::{counter::Kept, record::Head};
use crate::{
    identity::Identity,
    quota::Usage,
    sequence::{Lane, Sequence},
    table::{Entry, Vacant},
    time::Timestamp,
};
use std::cell::Cell;

/// The right to execute a request, and what to record it under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) head: Head,
    pub(crate) expires_at: Timestamp,
    /// Where its record goes.
    pub(crate) place: Vacant,
    /// What else must be written, in a box: most requests have none, and moving as many bytes as it has would cost more than a box.
    pub(crate) counters: Option<Box<TicketCounters>>,
}

thread_local! {
    /// A box that no ticket has. To allocate one and to give it back would cost a numbered request a fifth of what it costs.
    static SPARE: Cell<Option<Box<TicketCounters>>> = const { Cell::new(None) };
}

impl Drop for Ticket {
    #[inline]
    fn drop(&mut self) {
        if let Some(counters) = self.counters.take() {
            counters.spare();
        }
    }
}

/// The counters that a request changes, as they were when it was admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TicketCounters {
    pub(crate) lane: Option<(Sequence, Counted<Lane>)>,
    pub(crate) usage: Option<(Identity, Counted<Usage>)>,
}

impl TicketCounters {
    /// None, in a box that may have been used before.
    pub(crate) fn none() -> Box<Self> {
        let mut counters = SPARE.take().unwrap_or_default();
        (counters.lane, counters.usage) = (None, None);
        counters
    }

    /// The box is free.
    pub(crate) fn spare(self: Box<Self>) {
        SPARE.set(Some(self));
    }
}

/// A counter, or what it would be if it were kept, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counted<T> {
    pub(crate) counter: T,
    pub(crate) entry: Entry<Kept>,
}

impl<T> Counted<T> {
    /// What was found, or else `new`.
    pub(super) fn of(entry: Entry<(Kept, T)>, new: impl FnOnce() -> T) -> Self {
        match entry {
            Entry::Occupied(occupied, (kept, counter)) => Self {
                counter,
                entry: Entry::Occupied(occupied, kept),
            },
            Entry::Vacant(vacant) => Self {
                counter: new(),
                entry: Entry::Vacant(vacant),
            },
        }
    }

    /// One of which nothing is known, nor where it stands.
    pub(crate) fn unknown(counter: T) -> Self {
        let entry = Entry::Vacant(Vacant::SOMEWHERE);
        Self { counter, entry }
    }

    /// Whether it would be a new one.
    pub(crate) fn is_new(&self) -> bool {
        matches!(self.entry, Entry::Vacant(_))
    }
}

impl Ticket {
    pub(super) fn sequence(&self) -> Option<&Sequence> {
        let (sequence, _) = self.counters.as_ref()?.lane.as_ref()?;
        Some(sequence)
    }

    pub(super) fn scope(&self) -> Option<&Identity> {
        let (scope, _) = self.counters.as_ref()?.usage.as_ref()?;
        Some(scope)
    }
}
