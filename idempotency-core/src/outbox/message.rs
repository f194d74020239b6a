//! What is kept of a message: a row of fixed length. What is sent lies outside of it, and so does its outcome.
//!
//! ```text
//! offset  bytes  field
//!      0      1  state: 1 waiting, 2 under way, 3 ended
//!      1      1  flags: see below
//!      2      2  attempts that were made
//!      4      8  when it was sent into the outbox, ns
//!     12     16  its number, and the number turned about: the end of its name
//!     28      8  when something is to be done next, ns
//!     36      8  no attempt is made after this time, or it ended then, ns
//!     44      8  lane, 0 if none
//!     52      8  host
//!     60      8  scope, 0 if none
//!     68      8  place of what is sent
//!     76      4  its length
//!     80      8  place of the outcome
//!     88      4  its length, 0 if there is none
//!     92      4  room that is kept for the outcome, in bytes
//!     96      4  how long a server may still act upon what the IC gave up, in ms
//!    100      2  most attempts
//!    102      2  how often its server was asked since the last attempt
//!    104      2  how often its end was told
//!    106      2  0
//! ```

use super::outcome::MessageId;
use crate::{
    table::{BlobPlace, Damaged, Family, Kind, Row, RowBytes, TERMINATOR, field},
    time::Timestamp,
};
use std::time::Duration;

pub(super) const MESSAGE_BYTES: usize = 108;

/// Nothing that belongs to a message is longer: the IC sends and takes 2 MB.
const MOST_BYTES: u32 = 4 << 20;

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// For its turn, and its time.
    Waiting,
    /// An outcall is under way, as far as the heap knows that made it.
    UnderWay,
    Ended,
}

/// What is so of a message, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// Repeating it has no further effect: by its key, or by its method.
    pub(super) is_repeatable: bool,
    /// Its server can be asked what became of it.
    pub(super) has_verify: bool,
    /// An attempt may have been executed.
    pub(super) is_in_doubt: bool,
    /// The server is asked, or is to be asked, before anything is sent again.
    pub(super) is_asking: bool,
    /// It ended in another way than it should.
    pub(super) is_dead_letter: bool,
    /// Whoever is to be told of its end has been told.
    pub(super) is_told: bool,
}

impl Flags {
    fn bits(self) -> u8 {
        let flags = [
            self.is_repeatable,
            self.has_verify,
            self.is_in_doubt,
            self.is_asking,
            self.is_dead_letter,
            self.is_told,
        ];
        (flags.iter().rev()).fold(0, |bits, flag| bits << 1 | u8::from(*flag))
    }

    fn from_bits(bits: u8) -> Self {
        let is = |bit: u32| bits >> bit & 1 == 1;
        Self {
            is_repeatable: is(0),
            has_verify: is(1),
            is_in_doubt: is(2),
            is_asking: is(3),
            is_dead_letter: is(4),
            is_told: is(5),
        }
    }
}

/// Bytes outside of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes {
    pub(super) address: u64,
    pub(super) length: u32,
}

/// A message, but for what is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: MessageId,
    pub(super) state: State,
    pub(super) flags: Flags,
    pub(super) attempts: u16,
    pub(super) created_at: Timestamp,
    pub(super) due: Timestamp,
    /// When it ended, if it has.
    pub(super) last_attempt_by: Timestamp,
    pub(super) lane: u64,
    pub(super) host: u64,
    pub(super) scope: u64,
    pub(super) request: Bytes,
    pub(super) outcome: Option<Bytes>,
    pub(super) outcome_room: u32,
    pub(super) settled_after: Duration,
    pub(super) most_attempts: u16,
    pub(super) asked: u16,
    pub(super) told: u16,
}

impl Message {
    /// What it is charged with: itself, what is sent, and its outcome or the room that is kept for that.
    pub(super) fn charge(&self) -> u64 {
        let outcome = match (self.state, self.outcome) {
            (State::Ended, outcome) => outcome.map_or(0, |outcome| outcome.length),
            _ => self.outcome_room,
        };
        MESSAGE_BYTES as u64 + u64::from(self.request.length) + u64::from(outcome)
    }

