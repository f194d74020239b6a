//! What the store keeps of a request.
//!
//! ```text
//! offset  bytes  field
//!      0      1  state: 1 pending, 2 interrupted, 3 done, 4 done with the reply dropped; +128: replaces an earlier record
//!      1      3  length of the body
//!      4      8  since / executed at, ns
//!     12      8  digest of the argument bytes
//!     20      8  digest of the argument values
//!     28     16  the identity's last 16 bytes; its first 8 choose the place in the index
//!     44      …  body: of a pending record incarnation and attempt, 8 bytes each; of a done one the reply, or, if it is
//!                over 64 bytes, 8 bytes that say where it lies. Padded to a multiple of 4
//!      …      4  zeros, until the next record overwrites them
//! ```
//!
//! Integers are little-endian.

use super::{header::take, slice::TERMINATOR};
use crate::{
    identity::{Digest, Fingerprint, Identity},
    time::Timestamp,
};
use std::borrow::Cow;

/// Longest body that lies in the record itself. A longer one costs another page of its own to write.
pub(super) const INLINE_BYTES: usize = 64;

/// Longest reply that the layout can hold.
pub(super) const MAX_REPLY_BYTES: u32 = (1 << 24) - 1;

/// Bytes charged for a record: itself with a body of up to 64 bytes, and its part of the index.
pub(super) const RECORD_BYTES: u64 = 128;

const FIXED_BYTES: usize = 44;
const REPLACEMENT: u8 = 128;

/// A request that the store knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub(crate) identity: Identity,
    pub(crate) fingerprint: Fingerprint,
    /// When its execution began.
    pub(crate) since: Timestamp,
    pub(crate) state: State,
    /// An earlier record of the same request is in the same or another slice, and counts no more.
    pub(crate) is_replacement: bool,
}

/// How far a request has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// An async attempt is running, or was when its heap went away.
    Pending(Attempt),
    /// The attempt trapped after an await.
    Interrupted,
    /// Executed, with the candid bytes as they were sent.
    Done(Vec<u8>),
    /// Executed; the reply is not held.
    ReplyDropped,
}

/// Which of all attempts at all requests: only the one that acquired a record may complete it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub(crate) incarnation: u64,
    pub(crate) number: u64,
}

impl Record {
    pub(super) fn body(&self) -> Cow<'_, [u8]> {
        match &self.state {
            State::Pending(attempt) => {
                let mut body = attempt.incarnation.to_le_bytes().to_vec();
                body.extend_from_slice(&attempt.number.to_le_bytes());
                Cow::Owned(body)
            }
            State::Done(reply) => Cow::Borrowed(reply),
            State::Interrupted | State::ReplyDropped => Cow::Borrowed(&[]),
        }
    }

    /// Bytes of a reply that does not lie in the record.
    pub(super) fn reply_bytes(&self) -> u64 {
        match &self.state {
            State::Done(reply) if reply.len() > INLINE_BYTES => reply.len() as u64,
            _ => 0,
        }
    }

    /// As it is written, the zeros after it included. `place` is that of a reply that lies elsewhere.
    pub(super) fn to_bytes(&self, place: Option<u64>) -> Vec<u8> {
        let state = match self.state {
            State::Pending(_) => 1,
            State::Interrupted => 2,
            State::Done(_) => 3,
            State::ReplyDropped => 4,
        };
        let body = self.body();
        let mut bytes = Vec::with_capacity(RecordBytes::MOST);
        let length = (body.len() as u32).to_le_bytes();
        bytes.push(state | if self.is_replacement { REPLACEMENT } else { 0 });
        bytes.extend_from_slice(&length[..3]);
        bytes.extend_from_slice(&self.since.as_nanos().to_le_bytes());
        bytes.extend_from_slice(&self.fingerprint.bytes.0);
        bytes.extend_from_slice(&self.fingerprint.values.0);
        bytes.extend_from_slice(&self.identity.tail());
        match place {
            Some(place) => bytes.extend_from_slice(&place.to_le_bytes()),
            None => bytes.extend_from_slice(&body),
        }
        bytes.resize(bytes.len().next_multiple_of(4) + TERMINATOR as usize, 0);
        bytes
    }
}

/// A record as it lies in memory, with what follows it.
#[derive(Clone, Copy)]
pub(super) struct RecordBytes<'a>(&'a [u8]);

impl<'a> RecordBytes<'a> {
    /// Most bytes that a record takes, the zeros after it included.
    pub(super) const MOST: usize = FIXED_BYTES + INLINE_BYTES + TERMINATOR as usize;

    /// The record at the beginning of `bytes` and its length without the zeros; `None` at the end of a log.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let fixed = bytes.get(..FIXED_BYTES)?;
        let record = Self(bytes);
        let inline = match record.body_bytes() {
            long if long > INLINE_BYTES => 8,
            short => short,
        };
        let length = (FIXED_BYTES + inline).next_multiple_of(4);
        (matches!(fixed[0] & !REPLACEMENT, 1..=4) && bytes.len() >= length)
            .then_some((record, length))
    }

    pub(super) fn state(&self) -> u8 {
        self.0[0] & !REPLACEMENT
    }

    pub(super) fn is_replacement(&self) -> bool {
        self.0[0] & REPLACEMENT != 0
    }

    pub(super) fn has_tail(&self, tail: &[u8; 16]) -> bool {
        self.0[28..FIXED_BYTES] == *tail
    }

    pub(super) fn body_bytes(&self) -> usize {
        u32::from_le_bytes([self.0[1], self.0[2], self.0[3], 0]) as usize
    }

    pub(super) fn reply_bytes(&self) -> u64 {
        self.reply_place().map_or(0, |_| self.body_bytes() as u64)
    }

    /// Where a reply lies that is not in the record.
    pub(super) fn reply_place(&self) -> Option<u64> {
        let mut body = &self.0[FIXED_BYTES..];
        (self.body_bytes() > INLINE_BYTES).then(|| u64::from_le_bytes(take(&mut body)))
    }

    /// The record, with a reply that lies elsewhere as `read_reply` gives it.
    pub(super) fn record(
        &self,
        identity: Identity,
        read_reply: impl FnOnce(u64, usize) -> Option<Vec<u8>>,
    ) -> Option<Record> {
        let mut rest = &self.0[4..];
        let since = Timestamp::from_nanos(u64::from_le_bytes(take(&mut rest)));
        let fingerprint = Fingerprint {
            bytes: Digest(take(&mut rest)),
            values: Digest(take(&mut rest)),
        };
        let mut body = &self.0[FIXED_BYTES..];
        let state = match (self.state(), self.reply_place()) {
            (1, None) => State::Pending(Attempt {
                incarnation: u64::from_le_bytes(take(&mut body)),
                number: u64::from_le_bytes(take(&mut body)),
            }),
            (2, None) => State::Interrupted,
            (3, None) => State::Done(body[..self.body_bytes()].to_vec()),
            (3, Some(place)) => match read_reply(place, self.body_bytes()) {
                Some(reply) => State::Done(reply),
                None => State::ReplyDropped,
            },
            (4, None) => State::ReplyDropped,
            _ => return None,
        };
        let is_replacement = self.is_replacement();
        Some(Record {
            identity,
            fingerprint,
            since,
            state,
            is_replacement,
        })
    }
}
