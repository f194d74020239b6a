//! The store and admission against a naive model, and what the store does with memories that are not its own.

use super::{OpenError, Reply, Store};
use crate::{
    admission::{self, Decision, Request, Ticket},
    error::IdempotencyError,
    identity::{Digest, Fingerprint, Identity},
    policy::Policy,
    store::Attempt,
    time::Timestamp,
};
use ic_stable_structures::{Memory, VectorMemory};
use proptest::prelude::*;
use std::{cell::Cell, time::Duration};

const START: u64 = 1_000_000;

fn policy(window: u64, capacity: u64) -> Policy {
    Policy::new()
        .window(Duration::from_nanos(window))
        .drift(Duration::from_nanos(10))
        .capacity(capacity)
        .capacity_bytes(2_000)
        .max_reply_bytes(300)
}

fn request(key: u8, args: u8, created_at: Option<Timestamp>) -> Request {
    let digest = Digest([args; 16]);
    Request {
        identity: Identity([key; 32]),
        fingerprint: Fingerprint::new(digest, None, created_at),
        created_at,
    }
}

/// What the contract says, in the plainest way.
struct Model {
    policy: Policy,
    records: Vec<ModelRecord>,
    incarnation: u64,
    floor: u64,
}

struct ModelRecord {
    request: Request,
    expires_at: u64,
    since: u64,
    state: ModelState,
}

#[derive(Clone)]
enum ModelState {
    /// Incarnation, and the number that the test gave the attempt.
    Running(u64, usize),
    Interrupted,
    Done(Vec<u8>),
}

impl Model {
    fn bytes(&self) -> u64 {
        let reply = |record: &ModelRecord| match &record.state {
            ModelState::Running(..) => u64::from(self.policy.max_reply_bytes),
            ModelState::Interrupted => 0,
            ModelState::Done(reply) => reply.len() as u64,
        };
        self.records.iter().map(|record| 141 + reply(record)).sum()
    }

    fn oldest(&self) -> Option<usize> {
        (0..self.records.len()).min_by_key(|&index| {
            let record = &self.records[index];
            (record.expires_at, record.request.identity)
        })
    }

    fn evict(&mut self, now: u64, most: u32) {
        for _ in 0..most {
            let Some(index) = self
                .oldest()
                .filter(|&index| self.records[index].expires_at < now)
            else {
                return;
            };
            if matches!(self.records[index].state, ModelState::Running(incarnation, _) if incarnation == self.incarnation)
            {
                self.records[index].expires_at = now + self.policy.window.as_nanos() as u64;
            } else {
                self.records.remove(index);
            }
        }
    }

    /// The reply to replay, the error, or `None` to execute.
    fn admit(&mut self, request: &Request, now: u64) -> Option<Result<Vec<u8>, IdempotencyError>> {
        let (window, drift) = (
            self.policy.window.as_nanos() as u64,
            self.policy.drift.as_nanos() as u64,
        );
        if let Some(record) = self
            .records
            .iter()
            .find(|record| record.request.identity == request.identity)
        {
            let since = Timestamp::from_nanos(record.since);
            return Some(if record.request.fingerprint != request.fingerprint {
                Err(IdempotencyError::KeyReused)
            } else {
                match &record.state {
                    ModelState::Done(reply) => Ok(reply.clone()),
                    ModelState::Running(incarnation, _) if *incarnation == self.incarnation => {
                        Err(IdempotencyError::InProgress { since })
                    }
                    _ => Err(IdempotencyError::OutcomeUnknown { since }),
                }
            });
        }
        if let Some(created_at) = request.created_at.map(Timestamp::as_nanos) {
            if created_at + window + drift < now || created_at < self.floor {
                return Some(Err(IdempotencyError::TooOld));
            }
            if created_at > now + drift {
                return Some(Err(IdempotencyError::CreatedInFuture {
                    now: Timestamp::from_nanos(now),
                }));
            }
        }
        self.evict(now, self.policy.inline_evictions);
        let full = self.records.len() as u64 >= self.policy.capacity
            || self.bytes() + 141 + u64::from(self.policy.max_reply_bytes)
                > self.policy.capacity_bytes;
        full.then(|| {
            let next = self
                .oldest()
                .map_or(now, |index| self.records[index].expires_at.max(now));
            Err(IdempotencyError::Full {
                retry_after: Timestamp::from_nanos(next + 1),
            })
        })
    }

