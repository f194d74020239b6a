//! How much an outbox holds, for how long, and how hard it tries.

use super::message::MESSAGE_BYTES;
use crate::time::nanos;
use std::time::Duration;

/// How much an [`Outbox`](super::Outbox) holds, for how long, and how hard it tries. Build it with [`Policy::new`] and the methods below.
///
/// An upgrade may change it. Messages that lie in the outbox keep the limits with which they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(super) capacity: u64,
    pub(super) capacity_bytes: u64,
    pub(super) quota: Option<Quota>,
    pub(super) retention: Duration,
    pub(super) in_flight: u32,
    pub(super) per_host_per_second: u32,
    pub(super) max_attempts: u16,
    pub(super) max_age: Duration,
    pub(super) first_backoff: Duration,
    pub(super) longest_backoff: Duration,
    pub(super) cycles_kept: u128,
}

/// What the messages of one scope that have not ended may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quota {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Policy {
    /// The defaults: 100,000 messages in 1 GiB, kept for a day after the last time at which they can end; ten outcalls at a time, five a
    /// second to one host; 20 attempts in 12 hours, the second 2 seconds after the first and the last ones 10 minutes apart.
    pub const fn new() -> Self {
        Self {
            capacity: 100_000,
            capacity_bytes: 1 << 30,
            quota: None,
            retention: Duration::from_secs(24 * 60 * 60),
            in_flight: 10,
            per_host_per_second: 5,
            max_attempts: 20,
            max_age: Duration::from_secs(12 * 60 * 60),
            first_backoff: Duration::from_secs(2),
            longest_backoff: Duration::from_secs(600),
            cycles_kept: 0,
        }
    }

    /// Most messages that the outbox holds, those included that have ended and are still kept. Where it is full, what has ended and was told
    /// is forgotten before its time; where that does not help, [`SendError::Full`](super::SendError::Full).
    pub const fn capacity(mut self, messages: u64) -> Self {
        self.capacity = messages;
        self
    }

    /// Most bytes of all messages: what is sent, 108 bytes for each, and its outcome or the room that is kept for the largest one.
    pub const fn capacity_bytes(mut self, bytes: u64) -> Self {
        self.capacity_bytes = bytes;
        self
    }

    /// Most messages of one [scope](super::Request::scope) that have not ended, and most bytes of them. Messages without a scope have
    /// no quota, and so has an outbox by default.
    pub const fn quota(mut self, messages: u64, bytes: u64) -> Self {
        self.quota = Some(Quota { messages, bytes });
        self
    }

    /// For how long a message is kept after `max_age` has passed, whenever it ended. 24 hours by default.
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Most outcalls under way at a time, at most 200. Ten by default; the IC lets a subnet have 3,000.
    pub const fn in_flight(mut self, outcalls: u32) -> Self {
        self.in_flight = outcalls;
        self
    }

    /// Most outcalls a second to one host. A replicated one is a request from each of 13 replicas or more, and all canisters of a subnet
    /// share what a server lets one address do. Five by default.
    pub const fn per_host_per_second(mut self, outcalls: u32) -> Self {
        self.per_host_per_second = outcalls;
        self
    }

    /// Most attempts for one message, at most 65,535. [`Request::max_attempts`](super::Request::max_attempts) goes before it. 20 by default.
    pub const fn max_attempts(mut self, attempts: u16) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// No attempt is made for a message after this time; [`Request::max_age`](super::Request::max_age) goes before it. It must be shorter than
    /// the time for which the server remembers keys: what comes later is executed again. 12 hours by default, as most servers
    /// remember them for 24.
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// The time between an attempt and the next one where the first may have been executed, which doubles with each, and the longest one. Two
    /// seconds and ten minutes by default. A server that says `Retry-After` is given that time if it is longer.
    pub const fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.first_backoff = first;
        self.longest_backoff = longest;
        self
    }

    /// Cycles that the outbox leaves for everything else: no outcall is made that would take the balance that the canister may spend
    /// below this. 0 by default.
    pub const fn cycles_kept(mut self, cycles: u128) -> Self {
        self.cycles_kept = cycles;
        self
    }

    /// The time to the next attempt after so many.
    pub(super) fn backoff_after(&self, attempts: u16) -> Duration {
        let doubled = u32::from(attempts.saturating_sub(1)).min(31);
        (self.first_backoff)
            .saturating_mul(1 << doubled)
            .min(self.longest_backoff)
    }

    /// For how long a message is kept from the time at which it is sent.
    pub(super) fn reach(&self, max_age: Duration) -> Duration {
        max_age.saturating_add(self.retention)
    }

    /// What is wrong with it, if anything.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.capacity == 0 || self.capacity_bytes < MESSAGE_BYTES as u64 {
            return Err("the capacity is zero: no message would fit");
        }
        if self.in_flight == 0 || self.per_host_per_second == 0 {
            return Err("in_flight or per_host_per_second is zero: nothing would be sent");
        }
        // Each may hold up a timer, and ic-cdk-timers runs 250 at a time.
        if self.in_flight > 200 {
            return Err("in_flight is more than 200");
        }
        if self.max_attempts == 0 || self.max_age.is_zero() {
            return Err("max_attempts or max_age is zero: nothing would be sent");
        }
        if (self.quota).is_some_and(|quota| quota.messages == 0 || quota.bytes == 0) {
            return Err("the quota is zero: no message with a scope would be taken");
        }
        if self.first_backoff.is_zero() || self.longest_backoff < self.first_backoff {
            return Err("the first backoff is zero, or longer than the longest");
        }
        let longest = (self.max_age.max(self.retention)).max(self.longest_backoff);
        if nanos(longest) > u64::MAX / 8 {
            return Err("max_age, retention or backoff exceeds 73 years");
        }
        Ok(())
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}
