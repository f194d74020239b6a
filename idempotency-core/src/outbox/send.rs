//! What a canister does with its outbox.

use super::{
    contents::{Contents, NoRoom},
    drive,
    handle::{Access, Outbox},
    message::{Bytes, Flags, Message, State},
    outcome::{Ended, MessageId},
    request::Request,
    status::{Overview, SendError, Status},
    stored::Stored,
};
use crate::{
    runtime::{Answer, Canister, Egress, Runtime as _},
    table::Damaged,
    time::Timestamp,
};
use ic_stable_structures::Memory;
use std::{cell::RefCell, thread::LocalKey};

/// What an outcome takes besides the answer's headers and body, at the most.
const OUTCOME_BYTES: u32 = 1_024;

/// Opens the outbox, and sets its timer if something is to be sent: call it in `init` and in `post_upgrade`.
///
/// Without it, what lies in the outbox after an upgrade waits until the next message is sent into it.
///
/// # Panics
/// As [`Outbox::new`].
pub fn install<M: Memory>(outbox: &'static LocalKey<Outbox<M>>) {
    enlist(outbox);
    drive::schedule(&Canister, &outbox, Canister.time());
}

type Taker = Box<dyn Fn(u32, &mut Option<Answer>) -> bool>;

thread_local! {
    /// The outboxes of this heap: each takes the answers that are its own.
    static TAKERS: RefCell<Vec<Taker>> = const { RefCell::new(vec![]) };
}

/// Has answers to an outbox's outcalls come to it.
fn enlist<M: Memory>(outbox: &'static LocalKey<Outbox<M>>) {
    if outbox.with(|outbox| outbox.is_enlisted.replace(true)) {
        return;
    }
    let take = move |ticket, answer: &mut _| drive::answered(&Canister, &outbox, ticket, answer);
    TAKERS.with_borrow_mut(|takers| takers.push(Box::new(take)));
    Canister.on_answer(|ticket, answer| {
        let mut answer = Some(answer);
        TAKERS.with_borrow(|takers| takers.iter().any(|take| take(ticket, &mut answer)));
    });
}

