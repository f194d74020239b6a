//! For what time a timer is set.

use crate::time::Timestamp;
use std::{cell::Cell, time::Duration};

/// The time for which a timer of this heap is set.
#[derive(Default)]
pub(crate) struct Alarm(Cell<Option<Timestamp>>);

impl Alarm {
    /// After what delay a timer must run so that one does at `due`, if none is set for that time or an earlier one. From now on it
    /// counts as set.
    pub(crate) fn set(&self, due: Timestamp, now: Timestamp) -> Option<Duration> {
        let due = due.max(now);
        // The timer of a time that has passed has run and trapped; it does not run again.
        let is_set = (self.0.get()).is_some_and(|set| now <= set && set <= due);
        (!is_set).then(|| {
            self.0.set(Some(due));
            Duration::from_nanos(due.as_nanos() - now.as_nanos())
        })
    }

    /// The timer runs.
    pub(crate) fn rings(&self) {
        self.0.set(None);
    }
}
