//! What an outbox holds: its memory, and on the heap what of it has not ended.

use super::{
    message::{Bytes, Message, Messages, State, name},
    outcome::{MessageId, Outcome},
    policy::Policy,
    schedule::{Place, Schedule},
};
use crate::{
    table::{
        Cells, Composed, Damaged, FIRST_SEGMENT, Family, Header, Link, MOST_INDEX_SEGMENTS,
        OpenError, Opening, Partitions, Purpose, RowAt, SEGMENT_BYTES, Table, field, read_blob,
    },
    time::{Timestamp, nanos},
};
use ic_stable_structures::Memory;
use std::{collections::BTreeMap, time::Duration};

/// An outcall whose answer was lost in a trap is given up after so long.
pub(super) const GIVEN_UP_AFTER: Duration = Duration::from_secs(300);

/// An outcall that an upgrade cut off is not under way any more after so long: the IC gives each up after a minute.
const CUT_OFF_AFTER: Duration = Duration::from_secs(90);

/// Of a row to which no name leads yet.
pub(super) const NO_NAME: [u8; 24] = [0; 24];

/// What a name takes of the index when its message ends: a slot, and its share of buckets that are split.
const INDEX_BYTES_OF_A_MESSAGE: u64 = 128;

/// Of what lies in a chain, in a segment.
const USED_BYTES: u64 = SEGMENT_BYTES - 8;

/// A message with a cell of its own: it has not ended, or nobody was told, or it is a dead letter.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) message: Message,
    pub(super) at: RowAt,
    pub(super) cell: u32,
}

/// What the messages of one scope that have not ended take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    Full,
    Quota,
}

/// All that an outbox holds.
pub(super) struct Contents<M: Memory> {
    pub(super) table: Table<M>,
    pub(super) messages: Partitions<Messages>,
    pub(super) cells: Cells,
    pub(super) open: BTreeMap<u64, Box<Open>>,
    scopes: BTreeMap<u64, Taken>,
    pub(super) schedule: Schedule,
    /// What has not ended.
    pub(super) waiting: Taken,
    /// Room that is kept for outcomes.
    pub(super) outcome_room: u64,
    pub(super) bytes: u64,
}

/// When and as which the outbox was made: no other one was made like this.
pub(super) type Birth = [u64; 3];

impl<M: Memory> Contents<M> {
    /// What `memory` holds, or an empty outbox if it was never used.
    pub(super) fn open(memory: M, birth: Birth) -> Result<Self, OpenError> {
        let pages = |is_new| match is_new {
            true => u64::from(FIRST_SEGMENT) + 4,
            false => 0,
        };
        let most = [Messages::MOST_PARTITIONS, 0];
        let opening = Opening::read(memory, Purpose::Messages, true, most, pages)?;
        let messages = opening.partitions::<Messages>()?;
        let mut open = BTreeMap::new();
        let cells = opening.cells(|cell, bytes| {
            let mut rest = bytes.as_slice();
            let number = u64::from_le_bytes(field(&mut rest));
            let address = u64::from_le_bytes(field(&mut rest));
            let partition = u16::from_le_bytes(field(&mut rest));
            let is_known = messages.get(opening.header(), partition).is_some();
            let message =
                Message::read(&opening.row::<{ super::message::MESSAGE_BYTES }>(address)?)?;
            let at = RowAt { address, partition };
            let found = Open { message, at, cell };
            if !is_known
                || found.message.id.as_u64() != number
                || open.insert(number, Box::new(found)).is_some()
            {
                return Err(Damaged);
            }
            Ok(())
        })?;
        if (open.last_key_value()).is_some_and(|(number, _)| *number >= cells.next_number()) {
            return Err(Damaged.into());
        }
        let bytes = messages.iter().map(|partition| partition.own.bytes);
        let bytes = bytes.fold(0, u64::saturating_add);
        let mut words = opening.header().words;
        if opening.header().incarnation == 0 {
            words[..3].copy_from_slice(&birth);
        }
        let mut contents = Self {
            table: opening.open(words, |_| ()),
            messages,
            cells,
            open,
            scopes: BTreeMap::new(),
            schedule: Schedule::default(),
            waiting: Taken::default(),
            outcome_room: 0,
            bytes,
        };
        contents.count_open();
        Ok(contents)
    }

