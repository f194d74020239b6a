//! What happens to a store, as data made from bytes: operations on it and damage to its memory. The property tests choose
//! the bytes at random, the fuzz target in `fuzz/` by the code that they reach. It includes this very file, and so it is
//! written against the public interface, named `library`; what the crate alone can do comes in as [`Attempts`].

mod damage;
pub(crate) mod memory;

pub(crate) use damage::{Patch, any_image};
pub(crate) use memory::TestMemory;

use super::library::{
    IdempotencyError, OpenError, Policy, Stats, Store, Timestamp,
    admission::{self, Decision, Reply as Kept, Request, Ticket},
    identity::{Argument, Compared, Fingerprint, Fingerprinted, Identity, LazyFingerprint, Scope},
    sequence::Sequence,
};
use std::time::Duration;

pub(crate) const START: u64 = 1_000_000;
pub(crate) const DRIFT: u64 = 10;

/// From how many bytes an operation or a patch is made.
pub(crate) type Seed = [u8; 8];

/// No operation on a store of these scales, and no opening of one, needs nearly as many reads and writes.
const MOST_ACCESSES: u64 = 100_000;

/// How large stores and their requests are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    keys: u8,
    window: u64,
    capacity: u64,
    capacity_bytes: u64,
    max_reply_bytes: u32,
    /// Whether requests may have a place in a lane, and a quota.
    has_lanes: bool,
}

/// Few requests, which expire and are refused all the time; so many that blocks of the index split; replies that are longer
/// than a segment.
pub(crate) const SCALES: [Scale; 3] = [
    Scale {
        keys: 7,
        window: 100,
        capacity: 4,
        capacity_bytes: 2_000,
        max_reply_bytes: 300,
        has_lanes: false,
    },
    Scale {
        keys: 200,
        window: 6_000,
        capacity: 100,
        capacity_bytes: 40_000,
        max_reply_bytes: 300,
        has_lanes: false,
    },
    Scale {
        keys: 7,
        window: 100,
        capacity: 4,
        capacity_bytes: 500_000,
        max_reply_bytes: 150_000,
        has_lanes: false,
    },
];

/// Lanes of sequence numbers and quotas, of which more are forgotten than remembered.
pub(crate) const LANES: Scale = Scale {
    keys: 60,
    window: 100,
    capacity: 40,
    capacity_bytes: 20_000,
    max_reply_bytes: 300,
    has_lanes: true,
};

/// One thing that happens to a store.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Submit {
        key: u8,
        args: u8,
        created_at: Option<CreatedAt>,
        is_async: bool,
        /// The key says which lane, and how far from its next number.
        in_lane: bool,
        reply: Reply,
    },
    LookUp {
        key: u8,
    },
    /// Ends the attempt that began so many attempts before the last one.
    End {
        back: usize,
        end: End,
        reply: Reply,
    },
    Advance {
        nanos: u64,
    },
    Timer {
        most: u32,
    },
    Reopen(Policy),
    /// From now on so many pages more are to be had.
    Limit {
        pages: u64,
    },
}

/// By a client's clock that is off by so much and shows multiples of its unit: so that a retry can have the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CreatedAt {
    offset: i64,
    unit: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Complete,
    /// The reply is too long to be held.
    CompleteWithoutReply,
    Interrupt,
    Release,
}

/// A reply, as the little that its bytes follow from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    pub(crate) length: usize,
    first: u8,
}

impl Reply {
    pub(crate) fn bytes(self) -> Vec<u8> {
        let pattern: Vec<u8> = (0..251).map(|byte| self.first.wrapping_add(byte)).collect();
        let mut bytes = pattern.repeat(self.length.div_ceil(pattern.len()));
        bytes.truncate(self.length);
        bytes
    }
}

impl Scale {
    pub(crate) fn policy(&self) -> Policy {
        let policy = if self.has_lanes {
            Policy::new()
                .max_counters(12)
                .quota(6, 1_500)
                .evict_idle_counters()
        } else {
            Policy::new()
        };
        policy
            .window(Duration::from_nanos(self.window))
            .drift(Duration::from_nanos(DRIFT))
            .capacity(self.capacity)
            .capacity_bytes(self.capacity_bytes)
            .max_reply_bytes(self.max_reply_bytes)
    }

