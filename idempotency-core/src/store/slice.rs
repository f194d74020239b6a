//! Records that expire at about the same time, in a log of their own: forgetting them all is giving back its segments.
//!
//! A slice has two chains of segments: records with their small replies, and the larger replies. A record is appended
//! with four zero bytes after it, which the next one overwrites; so the end of the log can be found by reading on from
//! a place known earlier, and the table in the header is written only when the log reaches another 4 KiB page.

use super::{
    header::take,
    record::{INLINE_BYTES, Record, RecordBytes, State},
    segments::{CHAIN_BYTES, SEGMENT_BYTES, Segments, address},
};
use crate::time::Timestamp;
use ic_stable_structures::Memory;

/// What the IC charges for as one page when it is first written in a message.
const CHARGED_PAGE: u64 = 4_096;

/// A chain of segments that is appended to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    head: u32,
    tail: u32,
    /// Bytes of the tail in use, its chain bytes included.
    used: u32,
    segments: u32,
}

impl Chain {
    fn room(&self) -> u64 {
        if self.tail == 0 {
            0
        } else {
            SEGMENT_BYTES - u64::from(self.used)
        }
    }

    fn extend<M: Memory>(&mut self, segments: &mut Segments<M>) {
        let segment = segments.take_for_chain(self.tail);
        if self.head == 0 {
            self.head = segment;
        }
        self.tail = segment;
        self.used = CHAIN_BYTES as u32;
        self.segments += 1;
    }

    fn end(&self) -> u64 {
        address(self.tail) + u64::from(self.used)
    }

    fn is_plausible<M>(&self, segments: &Segments<M>) -> bool {
        let pages = segments.header.pages;
        let is_used = (CHAIN_BYTES..=SEGMENT_BYTES).contains(&u64::from(self.used));
        self.head < pages && self.tail < pages && (self.tail == 0 || is_used)
    }

    fn give_back<M: Memory>(self, segments: &mut Segments<M>) {
        segments.give_back(self.head, self.tail, self.segments);
    }
}

/// A slice, as it stands in the header's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slice {
    /// It holds what expires up to and including this time, ns.
    pub(super) until: u64,
    /// Requests that it holds.
    pub(super) entries: u32,
    /// Bytes of the replies that it holds outside of records.
    pub(super) reply_bytes: u64,
    /// Its replies were given up for want of room, and it takes no more.
    pub(super) has_dropped_replies: bool,
    records: Chain,
    replies: Chain,
}

impl Slice {
    /// Its size in the table.
    pub(super) const BYTES: usize = 52;

    pub(super) fn new(until: u64) -> Self {
        Self {
            until,
            ..Self::default()
        }
    }