    /// Counts and schedules what was found open.
    fn count_open(&mut self) {
        let found: Vec<_> = self
            .open
            .values()
            .map(|open| open.message.clone())
            .collect();
        // These had their turn.
        for message in found.iter().filter(|it| it.state == State::UnderWay) {
            let began = message.due.as_nanos().saturating_sub(nanos(GIVEN_UP_AFTER));
            let until = Timestamp::from_nanos(began).plus(CUT_OFF_AFTER);
            self.count(message, true);
            self.schedule.cut_off(place(message), until);
        }
        for message in &found {
            match message.state {
                State::Waiting => {
                    self.count(message, true);
                    self.schedule.wait(place(message), message.due);
                }
                State::Ended if !message.flags.is_told => {
                    self.schedule.tell(message.id.as_u64(), message.due);
                }
                State::Ended | State::UnderWay => {}
            }
        }
    }

    pub(super) fn header(&self) -> &Header {
        &self.table.segments.header
    }

    pub(super) fn birth(&self) -> Birth {
        let [a, b, c, ..] = self.header().words;
        [a, b, c]
    }

    /// Whether another outbox has opened the memory since.
    pub(super) fn is_superseded(&self) -> bool {
        Header::read_incarnation(&self.table.segments.memory) != self.header().incarnation
    }

    /// How many messages it holds.
    pub(super) fn held(&self) -> u64 {
        self.messages.rows
    }

    pub(super) fn count(&mut self, message: &Message, is_more: bool) {
        let charge = message.charge();
        let change = |taken: &mut Taken| match is_more {
            true => {
                taken.messages += 1;
                taken.bytes += charge;
            }
            false => {
                taken.messages = taken.messages.saturating_sub(1);
                taken.bytes = taken.bytes.saturating_sub(charge);
            }
        };
        change(&mut self.waiting);
        let room = u64::from(message.outcome_room);
        self.outcome_room = match is_more {
            true => self.outcome_room + room,
            false => self.outcome_room.saturating_sub(room),
        };
        if message.scope != 0 {
            let taken = self.scopes.entry(message.scope).or_default();
            change(taken);
            if taken.messages == 0 {
                self.scopes.remove(&message.scope);
            }
        }
    }

    /// Makes room for a message of this scope that will be charged with so many bytes.
    pub(super) fn make_room(
        &mut self,
        (scope, charge): (u64, u64),
        now: Timestamp,
        policy: &Policy,
    ) -> Result<Result<(), NoRoom>, Damaged> {
        if let (Some(quota), true) = (policy.quota, scope != 0) {
            let taken = self.scopes.get(&scope).copied().unwrap_or_default();
            if taken.messages >= quota.messages || taken.bytes.saturating_add(charge) > quota.bytes
            {
                return Ok(Err(NoRoom::Quota));
            }
        }
        let has_expired = |messages: &Partitions<Messages>| {
            (messages.oldest()).is_some_and(|oldest| oldest.until < now.as_nanos())
        };
        if has_expired(&self.messages) {
            self.forget_oldest(now, policy)?;
        }
        loop {
            let is_full = self.messages.rows >= policy.capacity
                || self.bytes.saturating_add(charge) > policy.capacity_bytes;
            if !is_full {
                break;
            }
            // Something must have ended.
            if self.messages.rows <= self.open.len() as u64 || !self.forget_oldest(now, policy)? {
                return Ok(Err(NoRoom::Full));
            }
        }
        Ok(match self.reserve(charge) {
            true => Ok(()),
            false => Err(NoRoom::Full),
        })
    }

