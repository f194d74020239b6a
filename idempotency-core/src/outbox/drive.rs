//! Timers and outcalls: what is due is sent, what has ended is told, what nobody answers is given up.
//!
//! Everything that a user's function does happens in a message of its own, so that its trap undoes nothing else.

use super::{
    answer::{Verdict, judge, read},
    handle::{Access, Outbox, Verifier},
    key::{idempotency_key, ticket},
    message::{Message, State},
    next::{Failure, Verification, after_attempt, after_question, too_old, unreadable},
    outcome::{Ended, MessageId, Reason},
    response::Response,
    status::Parked,
    stored::Stored,
};
use crate::{
    alarm::Due,
    runtime::{Answer, Egress, Outgoing},
    table::Damaged,
    time::Timestamp,
};
use candid::Principal;
use ic_stable_structures::Memory;
use std::time::Duration;

/// The outbox looks again after so long whether there are enough cycles.
const PARKED_FOR: Duration = Duration::from_secs(60);

/// What a call itself costs besides what goes with it, at the most: it is kept back until the answer comes.
const CALL_CYCLES: u128 = 50_000_000_000;

/// So much of each kind is done in one message.
const MOST_AT_A_TIME: usize = 64;

/// An outcall that is to be made.
struct Outcall {
    message: Message,
    ticket: u32,
    call: Outgoing,
}

/// Which outcall an answer belongs to.
#[derive(Clone, Copy)]
struct Asked {
    id: MessageId,
    attempts: u16,
    asked: u16,
    is_question: bool,
}

impl Asked {
    fn of(message: &Message) -> Self {
        Self {
            id: message.id,
            attempts: message.attempts,
            asked: message.asked,
            is_question: message.flags.is_asking,
        }
    }
}
/// Who says what an answer means, if anybody does, and what its message is about.
type Reading = (Option<Verifier>, Vec<u8>);

/// Who is told of an end, and what.
type Telling = (fn(&Ended), Ended);

/// Sets the timer for what is due next, unless it is set for that time or an earlier one.
pub(super) fn schedule(runtime: &impl Egress, outbox: &impl Access, now: Timestamp) {
    if let Some(Due { at, delay }) = outbox.with(|outbox| outbox.to_be_set(now)) {
        let (later, its) = (runtime.clone(), outbox.clone());
        runtime.surely_after(delay, move || run(&later, &its, at));
    }
}

/// As [`schedule`], at half the cost: if that timer's message traps, the next message that is sent sets another.
pub(super) fn wake(runtime: &impl Egress, outbox: &impl Access, now: Timestamp) {
    if let Some(Due { at, delay }) = outbox.with(|outbox| outbox.to_be_set(now)) {
        let (later, its) = (runtime.clone(), outbox.clone());
        runtime.after(delay, move || run(&later, &its, at));
    }
}

/// The timer that was set for `at` runs. A damaged outbox refuses messages, and no timer is set for it again.
fn run(runtime: &impl Egress, outbox: &impl Access, at: Timestamp) {
    let now = runtime.time();
    outbox.with(|outbox| outbox.alarm.rings(at));
    if work(runtime, outbox, now).is_ok() {
        schedule(runtime, outbox, now);
    }
}

fn work(runtime: &impl Egress, outbox: &impl Access, now: Timestamp) -> Result<(), Damaged> {
    outbox.with(|outbox| outbox.give_up(now))?;
    for id in outbox.with(|outbox| outbox.begin_telling(now))? {
        let (later, its) = (runtime.clone(), outbox.clone());
        runtime.after(Duration::ZERO, move || tell(&later, &its, id));
    }
    outbox.with(|outbox| {
        let mut contents = outbox.contents()?;
        contents.schedule.forget_called(now);
        Ok(())
    })?;
    for _ in 0..MOST_AT_A_TIME {
        let Some(number) = outbox.with(|outbox| outbox.next(now))? else {
            break;
        };
        let Some(outcall) = outbox.with(|outbox| outbox.prepare(number, runtime, now))? else {
            continue;
        };
        if let Err(rejected) = runtime.outcall(&outcall.call, outcall.ticket) {
            settle(runtime, outbox, Asked::of(&outcall.message), Err(rejected));
        }
    }
    Ok(())
}

/// The end of a message is told. What the function does is committed with the note that it was told.
fn tell(runtime: &impl Egress, outbox: &impl Access, id: MessageId) {
    let ended = outbox.with(|outbox| outbox.take_end(id));
    if let Ok(Some((on_end, ended))) = ended {
        // The outbox is free: the function may use it.
        on_end(&ended);
    }
    schedule(runtime, outbox, runtime.time());
}

