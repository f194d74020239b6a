//! A subnet with one canister, and a network that drops, delays, duplicates, reorders and lies. All choices follow from a seed; time passes
//! only where the client waits.

use super::ledger::Ledger;
use crate::{Reject, Status, Trouble};
use candid::{Principal, encode_one};
use fastrand::Rng;
use idempotency_core::{
    IdempotencyError, Timestamp,
    outcome::{Asked, Outcome, Verdict},
};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;

pub(super) const CANISTER: Principal = Principal::from_slice(&[7, 1]);
pub(super) const SECOND: u64 = 1_000_000_000;
pub(super) const MINUTE: u64 = 60 * SECOND;
/// The canister's window and drift, and how long it keeps what has expired.
pub(super) const WINDOW: u64 = 15 * MINUTE;
const DRIFT: u64 = MINUTE;

/// What a method does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// It replies at once.
    Reply,
    /// It refuses, has done nothing, and is not remembered.
    Refuse,
    /// It traps at once, which undoes all.
    Trap,
    /// It does something, awaits, and replies.
    Await,
    /// It does something, awaits, and traps.
    TrapLater,
}

impl Does {
    pub(super) const ALL: [Self; 5] = [
        Self::Reply,
        Self::Refuse,
        Self::Trap,
        Self::Await,
        Self::TrapLater,
    ];
}

/// What the argument says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arg {
    pub(super) key: u64,
    pub(super) does: Does,
    /// Not remembered: `None`. By the key alone, or with its time.
    pub(super) remembered: Option<Option<u64>>,
}

impl Arg {
    pub(super) fn encode(self) -> Vec<u8> {
        let (kind, created) = match self.remembered {
            None => (0, 0),
            Some(None) => (1, 0),
            Some(Some(created)) => (2, created),
        };
        let does = Does::ALL
            .iter()
            .position(|does| *does == self.does)
            .unwrap() as u8;
        [
            &[kind, does][..],
            &self.key.to_le_bytes(),
            &created.to_le_bytes(),
        ]
        .concat()
    }

    fn decode(bytes: &[u8]) -> Self {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        Self {
            key: number(2),
            does: Does::ALL[usize::from(bytes[1])],
            remembered: match bytes[0] {
                0 => None,
                1 => Some(None),
                _ => Some(Some(number(10))),
            },
        }
    }
}

/// How bad the network is, each in percent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// A request or an answer is lost.
    pub(super) lost: u8,
    /// A request arrives up to 8 minutes later.
    pub(super) late: u8,
    /// It arrives twice.
    pub(super) twice: u8,
    /// The answer is a lie, or of a replica that is behind.
    pub(super) lie: u8,
    /// No status is given for some minutes.
    pub(super) blocked: u8,
    /// A clock jumps by minutes.
    pub(super) jump: u8,
    /// The client is killed, in a thousand.
    pub(super) killed: u8,
}

pub(super) struct Content {
    pub(super) method: String,
    pub(super) arg: Vec<u8>,
    pub(super) expiry: u64,
}

#[derive(Clone)]
enum Record {
    Pending,
    Done(Vec<u8>),
    Unknown,
}

pub(super) enum Due {
    Arrives([u8; 32]),
    Runs([u8; 32]),
    Ends([u8; 32]),
    Pruned([u8; 32]),
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) faults: Faults,
    /// The subnet's time.
    pub(super) now: u64,
    /// The client's clock, which goes at its own rate in percent.
    pub(super) local: u64,
    pub(super) rate: u64,
    pub(super) blocked_until: u64,
    due: BTreeMap<(u64, u64), Due>,
    count: u64,
    pub(super) contents: BTreeMap<[u8; 32], Content>,
    /// All states of each request, with their times.
    statuses: BTreeMap<[u8; 32], Vec<(u64, Status)>>,
    /// Of the canister: what it remembers, since when and until when.
    records: BTreeMap<u64, (Record, u64, u64)>,
    /// The latest expiry of what it forgot.
    forgotten: u64,
    /// What its archives hold, if it has any: replies, and since when.
    pub(super) archives: Option<BTreeMap<u64, (Vec<u8>, u64)>>,
    /// How often an archive knew what was asked about.
    pub(super) found_late: u32,
    /// How often each key had an effect.
    pub(super) effects: BTreeMap<u64, u32>,
    /// What the method itself replied.
    pub(super) replies: BTreeMap<u64, Vec<u8>>,
    /// Of a canister that is a ledger.
    pub(super) ledger: Ledger,
}