    pub(super) fn from_bytes(mut bytes: &[u8]) -> Self {
        let rest = &mut bytes;
        let mut slice = Self {
            until: u64::from_le_bytes(take(rest)),
            reply_bytes: u64::from_le_bytes(take(rest)),
            entries: u32::from_le_bytes(take(rest)),
            ..Self::default()
        };
        for chain in [&mut slice.records, &mut slice.replies] {
            chain.head = u32::from_le_bytes(take(rest));
            chain.tail = u32::from_le_bytes(take(rest));
            // Both are below 2^24: the number of segments, and a segment's size.
            let [a, b, c] = take(rest);
            chain.segments = u32::from_le_bytes([a, b, c, 0]);
            let [a, b, c] = take(rest);
            chain.used = u32::from_le_bytes([a, b, c, 0]);
        }
        let [flag] = take(rest);
        slice.has_dropped_replies = flag != 0;
        slice
    }

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.until.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.reply_bytes.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.entries.to_le_bytes());
        for (chain, place) in [self.records, self.replies]
            .iter()
            .zip(bytes[20..48].chunks_exact_mut(14))
        {
            place[..4].copy_from_slice(&chain.head.to_le_bytes());
            place[4..8].copy_from_slice(&chain.tail.to_le_bytes());
            place[8..11].copy_from_slice(&chain.segments.to_le_bytes()[..3]);
            place[11..14].copy_from_slice(&chain.used.to_le_bytes()[..3]);
        }
        bytes[48] = u8::from(self.has_dropped_replies);
        bytes
    }

    pub(super) fn until(&self) -> Timestamp {
        Timestamp::from_nanos(self.until)
    }

    /// Finds the end of the log, from the place that the table knows; `false` if the table can't be right.
    pub(super) fn find_end<M: Memory>(&mut self, segments: &Segments<M>) -> bool {
        if !self.records.is_plausible(segments) || !self.replies.is_plausible(segments) {
            return false;
        }
        if self.records.tail == 0 {
            return true;
        }
        // The table was written when the log reached this charged page or the one before.
        let most = CHARGED_PAGE + RecordBytes::MOST as u64;
        let room = self.records.room().min(most) as usize;
        let mut bytes = vec![0; room];
        segments.memory.read(self.records.end(), &mut bytes);
        let mut rest = bytes.as_slice();
        while let Some((record, length)) = RecordBytes::parse(rest) {
            self.records.used += length as u32;
            self.entries += u32::from(!record.is_replacement());
            self.reply_bytes += record.reply_bytes();
            if let Some(place) = record.reply_place() {
                self.skip_reply(segments, place, record.body_bytes());
            }
            rest = rest.get(length..).unwrap_or_default();
        }
        true
    }

    /// Appends a record; its address, and whether the table must be written.
    pub(super) fn append<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        record: &Record,
    ) -> (u64, bool) {
        let before = (self.replies.tail, self.records.tail, self.page());
        let dropped;
        let record = if self.has_dropped_replies && record.reply_bytes() > 0 {
            dropped = Record {
                state: State::ReplyDropped,
                ..record.clone()
            };
            &dropped
        } else {
            record
        };
        let body = record.body();
        let place = (body.len() > INLINE_BYTES).then(|| self.append_reply(segments, &body));
        let bytes = record.to_bytes(place);
        // The zeros after it must fit, too.
        if self.records.room() < bytes.len() as u64 {
            self.records.extend(segments);
        }
        let at = self.records.end();
        segments.memory.write(at, &bytes);
        self.records.used += bytes.len() as u32 - TERMINATOR;
        self.entries += u32::from(!record.is_replacement);
        self.reply_bytes += record.reply_bytes();
        let is_moved = before != (self.replies.tail, self.records.tail, self.page());
        (at, is_moved)
    }

    /// The charged page that the log has reached.
    fn page(&self) -> u64 {
        self.records.end() / CHARGED_PAGE
    }

    /// Appends a reply that may go on in further segments; where it begins.
    fn append_reply<M: Memory>(&mut self, segments: &mut Segments<M>, mut reply: &[u8]) -> u64 {
        if self.replies.room() == 0 {
            self.replies.extend(segments);
        }
        let at = self.replies.end();
        loop {
            let (now, later) = reply.split_at(reply.len().min(self.replies.room() as usize));
            segments.memory.write(self.replies.end(), now);
            self.replies.used += now.len() as u32;
            if later.is_empty() {
                return at;
            }
            self.replies.extend(segments);
            reply = later;
        }
    }

    /// Brings the end of the replies behind one that is known to be there.
    fn skip_reply<M: Memory>(&mut self, segments: &Segments<M>, place: u64, length: usize) {
        let (mut segment, mut offset) = ((place / SEGMENT_BYTES) as u32, place % SEGMENT_BYTES);
        let mut left = length as u64;
        while left > SEGMENT_BYTES - offset {
            left -= SEGMENT_BYTES - offset;
            segment = segments.next_in_chain(segment);
            offset = CHAIN_BYTES;
            if segment == 0 {
                return;
            }
        }
        if segment == self.replies.tail {
            self.replies.used = self.replies.used.max((offset + left) as u32);
        }
    }

    /// Gives back the replies that lie outside their records; the caller writes header and table.
    pub(super) fn drop_replies<M: Memory>(&mut self, segments: &mut Segments<M>) {
        std::mem::take(&mut self.replies).give_back(segments);
        self.reply_bytes = 0;
        self.has_dropped_replies = true;
    }

    /// Gives back everything; the caller writes the header.
    pub(super) fn give_back<M: Memory>(self, segments: &mut Segments<M>) {
        self.replies.give_back(segments);
        self.records.give_back(segments);
    }
}

/// Zeros after a record.
pub(super) const TERMINATOR: u32 = 4;

/// Reads a reply that may go on in further segments. A chain that ends too early gives what there is.
pub(super) fn read_reply<M: Memory>(segments: &Segments<M>, place: u64, length: usize) -> Vec<u8> {
    let mut reply = vec![0; length];
    let (mut segment, mut offset) = ((place / SEGMENT_BYTES) as u32, place % SEGMENT_BYTES);
    let mut done = 0;
    while done < length {
        let now = (length - done).min((SEGMENT_BYTES - offset) as usize);
        segments
            .memory
            .read(address(segment) + offset, &mut reply[done..done + now]);
        done += now;
        if done < length {
            segment = segments.next_in_chain(segment);
            offset = CHAIN_BYTES;
        }
    }
    reply
}
