//! For what times timers are set.

use crate::time::Timestamp;
use std::{cell::RefCell, time::Duration};

/// The times for which timers of this heap are set, the first one last: each was before all others when it was set. A timer can't be
/// moved, so a later one stays when an earlier one is set; when that has run, the later one need not be set again.
#[derive(Default)]
pub(crate) struct Alarm(RefCell<Vec<Timestamp>>);

/// A timer that is to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) at: Timestamp,
    pub(crate) delay: Duration,
}

impl Alarm {
    /// The timer that must be set so that one runs at `due`; `None` if one is set for that time or an earlier one. From now on it counts
    /// as set.
    pub(crate) fn set(&self, due: Timestamp, now: Timestamp) -> Option<Due> {
        let at = due.max(now);
        let mut times = self.0.borrow_mut();
        // The timer of a time that has passed has run and trapped; it does not run again.
        while times.last().is_some_and(|first| *first < now) {
            times.pop();
        }
        if times.last().is_some_and(|first| *first <= at) {
            return None;
        }
        times.push(at);
        let delay = Duration::from_nanos(at.as_nanos() - now.as_nanos());
        Some(Due { at, delay })
    }

    /// The timer of this time runs.
    pub(crate) fn rings(&self, at: Timestamp) {
        self.0.borrow_mut().retain(|time| *time != at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    fn set(alarm: &Alarm, due: u64, now: u64) -> Option<u64> {
        let set = alarm.set(at(due), at(now))?;
        assert_eq!(set.at.as_nanos(), now + set.delay.as_nanos() as u64);
        Some(set.at.as_nanos())
    }

    #[test]
    fn a_timer_is_set_unless_one_runs_by_then() {
        let alarm = Alarm::default();
        assert_eq!(set(&alarm, 10, 0), Some(10));
        assert_eq!(set(&alarm, 10, 1), None);
        assert_eq!(set(&alarm, 30, 1), None);
        assert_eq!(set(&alarm, 5, 1), Some(5));
        alarm.rings(at(5));
        assert_eq!(set(&alarm, 10, 5), None);
        alarm.rings(at(10));
        assert_eq!(set(&alarm, 8, 10), Some(10));
    }

    /// Whatever is due when timers run, each sets one other at the most, and only in its own place.
    #[test]
    fn timers_do_not_become_more() {
        let alarm = Alarm::default();
        let mut timers: Vec<u64> = [90, 60, 30]
            .into_iter()
            .filter_map(|due| set(&alarm, due, 0))
            .collect();
        assert_eq!(timers, [90, 60, 30]);
        // All three run late, at the same time, and something is due all the time.
        for now in (100..1_000).step_by(100) {
            let running = std::mem::take(&mut timers);
            for time in running {
                alarm.rings(at(time));
                timers.extend(set(&alarm, now + 50, now));
            }
            assert_eq!(timers, [now + 50]);
        }
    }
}