    /// Zeros make the plainest operation: what shrinking strives for.
    pub(crate) fn op(&self, seed: Seed) -> Op {
        let [kind, flags, first, second, third, ..] = seed;
        let has = |flag: u8| flags & 1 << flag != 0;
        // A part of `whole`, as large as the byte is.
        let part = |whole: u64, byte: u8| whole * u64::from(byte) / 255;
        let reply = Reply {
            length: if has(7) {
                part(self.max_reply_bytes.into(), third) as usize
            } else {
                usize::from(third) % 80
            },
            first: third,
        };
        let end = |end| Op::End {
            back: usize::from(first) % 6,
            end,
            reply,
        };
        match kind % 32 {
            0..=11 => Op::Submit {
                key: first % self.keys,
                args: u8::from(has(0) && has(1)),
                created_at: (has(2) && has(3)).then(|| {
                    let (earliest, latest) = (self.window * 14 / 10, 3 * DRIFT);
                    let (second, unit) = if has(4) {
                        (second & 0xC0, self.window / 4)
                    } else {
                        (second, 1)
                    };
                    CreatedAt {
                        offset: part(earliest + latest, second) as i64 - earliest as i64,
                        unit,
                    }
                }),
                is_async: has(5),
                in_lane: self.has_lanes && !has(6),
                reply,
            },
            12..=13 => Op::LookUp {
                key: first % self.keys,
            },
            14..=17 => end(End::Complete),
            18 => end(End::CompleteWithoutReply),
            19..=20 => end(End::Interrupt),
            21 => end(End::Release),
            22..=27 => Op::Advance {
                nanos: match flags % 3 {
                    0 => 1,
                    1 => u64::from(first) % 5,
                    _ => u64::from(first) % 120,
                },
            },
            28 => Op::Timer {
                most: u32::from(first) % 5,
            },
            29 => {
                let policy = self
                    .policy()
                    .window(Duration::from_nanos(
                        self.window / 2 + part(self.window * 9, first),
                    ))
                    .capacity(self.capacity / 2 + part(self.capacity * 2, second));
                let policy = if has(0) {
                    policy.retention(Duration::from_nanos(part(self.window, third)))
                } else {
                    policy
                };
                Op::Reopen(if has(1) {
                    policy.drop_replies()
                } else {
                    policy
                })
            }
            30 => Op::Limit {
                pages: u64::from(first) % 12,
            },
            _ => Op::Limit { pages: 500 },
        }
    }
}

/// What an operation came to.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    Replayed(Vec<u8>),
    Refused(IdempotencyError),
    Executed,
    /// Whether the request is remembered, or the attempt was the one to end it.
    Is(bool),
    NotOpened(OpenError),
    Nothing,
}

/// What the crate's own tests can do and others can't: choose identities, and let attempts last.
pub(crate) trait Attempts: Default {
    fn identity(key: u8) -> Identity;

    fn begin(&mut self, store: &Store<TestMemory>, ticket: &Ticket) -> Option<()>;

    /// Ends the attempt that began `back` attempts before the last one; whether it was still its request's.
    fn end(
        &mut self,
        store: &Store<TestMemory>,
        back: usize,
        end: End,
        reply: Reply,
        now: Timestamp,
    ) -> Option<bool>;
}

/// A store, its memory and its clock.
pub(crate) struct Driver<A> {
    pub(crate) memory: TestMemory,
    pub(crate) now: u64,
    pub(crate) store: Store<TestMemory>,
    attempts: A,
}

impl<A: Attempts> Driver<A> {
    pub(crate) fn open(memory: &TestMemory, policy: Policy) -> Result<Self, OpenError> {
        memory.allow(MOST_ACCESSES);
        let store = Store::open(memory.clone(), policy, Timestamp::from_nanos(START))?;
        Ok(Self {
            memory: memory.clone(),
            now: START,
            store,
            attempts: A::default(),
        })
    }

    pub(crate) fn stats(&self) -> Stats {
        self.store.stats()
    }

    /// What came of `op`; `None` if the store answered that its memory is damaged.
    pub(crate) fn apply(&mut self, op: &Op) -> Option<Outcome> {
        self.memory.allow(MOST_ACCESSES);
        let now = Timestamp::from_nanos(self.now);
        match *op {
            Op::Submit {
                key,
                args,
                created_at,
                is_async,
                in_lane,
                reply,
            } => {
                let mut request = request::<A>(key, args, created_at, self.now);
                if in_lane {
                    count_in::<A>(&self.store, key, &mut request)?;
                }
                let ticket = match admission::admit(&self.store, &request, now) {
                    Decision::Replay(reply)
                        if reply.is_for_retries != is_for_retries(&reply.bytes) =>
                    {
                        return Some(Outcome::Replayed(b"as it was not kept".to_vec()));
                    }
                    Decision::Replay(reply) => return Some(Outcome::Replayed(reply.bytes)),
                    Decision::Refuse(error) => return Some(Outcome::Refused(error)),
                    Decision::Execute(ticket) => ticket,
                };
                if is_async {
                    self.attempts.begin(&self.store, &ticket)?;
                } else {
                    record(&self.store, &ticket, reply.bytes())?;
                }
                Some(Outcome::Executed)
            }
            Op::LookUp { key } => contains(&self.store, &A::identity(key)).map(Outcome::Is),
            Op::End { back, end, reply } => {
                (self.attempts.end(&self.store, back, end, reply, now)).map(Outcome::Is)
            }
            Op::Advance { nanos } => {
                self.now += nanos;
                Some(Outcome::Nothing)
            }
            Op::Timer { most } => evict(&self.store, now, most).map(|()| Outcome::Nothing),
            Op::Reopen(policy) => match Store::open(self.memory.clone(), policy, now) {
                Ok(store) => {
                    self.store = store;
                    Some(Outcome::Nothing)
                }
                Err(error) => Some(Outcome::NotOpened(error)),
            },
            Op::Limit { pages } => {
                self.memory
                    .limit(pages + ic_stable_structures::Memory::size(&self.memory));
                Some(Outcome::Nothing)
            }
        }
    }
}