/// What is done with an outbox through the thread-local variable that holds it: `OUTBOX.send(request)`.
pub trait Sends {
    /// Takes a message, to be sent from now on. It is in the outbox when the present message commits, and not if that traps; so
    /// call it in the same message as the change of state that it tells of, with no `await` between.
    ///
    /// Some 15,000 instructions, and some for each byte.
    ///
    /// # Errors
    /// [`SendError`]: nothing has changed.
    fn send(&'static self, request: Request) -> Result<MessageId, SendError>;

    /// How far a message is; `None` if the outbox does not hold it any more, or never did.
    ///
    /// Whoever may know it is for the canister to say: an answer of a server may hold secrets.
    ///
    /// # Errors
    /// [`Damaged`].
    fn status(&'static self, id: MessageId) -> Result<Option<Status>, Damaged>;

    /// Messages that ended as Dead or Unknown and were not dismissed: at most so many, those after `after`, the oldest first. They are kept
    /// until they are [dismissed](Self::dismiss) or [sent again](Self::resend); where [`on_end`](Outbox::on_end) was told of
    /// them, only for as long as [`Policy::retention`](super::Policy::retention) says.
    ///
    /// # Errors
    /// [`Damaged`].
    fn dead_letters(
        &'static self,
        after: Option<MessageId>,
        most: usize,
    ) -> Result<Vec<Ended>, Damaged>;

    /// Lets a dead letter go: whether it was one.
    ///
    /// # Errors
    /// [`Damaged`].
    fn dismiss(&'static self, id: MessageId) -> Result<bool, Damaged>;

    /// Sends a dead letter once more, with the same key, as if it were new: whether it was one. If its end is Unknown, and the server does not
    /// honour the key for that long, this may have a second effect; with a [`verify`](Request::verify) the server is asked first.
    ///
    /// # Errors
    /// [`Damaged`].
    fn resend(&'static self, id: MessageId) -> Result<bool, Damaged>;

    /// What the outbox holds, and why nothing is sent if that is so.
    ///
    /// # Errors
    /// [`Damaged`].
    fn overview(&'static self) -> Result<Overview, Damaged>;
}

impl<M: Memory> Sends for LocalKey<Outbox<M>> {
    fn send(&'static self, request: Request) -> Result<MessageId, SendError> {
        enlist(self);
        send(&Canister, &self, request)
    }

    fn status(&'static self, id: MessageId) -> Result<Option<Status>, Damaged> {
        self.with(|outbox| outbox.status(id))
    }

    fn dead_letters(
        &'static self,
        after: Option<MessageId>,
        most: usize,
    ) -> Result<Vec<Ended>, Damaged> {
        self.with(|outbox| outbox.dead_letters(after, most))
    }

    fn dismiss(&'static self, id: MessageId) -> Result<bool, Damaged> {
        self.with(|outbox| outbox.contents()?.dismiss(id))
    }

    fn resend(&'static self, id: MessageId) -> Result<bool, Damaged> {
        enlist(self);
        let now = Canister.time();
        let is_sent = self.with(|outbox| outbox.resend(id, now))?;
        drive::schedule(&Canister, &self, now);
        Ok(is_sent)
    }

    fn overview(&'static self) -> Result<Overview, Damaged> {
        self.with(Outbox::overview)
    }
}

/// [`Sends::send`], on any runtime.
pub(super) fn send(
    runtime: &impl Egress,
    outbox: &impl Access,
    request: Request,
) -> Result<MessageId, SendError> {
    let now = runtime.time();
    let id = outbox.with(|outbox| outbox.take(request, now))?;
    drive::wake(runtime, outbox, now);
    Ok(id)
}

impl<M: Memory> Outbox<M> {
    fn take(&self, request: Request, now: Timestamp) -> Result<MessageId, SendError> {
        let checked = request.check()?;
        if checked.has_verify && self.verify.is_none() {
            return Err(SendError::NoVerifier);
        }
        let max_age = checked.max_age.unwrap_or(self.policy.max_age);
        let most_attempts = checked
            .max_attempts
            .unwrap_or(self.policy.max_attempts.into());
        let mut message = Message {
            id: MessageId::from_u64(0),
            state: State::Waiting,
            flags: Flags {
                is_repeatable: checked.is_repeatable,
                has_verify: checked.has_verify,
                ..Flags::default()
            },
            attempts: 0,
            created_at: now,
            due: now,
            last_attempt_by: now.plus(max_age),
            lane: checked.lane,
            host: checked.host,
            scope: checked.scope,
            request: Bytes {
                address: 0,
                length: checked.stored.len() as u32,
            },
            outcome: None,
            outcome_room: OUTCOME_BYTES + checked.max_response_bytes,
            settled_after: checked.settled_after,
            most_attempts: u16::try_from(most_attempts).unwrap_or(u16::MAX),
            asked: 0,
            told: 0,
        };
        let mut contents = self.contents()?;
        let room = (message.scope, message.charge());
        match contents.make_room(room, now, &self.policy)? {
            Ok(()) => {}
            Err(NoRoom::Full) => return Err(SendError::Full),
            Err(NoRoom::Quota) => return Err(SendError::QuotaExceeded),
        }
        message.id = MessageId::from_u64(contents.next_number());
        let id = message.id;
        let until = now.plus(self.policy.reach(max_age));
        contents.add(message, &checked.stored, until, &self.policy)?;
        Ok(id)
    }

    pub(super) fn status(&self, id: MessageId) -> Result<Option<Status>, Damaged> {
        let mut contents = self.contents()?;
        let Some(message) = contents.find(id)? else {
            return Ok(None);
        };
        Ok(Some(match message.state {
            State::Waiting | State::UnderWay => Status::of_open(&message),
            State::Ended => Status::Ended(self.ended(&contents, &message)?),
        }))
    }

    /// What is told of a message that has ended.
    pub(super) fn ended(
        &self,
        contents: &Contents<M>,
        message: &Message,
    ) -> Result<Ended, Damaged> {
        let request = contents.request(message)?;
        let about = Stored::read(&request).map(|stored| stored.about().to_vec());
        Ok(Ended {
            id: message.id,
            outcome: contents.outcome(message)?.ok_or(Damaged)?,
            attempts: message.attempts.into(),
            created_at: message.created_at,
            ended_at: message.last_attempt_by,
            about: about.unwrap_or_default(),
        })
    }

    pub(super) fn dead_letters(
        &self,
        after: Option<MessageId>,
        most: usize,
    ) -> Result<Vec<Ended>, Damaged> {
        let contents = self.contents()?;
        let first = after.map_or(0, |after| after.as_u64().saturating_add(1));
        let open = contents.open.range(first..).map(|(_, open)| &open.message);
        let dead = open
            .filter(|message| message.flags.is_dead_letter)
            .take(most);
        dead.map(|message| self.ended(&contents, message)).collect()
    }

    pub(super) fn resend(&self, id: MessageId, now: Timestamp) -> Result<bool, Damaged> {
        let last_attempt_by = now.plus(self.policy.max_age);
        self.contents()?.resend(id, last_attempt_by, now)
    }

    pub(super) fn overview(&self) -> Result<Overview, Damaged> {
        let contents = self.contents()?;
        let open = contents.open.values();
        Ok(Overview {
            waiting: contents.waiting.messages,
            under_way: open
                .clone()
                .filter(|it| it.message.state == State::UnderWay)
                .count() as u64,
            dead_letters: open.filter(|it| it.message.flags.is_dead_letter).count() as u64,
            messages: contents.held(),
            bytes: contents.bytes,
            parked: match contents.waiting.messages {
                0 => None,
                _ => self.parked.borrow().clone(),
            },
        })
    }
}
