//! The bench canister on a replica of its own.

use crate::{
    Progress,
    results::{Samples, grouped},
};
use bench_work::{EPOCH_SECONDS, Measured, Operation, Room, STEP, Who, Work};
use integration_tests::{BENCH_CANISTER, Canister, fixed_fees, replica, user};
use pocket_ic::{PocketIc, Time};
use std::time::Duration;

/// Requests recorded in one message of a fill: within what a message may use, for all contestants.
const CHUNK: u32 = 50_000;

/// Messages that a figure is the median of.
pub(crate) const SAMPLES: u64 = 100;

/// Bytes of a recorded reply.
pub(crate) const REPLY_BYTES: u32 = 40;

/// What a dirty heap page is charged, when the message has ended.
const DIRTY_PAGE: u128 = 1_000;

/// A replica whose clock stands where request number 0 is made.
pub(crate) fn replica_at_epoch() -> PocketIc {
    let replica = replica();
    replica.set_time(Time::from_nanos_since_unix_epoch(
        EPOCH_SECONDS * 1_000_000_000,
    ));
    replica
}

/// How long making `requests` takes.
pub(crate) fn time_of(requests: u64) -> Duration {
    Duration::from_nanos(STEP.as_nanos() as u64 * requests)
}

/// A method of a canister called once: its answer, and its cycles without the fixed fees.
pub(crate) fn charged<T>(
    canister: &Canister<'_>,
    method: &str,
    argument: &[u8],
    decode: impl FnOnce(&[u8]) -> T,
) -> (T, u128) {
    let (reply, cycles) =
        canister.cycles_charged(|| canister.update_raw(user(1), method, argument.to_vec()));
    let reply = reply.unwrap_or_else(|reject| panic!("{method} is answered: {reject:?}"));
    let fees = fixed_fees(user(1), canister.id(), method, argument);
    (decode(&reply), cycles.saturating_sub(fees))
}

/// A contestant in a canister.
pub(crate) struct Subject<'a> {
    pub(crate) canister: Canister<'a>,
    who: Who,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(replica: &'a PocketIc, who: Who) -> Self {
        Self::of(Canister::install(replica, BENCH_CANISTER, ()), who)
    }

    pub(crate) fn of(canister: Canister<'a>, who: Who) -> Self {
        Self { canister, who }
    }

    fn work(&self, operation: Operation, first: u64, count: u32, reply_bytes: u32) -> Work {
        Work {
            who: self.who,
            operation,
            first,
            count,
            reply_bytes,
        }
    }

    fn run(&self, work: &Work) -> Measured {
        self.canister
            .update(user(1), "run", (work,))
            .unwrap_or_else(|reject| panic!("{work:?} is done: {reject:?}"))
    }

    /// Records the requests from number 0 on, in large messages.
    pub(crate) fn fill(&self, entries: u64, reply_bytes: u32, progress: &Progress) -> Bulk {
        let mut bulk = Bulk::default();
        let mut next = 0;
        while next < entries {
            let count = u32::try_from(entries - next).map_or(CHUNK, |left| left.min(CHUNK));
            bulk.add(
                self.run(&self.work(Operation::Insert, next, count, reply_bytes)),
                count,
            );
            next += u64::from(count);
            if next.is_multiple_of(1_000_000) && next < entries {
                progress.say(&format!("  {} requests recorded", grouped(next)));
            }
        }
        bulk
    }

    /// Records requests in one message.
    pub(crate) fn insert(&self, first: u64, count: u32) {
        self.run(&self.work(Operation::Insert, first, count, REPLY_BYTES));
    }

    /// The operation in messages of its own, on requests `stride` apart: instructions of the operation alone.
    pub(crate) fn singles(&self, operation: Operation, first: u64, stride: u64) -> Samples {
        let single = |sample| {
            let number = first + sample * stride;
            self.run(&self.work(operation, number, 1, REPLY_BYTES))
                .total
        };
        (0..SAMPLES).map(single).collect()
    }

    /// Inserts in messages of their own: instructions, and these with the charge for the heap pages that they dirty.
    pub(crate) fn inserts(&self, first: u64) -> (Samples, Samples) {
        let besides = (0..SAMPLES)
            .map(|sample| self.with_rest(Operation::Nothing, first + sample).1)
            .collect::<Samples>()
            .median();
        (0..SAMPLES)
            .map(|sample| {
                let (used, rest) = self.with_rest(Operation::Insert, first + sample);
                let pages =
                    (u128::from(rest.saturating_sub(besides)) + DIRTY_PAGE / 2) / DIRTY_PAGE;
                (used, used + (pages * DIRTY_PAGE) as u64)
            })
            .unzip()
    }

    /// Instructions of the operation, and what else its message is charged.
    fn with_rest(&self, operation: Operation, number: u64) -> (u64, u64) {
        let work = self.work(operation, number, 1, REPLY_BYTES);
        let argument = candid::encode_one(work).expect("the argument encodes");
        let (measured, cycles) = charged(&self.canister, "run", &argument, |reply| {
            candid::decode_one::<Measured>(reply).expect("run answers with what it measured")
        });
        let rest = cycles.saturating_sub(u128::from(measured.total));
        (measured.total, u64::try_from(rest).unwrap_or(u64::MAX))
    }

    /// Forgets requests when number `last` has expired: steps in messages of their own, then many in a message.
    pub(crate) fn expire(&self, last: u64) -> Expiry {
        const BULK: u32 = 1_000;
        let mut expiry = Expiry::default();
        for _ in 0..SAMPLES {
            let step = self.run(&self.work(Operation::Expire, last, 1, 0));
            if step.requests == 0 {
                return expiry;
            }
            expiry.steps.extend([step.total]);
            expiry.add(step);
        }
        for _ in 0..5 {
            expiry.add(self.run(&self.work(Operation::Expire, last, BULK, 0)));
        }
        expiry
    }

    pub(crate) fn room(&self) -> Room {
        self.canister
            .query(user(1), "room", (self.who,))
            .expect("the canister answers")
    }
}

/// Operations done many in a message.
#[derive(Default)]
pub(crate) struct Bulk {
    means: Vec<u64>,
    /// The dearest single operation.
    pub(crate) dearest: u64,
}

impl Bulk {
    fn add(&mut self, measured: Measured, count: u32) {
        self.means.push(measured.total / u64::from(count));
        self.dearest = self.dearest.max(measured.dearest);
    }

    /// An operation in the median message.
    pub(crate) fn median(&self) -> u64 {
        self.means.iter().copied().collect::<Samples>().median()
    }
}

/// What forgetting takes.
#[derive(Default)]
pub(crate) struct Expiry {
    /// Instructions of a step, in a message of its own.
    pub(crate) steps: Samples,
    total: u64,
    requests: u64,
}

impl Expiry {
    fn add(&mut self, measured: Measured) {
        self.total += measured.total;
        self.requests += measured.requests;
    }

    /// Instructions for each request that was forgotten.
    pub(crate) fn each(&self) -> u64 {
        self.total.div_ceil(self.requests.max(1))
    }
}