/// The answer to an outcall that had this ticket comes. It is taken if that is one of this outbox's that is still under way, whichever heap has
/// made it; whether it is.
pub(super) fn answered(
    runtime: &impl Egress,
    outbox: &impl Access,
    ticket: u32,
    answer: &mut Option<Answer>,
) -> bool {
    let message = outbox.with(|outbox| outbox.contents().ok()?.with_ticket(ticket));
    let Some(message) = message else {
        return false;
    };
    if let Some(answer) = answer.take() {
        settle(runtime, outbox, Asked::of(&message), answer);
    }
    true
}

fn settle(runtime: &impl Egress, outbox: &impl Access, asked: Asked, answer: Answer) {
    let now = runtime.time();
    let answer = read(answer);
    let verdict = judge(&answer, now);
    let answer = answer.ok();
    if !asked.is_question {
        let _ = outbox.with(|outbox| outbox.attempted(asked, verdict, answer, now));
        return schedule(runtime, outbox, now);
    }
    let failure = match (verdict, answer) {
        (Verdict::Acknowledged | Verdict::Refused, Some(answer)) => {
            // It traps alone.
            let (later, its) = (runtime.clone(), outbox.clone());
            return runtime.after(Duration::ZERO, move || verify(&later, &its, asked, answer));
        }
        (Verdict::NotSent(reason), answer) => Failure {
            reason,
            answer,
            retry_after: None,
        },
        (
            Verdict::Uncertain {
                reason,
                retry_after,
            },
            answer,
        ) => Failure {
            reason,
            answer,
            retry_after,
        },
        (Verdict::Acknowledged | Verdict::Refused, None) => Failure {
            reason: Reason::NotVerified,
            answer: None,
            retry_after: None,
        },
    };
    let _ = outbox.with(|outbox| outbox.questioned(asked, Err(failure), now));
    schedule(runtime, outbox, now);
}

/// Has the canister's function say what a server's answer means.
fn verify(runtime: &impl Egress, outbox: &impl Access, asked: Asked, answer: Response) {
    let now = runtime.time();
    let verifier = outbox.with(|outbox| outbox.verifier(asked));
    if let Ok(Some((verify, about))) = verifier {
        let said = match verify {
            Some(verify) => verify(asked.id, &about, &answer),
            None => Verification::Unsure,
        };
        let _ = outbox.with(|outbox| outbox.questioned(asked, Ok((said, answer)), now));
    }
    schedule(runtime, outbox, now);
}

impl<M: Memory> Outbox<M> {
    /// The timer that must be set. From now on it counts as set.
    fn to_be_set(&self, now: Timestamp) -> Option<Due> {
        let contents = self.contents().ok()?;
        let due = contents
            .schedule
            .due(self.rests_until.get(), &self.policy)?;
        self.alarm.set(due, now)
    }

    /// Gives up what nobody has answered.
    fn give_up(&self, now: Timestamp) -> Result<(), Damaged> {
        for _ in 0..MOST_AT_A_TIME {
            let Some(number) = self.contents()?.schedule.next_overdue(now) else {
                break;
            };
            let message = match self.contents()?.open.get(&number) {
                Some(open) => open.message.clone(),
                None => return Err(Damaged),
            };
            let asked = Asked::of(&message);
            let reason = Reason::Interrupted;
            if asked.is_question {
                let failure = Failure {
                    reason,
                    answer: None,
                    retry_after: None,
                };
                self.questioned(asked, Err(failure), now)?;
            } else {
                let verdict = Verdict::Uncertain {
                    reason,
                    retry_after: None,
                };
                self.attempted(asked, verdict, None, now)?;
            }
        }
        Ok(())
    }

    /// The next message that is to be sent.
    fn next(&self, now: Timestamp) -> Result<Option<u64>, Damaged> {
        if now < self.rests_until.get() {
            return Ok(None);
        }
        Ok(self.contents()?.schedule.next(now, &self.policy))
    }

