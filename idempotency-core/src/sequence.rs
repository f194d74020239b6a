//! Sequence numbers: which numbers of a lane were used, and which may run next.
//!
//! Each scope (by default each caller) has one *lane* at an endpoint; with `lane = EXPR` it has several. The store keeps a
//! counter for each lane: the first number that was not used, and which of the numbers after it were. That takes about 70 bytes,
//! and one bit for each number that may be in flight. The replies are records like any other, found by lane and number; but that of
//! a strict lane's last number may lie in the lane.
//!
//! - *Strict*, `max_in_flight = 1`: only the next number runs, and only after the one before has ended. **A caller that sends a number
//!   of a lane of its own says by that that it has the replies to all numbers before it**: the store may keep the reply to the last one only, and answers a retry of
//!   an older one with [`SequenceTooOld`](IdempotencyError::SequenceTooOld). A client that does not wait for the reply before it sends
//!   the next number needs a pipelined lane. A number whose outcome
//!   is unknown holds up its lane. It stays [`OutcomeUnknown`](IdempotencyError::OutcomeUnknown), even when its record has
//!   expired, until an operator settles it with [`Store::free_lane`](crate::Store::free_lane) or the lane is forgotten.
//! - *Pipelined*, `max_in_flight = N`: each number from the first unused one on that is less than N beyond it may run, in any
//!   order. A number that never arrives holds up its lane only when the N − 1 numbers after it are used. A number whose outcome is
//!   unknown does not hold up its lane; when its record has expired it counts as used, like any other.
//!
//! # A record that lies in its lane
//! To find a number the store must look its lane up. Where the record lies in the lane as well, that is all there is to do: one row is
//! read, and written over by the next number. It is so in a strict lane of one caller (`scope = caller`), for a sync method whose reply takes up to 64 bytes of candid (48
//! where `fingerprint = EXPR` chooses what is compared, or the request has a `created_at`), in a store that does not
//! [certify](crate::Policy::certify) and has no archive. Any other request has a record of its own, for as long as the policy says, whatever numbers follow.
//!
//! - A record in a lane is there for at least as long as the policy promises unless another number of the lane begins, and then for as
//!   long as the lane is known.
//! - It takes no part of [`capacity`](crate::Policy::capacity) and [`capacity_bytes`](crate::Policy::capacity_bytes):
//!   [`max_counters`](crate::Policy::max_counters) bounds how many there are. As nobody knows a reply's length before the method has
//!   run, a number is admitted only where a record of its own would have room.
//! - It counts against its scope's [`quota`](crate::Policy::quota), until its window ends, as any other.
//! - A lane whose `max_in_flight` an upgrade raises gives the record a place of its own when the next number begins: that says nothing
//!   of replies then.
//!
//! # Forgetting a lane
//! If a forgotten lane began at 0 again, every old request could run again (this happened to accounts that were deleted and
//! made again on a well-known chain). So the store keeps one *floor* for all lanes: it is above every number that a forgotten
//! lane has used, and a lane without a counter begins there. A client asks
//! [`Store::next_number`](crate::Store::next_number) where its lane goes on.

mod lane;
mod used;

pub(crate) use lane::{LONGEST_LAST, Lane, Last};

#[cfg(doc)]
use crate::error::IdempotencyError;
use crate::{identity::Identity, time::Timestamp};
use candid::CandidType;
use serde::Deserialize;

/// The greatest number of numbers of a lane that may be in flight at a time.
pub const MOST_IN_FLIGHT: u16 = 1_024;

/// A request's place in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// The lane, as [`Identity::of_lane`] gives it.
    pub lane: Identity,
    /// The request's number.
    pub number: u64,
    /// How many numbers may be under way at a time: 1 is strict.
    pub max_in_flight: u16,
    /// The client has the replies to all numbers below this one, and will not send those requests again.
    pub first_incomplete: Option<u64>,
    /// Whether several callers share the lane: then one of them, who sends a number, does not say that the others have their replies.
    pub is_shared: bool,
}

/// The result of [`Store::free_lane`](crate::Store::free_lane).
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub enum FreedLane {
    /// The number counts as used now and never runs again. The lane goes on with the next number.
    Freed {
        /// The time at which the request with this number began.
        since: Timestamp,
    },
    /// The request with this number is running. The lane goes on when it has ended. Nothing has changed.
    Running {
        /// The time at which it began.
        since: Timestamp,
    },
    /// The lane does not wait for this number. Nothing has changed.
    NotStuck {
        /// The number with which the lane goes on, or for whose request it waits.
        next: u64,
    },
}

#[cfg(test)]
mod tests;
