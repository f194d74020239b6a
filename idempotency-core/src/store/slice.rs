//! Records that expire at about the same time, in a log of their own: forgetting them all is giving back its segments.
//!
//! A slice has two chains of segments: records with their small replies, and the larger replies. A record is appended
//! with four zero bytes after it, which the next one overwrites; so the end of the log can be found by reading on from
//! a place known earlier, and the table in the header is written only when the log reaches another 4 KiB page.

use super::{
    chain::Chain,
    error::Damaged,
    header::take,
    record::{Head, MOST_DROPS, Place, RecordBytes, State},
    segments::{CHAIN_BYTES, SEGMENT_BYTES, Segments, address},
};
use crate::time::Timestamp;
use ic_stable_structures::Memory;

/// A slice, as it stands in the header's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slice {
    /// It holds what expires up to and including this time, ns.
    pub(super) until: u64,
    /// None of its requests began earlier. Numbers of slices come round after 32,768 of them; a slot left over from the last
    /// time leads to a request that did.
    pub(super) oldest: u64,
    /// Requests that it holds.
    pub(super) entries: u32,
    /// Requests whose records it holds for nothing: they were released.
    pub(super) released: u32,
    /// Bytes of the replies that it holds outside of records.
    pub(super) reply_bytes: u64,
    /// How often its replies were given up for want of room.
    pub(super) drops: u32,
    records: Chain,
    replies: Chain,
}

/// Slices have numbers of 15 bits that come round; only their order among the live ones counts.
pub(super) const NUMBERS: u16 = 0x7FFF;

/// The number of the slice at a position, if the first one's is `first`.
pub(super) fn number(first: u16, position: usize) -> u16 {
    first.wrapping_add(position as u16) & NUMBERS
}

/// The position of a slice among those from `first` on.
pub(super) fn position(first: u16, number: u16) -> usize {
    usize::from(number.wrapping_sub(first) & NUMBERS)
}

impl Slice {
    /// Its size in the table.
    pub(super) const BYTES: usize = 64;

    pub(super) fn new(until: u64) -> Self {
        Self {
            until,
            oldest: u64::MAX,
            ..Self::default()
        }
    }

