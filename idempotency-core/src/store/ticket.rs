//! What admission allows, and the store needs to carry it out.

use super::{counter::Kept, record::Head};
use crate::{
    identity::Identity,
    quota::Usage,
    sequence::{Lane, Sequence},
    table::{Entry, Vacant},
    time::Timestamp,
};

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

/// The counters that a request changes, as they were when it was admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TicketCounters {
    pub(crate) lane: Option<(Sequence, Counted<Lane>)>,
    pub(crate) usage: Option<(Identity, Counted<Usage>)>,
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
