//! The store and admission against a naive model, and what the store does with memories that are not its own.

use super::{OpenError, Store};
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
    let digest = Digest([args; 8]);
    Request {
        identity: Identity([key; 24]),
        fingerprint: Fingerprint::new(digest, None, created_at),
        created_at,
    }
}

/// What the contract says, in the plainest way.
struct Model {
    policy: Policy,
    /// By expiry; each with the last instant of its records.
    slices: Vec<ModelSlice>,
    incarnation: u64,
    floor: u64,
}

struct ModelSlice {
    until: u64,
    has_dropped_replies: bool,
    /// Its records stay until the slice goes.
    released: u64,
    records: Vec<ModelRecord>,
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
    Dropped,
}

impl Model {
    fn new(policy: Policy) -> Self {
        Self {
            policy,
            slices: vec![],
            incarnation: 1,
            floor: 0,
        }
    }

    fn records(&self) -> impl Iterator<Item = &ModelRecord> {
        self.slices.iter().flat_map(|slice| &slice.records)
    }

    fn entries(&self) -> u64 {
        self.records().count() as u64
    }

    fn bytes(&self) -> u64 {
        let reply = |record: &ModelRecord| match &record.state {
            ModelState::Running(incarnation, _) if *incarnation == self.incarnation => {
                u64::from(self.policy.max_reply_bytes)
            }
            ModelState::Done(reply) if reply.len() > 64 => reply.len() as u64,
            _ => 0,
        };
        let released: u64 = self.slices.iter().map(|slice| slice.released).sum();
        self.records()
            .map(|record| 128 + reply(record))
            .sum::<u64>()
            + 128 * released
    }

    /// The slice for what expires at a time.
    fn slice_for(&mut self, expires_at: u64) -> &mut ModelSlice {
        let found = self
            .slices
            .iter()
            .position(|slice| slice.until >= expires_at);
        let position = found.unwrap_or_else(|| {
            let reach = (self.policy.window + self.policy.drift * 2).as_nanos() as u64;
            let length = (reach / 32).max(1);
            let until = expires_at.div_ceil(length) * length;
            if self.slices.len() < 64 {
                self.slices.push(ModelSlice {
                    until,
                    has_dropped_replies: false,
                    released: 0,
                    records: vec![],
                });
            } else {
                self.slices.last_mut().unwrap().until = until;
            }
            self.slices.len() - 1
        });
        &mut self.slices[position]
    }

    fn forget_oldest(&mut self, now: u64) {
        let incarnation = self.incarnation;
        let is_running = |record: &ModelRecord| matches!(record.state, ModelState::Running(started_in, _) if started_in == incarnation);
        let (mut running, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.slices[0].records)
            .into_iter()
            .partition(is_running);
        for record in &gone {
            assert!(
                record.expires_at < now,
                "a record is given up within its window"
            );
        }
        let expires_at = now + self.policy.window.as_nanos() as u64;
        running
            .iter_mut()
            .for_each(|record| record.expires_at = expires_at);
        if !running.is_empty() {
            self.slice_for(expires_at).records.extend(running);
        }
        self.slices.remove(0);
    }

    fn evict(&mut self, now: u64, most: u32) {
        let retention = self.policy.retention.as_nanos() as u64;
        for _ in 0..most {
            if self
                .slices
                .first()
                .is_none_or(|slice| slice.until + retention >= now)
            {
                return;
            }
            self.forget_oldest(now);
        }
    }

    fn drop_oldest_replies(&mut self) -> bool {
        let is_long = |record: &ModelRecord| matches!(&record.state, ModelState::Done(reply) if reply.len() > 64);
        let Some(slice) = self
            .slices
            .iter_mut()
            .find(|slice| slice.records.iter().any(is_long))
        else {
            return false;
        };
        slice.has_dropped_replies = true;
        let long = slice.records.iter_mut().filter(|record| is_long(record));
        long.for_each(|record| record.state = ModelState::Dropped);
        true
    }

