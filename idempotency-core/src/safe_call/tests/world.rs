//! A caller, a callee, and what is between them.

use crate::{
    error::IdempotencyError,
    runtime::{Outgoing, Rejected},
    safe_call::{
        TransferError,
        search::{Block, GetBlocksArgs, GetBlocksResult, Value},
        transport::Transport,
    },
    time::Timestamp,
};
use candid::{CandidType, Deserialize, Nat, Principal};
use serde_bytes::ByteBuf;
use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

pub(super) const CALLEE: Principal = Principal::from_slice(&[7, 1]);
pub(super) const CALLER: Principal = Principal::from_slice(&[8, 1]);
/// What the callee answers with when it executes the call.
pub(super) const REPLY: u64 = 2;
/// Seconds.
pub(super) const START: u64 = 1_000_000;

/// What the endpoint answers with.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(super) enum Failure {
    Idempotency(IdempotencyError),
}

/// What becomes of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives, and so does the answer.
    Answered,
    /// It does not arrive, and the caller is told so, by this reject code.
    NotExecuted(u32),
    /// It does not arrive, and the caller is not told.
    Dropped,
    /// It arrives; the answer does not.
    AnswerLost,
    /// It arrives, and the caller is told that it was rejected, by this code.
    AnswerRejected(u32),
    /// The caller is not told. It arrives later: before the next attempt that does, or after the last one.
    Late,
    /// It arrives and runs for longer than the caller waits, until after the next attempt that arrives.
    Slow,
    /// It arrives and traps at once.
    TrapsFirst,
    /// It arrives, has its effect, and traps.
    TrapsLater,
    /// It arrives, and the callee has no room for one more request.
    Full,
}

pub(super) const FATES: [Fate; 13] = [
    Fate::Answered,
    Fate::NotExecuted(0),
    Fate::NotExecuted(1),
    Fate::NotExecuted(2),
    Fate::NotExecuted(3),
    Fate::Dropped,
    Fate::AnswerLost,
    Fate::AnswerRejected(4),
    Fate::Late,
    Fate::Slow,
    Fate::TrapsFirst,
    Fate::TrapsLater,
    Fate::Full,
];

impl Fate {
    /// Whether the caller can't know from this alone whether the attempt was executed.
    pub(super) fn is_doubtful(self) -> bool {
        !matches!(self, Fate::Answered | Fate::NotExecuted(_) | Fate::Full)
    }
}

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An idempotent endpoint that answers with its refusals.
    Endpoint,
    /// One that traps with them.
    TrappingEndpoint,
    /// An ICRC ledger without ICRC-3.
    Ledger,
    /// As above; while it is `Full` it refuses by its fee, before it looks for duplicates.
    LedgerWithOtherFee,
    /// As above, and it has ICRC-3.
    LedgerWithBlocks,
    /// Executes whatever arrives.
    Plain,
}

impl Kind {
    pub(super) fn is_ledger(self) -> bool {
        use Kind::*;
        matches!(self, Ledger | LedgerWithOtherFee | LedgerWithBlocks)
    }
}

/// What the callee remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    Absent,
    Pending,
    Done,
    Unknown,
}

pub(super) struct World {
    kind: Kind,
    fates: RefCell<Vec<Fate>>,
    /// How long each answer takes, in seconds; then 1.
    delays: RefCell<Vec<u64>>,
    /// By how much each pause is too long, in seconds.
    stalls: RefCell<Vec<u64>>,
    now: Cell<u64>,
    /// The callee's clock is ahead by this.
    skew: i64,
    window: u64,
    created_at: Option<u64>,
    record: Cell<Record>,
    executed_at: Cell<u64>,
    late: Cell<Option<u64>>,
    effects: Cell<u32>,
    pub(super) sent: RefCell<Vec<Outgoing>>,
    pub(super) pauses: RefCell<Vec<Duration>>,
}

impl World {
    /// Times in seconds. What is left of `fates` after their end is `Answered`.
    pub(super) fn new(kind: Kind, fates: &[Fate]) -> Self {
        let reversed = |fates: &[Fate]| fates.iter().rev().copied().collect();
        Self {
            kind,
            fates: RefCell::new(reversed(fates)),
            delays: RefCell::default(),
            stalls: RefCell::default(),
            now: Cell::new(START),
            skew: 0,
            window: 24 * 3_600,
            created_at: kind.is_ledger().then_some(START),
            record: Cell::new(Record::Absent),
            executed_at: Cell::new(0),
            late: Cell::new(None),
            effects: Cell::new(0),
            sent: RefCell::default(),
            pauses: RefCell::default(),
        }
    }