    pub(super) fn from_bytes(mut bytes: &[u8]) -> Self {
        let rest = &mut bytes;
        let mut slice = Self {
            until: u64::from_le_bytes(take(rest)),
            oldest: u64::from_le_bytes(take(rest)),
            reply_bytes: u64::from_le_bytes(take(rest)),
            entries: u32::from_le_bytes(take(rest)),
            ..Self::default()
        };
        slice.records = Chain::from_bytes(rest);
        slice.replies = Chain::from_bytes(rest);
        slice.released = u32::from_le_bytes(take(rest));
        slice.drops = u32::from_le_bytes(take(rest));
        slice
    }

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.until.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.oldest.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.reply_bytes.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.entries.to_le_bytes());
        bytes[28..42].copy_from_slice(&self.records.to_bytes());
        bytes[42..56].copy_from_slice(&self.replies.to_bytes());
        bytes[56..60].copy_from_slice(&self.released.to_le_bytes());
        bytes[60..].copy_from_slice(&self.drops.to_le_bytes());
        bytes
    }

    pub(super) fn until(&self) -> Timestamp {
        Timestamp::from_nanos(self.until)
    }

    /// Finds the ends of the logs, from the places that the table knows.
    pub(super) fn find_end<M: Memory>(&mut self, segments: &Segments<M>) -> Result<(), Damaged> {
        // A reply's end is found by its record's.
        self.replies.find_end(segments, 0, |_| Ok(None))?;
        if self.reply_bytes > address(segments.header.pages) {
            return Err(Damaged);
        }
        let mut records = self.records;
        records.find_end(segments, RecordBytes::MOST, |rest| {
            let Some((record, length)) = RecordBytes::parse(rest) else {
                return Ok(None);
            };
            self.entries = self.entries.saturating_add(1);
            self.oldest = self.oldest.min(record.since());
            if let Some(place) = record.reply_place() {
                self.reply_bytes += record.body_bytes() as u64;
                self.skip_reply(segments, place, record.body_bytes())?;
            }
            Ok(Some(length))
        })?;
        self.records = records;
        Ok(())
    }

    /// Appends a record, put together in `bytes`; whether the table must be written. `link` is told the
    /// address first: what it writes lies near what was read last, where a MemoryManager finds its way sooner.
    pub(super) fn append<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        head: &Head,
        state: State<&[u8]>,
        bytes: &mut [u8; RecordBytes::MOST],
        link: impl FnOnce(&mut Segments<M>, u64) -> Result<(), Damaged>,
    ) -> Result<bool, Damaged> {
        let before = (
            self.replies.tail,
            self.records.tail,
            self.records.page(),
            self.oldest,
        );
        let place = self.place_reply(segments, head, state)?;
        let has_room = matches!(state, State::Pending(_));
        let length = head.write(bytes, state, has_room, place);
        // The zeros after it must fit, too.
        if self.records.room() < (length + TERMINATOR) as u64 {
            self.records.extend(segments)?;
        }
        let at = self.records.end();
        link(segments, at)?;
        segments.memory.write(at, &bytes[..length + TERMINATOR]);
        self.records.used += length as u32;
        self.entries = self.entries.saturating_add(1);
        self.oldest = self.oldest.min(head.since.as_nanos());
        let after = (
            self.replies.tail,
            self.records.tail,
            self.records.page(),
            self.oldest,
        );
        Ok(before != after)
    }

    /// Writes the state in which an attempt has ended over its pending record at an address. The end of the logs is found
    /// from the table on by reading records that were appended later: so the table must be written where it changed.
    pub(super) fn overwrite<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        at: u64,
        head: &Head,
        state: State<&[u8]>,
        bytes: &mut [u8; RecordBytes::MOST],
    ) -> Result<bool, Damaged> {
        let place = self.place_reply(segments, head, state)?;
        let length = head.write(bytes, state, true, place);
        segments.check(at, length)?;
        segments.memory.write(at, &bytes[..length]);
        Ok(place.is_some())
    }

    /// Appends the reply if there is one that does not fit into its record; where it lies.
    fn place_reply<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        head: &Head,
        state: State<&[u8]>,
    ) -> Result<Option<Place>, Damaged> {
        let State::Done(reply) = state else {
            return Ok(None);
        };
        if head.holds(reply.len()) {
            return Ok(None);
        }
        let address = self.append_reply(segments, reply)?;
        self.reply_bytes += reply.len() as u64;
        Ok(Some(Place {
            address,
            drops: self.drops,
        }))
    }

    /// Appends a reply that may go on in further segments; where it begins.
    fn append_reply<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        mut reply: &[u8],
    ) -> Result<u64, Damaged> {
        if self.replies.room() == 0 {
            self.replies.extend(segments)?;
        }
        let at = self.replies.end();
        loop {
            let (now, later) = reply.split_at(reply.len().min(self.replies.room() as usize));
            segments.memory.write(self.replies.end(), now);
            self.replies.used += now.len() as u32;
            if later.is_empty() {
                return Ok(at);
            }
            self.replies.extend(segments)?;
            reply = later;
        }
    }

    /// Brings the end of the replies behind one that is known to be there.
    fn skip_reply<M: Memory>(
        &mut self,
        segments: &Segments<M>,
        place: Place,
        length: usize,
    ) -> Result<(), Damaged> {
        let (mut segment, mut offset) = segment_of(place.address)?;
        let mut left = length as u64;
        while left > SEGMENT_BYTES - offset {
            left -= SEGMENT_BYTES - offset;
            segment = segments.next_in_chain(segment)?;
            offset = CHAIN_BYTES;
        }
        if segment == self.replies.tail {
            self.replies.used = self.replies.used.max((offset + left) as u32);
        }
        Ok(())
    }

    /// Whether it has replies outside of its records that it can give up.
    pub(super) fn can_drop_replies(&self) -> bool {
        self.reply_bytes > 0 && self.drops < MOST_DROPS
    }

    /// Gives back the replies that lie outside their records; the caller writes header and table.
    pub(super) fn drop_replies<M: Memory>(&mut self, segments: &mut Segments<M>) {
        std::mem::take(&mut self.replies).give_back(segments);
        self.reply_bytes = 0;
        self.drops += 1;
    }

    /// Gives back everything; the caller writes the header.
    pub(super) fn give_back<M: Memory>(self, segments: &mut Segments<M>) {
        self.replies.give_back(segments);
        self.records.give_back(segments);
    }
}

/// Zeros after a record.
pub(super) const TERMINATOR: usize = 4;

/// Reads a reply that may go on in further segments.
pub(super) fn read_reply<M: Memory>(
    segments: &Segments<M>,
    place: Place,
    length: usize,
) -> Result<Vec<u8>, Damaged> {
    let mut reply = vec![0; length];
    let (mut segment, mut offset) = segment_of(place.address)?;
    let mut rest = reply.as_mut_slice();
    loop {
        let now = rest.len().min((SEGMENT_BYTES - offset) as usize);
        let (part, later) = rest.split_at_mut(now);
        segments.read_into(address(segment) + offset, part)?;
        if later.is_empty() {
            return Ok(reply);
        }
        rest = later;
        segment = segments.next_in_chain(segment)?;
        offset = CHAIN_BYTES;
    }
}

/// The segment of an address, and how far into it.
fn segment_of(place: u64) -> Result<(u32, u64), Damaged> {
    let segment = u32::try_from(place / SEGMENT_BYTES).map_err(|_| Damaged)?;
    Ok((segment, place % SEGMENT_BYTES))
}