    /// The reply to replay, the error, or `None` to execute.
    fn admit(&mut self, request: &Request, now: u64) -> Option<Result<Vec<u8>, IdempotencyError>> {
        let (window, drift) = (
            self.policy.window.as_nanos() as u64,
            self.policy.drift.as_nanos() as u64,
        );
        if let Some(record) = self
            .records()
            .find(|record| record.request.identity == request.identity)
        {
            let since = Timestamp::from_nanos(record.since);
            return Some(if record.request.fingerprint != request.fingerprint {
                Err(IdempotencyError::KeyReused)
            } else {
                match &record.state {
                    ModelState::Done(reply) => Ok(reply.clone()),
                    ModelState::Dropped => {
                        Err(IdempotencyError::ReplyDropped { executed_at: since })
                    }
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
        self.evict(now, 1);
        loop {
            let has_entries = self.entries() < self.policy.capacity;
            let needed = 128 + u64::from(self.policy.max_reply_bytes);
            if has_entries && self.bytes() + needed <= self.policy.capacity_bytes {
                return None;
            }
            let oldest = self.slices.first().map_or(now, |slice| slice.until);
            if oldest < now {
                self.forget_oldest(now);
            } else if !(has_entries && self.policy.drops_replies && self.drop_oldest_replies()) {
                let retry_after = Timestamp::from_nanos(oldest + 1);
                return Some(Err(IdempotencyError::Full { retry_after }));
            }
        }
    }

    fn insert(&mut self, request: Request, now: u64, state: ModelState) {
        let expires_at = self.policy.window.as_nanos() as u64
            + request.created_at.map_or(now, |at| {
                at.as_nanos() + self.policy.drift.as_nanos() as u64
            });
        let slice = self.slice_for(expires_at);
        let state = match state {
            ModelState::Done(reply) if slice.has_dropped_replies && reply.len() > 64 => {
                ModelState::Dropped
            }
            state => state,
        };
        slice.records.push(ModelRecord {
            request,
            expires_at,
            since: now,
            state,
        });
    }

    /// Ends attempt `number` if it still owns a record.
    fn end(&mut self, number: usize, state: Option<ModelState>) -> bool {
        let owned = |record: &ModelRecord| matches!(record.state, ModelState::Running(_, owner) if owner == number);
        for slice in &mut self.slices {
            let Some(index) = slice.records.iter().position(owned) else {
                continue;
            };
            match state {
                Some(ModelState::Done(reply)) if slice.has_dropped_replies && reply.len() > 64 => {
                    slice.records[index].state = ModelState::Dropped;
                }
                Some(state) => slice.records[index].state = state,
                None => {
                    slice.records.remove(index);
                    slice.released += 1;
                }
            }
            return true;
        }
        false
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
        retention: u64,
        drops_replies: bool,
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
        1 => (50..1_000u64, 2..9u64, prop_oneof![Just(0), 0..100u64], any::<bool>()).prop_map(
            |(window, capacity, retention, drops_replies)| Op::Reopen { window, capacity, retention, drops_replies }
        ),
    ]
}

/// Runs `ops` on both and compares every answer and the whole of the statistics after each.
fn compare(ops: Vec<Op>) -> Result<(), TestCaseError> {
    let memory = VectorMemory::default();
    let mut now = START;
    let first = policy(100, 4);
    let mut store = Store::open(memory.clone(), first, Timestamp::from_nanos(now)).unwrap();
    let mut model = Model::new(first);
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
                            attempts.push((request.identity, store.begin(&ticket).unwrap()));
                        } else {
                            model.insert(request, now, ModelState::Done(reply.clone()));
                            store.record(&ticket, &reply).unwrap();
                        }
                    }
                }
            }
            Op::Complete { attempt, reply } => {
                if let Some((identity, number)) = attempts.get(attempt) {
                    let expected = model.end(attempt, Some(ModelState::Done(reply.clone())));
                    prop_assert_eq!(
                        store.complete(identity, *number, Some(&reply)).unwrap(),
                        expected
                    );
                }
            }
            Op::Interrupt { attempt } => {
                if let Some((identity, number)) = attempts.get(attempt) {
                    let expected = model.end(attempt, Some(ModelState::Interrupted));
                    prop_assert_eq!(store.interrupt(identity, *number).unwrap(), expected);
                }
            }
            Op::Release { attempt } => {
                if let Some((identity, number)) = attempts.get(attempt) {
                    prop_assert_eq!(
                        store.release(identity, *number).unwrap(),
                        model.end(attempt, None)
                    );
                }
            }
            Op::Advance { nanos } => now += nanos,
            Op::Timer { most } => {
                model.evict(now, most);
                store.evict(at, most).unwrap();
            }
            Op::Reopen {
                window,
                capacity,
                retention,
                drops_replies,
            } => {
                let mut policy =
                    policy(window, capacity).retention(Duration::from_nanos(retention));
                policy.drops_replies = drops_replies;
                drop(store);
                store = Store::open(memory.clone(), policy, at).unwrap();
                model.reopen(policy, now);
            }
        }
        let stats = store.stats();
        prop_assert_eq!(stats.entries, model.entries());
        prop_assert_eq!(stats.bytes, model.bytes());
        let oldest = model
            .slices
            .first()
            .map(|slice| Timestamp::from_nanos(slice.until));
        prop_assert_eq!(stats.oldest_expiry, oldest);
        prop_assert_eq!(stats.incarnation, model.incarnation);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

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

