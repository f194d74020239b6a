//! What time it is on the subnet, about.

use crate::rules::plus;
use idempotency_core::Timestamp;
use std::time::Duration;

/// An estimate of the subnet's time: the latest certificate's, and what has passed since by a local clock that only measures durations.
/// Expiries are chosen by it, so a local clock that is minutes wrong does no harm. No claim rests on it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SubnetClock {
    /// A certificate's time, and when it was seen.
    seen: Option<(Timestamp, Duration)>,
}

impl SubnetClock {
    /// Takes note of a certificate's time. One that is no later than another that was seen says nothing new; a later one corrects the estimate,
    /// upwards or downwards.
    pub fn observe(&mut self, certified: Timestamp, now: Duration) {
        if self.seen.is_none_or(|(latest, _)| certified > latest) {
            self.seen = Some((certified, now));
        }
    }

    /// Takes over what another clock has seen, if that is later.
    pub(crate) fn learn(&mut self, other: Self) {
        if let Some((certified, at)) = other.seen {
            self.observe(certified, at);
        }
    }

    /// About the subnet's time. `None` before any certificate was seen.
    pub fn estimate(&self, now: Duration) -> Option<Timestamp> {
        let (certified, at) = self.seen?;
        Some(plus(certified, now.saturating_sub(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_replayed_does_not_hold_the_clock() {
        let (at, second) = (Timestamp::from_secs, Duration::from_secs(1));
        let mut clock = SubnetClock::default();
        assert_eq!(clock.estimate(second), None);
        clock.observe(at(100), second);
        for now in 1..50 {
            clock.observe(at(100), second * now);
            clock.observe(at(90), second * now);
            assert_eq!(clock.estimate(second * now), Some(at(99 + u64::from(now))));
        }
        // A local clock that is fast is set back.
        clock.observe(at(120), second * 50);
        assert_eq!(clock.estimate(second * 51), Some(at(121)));
        let mut other = SubnetClock::default();
        other.learn(clock);
        other.learn(SubnetClock::default());
        assert_eq!(other.estimate(second * 51), Some(at(121)));
    }
}