    /// Puts the row and the zeros after it together; its length without them.
    pub(super) fn write(&self, bytes: &mut RowBytes) -> usize {
        let name = name(self.id);
        let outcome = self.outcome.unwrap_or(Bytes {
            address: 0,
            length: 0,
        });
        let place = |address| BlobPlace { address, drops: 0 }.bytes();
        let settled_after = u32::try_from(self.settled_after.as_millis()).unwrap_or(u32::MAX);
        bytes[0] = match self.state {
            State::Waiting => 1,
            State::UnderWay => 2,
            State::Ended => 3,
        };
        bytes[1] = self.flags.bits();
        bytes[2..4].copy_from_slice(&self.attempts.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.created_at.as_nanos().to_le_bytes());
        bytes[12..28].copy_from_slice(&name[8..]);
        bytes[28..36].copy_from_slice(&self.due.as_nanos().to_le_bytes());
        bytes[36..44].copy_from_slice(&self.last_attempt_by.as_nanos().to_le_bytes());
        bytes[44..52].copy_from_slice(&self.lane.to_le_bytes());
        bytes[52..60].copy_from_slice(&self.host.to_le_bytes());
        bytes[60..68].copy_from_slice(&self.scope.to_le_bytes());
        bytes[68..76].copy_from_slice(&place(self.request.address));
        bytes[76..80].copy_from_slice(&self.request.length.to_le_bytes());
        bytes[80..88].copy_from_slice(&place(outcome.address));
        bytes[88..92].copy_from_slice(&outcome.length.to_le_bytes());
        bytes[92..96].copy_from_slice(&self.outcome_room.to_le_bytes());
        bytes[96..100].copy_from_slice(&settled_after.to_le_bytes());
        bytes[100..102].copy_from_slice(&self.most_attempts.to_le_bytes());
        bytes[102..104].copy_from_slice(&self.asked.to_le_bytes());
        bytes[104..106].copy_from_slice(&self.told.to_le_bytes());
        bytes[106..MESSAGE_BYTES + TERMINATOR].copy_from_slice(&[0; 2 + TERMINATOR]);
        MESSAGE_BYTES
    }

    /// Reads a row.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut rest = bytes.get(..MESSAGE_BYTES).ok_or(Damaged)?;
        let rest = &mut rest;
        let [state, flags] = field(rest);
        let state = match state {
            1 => State::Waiting,
            2 => State::UnderWay,
            3 => State::Ended,
            _ => return Err(Damaged),
        };
        let attempts = u16::from_le_bytes(field(rest));
        let mut word = || u64::from_le_bytes(field(rest));
        let (created_at, number, turned) = (word(), word(), word());
        let id = MessageId::from_u64(number);
        if name(id)[16..] != turned.to_le_bytes() {
            return Err(Damaged);
        }
        let (due, last_attempt_by) = (word(), word());
        let (lane, host, scope) = (word(), word(), word());
        let mut blob = || Bytes {
            address: BlobPlace::from_bytes(field(rest)).address,
            length: u32::from_le_bytes(field(rest)),
        };
        let (request, outcome) = (blob(), blob());
        let outcome_room = u32::from_le_bytes(field(rest));
        let settled_after = Duration::from_millis(u32::from_le_bytes(field(rest)).into());
        let [most_attempts, asked, told] = [(); 3].map(|()| u16::from_le_bytes(field(rest)));
        let outcome = (outcome.length > 0).then_some(outcome);
        let lengths = [
            request.length,
            outcome.map_or(0, |it| it.length),
            outcome_room,
        ];
        if (state == State::Ended) != outcome.is_some() || lengths.iter().any(|it| *it > MOST_BYTES)
        {
            return Err(Damaged);
        }
        Ok(Self {
            id,
            state,
            flags: Flags::from_bits(flags),
            attempts,
            created_at: Timestamp::from_nanos(created_at),
            due: Timestamp::from_nanos(due),
            last_attempt_by: Timestamp::from_nanos(last_attempt_by),
            lane,
            host,
            scope,
            request,
            outcome,
            outcome_room,
            settled_after,
            most_attempts,
            asked,
            told,
        })
    }
}