    /// What is to be sent for a message; `None` if it has ended, or there are too few cycles.
    fn prepare(
        &self,
        number: u64,
        runtime: &impl Egress,
        now: Timestamp,
    ) -> Result<Option<Outcall>, Damaged> {
        let mut contents = self.contents()?;
        let message = match contents.open.get(&number) {
            Some(open) => open.message.clone(),
            None => return Err(Damaged),
        };
        if now > message.last_attempt_by {
            let outcome = too_old(&message);
            contents.settle(message, Some(outcome), now, self.on_end.is_some())?;
            return Ok(None);
        }
        let request = contents.request(&message)?;
        let stored = Stored::read(&request);
        let outcall = stored
            .as_ref()
            .and_then(|stored| match message.flags.is_asking {
                true => stored.verify(),
                false => Some(stored.outcall()),
            });
        let Some(outcall) = outcall else {
            let outcome = unreadable(&message);
            contents.settle(message, Some(outcome), now, self.on_end.is_some())?;
            return Ok(None);
        };
        let transform = self.transform.name();
        let key = (!message.flags.is_asking).then(|| {
            let message = (message.id, message.created_at);
            idempotency_key(runtime.canister(), contents.birth(), message)
        });
        let size = outcall.size(transform, key.as_deref());
        let cycles = runtime.cost_of_outcall(size, outcall.max_response_bytes());
        let needed = cycles
            .saturating_add(CALL_CYCLES)
            .saturating_add(self.policy.cycles_kept);
        let available = runtime.liquid_cycles();
        if available < needed {
            let since = self.parked.borrow().as_ref().map_or(now, |it| it.since);
            *self.parked.borrow_mut() = Some(Parked {
                message: message.id,
                available,
                needed,
                since,
            });
            self.rests_until.set(now.plus(PARKED_FOR));
            return Ok(None);
        }
        *self.parked.borrow_mut() = None;
        let argument = outcall.argument(runtime.canister(), transform, key.as_deref());
        let message = contents.send(number, now, &self.policy)?;
        Ok(Some(Outcall {
            ticket: ticket(contents.birth(), &message),
            message,
            call: Outgoing {
                callee: Principal::management_canister(),
                method: "http_request".to_owned(),
                argument,
                cycles,
                timeout: None,
            },
        }))
    }

    /// The answer to an attempt, unless it was given up before.
    fn attempted(
        &self,
        asked: Asked,
        verdict: Verdict,
        answer: Option<Response>,
        now: Timestamp,
    ) -> Result<(), Damaged> {
        let mut contents = self.contents()?;
        let Some(mut message) = contents.under_way(asked.id, asked.attempts, asked.asked) else {
            return Ok(());
        };
        let outcome = after_attempt(&mut message, verdict, answer, now, &self.policy);
        contents.settle(message, outcome, now, self.on_end.is_some())
    }

    /// What the answer to a question says, unless it was given up before.
    fn questioned(
        &self,
        asked: Asked,
        said: Result<(Verification, Response), Failure>,
        now: Timestamp,
    ) -> Result<(), Damaged> {
        let mut contents = self.contents()?;
        let Some(mut message) = contents.under_way(asked.id, asked.attempts, asked.asked) else {
            return Ok(());
        };
        let outcome = after_question(&mut message, said, now, &self.policy);
        contents.settle(message, outcome, now, self.on_end.is_some())
    }

    /// Who says what an answer means, and what its message is about; `None` if the question was given up.
    fn verifier(&self, asked: Asked) -> Result<Option<Reading>, Damaged> {
        let contents = self.contents()?;
        let Some(message) = contents.under_way(asked.id, asked.attempts, asked.asked) else {
            return Ok(None);
        };
        let request = contents.request(&message)?;
        let stored = Stored::read(&request).ok_or(Damaged)?;
        Ok(Some((self.verify, stored.about().to_vec())))
    }

    /// The ends that are told now. Should that fail, they are told again later.
    fn begin_telling(&self, now: Timestamp) -> Result<Vec<MessageId>, Damaged> {
        let mut ids = vec![];
        if self.on_end.is_none() {
            // An upgrade has taken the function away. Another one may bring it back.
            self.contents()?.schedule.forget_ends();
            return Ok(ids);
        }
        while ids.len() < MOST_AT_A_TIME {
            let mut contents = self.contents()?;
            let Some(number) = contents.schedule.next_end(now) else {
                break;
            };
            let told = match contents.open.get(&number) {
                Some(open) if open.message.state == State::Ended => open.message.told,
                _ => return Err(Damaged),
            };
            let pause = self.policy.backoff_after(told.saturating_add(1));
            contents.begin_telling(number, now.plus(pause))?;
            ids.push(MessageId::from_u64(number));
        }
        Ok(ids)
    }

    /// An end that is to be told, and whom; from now on it counts as told.
    fn take_end(&self, id: MessageId) -> Result<Option<Telling>, Damaged> {
        let mut contents = self.contents()?;
        let message = match contents.open.get(&id.as_u64()) {
            Some(open) => open.message.clone(),
            None => return Ok(None),
        };
        // An upgrade may have taken the function away.
        let end = self.on_end.zip(Some(self.ended(&contents, &message)?));
        Ok(contents.told(id)?.then_some(end).flatten())
    }
}
