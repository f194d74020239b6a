//! A store, its clock, and the attempts that ever began at each request; next to the model.

use super::{
    model::{Begun, Model, State},
    ops::{Act, KEYS, Op},
    *,
};
use crate::{
    error::IdempotencyError,
    store::{Lookup, Reply, record::State as Recorded},
};
use ic_stable_structures::Memory;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Checked = Result<(), TestCaseError>;

pub(super) struct World {
    memory: TestMemory,
    policy: Policy,
    store: Store<TestMemory>,
    model: Model,
    /// Of each key, oldest first.
    attempts: BTreeMap<u8, Vec<Attempt>>,
    executed: u64,
}

fn bytes(length: usize, first: usize) -> Vec<u8> {
    (0..length).map(|index| (first + index) as u8).collect()
}

impl World {
    pub(super) fn new(policy: Policy) -> Self {
        let memory = TestMemory::new(u64::MAX);
        let store = open(&memory, policy, START);
        Self {
            memory,
            policy,
            store,
            model: Model {
                now: START,
                ..Model::default()
            },
            attempts: BTreeMap::new(),
            executed: 0,
        }
    }

    fn request(&self, key: u8) -> Request {
        Request {
            scope: self.policy.quota.map(|_| hashed(1_000)),
            ..numbered(key.into())
        }
    }

    fn last(&self, key: u8) -> Option<Attempt> {
        self.attempts.get(&key)?.last().copied()
    }

    fn took_over(&mut self, key: u8, attempt: Attempt) {
        self.attempts.entry(key).or_default().push(attempt);
        if let Some(begun) = self.model.begun.get_mut(&key) {
            begun.state = State::Running;
        }
    }