    /// Makes sure of segments for so many bytes, and for the ends of all that have not ended; `false` if the memory can't grow that far.
    pub(super) fn reserve(&self, bytes: u64) -> bool {
        let open = self.open.len() as u64;
        let ends = self.outcome_room + open * INDEX_BYTES_OF_A_MESSAGE;
        // A row, a cell, and the ends of two chains, in each partition.
        let begun = 2 * self.messages.len() as u64 + 4 + MOST_INDEX_SEGMENTS;
        let needed = (bytes + ends).div_ceil(USED_BYTES) + begun;
        self.table.segments.reserve(needed)
    }

    /// The partition for what is kept until a time: the first that lives as long, or else a new one.
    pub(super) fn partition_for(&mut self, until: Timestamp, policy: &Policy) -> u16 {
        let until = until.as_nanos();
        if let Some(number) = self.messages.kept_until(self.header(), until) {
            return number;
        }
        let length = (nanos(policy.reach(policy.max_age)) / 32).max(1);
        let until = until.div_ceil(length).saturating_mul(length);
        self.messages.begin(&mut self.table.segments, until)
    }

    /// A number that no message had before.
    pub(super) fn next_number(&mut self) -> u64 {
        self.cells.number(&self.table.segments)
    }

    /// Adds a message, for which there is room. Where its request lies is found here.
    pub(super) fn add(
        &mut self,
        mut message: Message,
        request: &[u8],
        until: Timestamp,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        let partition = self.partition_for(until, policy);
        let charge = message.charge();
        let time = message.created_at.as_nanos();
        let (table, messages) = (&mut self.table, &mut self.messages);
        let address = table.add(
            messages,
            partition,
            &NO_NAME,
            (time, Some(request)),
            Link::Later,
            |bytes, partition, blob| {
                message.request = Bytes {
                    address: blob.unwrap_or(0),
                    length: request.len() as u32,
                };
                let own = &mut partition.own.bytes;
                *own = own.saturating_add(charge);
                Composed {
                    length: message.write(bytes),
                    must_write: false,
                }
            },
        )?;
        self.bytes = self.bytes.saturating_add(charge);
        let at = RowAt { address, partition };
        let cell = self.cells.take(&mut self.table.segments)?;
        self.write_cell(cell, message.id, at)?;
        self.count(&message, true);
        self.schedule.wait(place(&message), message.due);
        let open = Open { message, at, cell };
        self.open.insert(open.message.id.as_u64(), Box::new(open));
        Ok(())
    }

    pub(super) fn write_cell(
        &mut self,
        cell: u32,
        id: MessageId,
        at: RowAt,
    ) -> Result<(), Damaged> {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&id.as_u64().to_le_bytes());
        bytes[8..16].copy_from_slice(&at.address.to_le_bytes());
        bytes[16..18].copy_from_slice(&at.partition.to_le_bytes());
        self.cells.write(&self.table.segments, cell, &bytes)
    }

    /// What is sent.
    pub(super) fn request(&self, message: &Message) -> Result<Vec<u8>, Damaged> {
        self.blob(message.request)
    }

    pub(super) fn blob(&self, Bytes { address, length }: Bytes) -> Result<Vec<u8>, Damaged> {
        self.table.segments.check(address, 1)?;
        read_blob(&self.table.segments, address, length as usize)
    }

    /// How it ended.
    pub(super) fn outcome(&self, message: &Message) -> Result<Option<Outcome>, Damaged> {
        let Some(outcome) = message.outcome else {
            return Ok(None);
        };
        Outcome::read(&self.blob(outcome)?).ok_or(Damaged).map(Some)
    }

    /// A message, if it is held.
    pub(super) fn find(&mut self, id: MessageId) -> Result<Option<Message>, Damaged> {
        if let Some(open) = self.open.get(&id.as_u64()) {
            return Ok(Some(open.message.clone()));
        }
        self.table.find(
            &self.messages,
            &name(id),
            |_, _, bytes| Message::read(bytes).map(Some),
            |_| None,
        )
    }
}

pub(super) fn place(message: &Message) -> Place {
    Place {
        number: message.id.as_u64(),
        lane: message.lane,
        host: message.host,
    }
}
