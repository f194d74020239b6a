//! What the store keeps of a request.
//!
//! ```text
//! offset  bytes  field
//!      0      1  state: 1 pending, 3 done, with the first reply, 4 done with the reply dropped, 6 done, with the reply for retries; +32: the
//!                digest of the argument is its alias; +16: an alias that is no more than a name: nothing of the argument is compared;
//!                +64: what a retry must have in common was chosen; +128: it began as pending, and has room for a body of 64 bytes,
//!                which its end overwrites. (2 was interrupted, which is now a pending one that has no attempt; 5 is a row of a
//!                journal; other bits are for other kinds of rows)
//!      1      3  length of the body
//!      4      8  since / executed at, ns
//!     12     16  digest of the argument, or zeros if nothing of it is compared
//!     28     16  the identity's last 16 bytes; its first 8 choose the place in the index
//!     44  0, 16  digest of what was chosen
//!      …      …  body: of a pending record the attempt's number, the identity's first 8 bytes, and a digest of the scope, 8 bytes each
//!                (once incarnation and attempt, 8 bytes each: a heap that is gone); of a done one the reply, or, if it and the digest
//!                before it are over 64 bytes, 8 bytes that say where it lies: address in 40 bits, and in 24 how often its
//!                partition had given up replies before. Padded to a multiple of 4
//!      …      4  zeros, until the next record overwrites them
//! ```
//!
//! Integers are little-endian.

use super::journal;
use crate::{
    identity::{ArgumentIs, Digest, Fingerprint, Identity},
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

/// Of the longest record.
pub(super) const MOST_BYTES: usize = MOST_LENGTH;
/// In the first byte.
const HAS_CHOSEN: u8 = 64;
/// In the first byte.
const HAS_ROOM: u8 = 128;
const FLAGS: u8 = HAS_CHOSEN | HAS_ROOM | ArgumentIs::BITS;
const DIGEST_BYTES: usize = 16;
const PENDING_BYTES: usize = 24;
/// Of a pending record of layout version 3 before it had feature 0.
const OLD_PENDING_BYTES: usize = 16;

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

impl Record {
    /// What it says if the request has not ended.
    pub(super) fn pending(&self) -> Option<Pending> {
        match self.state {
            State::Pending(pending) => Some(pending),
            State::Done(_) | State::ReplyDropped => None,
        }
    }
}

/// How far a request has come, with a reply as `B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State<B = Vec<u8>> {
    /// It has begun and has not ended.
    Pending(Pending),
    /// Executed, with its reply.
    Done(Reply<B>),
    /// Executed; the reply is not held.
    ReplyDropped,
}

impl<B> State<B> {
    pub(super) fn number(&self) -> u8 {
        match self {
            Self::Pending(_) => 1,
            Self::Done(reply) if reply.is_for_retries => 6,
            Self::Done(_) => 3,
            Self::ReplyDropped => 4,
        }
    }
}

/// A reply in candid, as a record holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<B = Vec<u8>> {
    /// The candid bytes.
    pub bytes: B,
    /// Whether they are what a retry is sent. Else they are what the first caller was sent, and what a retry is sent follows from
    /// that: `on_replay` makes it of these bytes, if the endpoint has that when the retry comes.
    pub is_for_retries: bool,
}

impl<B> Reply<B> {
    /// What the first caller is sent.
    pub const fn first(bytes: B) -> Self {
        Self {
            bytes,
            is_for_retries: false,
        }
    }

    /// What `on_replay` has made of that.
    pub const fn for_retries(bytes: B) -> Self {
        Self {
            bytes,
            is_for_retries: true,
        }
    }
}

/// Which of all attempts at all requests that there ever were in a memory: only the one that acquired a record may complete it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt(pub(crate) u64);

impl Attempt {
    /// One of which nothing more is known: no other has its number.
    pub(super) const GONE: Self = Self(0);
}

/// A digest of the scope of a request, for operators: its first 8 bytes.
pub(crate) type ScopeDigest = [u8; 8];

