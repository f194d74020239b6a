//! A canister with lanes: its store, its memory, its clock, and what runs in it.

use super::{
    LaneNumber, caller_of, lane_identity,
    ops::{Config, End, Number, Op, Run},
    request,
};
use crate::{
    admission::{self, Decision, Ticket},
    error::IdempotencyError,
    sequence::{FreedLane, Sequence},
    store::{Attempt, OpenError, Origin, Reply, Stats, Store, tests::harness::TestMemory},
    time::Timestamp,
};
use ic_stable_structures::Memory;

const START: u64 = 1_000_000;

/// No operation needs nearly as many reads and writes.
const MOST_ACCESSES: u64 = 100_000;

/// What was sent to the canister.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) lane: LaneNumber,
    pub(super) number: u64,
    pub(super) args: u8,
    pub(super) run: Run,
    pub(super) first_incomplete: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Replayed(Vec<u8>),
    Refused(IdempotencyError),
    /// It ran, with this as its reply if it has ended.
    Executed(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ended {
    Reply(Vec<u8>),
    NoReply,
    Interrupted,
}

/// What came of an operation.
#[derive(Clone, Debug)]
pub(super) enum Happened {
    Answered(Sent, Answer),
    /// And whether the record was still the attempt's.
    Ended(LaneNumber, u64, Ended, bool),
    Freed(LaneNumber, u64, FreedLane),
    Upgraded(Config),
    NotOpened(OpenError),
    Nothing,
}

struct Running {
    lane: LaneNumber,
    number: u64,
    ticket: Ticket,
    attempt: Attempt,
}

pub(super) struct Driver {
    pub(super) memory: TestMemory,
    pub(super) store: Store<TestMemory>,
    pub(super) config: Config,
    pub(super) now: u64,
    running: Vec<Running>,
    sent: Vec<(LaneNumber, u64)>,
    replies: u64,
}

impl Driver {
    pub(super) fn open(memory: &TestMemory, config: Config) -> Result<Self, OpenError> {
        memory.allow(MOST_ACCESSES);
        let now = START;
        let store = Store::open(memory.clone(), config.policy, Timestamp::from_nanos(now))?;
        Ok(Self {
            memory: memory.clone(),
            store,
            config,
            now,
            running: vec![],
            sent: vec![],
            replies: 0,
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.now)
    }

    pub(super) fn stats(&self) -> Stats {
        self.store.stats()
    }

    /// What came of `op`; `None` if the store answered that its memory is damaged.
    pub(super) fn apply(&mut self, op: &Op) -> Option<Happened> {
        self.memory.allow(MOST_ACCESSES);
        match op {
            &Op::Submit {
                lane,
                number,
                args,
                run,
                reply_bytes,
                first_incomplete,
            } => {
                let next = self.store.next_number(&lane_identity(lane)).ok()?;
                let from_next = |offset| next.saturating_add_signed(offset);
                let (lane, number) = match number {
                    Number::Next(offset) => (lane, from_next(offset)),
                    Number::Sent(back) if back < self.sent.len() => {
                        self.sent[self.sent.len() - 1 - back]
                    }
                    Number::Sent(_) => (lane, next),
                };
                self.sent.push((lane, number));
                let sent = Sent {
                    lane,
                    number,
                    args,
                    run,
                    first_incomplete: first_incomplete.map(from_next),
                };
                let answer = self.submit(sent, reply_bytes)?;
                Some(Happened::Answered(sent, answer))
            }
            &Op::End { nth, end } => {
                if self.running.is_empty() {
                    return Some(Happened::Nothing);
                }
                let running = self.running.remove(nth % self.running.len());
                self.end(&running, end)
            }
            &Op::Free { lane, offset } => {
                let identity = lane_identity(lane);
                let number = self.store.next_number(&identity).ok()?;
                let number = number.saturating_add_signed(offset);
                let freed = self.store.free_lane(&identity, number).ok()?;
                Some(Happened::Freed(lane, number, freed))
            }
            Op::Advance { nanos } => {
                self.now += nanos;
                Some(Happened::Nothing)
            }
            Op::Timer { most } => {
                self.store.evict(self.now(), *most).ok()?;
                Some(Happened::Nothing)
            }
            Op::Upgrade(config) => {
                let opened = Store::open(self.memory.clone(), config.policy, self.now());
                Some(match opened {
                    Ok(store) => {
                        self.store = store;
                        self.config = config.clone();
                        self.running.clear();
                        Happened::Upgraded(config.clone())
                    }
                    Err(error) => Happened::NotOpened(error),
                })
            }
            Op::Limit { pages } => {
                self.memory.limit(pages + self.memory.size());
                Some(Happened::Nothing)
            }
        }
    }

    /// Sends a request; what it is answered, `None` for damage.
    pub(super) fn submit(&mut self, sent: Sent, reply_bytes: usize) -> Option<Answer> {
        let Sent {
            lane,
            number,
            args,
            run,
            first_incomplete,
        } = sent;
        let sequence = Sequence {
            lane: lane_identity(lane),
            number,
            max_in_flight: self.config.window(lane),
            first_incomplete,
            is_shared: false,
        };
        let request = request(caller_of(lane), sequence, args);
        let ticket = match admission::admit(&self.store, &request, self.now()) {
            Decision::Replay(reply) => return Some(Answer::Replayed(reply.bytes)),
            Decision::Refuse(IdempotencyError::StoreDamaged) => return None,
            Decision::Refuse(error) => return Some(Answer::Refused(error)),
            Decision::Execute(ticket) => ticket,
        };
        if run == Run::Sync {
            let reply = self.new_reply(reply_bytes);
            self.store.record(&ticket, &reply).ok()?;
            return Some(Answer::Executed(reply));
        }
        let attempt = self.store.begin(&ticket, &Origin::NOWHERE).ok()?;
        if run == Run::Released {
            self.store.release(&ticket, attempt).ok()?;
        } else {
            self.running.push(Running {
                lane,
                number,
                ticket,
                attempt,
            });
        }
        Some(Answer::Executed(vec![]))
    }

    fn end(&mut self, running: &Running, end: End) -> Option<Happened> {
        let Running {
            lane,
            number,
            ticket,
            attempt,
        } = running;
        let ended = match end {
            End::Reply(bytes) => Ended::Reply(self.new_reply(bytes)),
            End::NoReply => Ended::NoReply,
            End::Interrupt => Ended::Interrupted,
        };
        let was_its_own = match &ended {
            Ended::Reply(reply) => {
                (self.store).complete(ticket, *attempt, Some(Reply::first(reply)), self.now())
            }
            Ended::NoReply => self.store.complete(ticket, *attempt, None, self.now()),
            Ended::Interrupted => self.store.interrupt(ticket, *attempt, self.now()),
        };
        Some(Happened::Ended(*lane, *number, ended, was_its_own.ok()?))
    }

    /// No two of them are equal.
    fn new_reply(&mut self, bytes: usize) -> Vec<u8> {
        self.replies += 1;
        let mut reply = self.replies.to_le_bytes().to_vec();
        reply.resize(bytes.max(8), self.replies as u8);
        reply
    }
}
