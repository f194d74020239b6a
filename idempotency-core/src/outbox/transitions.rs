//! What becomes of a message: each change of one is here.

use super::{
    contents::{Contents, GIVEN_UP_AFTER, place},
    key::ticket,
    message::{Bytes, Flags, Message, Messages, State, name},
    outcome::{MessageId, Outcome},
    policy::Policy,
};
use crate::{
    table::{Composed, Damaged},
    time::Timestamp,
};
use ic_stable_structures::Memory;

impl<M: Memory> Contents<M> {
    /// Writes what has changed of a message that has not ended.
    fn rewrite(&mut self, message: &Message) -> Result<(), Damaged> {
        let open = self.open.get_mut(&message.id.as_u64()).ok_or(Damaged)?;
        open.message.clone_from(message);
        (self.table).rewrite(open.at.address, |bytes| message.write(bytes))
    }

    /// An attempt, or a question, is made: it is under way.
    pub(super) fn send(
        &mut self,
        number: u64,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<Message, Damaged> {
        let mut message = self.open.get(&number).ok_or(Damaged)?.message.clone();
        let was_due = message.due;
        message.state = State::UnderWay;
        message.due = now.plus(GIVEN_UP_AFTER);
        let counter = match message.flags.is_asking {
            true => &mut message.asked,
            false => &mut message.attempts,
        };
        *counter = counter.saturating_add(1);
        self.rewrite(&message)?;
        self.schedule
            .send(place(&message), was_due, (now, message.due), policy);
        Ok(message)
    }

    /// What is under way with this ticket, if it is.
    pub(super) fn with_ticket(&self, wanted: u32) -> Option<Message> {
        let messages = (self.schedule.all_under_way()).filter_map(|number| self.open.get(&number));
        let mut messages = messages.map(|open| &open.message);
        let found = messages.find(|message| ticket(self.birth(), message) == wanted);
        found.cloned()
    }

    /// What is under way with these counts, if it is.
    pub(super) fn under_way(&self, id: MessageId, attempts: u16, asked: u16) -> Option<Message> {
        let message = &self.open.get(&id.as_u64())?.message;
        let is_it = message.state == State::UnderWay
            && (message.attempts, message.asked) == (attempts, asked);
        is_it.then(|| message.clone())
    }

    /// What was under way is so no more: it has ended, or waits. `message` is what becomes of it.
    pub(super) fn settle(
        &mut self,
        message: Message,
        outcome: Option<Outcome>,
        now: Timestamp,
        is_told_of: bool,
    ) -> Result<(), Damaged> {
        let before = self
            .open
            .get(&message.id.as_u64())
            .ok_or(Damaged)?
            .message
            .clone();
        if before.state == State::UnderWay {
            self.schedule.answered(before.id.as_u64(), before.due);
        }
        match outcome {
            None => {
                self.rewrite(&message)?;
                self.schedule.wait(place(&message), message.due);
                Ok(())
            }
            Some(outcome) => self.end(&before, message.flags, outcome, now, is_told_of),
        }
    }

    fn end(
        &mut self,
        before: &Message,
        flags: Flags,
        outcome: Outcome,
        now: Timestamp,
        is_told_of: bool,
    ) -> Result<(), Damaged> {
        self.schedule.leave(place(before), before.due);
        self.count(before, false);
        let mut message = before.clone();
        message.state = State::Ended;
        (message.due, message.last_attempt_by) = (now, now);
        message.flags = Flags {
            is_dead_letter: outcome.is_dead_letter(),
            is_told: !is_told_of,
            is_asking: false,
            ..flags
        };
        let outcome = outcome.bytes_within(before.outcome_room as usize);
        let at = self.open.get(&message.id.as_u64()).ok_or(Damaged)?.at;
        // Most often it needs nothing: there was room since the message was taken.
        self.reserve(outcome.len() as u64);
        let (table, messages) = (&mut self.table, &mut self.messages);
        let (charged, mut charge) = (before.charge(), 0);
        table.overwrite(messages, at, Some(&outcome), |bytes, partition, blob| {
            message.outcome = Some(Bytes {
                address: blob.unwrap_or(0),
                length: outcome.len() as u32,
            });
            charge = message.charge();
            let own = &mut partition.own.bytes;
            *own = own.saturating_add(charge).saturating_sub(charged);
            Composed {
                length: message.write(bytes),
                must_write: true,
            }
        })?;
        self.bytes = self.bytes.saturating_add(charge).saturating_sub(charged);
        if is_told_of {
            self.schedule.tell(message.id.as_u64(), now);
        }
        let may_close = message.flags.is_told && !message.flags.is_dead_letter;
        let id = message.id;
        self.open.get_mut(&id.as_u64()).ok_or(Damaged)?.message = message;
        if may_close {
            self.close(id)?;
        }
        Ok(())
    }

    /// Its end is told now, and if that fails, again at a time.
    pub(super) fn begin_telling(&mut self, number: u64, again: Timestamp) -> Result<(), Damaged> {
        let mut message = self.open.get(&number).ok_or(Damaged)?.message.clone();
        self.schedule.told(number, message.due);
        message.told = message.told.saturating_add(1);
        message.due = again;
        self.rewrite(&message)?;
        self.schedule.tell(number, again);
        Ok(())
    }

    /// Its end was told: whether it was to be.
    pub(super) fn told(&mut self, id: MessageId) -> Result<bool, Damaged> {
        let Some(open) = self.open.get(&id.as_u64()) else {
            return Ok(false);
        };
        let mut message = open.message.clone();
        if message.state != State::Ended || message.flags.is_told {
            return Ok(false);
        }
        self.schedule.told(id.as_u64(), message.due);
        message.flags.is_told = true;
        self.rewrite(&message)?;
        if !message.flags.is_dead_letter {
            self.close(id)?;
        }
        Ok(true)
    }

    /// A dead letter is one no more; whether it was.
    pub(super) fn dismiss(&mut self, id: MessageId) -> Result<bool, Damaged> {
        let Some(open) = self.open.get(&id.as_u64()) else {
            return Ok(false);
        };
        let mut message = open.message.clone();
        if message.state != State::Ended || !message.flags.is_dead_letter {
            return Ok(false);
        }
        message.flags.is_dead_letter = false;
        self.rewrite(&message)?;
        if message.flags.is_told {
            self.close(id)?;
        }
        Ok(true)
    }

    /// A dead letter is sent once more, as if it were new: whether it was one.
    pub(super) fn resend(
        &mut self,
        id: MessageId,
        last_attempt_by: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Damaged> {
        let Some(open) = self.open.get(&id.as_u64()) else {
            return Ok(false);
        };
        let (before, at) = (open.message.clone(), open.at);
        if before.state != State::Ended || !before.flags.is_dead_letter {
            return Ok(false);
        }
        self.schedule.told(id.as_u64(), before.due);
        let message = Message {
            state: State::Waiting,
            outcome: None,
            due: now,
            last_attempt_by,
            attempts: 0,
            asked: 0,
            told: 0,
            flags: Flags {
                is_dead_letter: false,
                is_told: false,
                // A message that is in doubt asks first.
                is_asking: before.flags.is_in_doubt && before.flags.has_verify,
                ..before.flags
            },
            ..before
        };
        let (charged, charge) = (before.charge(), message.charge());
        let (table, messages) = (&mut self.table, &mut self.messages);
        table.overwrite(messages, at, None, |bytes, partition, _| {
            let own = &mut partition.own.bytes;
            *own = own.saturating_add(charge).saturating_sub(charged);
            Composed {
                length: message.write(bytes),
                must_write: true,
            }
        })?;
        self.bytes = self.bytes.saturating_add(charge).saturating_sub(charged);
        self.count(&message, true);
        self.reserve(0);
        self.schedule.wait(place(&message), now);
        self.open.get_mut(&id.as_u64()).ok_or(Damaged)?.message = message;
        Ok(true)
    }

    pub(super) fn close(&mut self, id: MessageId) -> Result<(), Damaged> {
        let Some(open) = self.open.remove(&id.as_u64()) else {
            return Ok(());
        };
        self.table.link::<Messages>(&name(id), open.at)?;
        self.cells.free(&self.table.segments, open.cell)
    }
}