fn rejected(code: u8, error_code: &str, message: &str) -> Status {
    Status::Rejected(Reject {
        code,
        message: message.into(),
        error_code: Some(error_code.into()),
    })
}

fn error(error: IdempotencyError) -> Vec<u8> {
    encode_one(Err::<u64, _>(error)).unwrap()
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        let mut rng = Rng::with_seed(seed);
        Self {
            faults,
            now: 1_700_000_000 * SECOND,
            local: rng.u64(..1_000_000 * SECOND),
            rate: rng.u64(90..120),
            rng,
            blocked_until: 0,
            due: BTreeMap::new(),
            count: 0,
            contents: BTreeMap::new(),
            statuses: BTreeMap::new(),
            records: BTreeMap::new(),
            forgotten: 0,
            archives: None,
            found_late: 0,
            effects: BTreeMap::new(),
            replies: BTreeMap::new(),
            ledger: Ledger::default(),
        }
    }

    pub(super) fn happens(&mut self, percent: u8) -> bool {
        self.rng.u8(..100) < percent
    }

    pub(super) fn at(&mut self, time: u64, due: Due) {
        self.count += 1;
        self.due.insert((time.max(self.now), self.count), due);
    }

    /// Time passes.
    pub(super) fn pass(&mut self, time: u64) {
        let end = self.now + time;
        self.local += time * self.rate / 100;
        while let Some(entry) = self.due.first_entry()
            && entry.key().0 <= end
        {
            let ((at, _), due) = entry.remove_entry();
            self.now = self.now.max(at);
            match due {
                Due::Arrives(id) => self.arrives(id),
                Due::Runs(id) => self.runs(id),
                Due::Ends(id) => self.ends(id),
                Due::Pruned(id) => self.set(id, Status::Absent),
            }
        }
        self.now = end;
    }

    /// A message of another client, with the same argument, arrives.
    pub(super) fn another_sends(&mut self, arg: Arg) {
        let id = std::array::from_fn(|_| self.rng.u8(..));
        let content = Content {
            method: "act".into(),
            arg: arg.encode(),
            expiry: self.now + MINUTE,
        };
        self.contents.insert(id, content);
        self.at(self.now, Due::Arrives(id));
    }

    fn set(&mut self, id: [u8; 32], status: Status) {
        let now = self.now;
        self.statuses
            .entry(id)
            .or_default()
            .push((now, status.clone()));
        if matches!(status, Status::Replied(_) | Status::Rejected(_)) {
            // It is kept until its expiry at least, if need be without the reply.
            let expiry = self.contents[&id].expiry;
            let kept = self.rng.u64(..2 * MINUTE);
            self.at(expiry.max(now) + kept, Due::Pruned(id));
            if self.happens(self.faults.lie) {
                self.statuses
                    .entry(id)
                    .or_default()
                    .push((now, Status::Done));
            }
        }
    }

    pub(super) fn status(&self, id: [u8; 32], at: u64) -> Status {
        let states = self.statuses.get(&id).map_or(&[][..], Vec::as_slice);
        let last = states.iter().rfind(|(since, _)| *since <= at);
        last.map_or(Status::Absent, |(_, status)| status.clone())
    }

    fn arrives(&mut self, id: [u8; 32]) {
        let expiry = self.contents[&id].expiry;
        let is_known = self.status(id, self.now) != Status::Absent;
        if is_known || self.now > expiry || expiry > self.now + 6 * MINUTE {
            return;
        }
        self.set(id, Status::Received);
        let wait = self.rng.u64(..3 * SECOND);
        self.at(self.now + wait, Due::Runs(id));
    }

    fn runs(&mut self, id: [u8; 32]) {
        let Content {
            method,
            arg,
            expiry,
        } = &self.contents[&id];
        if self.now > *expiry {
            return self.set(
                id,
                rejected(
                    2,
                    "IC0202",
                    "Ingress message timed out waiting to start executing.",
                ),
            );
        }
        if method.starts_with("idempotency_outcomes") {
            let asks_archives = method == "idempotency_outcomes_ever";
            let asked: Vec<Asked> = candid::decode_one(arg).unwrap();
            let answers: Vec<_> = asked
                .iter()
                .map(|asked| self.outcome(Arg::decode(&asked.arg), asks_archives))
                .collect();
            return self.set(id, Status::Replied(encode_one(answers).unwrap()));
        }
        if method.starts_with("icrc1_") {
            let reply = self.ledger.call(method, arg);
            // It has made a transfer, awaited, and trapped.
            let traps = method == "icrc1_transfer" && self.ledger.traps && self.rng.u8(..4) == 0;
            return self.set(
                id,
                match traps {
                    true => rejected(
                        5,
                        "IC0503",
                        "Error from Canister: Canister called `ic0.trap` with message: 'no'",
                    ),
                    false => Status::Replied(reply),
                },
            );
        }
        let arg = Arg::decode(arg);
        self.forget(arg.key);
        if let Some(refused) = self.look_up(arg) {
            return self.set(id, Status::Replied(refused));
        }
        match arg.does {
            Does::Refuse => {
                let reply = encode_one(Err::<u64, String>("no".into())).unwrap();
                self.replies.insert(arg.key, reply.clone());
                self.set(id, Status::Replied(reply));
            }
            Does::Trap => self.set(
                id,
                rejected(
                    5,
                    "IC0503",
                    "Error from Canister: Canister called `ic0.trap` with message: 'no'",
                ),
            ),
            Does::Reply => {
                self.effect(arg, Record::Pending);
                self.ends(id);
            }
            Does::Await | Does::TrapLater => {
                self.effect(arg, Record::Pending);
                self.set(id, Status::Processing);
                let long = [5 * SECOND, MINUTE, 8 * MINUTE][self.rng.usize(..3)];
                let long = self.rng.u64(..long);
                self.at(self.now + long, Due::Ends(id));
            }
        }
    }

    fn effect(&mut self, arg: Arg, record: Record) {
        *self.effects.entry(arg.key).or_default() += 1;
        if let Some(created) = arg.remembered {
            let until = created.map_or(self.now, |created| created + DRIFT) + WINDOW;
            self.records.insert(arg.key, (record, self.now, until));
        }
    }

    fn ends(&mut self, id: [u8; 32]) {
        let arg = Arg::decode(&self.contents[&id].arg);
        let reply = encode_one(Ok::<u64, String>(self.rng.u64(..))).unwrap();
        let (record, status) = match arg.does {
            Does::TrapLater => (
                Record::Unknown,
                rejected(
                    5,
                    "IC0503",
                    "Error from Canister: Canister called `ic0.trap` with message: 'no'",
                ),
            ),
            _ => (Record::Done(reply.clone()), Status::Replied(reply.clone())),
        };
        if matches!(status, Status::Replied(_)) {
            self.replies.insert(arg.key, reply);
        }
        if let Some(kept) = self.records.get_mut(&arg.key) {
            kept.0 = record;
        }
        self.set(id, status);
    }

    /// The records that have expired, now and then, but none that has not ended.
    fn forget(&mut self, key: u64) {
        if let Some((record, _, until)) = self.records.get(&key)
            && *until < self.now
            && !matches!(record, Record::Pending)
        {
            if let Some(archives) = &mut self.archives {
                // What has not ended is kept, and what has ended is archived.
                if let (Record::Done(reply), since, _) = &self.records[&key] {
                    archives.insert(key, (reply.clone(), *since));
                    self.records.remove(&key);
                }
                return;
            }
            self.forgotten = self.forgotten.max(*until);
            self.records.remove(&key);
        }
    }

    fn is_too_old(&self, created: u64) -> bool {
        created + WINDOW + DRIFT < self.now
    }

    fn look_up(&mut self, arg: Arg) -> Option<Vec<u8>> {
        let created = arg.remembered?;
        match self.records.get(&arg.key) {
            Some((Record::Pending, since, _)) => Some(error(IdempotencyError::InProgress {
                since: Timestamp::from_nanos(*since),
            })),
            Some((Record::Unknown, since, _)) => Some(error(IdempotencyError::OutcomeUnknown {
                since: Timestamp::from_nanos(*since),
            })),
            Some((Record::Done(reply), ..)) => Some(reply.clone()),
            None if self.archived(arg.key).is_some() => self.archived(arg.key).map(|it| it.0),
            None => created
                .filter(|created| self.is_too_old(*created))
                .map(|_| error(IdempotencyError::TooOld)),
        }
    }

    /// What an archive holds of a request.
    fn archived(&self, key: u64) -> Option<(Vec<u8>, u64)> {
        self.archives.as_ref()?.get(&key).cloned()
    }

    /// Whether the filter says that an archive may hold it; some it takes for others.
    fn may_be_archived(&self, key: u64) -> bool {
        self.archived(key).is_some() || self.archives.is_some() && key.is_multiple_of(7)
    }

    fn outcome(&mut self, arg: Arg, asks_archives: bool) -> Result<Outcome, IdempotencyError> {
        let Some(created) = arg.remembered else {
            return Err(IdempotencyError::MissingKey);
        };
        self.forget(arg.key);
        let as_of = Timestamp::from_nanos(self.now);
        Ok(match self.records.get(&arg.key).cloned() {
            Some((Record::Done(reply), since, until)) => Outcome::Done {
                reply: ByteBuf::from(reply),
                executed_at: Timestamp::from_nanos(since),
                guaranteed_until: Timestamp::from_nanos(until),
            },
            Some((Record::Pending, since, _)) => Outcome::Pending {
                since: Timestamp::from_nanos(since),
                step: None,
            },
            Some((Record::Unknown, since, _)) => Outcome::Unknown {
                since: Timestamp::from_nanos(since),
                step: None,
            },
            None if asks_archives && self.archived(arg.key).is_some() => {
                self.found_late += 1;
                let (reply, since) = self.archived(arg.key).unwrap();
                Outcome::Done {
                    reply: ByteBuf::from(reply),
                    executed_at: Timestamp::from_nanos(since),
                    guaranteed_until: Timestamp::from_nanos(u64::MAX),
                }
            }
            None => {
                let until = created.map(|created| created + WINDOW + DRIFT);
                let may_be_archived = !asks_archives && self.may_be_archived(arg.key);
                let verdict = match until {
                    Some(until) if until < self.now && may_be_archived => Verdict::MayHaveRun,
                    None if may_be_archived => {
                        return Err(IdempotencyError::Other {
                            code: 10,
                            message: "ArchiveNotAsked".into(),
                            retry_after: None,
                        });
                    }
                    Some(until) if until < self.now && until > self.forgotten => Verdict::NeverRan,
                    Some(until) if until < self.now => Verdict::MayHaveRun,
                    until => Verdict::CanStillRun {
                        until: until.map(Timestamp::from_nanos),
                    },
                };
                Outcome::Absent { as_of, verdict }
            }
        })
    }

    /// An answer that is none.
    pub(super) fn lie(&mut self) -> Trouble {
        match self.rng.u8(..5) {
            0 => Trouble::Http {
                status: 400,
                message: "no".into(),
            },
            1 => Trouble::Http {
                status: 503,
                message: "busy".into(),
            },
            2 => Trouble::NotTaken(Reject {
                code: 3,
                message: "no such canister".into(),
                error_code: Some("IC0301".into()),
            }),
            3 => Trouble::Certificate("the signature is another's".into()),
            _ => Trouble::Unreachable("reset".into()),
        }
    }
}