    pub(super) fn with_times(
        mut self,
        window: u64,
        created_at: Option<u64>,
        skew: i64,
        delays: Vec<u64>,
        stalls: Vec<u64>,
    ) -> Self {
        (self.window, self.created_at, self.skew) = (window, created_at, skew);
        (self.delays, self.stalls) = (RefCell::new(delays), RefCell::new(stalls));
        self
    }

    /// How often the call was executed, when all that is under way has arrived.
    pub(super) fn effects(&self) -> u32 {
        self.deliver_late();
        self.effects.get()
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.now.set(self.now.get() + seconds);
    }

    fn clock(&self, time: u64) -> u64 {
        time.checked_add_signed(self.skew)
            .expect("a time after 1970")
    }

    fn deliver_late(&self) {
        if let Some(deadline) = self.late.take() {
            // At the latest when the callee's clock shows the deadline.
            let latest = deadline.checked_add_signed(-self.skew).expect("after 1970");
            let _ = self.deliver(self.now.get().min(latest), Fate::Answered);
        }
    }

    fn is_pending(&self) -> bool {
        self.record.get() == Record::Pending
    }

    /// What the callee answers at that time: its reply, or the text of its trap.
    fn deliver(&self, time: u64, fate: Fate) -> Result<Vec<u8>, String> {
        if fate == Fate::TrapsFirst {
            return Err("Canister called `ic0.trap` with message: 'planned'".into());
        }
        match self.kind {
            Kind::Plain => {
                self.effects.set(self.effects.get() + 1);
                match fate {
                    Fate::TrapsLater => Err("planned".into()),
                    _ => Ok(candid::encode_one(REPLY).unwrap()),
                }
            }
            Kind::Endpoint | Kind::TrappingEndpoint => self.deliver_to_endpoint(time, fate),
            _ => self.deliver_to_ledger(time, fate),
        }
    }

    fn expire(&self, time: u64) {
        const DRIFT: u64 = 60;
        let kept_until = match self.created_at {
            Some(created_at) => created_at + self.window + DRIFT,
            None => self.executed_at.get() + self.window,
        };
        if self.record.get() != Record::Absent && self.clock(time) > kept_until {
            self.record.set(Record::Absent);
        }
    }

    fn execute(&self, time: u64, fate: Fate) {
        self.effects.set(self.effects.get() + 1);
        self.executed_at.set(self.clock(time));
        self.record.set(match fate {
            Fate::Slow => Record::Pending,
            Fate::TrapsLater => Record::Unknown,
            _ => Record::Done,
        });
    }

    fn is_too_old(&self, time: u64) -> bool {
        let end = self
            .created_at
            .map(|created_at| created_at + self.window + 60);
        end.is_some_and(|end| self.clock(time) > end)
    }

    fn deliver_to_endpoint(&self, time: u64, fate: Fate) -> Result<Vec<u8>, String> {
        self.expire(time);
        let at = Timestamp::from_secs(1);
        let refusal = match self.record.get() {
            Record::Done => None,
            Record::Pending => {
                self.record.set(Record::Done);
                Some(IdempotencyError::InProgress { since: at })
            }
            Record::Unknown => Some(IdempotencyError::OutcomeUnknown { since: at }),
            Record::Absent if self.is_too_old(time) => Some(IdempotencyError::TooOld),
            Record::Absent if fate == Fate::Full => {
                Some(IdempotencyError::Full { retry_after: at })
            }
            Record::Absent => {
                self.execute(time, fate);
                None
            }
        };
        match (refusal, self.kind) {
            (None, Kind::TrappingEndpoint) => Ok(candid::encode_one(REPLY).unwrap()),
            (Some(error), Kind::TrappingEndpoint) => Err(format!(
                "Error from Canister aaaaa-aa: Canister called `ic0.trap` with message: 'idempotency: {error}'.\nConsider …"
            )),
            (None, _) => Ok(candid::encode_one(Ok::<_, Failure>(REPLY)).unwrap()),
            (Some(error), _) => {
                Ok(candid::encode_one(Err::<u64, _>(Failure::Idempotency(error))).unwrap())
            }
        }
    }

    fn deliver_to_ledger(&self, time: u64, fate: Fate) -> Result<Vec<u8>, String> {
        self.expire(time);
        let error = match (fate, self.kind, self.record.get()) {
            (Fate::Full, Kind::Ledger, _) => Some(TransferError::TemporarilyUnavailable),
            (Fate::Full, ..) => Some(TransferError::BadFee {
                expected_fee: 3u8.into(),
            }),
            (.., Record::Absent) if self.is_too_old(time) => Some(TransferError::TooOld),
            (.., Record::Absent) => {
                self.execute(time, Fate::Answered);
                None
            }
            _ => Some(TransferError::Duplicate {
                duplicate_of: REPLY.into(),
            }),
        };
        Ok(candid::encode_one(error.map_or(Ok(Nat::from(REPLY)), Err)).unwrap())
    }
}

