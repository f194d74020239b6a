//! What each contestant can do, and how it is measured.

use crate::instructions;
use bench_work::{EPOCH_SECONDS, Measured, Operation, STEP, WINDOW, Work};
use idempotency_core::Timestamp;
use std::hint::black_box;

/// Something that remembers requests.
pub(crate) trait Contestant {
    /// A request, hashed.
    type Request;

    /// Makes ready request number `number`.
    fn request(&self, number: u64) -> Self::Request;

    /// Looks up a new request and records it.
    fn insert(&mut self, request: &Self::Request, now: Timestamp, reply: Vec<u8>);

    /// Looks up a known request and reads its record.
    fn hit(&mut self, request: &Self::Request, now: Timestamp);

    /// Whether the request is known.
    fn is_known(&self, request: &Self::Request) -> bool;

    /// Forgets the oldest expired request, or group of requests.
    fn expire(&mut self, now: Timestamp);

    /// Requests that it remembers.
    fn entries(&self) -> u64;

    /// Pages of 64 KiB of its stable memories.
    fn stable_pages(&self) -> u64;
}

/// When request number `number` is made.
fn made_at(number: u64) -> Timestamp {
    Timestamp::from_nanos(EPOCH_SECONDS * 1_000_000_000 + number * nanos(STEP))
}

fn expired_at(number: u64) -> Timestamp {
    Timestamp::from_nanos(made_at(number).as_nanos() + nanos(WINDOW) + 1)
}

const fn nanos(duration: std::time::Duration) -> u64 {
    duration.as_nanos() as u64
}

pub(crate) fn measure<C: Contestant>(contestant: &mut C, work: &Work) -> Measured {
    let mut meter = Meter::new();
    if work.operation == Operation::Expire {
        expire(contestant, work, &mut meter);
        return meter.measured;
    }
    for number in work.first..work.first + u64::from(work.count) {
        let request = contestant.request(number);
        let reply = vec![7; work.reply_bytes as usize];
        let now = made_at(number);
        let used = match work.operation {
            Operation::Insert => meter.of(|| contestant.insert(&request, now, reply)),
            Operation::Hit => meter.of(|| contestant.hit(&request, now)),
            Operation::Miss => meter.of(|| assert!(!contestant.is_known(&request))),
            Operation::Nothing | Operation::Expire => meter.of(|| ()),
        };
        meter.add(used, 1);
        black_box(request);
    }
    meter.measured
}

fn expire<C: Contestant>(contestant: &mut C, work: &Work, meter: &mut Meter) {
    let now = expired_at(work.first);
    for _ in 0..work.count {
        let before = contestant.entries();
        if before == 0 {
            break;
        }
        let used = meter.of(|| contestant.expire(now));
        meter.add(used, before - contestant.entries());
    }
}

/// Reads the instruction counter, and takes off what reading it costs.
struct Meter {
    overhead: u64,
    measured: Measured,
}

impl Meter {
    fn new() -> Self {
        let mut meter = Self {
            overhead: 0,
            measured: Measured::default(),
        };
        meter.overhead = meter.of(|| ());
        meter
    }

    #[inline(always)]
    fn of<T>(&self, operation: impl FnOnce() -> T) -> u64 {
        let before = instructions();
        black_box(operation());
        (instructions() - before).saturating_sub(self.overhead)
    }

    fn add(&mut self, used: u64, requests: u64) {
        self.measured.total += used;
        self.measured.dearest = self.measured.dearest.max(used);
        self.measured.requests += requests;
    }
}