/// What a record says of a request that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) attempt: Attempt,
    pub(crate) scope: ScopeDigest,
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

    fn pending_body(&self, Pending { attempt, scope }: Pending) -> [u8; PENDING_BYTES] {
        let mut body = [0; PENDING_BYTES];
        body[..8].copy_from_slice(&attempt.0.to_le_bytes());
        body[8..16].copy_from_slice(&self.identity.name()[..8]);
        body[16..].copy_from_slice(&scope);
        body
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
        let pending;
        let body = match state {
            State::Pending(it) => {
                pending = self.pending_body(it);
                pending.as_slice()
            }
            State::Done(reply) => reply.bytes,
            State::ReplyDropped => &[],
        };
        let length = (body.len() as u32) << 8;
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[0] = state.number() | if has_room { HAS_ROOM } else { 0 };
        let Fingerprint {
            argument,
            argument_is,
            chosen,
        } = self.fingerprint;
        bytes[0] |= argument_is as u8;
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
        copy_short(&mut bytes[end..end + body.len()], body);
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

/// Copies what mostly has no more than 64 bytes, from one slice to another of the same length: in parts of a known size, as what copies any
/// number of bytes costs a hundred instructions at the least.
#[inline]
fn copy_short(to: &mut [u8], from: &[u8]) {
    let length = from.len();
    if length > 64 {
        to.copy_from_slice(from);
    } else if length >= 32 {
        copy_ends::<32>(to, from);
    } else if length >= 16 {
        copy_ends::<16>(to, from);
    } else if length >= 8 {
        copy_ends::<8>(to, from);
    } else if length >= 4 {
        copy_ends::<4>(to, from);
    } else if length >= 2 {
        copy_ends::<2>(to, from);
    } else {
        copy_ends::<1>(to, from);
    }
}

/// Copies the first `N` bytes and the last, if there are as many: with twice as many or fewer that is all, some of them twice.
#[inline]
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk()) {
        *to = *from;
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
        if self.0[0] & HAS_ROOM != 0 {
            return MOST_LENGTH;
        }
        let place = self.body_place();
        let inline = match self.body_bytes() {
            long if long > MOST_LENGTH - place => 8,
            short => short,
        };
        place + ((inline + 3) & !3)
    }

    fn state(&self) -> u8 {
        self.0[0] & !FLAGS
    }

    fn has_chosen(&self) -> bool {
        self.0[0] & HAS_CHOSEN != 0
    }

    fn argument_is(&self) -> ArgumentIs {
        ArgumentIs::of(self.0[0]).unwrap_or_default()
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
        let mut rest = self.0;
        (u32::from_le_bytes(field(&mut rest)) >> 8) as usize
    }

    /// Where a reply lies that is not in the record.
    fn reply_place(&self) -> Option<BlobPlace> {
        let mut body = &self.0[self.body_place()..];
        (self.body_bytes() > inline_bytes(self.has_chosen()))
            .then(|| BlobPlace::from_bytes(field(&mut body)))
    }

    /// The whole of the identity, of a record that is pending.
    pub(super) fn pending_identity(&self) -> Option<Identity> {
        if self.state() != 1 || self.body_bytes() != PENDING_BYTES {
            return None;
        }
        let mut head = self.0.get(self.body_place() + 8..)?;
        let mut name = [0; 24];
        name[..8].copy_from_slice(&field::<8>(&mut head));
        name[8..].copy_from_slice(&self.tail());
        Some(Identity(name))
    }

    /// The record, with a reply that lies elsewhere as `read_reply` gives it, if that is still held. Made where it stays: moving it costs
    /// as much as reading it.
    #[inline(always)]
    pub(super) fn record(
        &self,
        read_reply: impl FnOnce(BlobPlace, usize) -> Result<Option<Vec<u8>>, Damaged>,
    ) -> Result<Record, Damaged> {
        let mut rest = &self.0[4..];
        let since = Timestamp::from_nanos(u64::from_le_bytes(field(&mut rest)));
        let argument = Digest::from_bytes(field(&mut rest));
        let mut body = &self.0[FIXED_BYTES..];
        let chosen = match self.has_chosen() {
            true => Digest::from_bytes(field(&mut body)),
            false => None,
        };
        let fingerprint = Fingerprint {
            argument,
            argument_is: self.argument_is(),
            chosen,
        };
        let state = match (self.state(), self.reply_place()) {
            (1, None) if self.body_bytes() == PENDING_BYTES => {
                let attempt = Attempt(u64::from_le_bytes(field(&mut body)));
                let [_, scope]: [ScopeDigest; 2] = [field(&mut body), field(&mut body)];
                State::Pending(Pending { attempt, scope })
            }
            (1, None) if self.body_bytes() == OLD_PENDING_BYTES => GONE,
            (2, None) => GONE,
            (state @ (3 | 6), place) => {
                let bytes = match place {
                    None => Some(body[..self.body_bytes()].to_vec()),
                    Some(place) => read_reply(place, self.body_bytes())?,
                };
                let is_for_retries = state == 6;
                bytes.map_or(State::ReplyDropped, |bytes| {
                    State::Done(Reply {
                        bytes,
                        is_for_retries,
                    })
                })
            }
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

/// A request that has ended, as it lies in memory.
#[cfg(feature = "archive")]
#[derive(Clone, Copy)]
pub(super) struct EndedBytes<'a> {
    fixed: &'a [u8; FIXED_BYTES],
    /// What comes after that.
    rest: &'a [u8],
}

/// Where a reply is.
#[cfg(feature = "archive")]
#[derive(Clone, Copy)]
pub(super) enum Held<'a> {
    Here(&'a [u8]),
    /// Elsewhere, so many bytes.
    There(BlobPlace, usize),
}

/// The row at the beginning of `bytes`: how long it is, and what it says if it is of a request that has ended. `None` at the end of the log.
///
/// It is what each request is read by that is archived. All of it is in one piece, as a call costs as much as half of it.
#[cfg(feature = "archive")]
#[inline(always)]
pub(super) fn next_ended(bytes: &[u8]) -> Result<Option<(usize, Option<EndedBytes<'_>>)>, Damaged> {
    let is_journal = bytes.first() == Some(&journal::MARK);
    let Some(fixed) = bytes.first_chunk().filter(|_| !is_journal) else {
        let row = Requests::row(bytes)?;
        return Ok(row.map(|row| (row.length, None)));
    };
    let record = RecordBytes(bytes);
    let has_ended = match record.state() {
        0 if bytes.first() == Some(&0) => return Ok(None),
        1 | 2 => false,
        3 | 4 | 6 => true,
        _ => return Err(Damaged),
    };
    let length = record.length();
    let rest = bytes.get(FIXED_BYTES..length).ok_or(Damaged)?;
    Ok(Some((
        length,
        has_ended.then_some(EndedBytes { fixed, rest }),
    )))
}

#[cfg(feature = "archive")]
impl<'a> EndedBytes<'a> {
    #[inline(always)]
    fn record(&self) -> RecordBytes<'_> {
        RecordBytes(self.fixed)
    }

    #[inline(always)]
    pub(super) fn tail(&self) -> [u8; 16] {
        self.record().tail()
    }

    #[inline(always)]
    pub(super) fn since(&self) -> Timestamp {
        Timestamp::from_nanos(self.record().since())
    }

    #[inline(always)]
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut argument = &self.fixed[12..28];
        let chosen = match self.record().has_chosen() {
            true => self.rest.first_chunk().copied(),
            false => None,
        };
        Fingerprint {
            argument: Digest::from_bytes(field(&mut argument)),
            argument_is: self.record().argument_is(),
            chosen: chosen.and_then(Digest::from_bytes),
        }
    }

    /// `None` if it was dropped.
    pub(super) fn reply(&self) -> Result<Option<Reply<Held<'a>>>, Damaged> {
        let (record, state) = (self.record(), self.record().state());
        if state == 4 {
            return Ok(None);
        }
        let place = record.body_place() - FIXED_BYTES;
        let (body, length) = (self.rest.get(place..).ok_or(Damaged)?, record.body_bytes());
        let bytes = match length > inline_bytes(record.has_chosen()) {
            true => {
                let place = body.first_chunk().ok_or(Damaged)?;
                Held::There(BlobPlace::from_bytes(*place), length)
            }
            false => Held::Here(body.get(..length).ok_or(Damaged)?),
        };
        let is_for_retries = state == 6;
        Ok(Some(Reply {
            bytes,
            is_for_retries,
        }))
    }
}

