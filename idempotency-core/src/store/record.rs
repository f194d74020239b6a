//! What the store keeps of a request.
//!
//! ```text
//! offset  bytes  field
//!      0      1  state: 1 pending, 2 interrupted, 3 done, 4 done with the reply dropped; +64: what a retry must have in
//!                common was chosen; +128: it began as pending, and has room for a body of 64 bytes, which its end overwrites; other bits are
//!                for other kinds of rows
//!      1      3  length of the body
//!      4      8  since / executed at, ns
//!     12     16  digest of the argument, or zeros if nothing of it is compared
//!     28     16  the identity's last 16 bytes; its first 8 choose the place in the index
//!     44  0, 16  digest of what was chosen
//!      …      …  body: of a pending record incarnation and attempt, 8 bytes each; of a done one the reply, or, if it and
//!                the digest before it are over 64 bytes, 8 bytes that say where it lies: address in 40 bits, and in 24 how
//!                often its partition had given up replies before. Padded to a multiple of 4
//!      …      4  zeros, until the next record overwrites them
//! ```
//!
//! Integers are little-endian.

use crate::{
    identity::{Digest, Fingerprint, Identity},
    table::{BlobPlace, Damaged, Family, Kind, Row, RowBytes, TERMINATOR, field, tail},
    time::Timestamp,
};

/// Longest body that lies in the record itself, with the digest of what was chosen. A longer one costs another page of its
/// own to write.
const INLINE_BYTES: usize = 64;

/// Longest reply that the layout can hold.
pub(super) const MAX_REPLY_BYTES: u32 = (1 << 24) - 1;

/// Bytes charged for a record: itself with a body of up to 64 bytes, and its part of the index.
pub(super) const RECORD_BYTES: u64 = 128;

const FIXED_BYTES: usize = 44;
/// Of a record with a body of `INLINE_BYTES`.
const MOST_LENGTH: usize = FIXED_BYTES + INLINE_BYTES;
/// In the first byte.
const HAS_CHOSEN: u8 = 64;
/// In the first byte.
const HAS_ROOM: u8 = 128;
const FLAGS: u8 = HAS_CHOSEN | HAS_ROOM;
const DIGEST_BYTES: usize = 16;
const ATTEMPT_BYTES: usize = 16;

/// What is known of a request from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) identity: Identity,
    pub(crate) fingerprint: Fingerprint,
    /// When its execution began.
    pub(crate) since: Timestamp,
}

/// A request that the store knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) fingerprint: Fingerprint,
    /// When its execution began.
    pub(crate) since: Timestamp,
    pub(crate) state: State,
}

/// How far a request has come, with a reply as `B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State<B = Vec<u8>> {
    /// An async attempt is running, or was when its heap went away.
    Pending(Attempt),
    /// The attempt trapped after an await.
    Interrupted,
    /// Executed, with the candid bytes as they were sent.
    Done(B),
    /// Executed; the reply is not held.
    ReplyDropped,
}

impl<B> State<B> {
    pub(super) fn number(&self) -> u8 {
        match self {
            Self::Pending(_) => 1,
            Self::Interrupted => 2,
            Self::Done(_) => 3,
            Self::ReplyDropped => 4,
        }
    }
}

/// Which of all attempts at all requests: only the one that acquired a record may complete it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub(crate) incarnation: u64,
    pub(crate) number: u64,
}

impl Attempt {
    fn bytes(self) -> [u8; ATTEMPT_BYTES] {
        let mut bytes = [0; ATTEMPT_BYTES];
        bytes[..8].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[8..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }
}

/// How many bytes of a body lie in the record itself at the most.
fn inline_bytes(has_chosen: bool) -> usize {
    INLINE_BYTES - if has_chosen { DIGEST_BYTES } else { 0 }
}

impl Head {
    /// Whether a body of this length lies in the record itself.
    pub(super) fn holds(&self, body_bytes: usize) -> bool {
        body_bytes <= inline_bytes(self.fingerprint.chosen.is_some())
    }

    /// Writes the record and the zeros after it; its length without them. `has_room` makes it as long as any, so that another
    /// state can be written over it. `place` is that of a reply that lies elsewhere.
    pub(super) fn write(
        &self,
        bytes: &mut RowBytes,
        state: State<&[u8]>,
        has_room: bool,
        place: Option<BlobPlace>,
    ) -> usize {
        let attempt;
        let body = match state {
            State::Pending(number) => {
                attempt = number.bytes();
                attempt.as_slice()
            }
            State::Done(reply) => reply,
            State::Interrupted | State::ReplyDropped => &[],
        };
        let length = (body.len() as u32) << 8;
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[0] = state.number() | if has_room { HAS_ROOM } else { 0 };
        let Fingerprint { argument, chosen } = self.fingerprint;
        bytes[4..12].copy_from_slice(&self.since.as_nanos().to_le_bytes());
        bytes[12..28].copy_from_slice(&argument.map_or([0; DIGEST_BYTES], Digest::bytes));
        bytes[28..FIXED_BYTES].copy_from_slice(&tail(self.identity.name()));
        let mut end = FIXED_BYTES;
        if let Some(chosen) = chosen {
            bytes[0] |= HAS_CHOSEN;
            end += DIGEST_BYTES;
            bytes[FIXED_BYTES..end].copy_from_slice(&chosen.bytes());
        }
        let place = place.map(BlobPlace::bytes);
        let body = place.as_ref().map_or(body, <[u8; 8]>::as_slice);
        bytes[end..end + body.len()].copy_from_slice(body);
        let end = end + body.len();
        // Up to three zeros of padding, and four that end the log.
        let length = if has_room {
            bytes[end..MOST_LENGTH].fill(0);
            MOST_LENGTH
        } else {
            end.next_multiple_of(4)
        };
        for zeros in [end, length] {
            bytes[zeros..zeros + TERMINATOR].copy_from_slice(&[0; TERMINATOR]);
        }
        length
    }
}

/// A record as it lies in memory: it is as long as it says.
#[derive(Clone, Copy)]
pub(super) struct RecordBytes<'a>(&'a [u8]);

