//! Until when a repeat is recognised as one.

use crate::time::Timestamp;
use std::time::Duration;

/// Whether a callee recognises repeats, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// A repeat is executed again.
    Never,
    /// A repeat is recognised for so long after the first attempt. Later it is executed again.
    Within(Duration),
    /// A repeat is recognised until so long after that instant. Later it is refused.
    Dated(Timestamp, Duration),
    /// A repeat changes nothing, whenever it comes.
    Always,
}

/// The clocks of two subnets differ by less than this.
const SKEW: Duration = Duration::from_secs(60);

/// Within so much time the IC delivers a call or rejects it. A bounded-wait call is not executed after its own deadline.
const LIFETIME: u32 = 300;

/// When the next attempt of a call that is in doubt may be sent, and what its answer proves.
pub(super) struct Limit {
    repeats: Repeats,
    last: Option<Timestamp>,
    is_bounded: bool,
}

impl Limit {
    /// `since` is the time of the first attempt; `timeout` that of the calls, in seconds.
    pub(super) fn new(repeats: Repeats, since: Timestamp, timeout: Option<u32>) -> Self {
        let reach = timeout.map_or(LIFETIME, |seconds| seconds.min(LIFETIME));
        let last = match repeats {
            Repeats::Never => None,
            // Whoever sends a repeat later may have it executed when the record is gone.
            Repeats::Within(window) => window
                .checked_sub(Duration::from_secs(reach.into()) + SKEW)
                .map(|rest| since.plus(rest)),
            Repeats::Dated(created_at, window) => Some(created_at.plus(window)),
            Repeats::Always => Some(Timestamp::from_nanos(u64::MAX)),
        };
        Self {
            repeats,
            last,
            is_bounded: timeout.is_some(),
        }
    }

    /// Whether a repeat is recognised that is sent at that time. The first attempt of a resumed call may also be sent where it is
    /// refused at worst: ledgers often recognise a transfer for longer than they promise.
    pub(super) fn allows(&self, now: Timestamp, is_first: bool) -> bool {
        let is_harmless = matches!(self.repeats, Repeats::Dated(..));
        self.is_before_end(now) || is_harmless && is_first
    }

    /// Whether the callee still had the record of an earlier attempt, if there was one, when it executed an attempt that was sent
    /// and answered at those times.
    pub(super) fn proves(&self, sent: Timestamp, answered: Timestamp) -> bool {
        let has_deadline = self.is_bounded && matches!(self.repeats, Repeats::Within(_));
        self.is_before_end(answered) || has_deadline && self.is_before_end(sent)
    }

    /// The last instant for a repeat, if it is not over.
    pub(super) fn until(&self, now: Timestamp) -> Option<Timestamp> {
        self.last.filter(|_| self.is_before_end(now))
    }

    fn is_before_end(&self, time: Timestamp) -> bool {
        self.last.is_some_and(|last| time <= last)
    }
}