/// The state of a record of a heap that is gone, and of which no cell says more.
const GONE: State = State::Pending(Pending {
    attempt: Attempt::GONE,
    scope: [0; 8],
});

/// Requests, and what the store counts of each partition of them.
pub(super) struct Requests;

/// In the header's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Bytes of the replies that lie outside of records: 40 bits.
    pub(super) reply_bytes: u64,
    /// Rows of journals, in units of 64 bytes.
    pub(super) journal_units: u32,
    /// Requests whose records it holds for nothing: they were released.
    pub(super) released: u32,
    /// How often its replies were given up for want of room: 24 bits.
    pub(super) drops: u32,
}

/// As many as an address has.
const TOTAL_BITS: u32 = 40;
const MOST_TOTAL_BYTES: u64 = (1 << TOTAL_BITS) - 1;
/// The part of the units of journals that lies with the number of drops, which has 24 bits.
const HIGH_UNITS: u32 = 0xFF << 24;

impl From<[u64; 2]> for Totals {
    fn from([bytes, both]: [u64; 2]) -> Self {
        Self {
            reply_bytes: bytes & MOST_TOTAL_BYTES,
            journal_units: (bytes >> TOTAL_BITS) as u32 | (both >> 32) as u32 & HIGH_UNITS,
            released: both as u32,
            drops: (both >> 32) as u32 & !HIGH_UNITS,
        }
    }
}