/// The name by which a message is found. Numbers are not chosen by anybody, so it need not be hard to find two that come close.
pub(super) fn name(id: MessageId) -> [u8; 24] {
    let mut name = [0; 24];
    name[..8].copy_from_slice(&mix(id.as_u64()).to_le_bytes());
    name[8..16].copy_from_slice(&id.as_u64().to_le_bytes());
    name[16..].copy_from_slice(&(!id.as_u64()).to_le_bytes());
    name
}

/// As SplitMix64 does: each bit of the number changes half of the bits.
pub(super) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// Messages, and what is kept with each partition of them.
pub(super) struct Messages;

/// What the messages of a partition are charged with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) bytes: u64,
}

impl From<[u64; 2]> for Totals {
    fn from([bytes, _]: [u64; 2]) -> Self {
        Self { bytes }
    }
}

impl From<Totals> for [u64; 2] {
    fn from(totals: Totals) -> Self {
        [totals.bytes, 0]
    }
}

impl Family for Messages {
    const INDEX: usize = 0;
    const KIND: Kind = Kind::MESSAGE;
    const MOST_PARTITIONS: u16 = 512;
    const TABLE: u64 = 4_096;
    const MOST_BYTES: usize = MESSAGE_BYTES + TERMINATOR;
    const FIRST_READ: usize = MESSAGE_BYTES;
    type Own = Totals;

    fn row(bytes: &[u8]) -> Result<Option<Row>, Damaged> {
        match bytes.first() {
            None | Some(0) => return Ok(None),
            Some(1..=3) if bytes.len() < MESSAGE_BYTES => return Ok(None),
            Some(1..=3) => {}
            Some(_) => return Err(Damaged),
        }
        let mut rest = &bytes[4..];
        let rest = &mut rest;
        Ok(Some(Row {
            length: MESSAGE_BYTES,
            time: u64::from_le_bytes(field(rest)),
            tail: field(rest),
        }))
    }

    fn has_alias(_: &[u8], _: &[u8; 16]) -> bool {
        false
    }

    /// What was sent: its outcome is written to the table at once.
    fn blob(bytes: &[u8]) -> Option<(BlobPlace, usize)> {
        let message = Message::read(bytes).ok()?;
        let place = BlobPlace {
            address: message.request.address,
            drops: 0,
        };
        Some((place, message.request.length as usize))
    }

    fn count(own: &mut Totals, bytes: &[u8]) {
        let charge = Message::read(bytes).map_or(0, |message| message.charge());
        own.bytes = own.bytes.saturating_add(charge);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message() -> impl Strategy<Value = Message> {
        let words = any::<[u64; 6]>();
        let small = any::<([u16; 4], [u32; 2])>();
        let blobs = (0..1u64 << 36, 1..=MOST_BYTES, 0..1u64 << 36, 1..=MOST_BYTES);
        (words, small, blobs, 0..64u8, 0..3u8).prop_map(|(words, small, blobs, flags, state)| {
            let ([attempts, most_attempts, asked, told], [room, millis]) = small;
            let [id, created_at, due, lane, host, scope] = words;
            let state = [State::Waiting, State::UnderWay, State::Ended][usize::from(state)];
            Message {
                id: MessageId::from_u64(id),
                state,
                flags: Flags::from_bits(flags),
                attempts,
                created_at: Timestamp::from_nanos(created_at),
                due: Timestamp::from_nanos(due),
                last_attempt_by: Timestamp::from_nanos(due ^ created_at),
                lane,
                host,
                scope,
                request: Bytes {
                    address: blobs.0,
                    length: blobs.1,
                },
                outcome: (state == State::Ended).then_some(Bytes {
                    address: blobs.2,
                    length: blobs.3,
                }),
                outcome_room: room % MOST_BYTES,
                settled_after: Duration::from_millis(millis.into()),
                most_attempts,
                asked,
                told,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(message in message()) {
            let mut bytes = [7; 192];
            let length = message.write(&mut bytes);
            prop_assert_eq!(Message::read(&bytes[..length]), Ok(message.clone()));
            let row = Messages::row(&bytes).unwrap().unwrap();
            prop_assert_eq!(row.length, length);
            prop_assert_eq!(row.tail.as_slice(), &name(message.id)[8..]);
            prop_assert_eq!(&bytes[length..length + TERMINATOR], &[0; TERMINATOR]);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..192)) {
            let _ = (Message::read(&bytes), Messages::row(&bytes));
        }
    }
}