impl<'a> RecordBytes<'a> {
    /// The record that is the whole of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// In bytes, without the zeros after it.
    fn length(&self) -> usize {
        let inline = match self.body_bytes() {
            _ if self.0[0] & HAS_ROOM != 0 => MOST_LENGTH - self.body_place(),
            long if long > inline_bytes(self.has_chosen()) => 8,
            short => short,
        };
        (self.body_place() + inline).next_multiple_of(4)
    }

    fn state(&self) -> u8 {
        self.0[0] & !FLAGS
    }

    fn has_chosen(&self) -> bool {
        self.0[0] & HAS_CHOSEN != 0
    }

    fn body_place(&self) -> usize {
        FIXED_BYTES + if self.has_chosen() { DIGEST_BYTES } else { 0 }
    }

    fn tail(&self) -> [u8; 16] {
        let mut rest = &self.0[28..];
        field(&mut rest)
    }

    fn since(&self) -> u64 {
        let mut rest = &self.0[4..];
        u64::from_le_bytes(field(&mut rest))
    }

    fn body_bytes(&self) -> usize {
        u32::from_le_bytes([self.0[1], self.0[2], self.0[3], 0]) as usize
    }

    /// Where a reply lies that is not in the record.
    fn reply_place(&self) -> Option<BlobPlace> {
        let mut body = &self.0[self.body_place()..];
        (self.body_bytes() > inline_bytes(self.has_chosen()))
            .then(|| BlobPlace::from_bytes(field(&mut body)))
    }

    /// The record, with a reply that lies elsewhere as `read_reply` gives it.
    pub(super) fn record(
        &self,
        read_reply: impl FnOnce(BlobPlace, usize) -> Result<State, Damaged>,
    ) -> Result<Record, Damaged> {
        let mut rest = &self.0[4..];
        let since = Timestamp::from_nanos(u64::from_le_bytes(field(&mut rest)));
        let argument = Digest::from_bytes(field(&mut rest));
        let mut body = &self.0[FIXED_BYTES..];
        let chosen = match self.has_chosen() {
            true => Digest::from_bytes(field(&mut body)),
            false => None,
        };
        let fingerprint = Fingerprint { argument, chosen };
        let state = match (self.state(), self.reply_place()) {
            (1, None) if self.body_bytes() == ATTEMPT_BYTES => State::Pending(Attempt {
                incarnation: u64::from_le_bytes(field(&mut body)),
                number: u64::from_le_bytes(field(&mut body)),
            }),
            (2, None) => State::Interrupted,
            (3, None) => State::Done(body[..self.body_bytes()].to_vec()),
            (3, Some(place)) => read_reply(place, self.body_bytes())?,
            (4, None) => State::ReplyDropped,
            _ => return Err(Damaged),
        };
        Ok(Record {
            fingerprint,
            since,
            state,
        })
    }
}

/// Requests, and what the store counts of each partition of them.
pub(super) struct Requests;

/// In the header's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Bytes of the replies that lie outside of records.
    pub(super) reply_bytes: u64,
    /// Requests whose records it holds for nothing: they were released.
    pub(super) released: u32,
    /// How often its replies were given up for want of room.
    pub(super) drops: u32,
}

impl From<[u64; 2]> for Totals {
    fn from([reply_bytes, both]: [u64; 2]) -> Self {
        Self {
            reply_bytes,
            released: both as u32,
            drops: (both >> 32) as u32,
        }
    }
}

impl From<Totals> for [u64; 2] {
    fn from(totals: Totals) -> Self {
        let both = u64::from(totals.released) | u64::from(totals.drops) << 32;
        [totals.reply_bytes, both]
    }
}

impl Family for Requests {
    const INDEX: usize = 0;
    const KIND: Kind = Kind::REQUEST;
    const MOST_PARTITIONS: u16 = 512;
    const TABLE: u64 = 4_096;
    const MOST_BYTES: usize = MOST_LENGTH + TERMINATOR;
    const FIRST_READ: usize = Self::MOST_BYTES;
    type Own = Totals;

    #[inline]
    fn row(bytes: &[u8]) -> Result<Option<Row>, Damaged> {
        let record = RecordBytes(bytes);
        match bytes.first() {
            None | Some(0) => return Ok(None),
            Some(_) if !matches!(record.state(), 1..=4) => return Err(Damaged),
            Some(_) if bytes.len() < FIXED_BYTES => return Ok(None),
            Some(_) => {}
        }
        Ok(Some(Row {
            length: record.length(),
            time: record.since(),
            tail: record.tail(),
        }))
    }

    fn blob(bytes: &[u8]) -> Option<(BlobPlace, usize)> {
        let record = RecordBytes(bytes);
        let place = record.reply_place()?;
        Some((place, record.body_bytes()))
    }
}
