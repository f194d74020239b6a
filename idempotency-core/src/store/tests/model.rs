//! What the contract says of requests outside of lanes, in the plainest way.

use super::{
    AllAttempts,
    harness::{self, Attempts, End, Op, Outcome, Reply, START},
};
use crate::{
    admission::Request,
    error::IdempotencyError,
    identity::Identity,
    policy::Policy,
    store::{Events, Stats},
    time::Timestamp,
};
use std::collections::BTreeSet;

/// A store without an index, a layout or a memory.
#[derive(Clone)]
pub(super) struct Model {
    policy: Policy,
    now: u64,
    /// By expiry; each with the last instant of its records.
    partitions: Vec<Partition>,
    /// Running, and not recorded any more.
    overdue: Vec<Record>,
    /// In this incarnation.
    events: Events,
    incarnation: u64,
    /// Until when what was created is remembered for a shorter time, and for how long.
    shorter: (u64, u64),
    /// What has a `created_at` runs once.
    begun: BTreeSet<(Identity, Timestamp)>,
    /// Attempts that ever began.
    attempts: usize,
    /// How many times the memory still fails to grow.
    pub(super) failures: u64,
    /// Whether the memory has no room for the record of an attempt that ends late.
    pub(super) has_no_memory: bool,
}

#[derive(Clone)]
struct Partition {
    until: u64,
    /// Requests that did nothing, whose records stay until it goes.
    released: u64,
    /// When the first request began that it ever held.
    oldest: Option<u64>,
    records: Vec<Record>,
}

impl Partition {
    fn push(&mut self, record: Record) {
        let oldest = self.oldest.unwrap_or(record.since);
        self.oldest = Some(oldest.min(record.since));
        self.records.push(record);
    }
}

#[derive(Clone)]
struct Record {
    request: Request,
    expires_at: u64,
    since: u64,
    state: State,
}

#[derive(Clone)]
enum State {
    /// Incarnation, and the number of the attempt.
    Running(u64, usize),
    Interrupted,
    Done(Reply),
    Dropped,
}

impl State {
    /// Bytes of a reply that does not lie in the record, where a second digest leaves less room.
    fn reply_bytes(&self, request: &Request) -> u64 {
        let room = match request.fingerprint.chosen {
            Some(_) => 48,
            None => 64,
        };
        match self {
            Self::Done(reply) if reply.length > room => reply.length as u64,
            _ => 0,
        }
    }
}