impl From<Totals> for [u64; 2] {
    fn from(totals: Totals) -> Self {
        let bytes = totals.reply_bytes.min(MOST_TOTAL_BYTES);
        let units = totals.journal_units;
        let high = totals.drops & !HIGH_UNITS | units & HIGH_UNITS;
        let both = u64::from(totals.released) | u64::from(high) << 32;
        [bytes | u64::from(units) << TOTAL_BITS, both]
    }
}

impl Totals {
    /// Counts a row of a journal; the bytes that it is charged with.
    pub(super) fn count_journal(&mut self, row_bytes: usize) -> u64 {
        let units = row_bytes.div_ceil(journal::UNIT_BYTES as usize) as u32;
        self.journal_units = self.journal_units.saturating_add(units);
        u64::from(units) * journal::UNIT_BYTES
    }

    pub(super) fn journal_bytes(&self) -> u64 {
        u64::from(self.journal_units) * journal::UNIT_BYTES
    }
}

impl Family for Requests {
    const INDEX: usize = 0;
    const KIND: Kind = Kind::REQUEST;
    const MOST_PARTITIONS: u16 = 512;
    const TABLE: u64 = 4_096;
    const MOST_BYTES: usize = journal::MOST_LENGTH + TERMINATOR;
    const FIRST_READ: usize = MOST_LENGTH + TERMINATOR;
    type Own = Totals;

    #[inline]
    fn row(bytes: &[u8]) -> Result<Option<Row>, Damaged> {
        let record = RecordBytes(bytes);
        match bytes.first() {
            None | Some(0) => return Ok(None),
            Some(&journal::MARK) => return Ok(journal::row(bytes)),
            Some(_) if !matches!(record.state(), 1..=4 | 6) => return Err(Damaged),
            Some(_) if bytes.len() < FIXED_BYTES => return Ok(None),
            Some(_) => {}
        }
        Ok(Some(Row {
            length: record.length(),
            time: record.since(),
            tail: record.tail(),
        }))
    }

    #[inline]
    fn has_alias(bytes: &[u8], alias: &[u8; 16]) -> bool {
        let mut argument = &bytes[12..];
        bytes[0] & ArgumentIs::Alias as u8 != 0 && field(&mut argument) == *alias
    }

    fn blob(bytes: &[u8]) -> Option<(BlobPlace, usize)> {
        if bytes[0] == journal::MARK {
            return None;
        }
        let record = RecordBytes(bytes);
        let place = record.reply_place()?;
        Some((place, record.body_bytes()))
    }

    fn count(totals: &mut Totals, bytes: &[u8]) {
        if bytes[0] == journal::MARK {
            totals.count_journal(bytes.len());
        } else if let Some((_, length)) = Self::blob(bytes) {
            totals.reply_bytes = totals.reply_bytes.saturating_add(length as u64);
        }
    }
}