    pub(super) fn apply(&mut self, op: Op) -> Checked {
        self.memory.allow(100_000);
        let now = self.model.now;
        match op {
            Op::Begin {
                key,
                is_durable,
                bytes: length,
            } => self.begin(key, is_durable, bytes(length, key.into()))?,
            Op::Execute { bytes: length } => {
                self.executed += 1;
                let request = numbered(100 + self.executed);
                match admission::admit(&self.store, &request, at(now)) {
                    Decision::Execute(ticket) => {
                        self.store.record(&ticket, &bytes(length, 0)).unwrap();
                    }
                    Decision::Refuse(IdempotencyError::Full { .. }) => (),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            Op::Attempt { key, back, act } => self.act(key, back, act)?,
            Op::GoOn { key } => {
                let Some(last) = self.last(key) else {
                    return Ok(());
                };
                let next = self.store.go_on(last).unwrap();
                let begun = self.model.begun.get(&key);
                let goes_on = begun.is_some_and(|begun| begun.due().is_some());
                prop_assert_eq!(next.is_some(), goes_on);
                if let Some(next) = next {
                    self.took_over(key, next);
                    prop_assert_eq!(self.store.go_on(last).unwrap(), None);
                    let resumed = self.store.start(next).unwrap();
                    prop_assert!(resumed.is_some());
                    prop_assert!(self.store.start(next).unwrap().is_none());
                }
            }
            Op::TakeDue { most } => {
                let due = self.model.begun.iter();
                let due = due.filter_map(|(key, begun)| Some((begun.due()?, *key)));
                let mut due: Vec<_> = due.filter(|(until, _)| *until <= now).collect();
                due.sort_by_key(|(until, key)| (*until, self.last(*key)));
                due.truncate(most);
                let mut expected = vec![];
                for (_, key) in due {
                    let begun = self.model.begun.get_mut(&key).expect("it is due");
                    begun.try_again(now);
                    if begun.state != State::Parked {
                        expected.push((self.last(key).expect("it began"), "pay".to_owned()));
                    }
                }
                prop_assert_eq!(self.store.take_due(at(now), most).unwrap(), expected);
            }
            Op::Ask { key } => {
                let asked = self.store.acquire_unknown(&super::key(key.into())).unwrap();
                let begun = self.model.begun.get(&key);
                let is_unknown = begun.is_some_and(Begun::is_unknown);
                let may_have_no_room = begun.is_some_and(|begun| !begun.is_durable);
                prop_assert!(asked.is_none() || is_unknown);
                prop_assert!(asked.is_some() || !is_unknown || may_have_no_room);
                if let Some(next) = asked {
                    self.took_over(key, next);
                }
            }
            Op::Resolve { key, reply } => self.resolve(key, reply)?,
            Op::Advance { nanos } => self.model.now += nanos,
            Op::Timer { most } => {
                self.store.evict(at(now), most).unwrap();
            }
            Op::Reopen => self.reopen()?,
            Op::Limit { pages } => self.memory.limit(pages + self.memory.size()),
        }
        self.check()
    }

    fn begin(&mut self, key: u8, is_durable: bool, argument: Vec<u8>) -> Checked {
        let now = self.model.now;
        let decision = admission::admit(&self.store, &self.request(key), at(now));
        let begun = self.model.begun.get(&key);
        if let Some(begun) =
            begun.filter(|begun| begun.expires_at >= now || begun.is_open() && begun.is_durable)
        {
            let since = at(begun.since);
            let is_overdue = begun.since + WINDOW < now;
            let expected = match &begun.state {
                State::Done(reply) => Decision::Replay(Reply::first(reply.clone())),
                State::Running if !begun.is_durable && is_overdue => {
                    Decision::Refuse(IdempotencyError::OutcomeUnknown { since })
                }
                _ if begun.is_unknown() => {
                    Decision::Refuse(IdempotencyError::OutcomeUnknown { since })
                }
                _ => Decision::Refuse(IdempotencyError::InProgress { since }),
            };
            prop_assert_eq!(decision, expected);
            return Ok(());
        }
        let Decision::Execute(ticket) = decision else {
            return Ok(());
        };
        let runs = begun.is_some_and(|begun| begun.state == State::Running);
        prop_assert!(!runs, "it runs twice");
        let kept = is_durable.then_some((caller(), argument.as_slice()));
        if is_durable
            && self
                .store
                .make_room_for_durable(&argument, at(now))
                .is_err()
        {
            return Ok(());
        }
        let origin = Origin {
            endpoint: "pay",
            scope: [key; 8],
            kept,
        };
        let attempt = self.store.begin(&ticket, &origin).unwrap();
        let stats = self.store.stats();
        prop_assert!(stats.entries <= stats.capacity);
        self.attempts.entry(key).or_default().push(attempt);
        (self.model.begun).insert(key, Begun::new(is_durable, argument, now));
        Ok(())
    }

    fn act(&mut self, key: u8, back: usize, act: Act) -> Checked {
        let now = self.model.now;
        let attempts = self.attempts.get(&key);
        let Some(attempt) = attempts.and_then(|all| all.iter().nth_back(back).copied()) else {
            return Ok(());
        };
        let is_last = self.last(key) == Some(attempt);
        let Some(begun) = self.model.begun.get_mut(&key) else {
            return Ok(());
        };
        // A method that is not durable does none of these.
        let is_of_durable = !matches!(act, Act::Interrupt | Act::Complete { .. } | Act::CutOff);
        if is_of_durable && !begun.is_durable {
            return Ok(());
        }
        let runs = is_last && begun.state == State::Running;
        let was = begun.state.clone();
        let ticket = |store: &Store<TestMemory>| {
            let resumed = store.resumed(attempt).unwrap();
            resumed.map(|resumed| resumed.ticket)
        };
        match act {
            Act::Step { bytes: length } => {
                let entry = bytes(length, begun.steps.len());
                let has_room = self.store.has_room_for_steps(attempt, &[length]);
                let recorded = self.store.append_step(attempt, &entry);
                if !runs {
                    prop_assert!(recorded.is_err(), "an attempt that is over records a step");
                } else if recorded.is_ok() {
                    prop_assert!(has_room);
                    begun.steps.push(entry);
                    begun.tries = 0;
                } else {
                    prop_assert!(!has_room);
                    prop_assert_eq!(recorded, Err(NotRecorded::Full));
                }
            }
            Act::CutOff => {
                self.store.cut_off(attempt, at(now)).unwrap();
                if runs && phase(&self.store, attempt).is_some() {
                    begun.cut_off(now);
                }
            }
            Act::Interrupt | Act::Complete { .. } => {
                let Some(ticket) = ticket(&self.store) else {
                    // It runs on without a record.
                    let has_gone = phase(&self.store, attempt).is_none();
                    prop_assert!(!runs || has_gone && !begun.is_durable);
                    return Ok(());
                };
                let ended = match act {
                    Act::Complete { bytes: length } => {
                        let reply = bytes(length, 5);
                        begun.state = State::Done(reply.clone());
                        (self.store).complete(&ticket, attempt, Some(Reply::first(&reply)), at(now))
                    }
                    _ => {
                        begun.cut_off(now);
                        self.store.interrupt(&ticket, attempt, at(now))
                    }
                };
                prop_assert_eq!(ended, Ok(runs));
                if !runs {
                    begun.state = was;
                } else if begun.is_durable && !begun.is_open() {
                    // It was kept for as long as it lasted.
                    let until = self
                        .store
                        .guaranteed_until(&super::key(key.into()))
                        .unwrap();
                    begun.expires_at = until.map_or(0, Timestamp::as_nanos);
                }
            }
            Act::Sleep { nanos } => {
                self.store.sleep(attempt, at(now + nanos)).unwrap();
                if runs {
                    begun.state = State::Asleep(now + nanos);
                    begun.tries = 0;
                }
            }
            Act::Park { bytes: length } => {
                let reason = "x".repeat(length);
                self.store.park(attempt, &reason).unwrap();
                if runs {
                    begun.state = State::Parked;
                }
            }
            Act::Restart => {
                self.store.restart(attempt, at(now)).unwrap();
                if runs {
                    begun.state = State::Asleep(now);
                    begun.steps.clear();
                    begun.tries = 0;
                }
            }
        }
        Ok(())
    }

    fn resolve(&mut self, key: u8, reply: Option<usize>) -> Checked {
        let now = self.model.now;
        let settlement = match reply {
            Some(length) => Settlement::Done(bytes(length, 9)),
            None => Settlement::NotExecuted,
        };
        let resolved = (self.store).resolve(&super::key(key.into()), &settlement, at(now));
        let Some(begun) = self.model.begun.get_mut(&key) else {
            prop_assert_eq!(resolved, Ok(Resolved::NotKnown));
            return Ok(());
        };
        let is_too_long = reply.is_some_and(|length| length > 1_000);
        let since = at(begun.since);
        let may_be_gone = begun.expires_at < now && !(begun.is_durable && begun.is_open());
        match resolved {
            Ok(Resolved::NotKnown) => prop_assert!(may_be_gone),
            Ok(Resolved::Running { since: it }) => {
                prop_assert_eq!((it, &begun.state), (since, &State::Running));
            }
            Ok(Resolved::HasEnded { since: it }) => {
                prop_assert!(it == since && !begun.is_open());
            }
            Ok(Resolved::Settled { since: it }) => {
                prop_assert!(it == since && begun.is_open() && begun.state != State::Running);
                prop_assert!(!is_too_long);
                match settlement {
                    Settlement::Done(reply) => {
                        begun.state = State::Done(reply);
                        let until = self
                            .store
                            .guaranteed_until(&super::key(key.into()))
                            .unwrap();
                        begun.expires_at = until.map_or(0, Timestamp::as_nanos);
                    }
                    Settlement::NotExecuted => {
                        self.model.begun.remove(&key);
                    }
                }
            }
            Err(IdempotencyError::Full { retry_after }) => {
                prop_assert!(retry_after > at(now));
            }
            Err(error) => prop_assert!(is_too_long && begun.is_open(), "{error:?}"),
        }
        Ok(())
    }

    /// The heap goes away; nothing but the memory is left.
    pub(super) fn reopen(&mut self) -> Checked {
        let held = |store: &Store<TestMemory>| {
            let inner = store.inner.borrow();
            (inner.bytes(0), inner.requests.rows, inner.journal_bytes)
        };
        let before = held(&self.store);
        self.store = open(&self.memory, self.policy, self.model.now);
        prop_assert_eq!(held(&self.store), before);
        self.model.begun.values_mut().for_each(Begun::reopen);
        Ok(())
    }

    /// Whether the store knows what it should.
    fn check(&mut self) -> Checked {
        let now = self.model.now;
        let mut gone = vec![];
        for key in 0..KEYS {
            let Some(begun) = self.model.begun.get(&key) else {
                continue;
            };
            let last = self.last(key).expect("it began");
            let found = self.store.lookup(&super::key(key.into())).unwrap();
            let Lookup::Known(record) = found else {
                prop_assert!(begun.expires_at < now, "{key} is lost: {begun:?}");
                prop_assert!(!begun.is_durable || !begun.is_open(), "{key} is lost");
                gone.push(key);
                continue;
            };
            prop_assert_eq!(record.since, at(begun.since));
            if let State::Done(reply) = &begun.state {
                prop_assert_eq!(record.state, Recorded::Done(Reply::first(reply.clone())));
                prop_assert_eq!(phase(&self.store, last), None);
                continue;
            }
            let pending = record.pending().expect("it has not ended");
            prop_assert_eq!(pending.attempt, last);
            self.check_open(key, begun, last)?;
        }
        for key in gone {
            self.model.begun.remove(&key);
        }
        self.check_lists()
    }

    fn check_open(&self, key: u8, begun: &Begun, last: Attempt) -> Checked {
        let Some(found) = phase(&self.store, last) else {
            // It runs on without a record.
            prop_assert!(begun.state == State::Running && !begun.is_durable);
            prop_assert!(begun.expires_at < self.model.now);
            return Ok(());
        };
        let expected = match begun.state {
            State::Running => Phase::Running,
            State::CutOff(_) => Phase::CutOff,
            State::Asleep(_) => Phase::Asleep,
            State::Parked => Phase::Parked,
            State::Done(_) => unreachable!("it has not ended"),
        };
        prop_assert_eq!(found, expected, "{}", key);
        let progress = match begun.state {
            _ if begun.is_unknown() => Progress::Unknown,
            State::Running if !begun.is_durable => Progress::Running,
            _ => Progress::GoesOn,
        };
        prop_assert_eq!(self.store.progress(last), progress);
        let resumed = known(&self.store, last);
        if begun.is_durable {
            let kept = Some((caller(), begun.argument.clone()));
            prop_assert_eq!(resumed.kept, kept);
        }
        prop_assert_eq!(&resumed.steps, &begun.steps);
        prop_assert_eq!(
            resumed.ticket.scope().is_some(),
            self.policy.quota.is_some()
        );
        if begun.state == State::Parked {
            prop_assert!(resumed.note.is_some());
        }
        let inner = self.store.inner.borrow();
        let open = inner.open.get(last).expect("it is open");
        prop_assert!(open.tries == begun.tries || !begun.is_durable);
        prop_assert!(open.journal_bytes <= u64::from(self.policy.max_journal_bytes));
        Ok(())
    }

    fn check_lists(&self) -> Checked {
        let begun = self.model.begun.iter();
        let mut unknown: Vec<_> = begun
            .filter(|(_, begun)| begun.is_unknown())
            .map(|(key, _)| self.last(*key).expect("it began").0)
            .collect();
        unknown.sort_unstable();
        let listed = self.store.unknown(0, 1_000).unwrap();
        let listed: Vec<_> = listed.into_iter().map(|request| request.number).collect();
        prop_assert_eq!(&listed, &unknown);
        prop_assert_eq!(self.store.stats().unknown, unknown.len() as u64);
        let begun = || self.model.begun.values();
        let running = begun().filter(|begun| begun.is_durable && begun.state == State::Running);
        let counted = {
            let open = &self.store.inner.borrow().open;
            open.durable - open.waiting
        };
        prop_assert_eq!(counted, running.count() as u64);
        #[cfg(feature = "timers")]
        prop_assert_eq!(
            self.store.next_due(),
            begun().filter_map(Begun::due).min().map(at)
        );
        let inner = self.store.inner.borrow();
        let charged = inner.requests.iter().map(|it| it.own.journal_bytes());
        prop_assert_eq!(inner.journal_bytes, charged.sum::<u64>());
        Ok(())
    }
}