impl Model {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            now: START,
            partitions: vec![],
            overdue: vec![],
            events: events(START),
            incarnation: 1,
            shorter: (0, 0),
            begun: BTreeSet::new(),
            attempts: 0,
            failures: 0,
            has_no_memory: false,
        }
    }

    /// Does what `op` says; what comes of it.
    pub(super) fn apply(&mut self, op: &Op) -> Outcome {
        match *op {
            Op::Submit {
                key,
                args,
                created_at,
                is_async,
                reply,
                in_lane: _,
            } => {
                let request = harness::request::<AllAttempts>(key, args, created_at, self.now);
                if let Some(answer) = self.admit(&request) {
                    return match answer {
                        Ok(reply) => Outcome::Replayed(reply.bytes()),
                        Err(error) => Outcome::Refused(error),
                    };
                }
                let state = if is_async {
                    self.attempts += 1;
                    State::Running(self.incarnation, self.attempts - 1)
                } else {
                    State::Done(reply)
                };
                self.insert(request, state);
                self.events.executed += 1;
                Outcome::Executed
            }
            Op::LookUp { key } => {
                let identity = AllAttempts::identity(key);
                let mut records = self.records();
                Outcome::Is(records.any(|record| record.request.identity == identity))
            }
            Op::End { back, end, reply } => {
                let state = match end {
                    End::Complete => Some(State::Done(reply)),
                    End::CompleteWithoutReply => Some(State::Dropped),
                    End::Interrupt => Some(State::Interrupted),
                    End::Release => None,
                };
                let number = self.attempts.checked_sub(back + 1);
                Outcome::Is(number.is_some_and(|number| self.end(number, state)))
            }
            Op::Advance { nanos } => {
                self.now += nanos;
                Outcome::Nothing
            }
            Op::Timer { most } => {
                self.evict(most);
                Outcome::Nothing
            }
            Op::Reopen(policy) => {
                self.reopen(policy);
                Outcome::Nothing
            }
            Op::Limit { .. } => Outcome::Nothing,
        }
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            entries: self.entries(),
            capacity: self.policy.capacity,
            bytes: self.bytes(),
            capacity_bytes: self.policy.capacity_bytes,
            oldest_expiry: (self.partitions.first())
                .map(|partition| Timestamp::from_nanos(partition.until)),
            oldest: (self.partitions.iter())
                .filter_map(|partition| partition.oldest)
                .min()
                .map(Timestamp::from_nanos),
            counters: 0,
            in_progress: self.running() + self.overdue.len() as u64,
            unknown: self.unknown(),
            incarnation: self.incarnation,
            events: self.events.clone(),
        }
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        self.partitions
            .iter()
            .flat_map(|partition| &partition.records)
    }

    fn entries(&self) -> u64 {
        self.records().count() as u64
    }

    fn is_running(&self, record: &Record) -> bool {
        matches!(record.state, State::Running(incarnation, _) if incarnation == self.incarnation)
    }

    /// Requests of this heap that are recorded and run.
    fn running(&self) -> u64 {
        let running = self.records().filter(|record| self.is_running(record));
        running.count() as u64
    }

    fn unknown(&self) -> u64 {
        let is_unknown = |record: &&Record| match record.state {
            State::Running(..) => !self.is_running(record),
            State::Interrupted => true,
            State::Done(_) | State::Dropped => false,
        };
        self.records().filter(is_unknown).count() as u64
    }

    /// Bytes charged, but for those of replies to come.
    fn held(&self) -> u64 {
        let held = self
            .records()
            .map(|record| 128 + record.state.reply_bytes(&record.request));
        let released: u64 = self
            .partitions
            .iter()
            .map(|partition| partition.released)
            .sum();
        held.sum::<u64>() + 128 * released
    }

    fn bytes(&self) -> u64 {
        self.held() + self.running() * u64::from(self.policy.max_reply_bytes)
    }

    /// Whether one more is let in, besides room for so many replies to come.
    fn has_room(&self, running: u64) -> bool {
        let bytes = self.held() + 128 + (running + 1) * u64::from(self.policy.max_reply_bytes);
        self.entries() < self.policy.capacity && bytes <= self.policy.capacity_bytes
    }

    /// The partition for what expires at a time.
    fn partition_for(&mut self, expires_at: u64) -> &mut Partition {
        let found = self
            .partitions
            .iter()
            .position(|partition| partition.until >= expires_at);
        let position = found.unwrap_or_else(|| {
            let reach = (self.policy.window + self.policy.drift * 2).as_nanos() as u64;
            // Nothing is retained here for so long that the table were too short for it.
            let length = (reach / 32).max(1);
            let until = expires_at.div_ceil(length) * length;
            if self.partitions.len() < 512 {
                self.partitions.push(Partition {
                    until,
                    released: 0,
                    oldest: None,
                    records: vec![],
                });
            } else {
                self.partitions.last_mut().unwrap().until = until;
            }
            self.partitions.len() - 1
        });
        &mut self.partitions[position]
    }

    fn forget_oldest(&mut self) {
        for record in self.partitions.remove(0).records {
            self.events.evicted += 1;
            assert!(
                record.expires_at < self.now,
                "a record is given up within its window"
            );
            if self.is_running(&record) {
                self.overdue.push(record);
            }
        }
    }

    fn evict(&mut self, most: u32) {
        let now = self.now;
        let retention = self.policy.retention.as_nanos() as u64;
        for _ in 0..most {
            if self
                .partitions
                .first()
                .is_none_or(|partition| partition.until + retention >= now)
            {
                return;
            }
            self.forget_oldest();
        }
    }

    fn drop_oldest_replies(&mut self) -> bool {
        let is_long = |record: &Record| record.state.reply_bytes(&record.request) > 0;
        let Some(partition) = self
            .partitions
            .iter_mut()
            .find(|partition| partition.records.iter().any(is_long))
        else {
            return false;
        };
        let long = partition
            .records
            .iter_mut()
            .filter(|record| is_long(record));
        long.for_each(|record| record.state = State::Dropped);
        true
    }

    /// The reply to replay, the error, or `None` to execute.
    fn admit(&mut self, request: &Request) -> Option<Result<Reply, IdempotencyError>> {
        let now = self.now;
        let (window, drift) = (
            self.policy.window.as_nanos() as u64,
            self.policy.drift.as_nanos() as u64,
        );
        if let Some(record) = self
            .records()
            .chain(&self.overdue)
            .find(|record| record.request.identity == request.identity)
        {
            let since = Timestamp::from_nanos(record.since);
            return Some(if record.request.fingerprint != request.fingerprint {
                Err(IdempotencyError::KeyReused)
            } else {
                match &record.state {
                    State::Done(reply) => Ok(*reply),
                    State::Dropped => Err(IdempotencyError::ReplyDropped { executed_at: since }),
                    State::Running(..)
                        if self.is_running(record) && now <= record.since + window =>
                    {
                        Err(IdempotencyError::InProgress { since })
                    }
                    _ => Err(IdempotencyError::OutcomeUnknown { since }),
                }
            });
        }
        if let Some(created_at) = request.created_at.map(Timestamp::as_nanos) {
            if created_at + window + drift < now || self.may_be_forgotten(created_at) {
                return Some(Err(IdempotencyError::TooOld));
            }
            if created_at > now + drift {
                return Some(Err(IdempotencyError::CreatedInFuture {
                    now: Timestamp::from_nanos(now),
                }));
            }
        }
        self.evict(1);
        loop {
            let has_entries = self.entries() < self.policy.capacity;
            let running = self.running();
            if self.has_room(running) {
                if self.failures == 0 {
                    return None;
                }
                self.failures -= 1;
            }
            let oldest = self
                .partitions
                .first()
                .map_or(now, |partition| partition.until);
            if oldest < now {
                self.forget_oldest();
            } else if !(has_entries && self.policy.drops_replies && self.drop_oldest_replies()) {
                let may_have_room_soon = running > 0 && self.has_room(0);
                let until = if may_have_room_soon { now } else { oldest };
                let retry_after = Timestamp::from_nanos(until + 1);
                return Some(Err(IdempotencyError::Full { retry_after }));
            }
        }
    }

    /// Whether what was created then may have expired under a policy with a shorter window.
    fn may_be_forgotten(&self, created_at: u64) -> bool {
        let (until, reach) = self.shorter;
        created_at <= until && created_at + reach < self.now
    }

    /// Whether this request, with its `created_at`, was ever executed and not released.
    pub(super) fn has_run(&self, request: &Request) -> bool {
        let created_at = request.created_at;
        created_at.is_some_and(|at| self.begun.contains(&(request.identity, at)))
    }

    fn insert(&mut self, request: Request, state: State) {
        if let Some(created_at) = request.created_at {
            let is_first = self.begun.insert((request.identity, created_at));
            assert!(is_first, "a request with a created_at runs again");
        }
        let now = self.now;
        let expires_at = self.policy.window.as_nanos() as u64
            + request.created_at.map_or(now, |at| {
                at.as_nanos() + self.policy.drift.as_nanos() as u64
            });
        self.partition_for(expires_at).push(Record {
            request,
            expires_at,
            since: now,
            state,
        });
    }

    /// Ends attempt `number` if it still owns a record.
    fn end(&mut self, number: usize, state: Option<State>) -> bool {
        let incarnation = self.incarnation;
        // What an earlier heap began was cut off.
        let owned = |record: &Record| matches!(record.state, State::Running(heap, owner) if owner == number && heap == incarnation);
        for partition in &mut self.partitions {
            let Some(index) = partition.records.iter().position(owned) else {
                continue;
            };
            match state {
                Some(state) => partition.records[index].state = state,
                None => {
                    let Request {
                        identity,
                        created_at,
                        ..
                    } = partition.records.remove(index).request;
                    created_at.map(|at| self.begun.remove(&(identity, at)));
                    partition.released += 1;
                    self.events.released += 1;
                }
            }
            return true;
        }
        let Some(index) = self.overdue.iter().position(owned) else {
            return false;
        };
        let record = self.overdue.remove(index);
        let Some(state) = state else {
            // It began in an earlier message.
            self.overdue.push(record);
            return false;
        };
        if self.has_room(self.running()) && !self.has_no_memory {
            let expires_at = self.now + self.policy.window.as_nanos() as u64;
            self.partition_for(expires_at).push(Record {
                expires_at,
                state,
                ..record
            });
        }
        true
    }

    fn reopen(&mut self, policy: Policy) {
        let reach = |policy: &Policy| (policy.window + policy.drift).as_nanos() as u64;
        if reach(&policy) > reach(&self.policy) {
            let latest = self.now + self.policy.drift.as_nanos() as u64;
            let (until, shorter) = self.shorter;
            let short = reach(&self.policy);
            // Where two such times overlap, the shorter one counts.
            let is_over = until + short < self.now;
            self.shorter = (latest, if is_over { short } else { short.min(shorter) });
        }
        self.policy = policy;
        self.incarnation += 1;
        self.overdue.clear();
        self.events = events(self.now);
    }
}

/// Of a heap that begins.
fn events(since: u64) -> Events {
    // Answers are counted above the store.
    let refused = (Events::names()).map(|name| (name.to_owned(), 0)).collect();
    Events {
        since: Timestamp::from_nanos(since),
        refused,
        ..Events::default()
    }
}