/// The identity of a number as it would be hashed.
fn hashed(number: u64) -> Identity {
    let mut identity = [0; 24];
    identity.copy_from_slice(&blake3::hash(&number.to_le_bytes()).as_bytes()[..24]);
    Identity(identity)
}

/// An identity that an attacker has ground: all bits that the index goes by are those of others.
fn ground(number: u64) -> Identity {
    let mut identity = [7; 24];
    identity[16..].copy_from_slice(&number.to_le_bytes());
    Identity(identity)
}

#[test]
fn many_identities_are_found_and_forgotten_and_their_room_is_used_again() {
    let window = 3_200;
    let many = Policy::new()
        .window(Duration::from_nanos(window))
        .drift(Duration::ZERO)
        .max_reply_bytes(1_000);
    let memory = VectorMemory::default();
    let mut store = Store::open(memory.clone(), many, Timestamp::from_nanos(START)).unwrap();
    let per_round = 2_000;
    let request_of = |number: u64| Request {
        // One in sixteen is ground.
        identity: if number.is_multiple_of(16) {
            ground(number)
        } else {
            hashed(number)
        },
        ..request(0, 0, None)
    };
    let reply_of = |number: u64| number.to_le_bytes().repeat((number % 20) as usize);
    let mut pages = 0;
    for round in 0..60 {
        let now = START + round * 100;
        for number in round * per_round..(round + 1) * per_round {
            execute(&store, &request_of(number), now, &reply_of(number));
        }
        if round % 7 == 3 {
            drop(store);
            store = Store::open(memory.clone(), many, Timestamp::from_nanos(now)).unwrap();
        }
        let oldest = round.saturating_sub(window / 100) * per_round;
        for number in (oldest..(round + 1) * per_round).step_by(37) {
            let at = Timestamp::from_nanos(now);
            let answer = admission::admit(&store, &request_of(number), at);
            assert_eq!(
                answer,
                Decision::Replay(reply_of(number)),
                "{number} in round {round}"
            );
        }
        let slices = window / 100 + 2;
        assert!(store.stats().entries <= (slices + 1) * per_round);
        if round == 40 {
            pages = memory.size();
        }
    }
    assert!(
        memory.size() <= pages + pages / 10,
        "{pages} pages grew to {}",
        memory.size()
    );
}

/// Executes a sync request that must be admitted.
fn execute<M: Memory>(store: &Store<M>, request: &Request, now: u64, reply: &[u8]) {
    match admission::admit(store, request, Timestamp::from_nanos(now)) {
        Decision::Execute(ticket) => store.record(&ticket, reply).unwrap(),
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
    let first = store.begin(&admitted(&store, &request, START)).unwrap();
    assert!(store.release(&identity, first).unwrap());
    let second = store.begin(&admitted(&store, &request, START)).unwrap();
    assert!(!store.complete(&identity, first, None).unwrap());
    assert!(!store.interrupt(&identity, first).unwrap());
    assert!(store.complete(&identity, second, Some(&[2])).unwrap());
    assert!(!store.complete(&identity, second, Some(&[3])).unwrap());
    assert_eq!(
        admission::admit(&store, &request, Timestamp::from_nanos(START)),
        Decision::Replay(vec![2])
    );
}

#[test]
fn a_dropped_reply_says_when_it_was_executed() {
    let store = open(policy(100, 4));
    let request = request(1, 1, None);
    let attempt = store.begin(&admitted(&store, &request, START)).unwrap();
    assert!(store.complete(&request.identity, attempt, None).unwrap());
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
        fingerprint: Fingerprint::new(Digest([0; 8]), None, created_at),
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
    let late = START + 120;
    assert_eq!(store.evict(Timestamp::from_nanos(late), 9), Ok(1));
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
    memory.write(40, &u32::MAX.to_le_bytes());
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
        Policy::new()
            .max_reply_bytes(u32::MAX)
            .capacity_bytes(u64::MAX),
        Policy::new().retention(Duration::MAX),
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
        let numbered = |number: u64| Request {
            identity: hashed(number),
            ..request(0, 0, None)
        };
        let held = (0..)
            .find(
                |&number| match admission::admit(&store, &numbered(number), now) {
                    Decision::Execute(ticket) => {
                        store.record(&ticket, &[number as u8; 5_000]).unwrap();
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