/// The request that an [`Op::Submit`] stands for at a time.
pub(crate) fn request<A: Attempts>(
    key: u8,
    args: u8,
    created_at: Option<CreatedAt>,
    now: u64,
) -> Request {
    let created_at = created_at.map(|CreatedAt { offset, unit }| {
        Timestamp::from_nanos(now.saturating_add_signed(offset) / unit * unit)
    });
    Request {
        identity: A::identity(key),
        fingerprint: fingerprint(args, created_at),
        created_at,
        sequence: None,
        scope: None,
    }
}

/// Of arguments that `created_at` is one of. Every other endpoint has `fingerprint = EXPR`, whose records are longer.
pub(super) fn fingerprint(args: u8, created_at: Option<Timestamp>) -> Fingerprint {
    let created = created_at.map_or(0, Timestamp::as_nanos);
    let bytes = [&[args], &created.to_le_bytes()[..]].concat();
    let compared = match args % 2 {
        0 => Compared::Argument,
        _ => Compared::chosen(&args),
    };
    let argument = Argument::new(&bytes);
    LazyFingerprint::new(&argument, compared, created_at, &Scope::Caller).fingerprint()
}

/// Gives a request a place in one of ten lanes, and one of ten quotas.
fn count_in<A: Attempts>(store: &Store<TestMemory>, key: u8, request: &mut Request) -> Option<()> {
    let lane = A::identity(key % 10);
    let next = store.next_number(&lane).ok()?;
    let number = next.saturating_add(u64::from(key / 10)).saturating_sub(2);
    let sequence = Sequence {
        lane,
        number,
        max_in_flight: [1, 3, 200][usize::from(key % 3)],
        first_incomplete: Some(next / 2),
        is_shared: false,
    };
    request.identity = Identity::of_number(&lane, number);
    request.sequence = Some(sequence);
    request.scope = Some(A::identity(100 + key % 10));
    Some(())
}

// The store's calls as this harness takes them, `None` for damage: the one place that knows how the store says so.

pub(crate) fn record(store: &Store<TestMemory>, ticket: &Ticket, reply: Vec<u8>) -> Option<()> {
    store.record_reply(ticket, kept(&reply)).ok()
}

/// Every other one is the reply for retries.
pub(crate) fn kept(bytes: &[u8]) -> Kept<&[u8]> {
    let is_for_retries = is_for_retries(bytes);
    Kept {
        bytes,
        is_for_retries,
    }
}

fn is_for_retries(bytes: &[u8]) -> bool {
    bytes.len() % 2 == 1
}

fn contains(store: &Store<TestMemory>, identity: &Identity) -> Option<bool> {
    let until = store.guaranteed_until(identity).ok()?;
    Some(until.is_some())
}

fn evict(store: &Store<TestMemory>, now: Timestamp, most: u32) -> Option<()> {
    store.evict(now, most).ok()?;
    Some(())
}

/// A part of a store's life: damage to its memory, and what happens then.
#[derive(Debug)]
pub(crate) struct Chapter {
    /// Whether the memory is damaged between two heaps, or while the store uses it.
    is_closed: bool,
    patches: Vec<Patch>,
    ops: Vec<Op>,
}

impl Chapter {
    pub(crate) fn new(scale: Scale, is_closed: bool, patches: &[Seed], ops: &[Seed]) -> Self {
        Self {
            is_closed,
            patches: patches.iter().map(|seed| Patch::from(*seed)).collect(),
            ops: ops.iter().map(|seed| scale.op(*seed)).collect(),
        }
    }
}

/// Lives through the chapters, the first of which begins with a memory that no store uses. It ends early if the store can't
/// be opened, and returns normally unless something is wrong.
pub(crate) fn survive<A: Attempts>(memory: &TestMemory, scale: Scale, chapters: &[Chapter]) {
    let mut driver: Option<Driver<A>> = None;
    for chapter in chapters {
        for patch in &chapter.patches {
            // A memory that is in use does not shrink.
            if chapter.is_closed || !matches!(patch, Patch::Truncate { .. }) {
                patch.apply(memory);
            }
        }
        let driver = match &mut driver {
            Some(driver) => {
                let reopen = Op::Reopen(scale.policy());
                if chapter.is_closed && matches!(driver.apply(&reopen), Some(Outcome::NotOpened(_)))
                {
                    return;
                }
                driver
            }
            None => match Driver::open(memory, scale.policy()) {
                Ok(opened) => driver.insert(opened),
                Err(_) => return,
            },
        };
        for op in &chapter.ops {
            driver.apply(op);
            driver.stats();
        }
    }
}