impl Transport for World {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.now.get())
    }

    fn canister(&self) -> Principal {
        CALLER
    }

    async fn call(&self, call: Outgoing) -> Result<Vec<u8>, Rejected> {
        if call.method == "icrc3_get_blocks" {
            // It comes after all attempts.
            self.deliver_late();
            return match self.kind {
                Kind::LedgerWithBlocks => Ok(log(self.effects.get(), &call.argument)),
                _ => Err(Rejected {
                    code: 5,
                    message: "no such method".into(),
                }),
            };
        }
        assert_eq!(call.callee, CALLEE);
        let timeout = u64::from(call.timeout.expect("bounded"));
        let deadline = self.now.get() + timeout;
        self.sent.borrow_mut().push(call);
        let fate = self.fates.borrow_mut().pop().unwrap_or(Fate::Answered);
        let arrives = !matches!(fate, Fate::NotExecuted(_) | Fate::Dropped | Fate::Late);
        let answer = arrives.then(|| {
            self.deliver_late();
            let is_new = !self.is_pending();
            let answer = self.deliver(self.now.get(), fate);
            (answer, is_new)
        });
        let delay = self.delays.borrow_mut().pop().unwrap_or(1);
        self.pass(delay.min(timeout));
        let rejected = |code, message: &str| {
            Err(Rejected {
                code,
                message: message.to_owned(),
            })
        };
        match (fate, answer) {
            (Fate::NotExecuted(code), _) => rejected(code, "not executed"),
            (Fate::Late, _) => {
                self.deliver_late();
                self.late.set(Some(deadline));
                rejected(6, "unknown")
            }
            (Fate::Dropped | Fate::AnswerLost, _) => rejected(6, "unknown"),
            (Fate::AnswerRejected(code), _) => rejected(code, "rejected"),
            (Fate::Slow, Some(_)) if self.is_pending() || self.kind == Kind::Plain => {
                rejected(6, "unknown")
            }
            (Fate::TrapsLater, Some((_, true)))
                if self.record.get() == Record::Unknown || self.kind == Kind::Plain =>
            {
                rejected(5, "trapped")
            }
            (_, Some((Ok(reply), _))) => Ok(reply),
            (_, Some((Err(text), _))) => rejected(5, &text),
            (_, None) => unreachable!("it arrived"),
        }
    }

    async fn pause(&self, time: Duration) {
        self.pauses.borrow_mut().push(time);
        let stall = self.stalls.borrow_mut().pop().unwrap_or(0);
        self.pass(time.as_secs() + stall);
    }
}

/// The blocks of a ledger that has executed the transfer as its block `REPLY`, or not.
fn log(effects: u32, argument: &[u8]) -> Vec<u8> {
    let ranges: Vec<GetBlocksArgs> = candid::decode_one(argument).unwrap();
    let length = REPLY + u64::from(effects);
    let blocks = ranges.iter().flat_map(|range| {
        let start = u64::try_from(&range.start.0).unwrap();
        let count = u64::try_from(&range.length.0).unwrap();
        start..length.min(start + count)
    });
    let result = GetBlocksResult {
        log_length: length.into(),
        blocks: blocks
            .map(|id| Block {
                id: id.into(),
                block: block(if id < REPLY { 2 } else { 1 }),
            })
            .collect(),
        archived_blocks: vec![],
    };
    candid::encode_one(result).unwrap()
}

fn block(memo: u8) -> Value {
    let caller = || Value::Array(vec![Value::Blob(ByteBuf::from(CALLER.as_slice()))]);
    let time = || Value::Nat((START * 1_000_000_000).into());
    let map = |entries: Vec<(&str, Value)>| {
        let entries = entries.into_iter();
        Value::Map(entries.map(|(name, value)| (name.into(), value)).collect())
    };
    let tx = map(vec![
        ("from", caller()),
        ("to", caller()),
        ("amt", Value::Nat(5u8.into())),
        ("memo", Value::Blob(ByteBuf::from([memo]))),
        ("ts", time()),
    ]);
    map(vec![("ts", time()), ("tx", tx)])
}

/// The result of a future that never waits.
pub(super) fn finished<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("nothing here waits"),
    }
}