    fn insert(&mut self, request: Request, now: u64, state: ModelState) {
        let expires_at = self.policy.window.as_nanos() as u64
            + request.created_at.map_or(now, |at| {
                at.as_nanos() + self.policy.drift.as_nanos() as u64
            });
        self.records.push(ModelRecord {
            request,
            expires_at,
            since: now,
            state,
        });
    }

    /// Ends attempt `number` if it still owns a record.
    fn end(&mut self, number: usize, state: Option<ModelState>) -> bool {
        let owned = |record: &ModelRecord| matches!(record.state, ModelState::Running(_, owner) if owner == number);
        let Some(index) = self.records.iter().position(owned) else {
            return false;
        };
        match state {
            Some(state) => self.records[index].state = state,
            None => drop(self.records.remove(index)),
        }
        true
    }

    fn reopen(&mut self, policy: Policy, now: u64) {
        let reach = |policy: &Policy| (policy.window + policy.drift).as_nanos() as u64;
        if reach(&policy) > reach(&self.policy) {
            self.floor = self.floor.max(now.saturating_sub(reach(&self.policy)));
        }
        self.policy = policy;
        self.incarnation += 1;
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// `created_at` is relative to the clock.
    Submit {
        key: u8,
        args: u8,
        created_at: Option<i64>,
        is_async: bool,
        reply: Vec<u8>,
    },
    Complete {
        attempt: usize,
        reply: Vec<u8>,
    },
    Interrupt {
        attempt: usize,
    },
    Release {
        attempt: usize,
    },
    Advance {
        nanos: u64,
    },
    Timer {
        most: u32,
    },
    Reopen {
        window: u64,
        capacity: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let reply = || prop::collection::vec(any::<u8>(), 0..=300);
    prop_oneof![
        12 => (0..7u8, 0..2u8, prop::option::of(-140..30i64), any::<bool>(), reply())
            .prop_map(|(key, args, created_at, is_async, reply)| Op::Submit { key, args, created_at, is_async, reply }),
        4 => (0..40usize, reply()).prop_map(|(attempt, reply)| Op::Complete { attempt, reply }),
        2 => (0..40usize).prop_map(|attempt| Op::Interrupt { attempt }),
        1 => (0..40usize).prop_map(|attempt| Op::Release { attempt }),
        6 => prop_oneof![0..5u64, 0..120u64, Just(1)].prop_map(|nanos| Op::Advance { nanos }),
        2 => (0..5u32).prop_map(|most| Op::Timer { most }),
        1 => (50..150u64, 2..6u64).prop_map(|(window, capacity)| Op::Reopen { window, capacity }),
    ]
}

/// Runs `ops` on both and compares every answer and the whole of the statistics after each.
fn compare(ops: Vec<Op>) -> Result<(), TestCaseError> {
    let memory = VectorMemory::default();
    let mut now = START;
    let first = policy(100, 4);
    let mut store = Store::open(memory.clone(), first, Timestamp::from_nanos(now)).unwrap();
    let mut model = Model {
        policy: first,
        records: vec![],
        incarnation: 1,
        floor: 0,
    };
    let mut attempts: Vec<(Identity, Attempt)> = vec![];
    for op in ops {
        let at = Timestamp::from_nanos(now);
        match op {
            Op::Submit {
                key,
                args,
                created_at,
                is_async,
                reply,
            } => {
                let created_at = created_at
                    .map(|offset| Timestamp::from_nanos(now.saturating_add_signed(offset)));
                let request = request(key, args, created_at);
                let expected = model.admit(&request, now);
                match admission::admit(&store, &request, at) {
                    Decision::Replay(reply) => prop_assert_eq!(expected, Some(Ok(reply))),
                    Decision::Refuse(error) => prop_assert_eq!(expected, Some(Err(error))),
                    Decision::Execute(ticket) => {
                        prop_assert_eq!(expected, None);
                        if is_async {
                            model.insert(
                                request,
                                now,
                                ModelState::Running(model.incarnation, attempts.len()),
                            );
                            attempts.push((request.identity, store.begin(&ticket)));
                        } else {
                            model.insert(request, now, ModelState::Done(reply.clone()));
                            store.record(&ticket, reply);
                        }
                    }
                }
            }
            Op::Complete { attempt, reply } => {
                if let Some((identity, number)) = attempts.get(attempt) {
                    let expected = model.end(attempt, Some(ModelState::Done(reply.clone())));
                    prop_assert_eq!(
                        store.complete(identity, *number, Reply::Held(reply)),
                        expected
                    );
                }
            }
            Op::Interrupt { attempt } => {
                if let Some((identity, number)) = attempts.get(attempt) {
                    let expected = model.end(attempt, Some(ModelState::Interrupted));
                    prop_assert_eq!(store.interrupt(identity, *number), expected);
                }
            }
            Op::Release { attempt } => {
                if let Some((identity, number)) = attempts.get(attempt) {
                    prop_assert_eq!(store.release(identity, *number), model.end(attempt, None));
                }
            }
            Op::Advance { nanos } => now += nanos,
            Op::Timer { most } => {
                model.evict(now, most);
                store.evict(at, most);
            }
            Op::Reopen { window, capacity } => {
                let policy = policy(window, capacity);
                drop(store);
                store = Store::open(memory.clone(), policy, at).unwrap();
                model.reopen(policy, now);
            }
        }
        let stats = store.stats();
        prop_assert_eq!(stats.entries, model.records.len() as u64);
        prop_assert_eq!(stats.bytes, model.bytes());
        let oldest = model
            .oldest()
            .map(|index| Timestamp::from_nanos(model.records[index].expires_at));
        prop_assert_eq!(stats.oldest_expiry, oldest);
        prop_assert_eq!(stats.incarnation, model.incarnation);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn as_the_model(ops in prop::collection::vec(op(), 1..200)) {
        compare(ops)?;
    }

    #[test]
    fn any_other_memory_is_refused_or_opened(first in prop::collection::vec(any::<u8>(), 0..100)) {
        let memory = VectorMemory::default();
        memory.grow(1);
        memory.write(0, &first);
        let opened = Store::open(memory.clone(), Policy::new(), Timestamp::from_nanos(START));
        let refused = matches!(opened, Err(OpenError::Foreign { .. }));
        prop_assert!(refused);
        let mut after = vec![0; first.len()];
        memory.read(0, &mut after);
        prop_assert_eq!(after, first);
    }
}

/// Executes a sync request that must be admitted.
fn execute<M: Memory>(store: &Store<M>, request: &Request, now: u64, reply: &[u8]) {
    match admission::admit(store, request, Timestamp::from_nanos(now)) {
        Decision::Execute(ticket) => store.record(&ticket, reply.to_vec()),
        other => panic!("expected to execute, got {other:?}"),
    }
}

fn admitted<M: Memory>(store: &Store<M>, request: &Request, now: u64) -> Ticket {
    match admission::admit(store, request, Timestamp::from_nanos(now)) {
        Decision::Execute(ticket) => ticket,
        other => panic!("expected to execute, got {other:?}"),
    }
}

fn open(policy: Policy) -> Store<VectorMemory> {
    Store::open(
        VectorMemory::default(),
        policy,
        Timestamp::from_nanos(START),
    )
    .unwrap()
}

#[test]
fn only_the_attempt_that_acquired_a_record_ends_it() {
    let store = open(policy(100, 4));
    let request = request(1, 1, None);
    let identity = request.identity;
    let first = store.begin(&admitted(&store, &request, START));
    assert!(store.release(&identity, first));
    let second = store.begin(&admitted(&store, &request, START));
    assert!(!store.complete(&identity, first, Reply::Dropped));
    assert!(!store.interrupt(&identity, first));
    assert!(store.complete(&identity, second, Reply::Held(vec![2])));
    assert!(!store.complete(&identity, second, Reply::Held(vec![3])));
    assert_eq!(
        admission::admit(&store, &request, Timestamp::from_nanos(START)),
        Decision::Replay(vec![2])
    );
}

#[test]
fn a_dropped_reply_says_when_it_was_executed() {
    let store = open(policy(100, 4));
    let request = request(1, 1, None);
    let attempt = store.begin(&admitted(&store, &request, START));
    assert!(store.complete(&request.identity, attempt, Reply::Dropped));
    let executed_at = Timestamp::from_nanos(START);
    assert_eq!(
        admission::admit(&store, &request, Timestamp::from_nanos(START + 5)),
        Decision::Refuse(IdempotencyError::ReplyDropped { executed_at })
    );
}

#[test]
fn a_later_created_at_does_not_outlive_the_record() {
    let store = open(policy(100, 4));
    let at = |nanos: u64| Some(Timestamp::from_nanos(nanos));
    let without_arguments = |created_at| Request {
        fingerprint: Fingerprint::new(Digest([0; 16]), None, created_at),
        ..request(1, 0, created_at)
    };
    execute(&store, &without_arguments(at(START)), START, b"first");
    let later = without_arguments(at(START + 50));
    assert_eq!(
        admission::admit(&store, &later, Timestamp::from_nanos(START + 50)),
        Decision::Refuse(IdempotencyError::KeyReused)
    );
}

#[test]
fn a_longer_window_does_not_reach_back_to_what_is_forgotten() {
    let memory = VectorMemory::default();
    let store = Store::open(memory.clone(), policy(100, 4), Timestamp::from_nanos(START)).unwrap();
    let created_at = Some(Timestamp::from_nanos(START));
    let request = request(1, 1, created_at);
    execute(&store, &request, START, b"first");
    let late = START + 111;
    assert_eq!(store.evict(Timestamp::from_nanos(late), 9), 1);
    drop(store);
    let store = Store::open(memory, policy(1_000, 4), Timestamp::from_nanos(late)).unwrap();
    assert_eq!(
        admission::admit(&store, &request, Timestamp::from_nanos(late)),
        Decision::Refuse(IdempotencyError::TooOld)
    );
}

#[test]
fn other_versions_and_damage_are_told_apart() {
    let memory = VectorMemory::default();
    let now = Timestamp::from_nanos(START);
    drop(Store::open(memory.clone(), Policy::new(), now).unwrap());
    memory.write(7, &[2]);
    let error = Store::open(memory.clone(), Policy::new(), now).unwrap_err();
    assert_eq!(error, OpenError::UnknownVersion { found: 2, known: 1 });
    memory.write(7, &[1]);
    memory.write(65_536, b"xxx");
    let error = Store::open(memory.clone(), Policy::new(), now).unwrap_err();
    assert_eq!(error, OpenError::Damaged);
}

#[test]
fn policies_that_cannot_work_are_refused() {
    let now = Timestamp::from_nanos(START);
    let wrong = [
        Policy::new().window(Duration::ZERO),
        Policy::new().window(Duration::MAX),
        Policy::new().capacity(0),
        Policy::new().capacity_bytes(64 << 10),
        Policy::new().inline_evictions(0),
    ];
    for policy in wrong {
        let error = Store::open(VectorMemory::default(), policy, now).unwrap_err();
        assert!(
            matches!(error, OpenError::InvalidPolicy(_)),
            "{policy:?}: {error}"
        );
    }
}

/// A memory that ends at a given page.
struct Limited {
    memory: VectorMemory,
    pages: Cell<u64>,
}

impl Memory for Limited {
    fn size(&self) -> u64 {
        self.memory.size()
    }

    fn grow(&self, pages: u64) -> i64 {
        if self.size() + pages > self.pages.get() {
            -1
        } else {
            self.memory.grow(pages)
        }
    }

    fn read(&self, offset: u64, into: &mut [u8]) {
        self.memory.read(offset, into);
    }

    fn write(&self, offset: u64, from: &[u8]) {
        self.memory.write(offset, from);
    }
}

#[test]
fn a_memory_that_cannot_grow_is_full_and_loses_nothing() {
    let now = Timestamp::from_nanos(START);
    let policy = Policy::new();
    let none = Limited {
        memory: VectorMemory::default(),
        pages: Cell::new(8),
    };
    assert_eq!(
        Store::open(none, policy, now).unwrap_err(),
        OpenError::OutOfMemory
    );

    for pages in [24, 40, 64, 100] {
        let limited = Limited {
            memory: VectorMemory::default(),
            pages: Cell::new(pages),
        };
        let store = Store::open(limited, policy, now).unwrap();
        let numbered = |number: u64| {
            let mut identity = [0; 32];
            identity[..8].copy_from_slice(&number.to_be_bytes());
            Request {
                identity: Identity(identity),
                ..request(0, 0, None)
            }
        };
        let held = (0..)
            .find(
                |&number| match admission::admit(&store, &numbered(number), now) {
                    Decision::Execute(ticket) => {
                        store.record(&ticket, vec![number as u8; 5_000]);
                        false
                    }
                    Decision::Refuse(IdempotencyError::Full { .. }) => true,
                    other => panic!("{other:?}"),
                },
            )
            .unwrap();
        assert!(held > 0, "{pages} pages hold nothing");
        for number in 0..held {
            let reply = Decision::Replay(vec![number as u8; 5_000]);
            assert_eq!(admission::admit(&store, &numbered(number), now), reply);
        }
    }
}
