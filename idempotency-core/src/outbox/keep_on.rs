//! Forgetting a partition, and bringing what must be kept of it to another one.

use super::{
    contents::{Contents, NO_NAME},
    message::{Message, State},
    outcome::MessageId,
    policy::Policy,
};
use crate::{
    table::{Composed, Damaged, Link, RowAt},
    time::{Timestamp, nanos},
};
use ic_stable_structures::Memory;
use std::time::Duration;

/// So many messages are brought to another partition at a time.
const MOST_MOVED: usize = 8;

impl<M: Memory> Contents<M> {
    /// Forgets the oldest partition; whether that was possible. Of what it holds, all that has not ended, or was not told, is kept for longer; dead
    /// letters that were told go.
    pub(super) fn forget_oldest(
        &mut self,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<bool, Damaged> {
        let Some(oldest) = self.messages.oldest() else {
            return Ok(false);
        };
        let until = oldest.until;
        let has_expired = until < now.as_nanos();
        let number = self.messages.oldest_number(self.header());
        let inside = self
            .open
            .values()
            .filter(|open| open.at.partition == number);
        // A dead letter that somebody was told of is kept for as long as was promised.
        let goes = |message: &Message| {
            has_expired
                && message.state == State::Ended
                && message.flags.is_told
                && message.told > 0
        };
        let (going, staying): (Vec<_>, Vec<_>) = inside
            .map(|open| (open.message.id, goes(&open.message)))
            .partition(|(_, goes)| *goes);
        for (id, _) in going {
            self.close(id)?;
        }
        let has_more = staying.len() > MOST_MOVED;
        let length = nanos(policy.reach(policy.max_age)).max(1);
        let until = now
            .plus(Duration::from_nanos(length))
            .as_nanos()
            .max(until.saturating_add(1));
        for (id, _) in staying.into_iter().take(MOST_MOVED) {
            if !self.keep_on(id, Timestamp::from_nanos(until), policy)? {
                return Ok(false);
            }
        }
        if has_more {
            return Ok(false);
        }
        let left = self.messages.oldest().map_or(0, |oldest| oldest.own.bytes);
        self.table.forget_oldest(&mut self.messages);
        self.table.segments.write_header();
        self.bytes = self.bytes.saturating_sub(left);
        Ok(true)
    }

    /// Brings a message to a partition that is kept until a time, or longer; whether there is room for it.
    fn keep_on(
        &mut self,
        id: MessageId,
        until: Timestamp,
        policy: &Policy,
    ) -> Result<bool, Damaged> {
        let open = self.open.get(&id.as_u64()).ok_or(Damaged)?;
        let (mut message, cell, before) = (open.message.clone(), open.cell, open.at);
        if !self.reserve(2 * message.charge()) {
            return Ok(false);
        }
        let request = self.request(&message)?;
        let outcome = message.outcome.map(|outcome| self.blob(outcome));
        let outcome = outcome.transpose()?;
        let partition = self.partition_for(until, policy);
        let (charge, time) = (message.charge(), message.created_at.as_nanos());
        let (table, messages) = (&mut self.table, &mut self.messages);
        let address = table.add(
            messages,
            partition,
            &NO_NAME,
            (time, Some(&request)),
            Link::Later,
            |bytes, partition, blob| {
                message.request.address = blob.unwrap_or(0);
                let own = &mut partition.own.bytes;
                *own = own.saturating_add(charge);
                Composed {
                    length: message.write(bytes),
                    must_write: true,
                }
            },
        )?;
        let at = RowAt { address, partition };
        if let Some(outcome) = outcome {
            table.overwrite(messages, at, Some(&outcome), |bytes, _, blob| {
                if let Some(outcome) = &mut message.outcome {
                    outcome.address = blob.unwrap_or(0);
                }
                Composed {
                    length: message.write(bytes),
                    must_write: true,
                }
            })?;
        }
        table.forget_unlinked(messages, before.partition, |own| {
            own.bytes = own.bytes.saturating_sub(charge);
        });
        self.write_cell(cell, id, at)?;
        let open = self.open.get_mut(&id.as_u64()).ok_or(Damaged)?;
        (open.message, open.at) = (message, at);
        Ok(true)
    }
}
