//! Records in memory.

use super::{Attempt, Backend, BackendError, Begun, EVICTED_AT_ONCE, Limits, Mode, Settlement};
use crate::{
    answer::Answer,
    digest::{Digest, RequestId},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// Records in memory: they end with the process, and so do their promises. For tests, and for effects that end with the process,
/// too.
///
/// Clones have the same records.
#[derive(Clone, Debug)]
pub struct MemoryBackend {
    limits: Limits,
    records: Arc<Mutex<Records>>,
}

#[derive(Debug, Default)]
struct Records {
    by_identity: BTreeMap<Digest, Record>,
    /// When those expire that have ended.
    expiry: BTreeSet<(SystemTime, Digest)>,
    /// How much the answers take.
    bytes: u64,
}

#[derive(Debug)]
struct Record {
    fingerprint: Digest,
    attempt: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    InFlight,
    Unknown { until: SystemTime },
    Done { answer: Answer, until: SystemTime },
}

impl State {
    fn until(&self) -> Option<SystemTime> {
        match self {
            Self::InFlight => None,
            Self::Unknown { until } | Self::Done { until, .. } => Some(*until),
        }
    }

    fn size(&self) -> u64 {
        match self {
            Self::Done { answer, .. } => answer.size() as u64,
            Self::InFlight | Self::Unknown { .. } => 0,
        }
    }
}

impl MemoryBackend {
    /// No records yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            records: Arc::default(),
        }
    }

    /// How many requests are remembered, those that have expired included as long as they are there.
    pub fn remembered(&self) -> u64 {
        self.records().by_identity.len() as u64
    }

    /// Ends an attempt, if it is in flight.
    fn end(&self, attempt: &Attempt, settlement: Settlement, now: SystemTime) {
        let mut records = self.records();
        let Some(record) = records.of(attempt) else {
            return;
        };
        let until = self.limits.until(now);
        let state = match settlement {
            Settlement::Done(answer) => State::Done { answer, until },
            Settlement::Unknown => State::Unknown { until },
            Settlement::NotExecuted => {
                records.remove(attempt.id.identity);
                return;
            }
        };
        let record = Record {
            fingerprint: record.fingerprint,
            attempt: record.attempt,
            state,
        };
        records.put(attempt.id.identity, record);
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        // Nothing below panics between two changes that belong together.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    fn remove(&mut self, identity: Digest) {
        if let Some(record) = self.by_identity.remove(&identity) {
            self.bytes -= record.state.size();
            if let Some(until) = record.state.until() {
                self.expiry.remove(&(until, identity));
            }
        }
    }

    fn put(&mut self, identity: Digest, record: Record) {
        self.remove(identity);
        self.bytes += record.state.size();
        if let Some(until) = record.state.until() {
            self.expiry.insert((until, identity));
        }
        self.by_identity.insert(identity, record);
    }

    fn evict(&mut self, now: SystemTime) {
        for _ in 0..EVICTED_AT_ONCE {
            match self.expiry.first() {
                Some((until, identity)) if *until <= now => self.remove(*identity),
                _ => break,
            }
        }
    }

    /// The record of an attempt that is still in flight.
    fn of(&self, attempt: &Attempt) -> Option<&Record> {
        let record = self.by_identity.get(&attempt.id.identity)?;
        (record.attempt == attempt.number && matches!(record.state, State::InFlight))
            .then_some(record)
    }
}

impl Backend for MemoryBackend {
    async fn begin(
        &self,
        id: RequestId,
        mode: Mode,
        now: SystemTime,
    ) -> Result<Begun, BackendError> {
        let mut records = self.records();
        let record = records.by_identity.get(&id.identity);
        let record = record.filter(|record| record.state.until().is_none_or(|until| now < until));
        let number = match record {
            Some(record) if record.fingerprint != id.fingerprint => return Ok(Begun::KeyReused),
            Some(record) => match &record.state {
                State::Done { answer, .. } => return Ok(Begun::Done(answer.clone())),
                State::InFlight => return Ok(Begun::InFlight),
                State::Unknown { .. } if mode == Mode::Repeat => record.attempt + 1,
                State::Unknown { .. } => return Ok(Begun::Unknown),
            },
            None if mode == Mode::Look => return Ok(Begun::Absent),
            None => {
                records.evict(now);
                let full = records.by_identity.len() as u64 >= self.limits.records
                    || records.bytes >= self.limits.bytes;
                if full && !records.by_identity.contains_key(&id.identity) {
                    let first = records.expiry.first().map(|(until, _)| *until);
                    let retry_after = first.and_then(|until| until.duration_since(now).ok());
                    return Ok(Begun::Full {
                        retry_after: retry_after.unwrap_or(Duration::from_secs(1)),
                    });
                }
                1
            }
        };
        let record = Record {
            fingerprint: id.fingerprint,
            attempt: number,
            state: State::InFlight,
        };
        records.put(id.identity, record);
        Ok(Begun::Acquired(Attempt::new(id, 0, number)))
    }

    async fn settle(
        &self,
        attempt: &Attempt,
        settlement: Settlement,
        now: SystemTime,
    ) -> Result<Option<Answer>, BackendError> {
        self.end(attempt, settlement, now);
        Ok(None)
    }

    fn abandon(&self, attempt: &Attempt, now: SystemTime) {
        self.end(attempt, Settlement::Unknown, now);
    }
}
