//! What the store keeps of a request.
//!
//! ```text
//! offset  bytes  field
//!      0      1  state: 1 pending, 2 interrupted, 3 done, 4 done with the reply dropped
//!      1      8  expires at, ns
//!      9      8  since / executed at, ns
//!     17     16  digest of the argument bytes
//!     33     16  digest of the argument values
//!     49      8  incarnation            } pending
//!     57      8  attempt                } only
//!     65      4  bytes reserved         }
//!     49      …  reply                    done only
//! ```
//!
//! Integers are little-endian.

use crate::{
    identity::{Digest, Fingerprint},
    time::Timestamp,
};
use ic_stable_structures::{Storable, storable::Bound};
use std::borrow::Cow;

/// Bytes charged for a record without its reply: its fixed part, its key, and its place in the expiry index.
pub(super) const RECORD_BYTES: u64 = 69 + 32 + 40;

/// A request that the store knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) expires_at: Timestamp,
    /// When its execution began.
    pub(crate) since: Timestamp,
    pub(crate) state: State,
}

/// How far a request has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// An async attempt is running, or was when its heap went away.
    Pending { attempt: Attempt, reserved: u32 },
    /// The attempt trapped after an await.
    Interrupted,
    /// Executed.
    Done(Reply),
}

/// The reply of an executed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The candid bytes as they were sent.
    Held(Vec<u8>),
    /// Too large to be kept.
    Dropped,
}

/// Which of all attempts at all requests: only the one that acquired a record may complete it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub(crate) incarnation: u64,
    pub(crate) number: u64,
}

impl Record {
    /// Bytes that count towards the capacity. A pending record counts with the room reserved for its reply.
    pub(super) fn bytes(&self) -> u64 {
        RECORD_BYTES
            + match &self.state {
                State::Pending { reserved, .. } => u64::from(*reserved),
                State::Done(Reply::Held(reply)) => reply.len() as u64,
                State::Interrupted | State::Done(Reply::Dropped) => 0,
            }
    }
}

const FIXED_BYTES: usize = 49;

impl Storable for Record {
    const BOUND: Bound = Bound::Unbounded;

    fn to_bytes(&self) -> Cow<'_, [u8]> {
        let (state, tail) = match &self.state {
            State::Pending { attempt, reserved } => {
                let mut tail = Vec::with_capacity(20);
                tail.extend_from_slice(&attempt.incarnation.to_le_bytes());
                tail.extend_from_slice(&attempt.number.to_le_bytes());
                tail.extend_from_slice(&reserved.to_le_bytes());
                (1, Cow::Owned(tail))
            }
            State::Interrupted => (2, Cow::Borrowed(&[][..])),
            State::Done(Reply::Held(reply)) => (3, Cow::Borrowed(reply.as_slice())),
            State::Done(Reply::Dropped) => (4, Cow::Borrowed(&[][..])),
        };
        let mut bytes = Vec::with_capacity(FIXED_BYTES + tail.len());
        bytes.push(state);
        bytes.extend_from_slice(&self.expires_at.as_nanos().to_le_bytes());
        bytes.extend_from_slice(&self.since.as_nanos().to_le_bytes());
        bytes.extend_from_slice(&self.fingerprint.bytes.0);
        bytes.extend_from_slice(&self.fingerprint.values.0);
        bytes.extend_from_slice(&tail);
        Cow::Owned(bytes)
    }

    fn into_bytes(self) -> Vec<u8> {
        self.to_bytes().into_owned()
    }

    /// # Panics
    /// If the bytes are not a record's. The store writes nothing else into this memory, so that is a memory written by
    /// others: no answer could be right, and a trap changes nothing.
    fn from_bytes(bytes: Cow<'_, [u8]>) -> Self {
        let mut rest: &[u8] = &bytes;
        let state = take::<1>(&mut rest)[0];
        let expires_at = Timestamp::from_nanos(u64::from_le_bytes(take(&mut rest)));
        let since = Timestamp::from_nanos(u64::from_le_bytes(take(&mut rest)));
        let fingerprint = Fingerprint {
            bytes: Digest(take(&mut rest)),
            values: Digest(take(&mut rest)),
        };
        let state = match state {
            1 => State::Pending {
                attempt: Attempt {
                    incarnation: u64::from_le_bytes(take(&mut rest)),
                    number: u64::from_le_bytes(take(&mut rest)),
                },
                reserved: u32::from_le_bytes(take(&mut rest)),
            },
            2 => State::Interrupted,
            3 => State::Done(Reply::Held(rest.to_vec())),
            4 => State::Done(Reply::Dropped),
            other => panic!(
                "idempotency: the store holds a record in the unknown state {other}; its memory was overwritten"
            ),
        };
        Self {
            fingerprint,
            expires_at,
            since,
            state,
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let Some((field, tail)) = rest.split_first_chunk() else {
        panic!(
            "idempotency: the store holds a record that is cut short; its memory was overwritten"
        )
    };
    *rest = tail;
    *field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip_in_every_state() {
        let states = [
            State::Pending {
                attempt: Attempt {
                    incarnation: 3,
                    number: u64::MAX,
                },
                reserved: 9,
            },
            State::Interrupted,
            State::Done(Reply::Held(vec![])),
            State::Done(Reply::Held(vec![1, 2, 3])),
            State::Done(Reply::Dropped),
        ];
        for state in states {
            let record = Record {
                fingerprint: Fingerprint {
                    bytes: Digest([1; 16]),
                    values: Digest([2; 16]),
                },
                expires_at: Timestamp::from_nanos(4),
                since: Timestamp::from_nanos(5),
                state,
            };
            assert_eq!(Record::from_bytes(record.to_bytes()), record);
        }
    }
}
