//! Messages to servers: what it takes to send one into an outbox, and what the outbox adds to an outcall.
//!
//! An outcall's message can't measure itself. It is measured by what the canister is charged, less what it is charged for the same
//! outcall by hand: fees, timers and the outcall's own price are the same.

use crate::{
    Progress,
    results::{Results, Samples, grouped},
    subject::{SAMPLES, replica_at_epoch},
};
use integration_tests::{BENCH_OUTBOX, Canister, user};
use pocket_ic::common::rest::{CanisterHttpReply, CanisterHttpResponse, MockCanisterHttpResponse};
use std::time::Duration;

/// Messages sent, or dismissed, in one message of the canister.
const CHUNK: u32 = 5_000;

/// Rounds after which an outbox that has not come to rest is stuck.
const MOST_ROUNDS: u32 = 100_000;

/// Outcalls that a figure is the median of: fewer than the messages that were sent before.
const OUTCALLS: u64 = SAMPLES / 2;

const BODY: u32 = 100;
const LONGER: u32 = 100_000;

pub(crate) fn run(ended: u64, results: &mut Results, progress: &Progress) {
    progress.say(&format!(
        "an outbox with {} messages that have ended",
        grouped(ended)
    ));
    let replica = replica_at_epoch();
    let bench = Bench {
        canister: Canister::install(&replica, BENCH_OUTBOX, (true,)),
    };
    bench.fill(ended);
    bench
        .canister
        .upgrade(BENCH_OUTBOX, (false,))
        .expect("the outbox opens again");

    let sends: Samples = (0..SAMPLES).map(|_| bench.send(BODY)).collect();
    let longer: Samples = (0..SAMPLES / 10)
        .map(|_| bench.send(BODY + LONGER))
        .collect();
    let byte = (longer.median().saturating_sub(sends.median())).div_ceil(LONGER.into());
    results.add("outbox/send", ended, sends.median(), sends.max(), None);
    results.add("outbox/send_byte", ended, byte, byte, None);

    // What the first message that was sent has set off.
    bench.rest();
    bench.answer();
    bench.rest();
    let ours = bench.outcalls();
    bench.come_to_rest();
    let _: () = (bench.canister)
        .update(user(1), "by_hand", (OUTCALLS as u32,))
        .expect("timers are set");
    let by_hand = bench.outcalls();
    for (benchmark, (ours, by_hand)) in ["outbox/attempt", "outbox/end"]
        .into_iter()
        .zip(ours.into_iter().zip(by_hand))
    {
        let added = |sample: u64| sample.saturating_sub(by_hand.median());
        results.add(
            benchmark,
            ended,
            added(ours.median()),
            added(ours.max()),
            None,
        );
    }
}

struct Bench<'a> {
    canister: Canister<'a>,
}

impl Bench<'_> {
    fn send(&self, body_bytes: u32) -> u64 {
        (self.canister)
            .update(user(1), "send", (body_bytes,))
            .expect("there is room for a message")
    }

    /// Messages that have ended and not ended.
    fn held(&self) -> (u64, u64) {
        let held = self.canister.query_raw(user(1), "held", ());
        candid::decode_args(&held.expect("the canister answers")).expect("two numbers")
    }

    /// Has so many messages in the outbox that have ended. None is sent to its server, which would take minutes.
    fn fill(&self, ended: u64) {
        let mut left = ended;
        while left > 0 {
            let count = u32::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
            let _: () = (self.canister)
                .update(user(1), "send_short_lived", (count,))
                .expect("there is room for messages");
            left -= u64::from(count);
        }
        self.come_to_rest();
        while (self.canister.update::<u64>(user(1), "dismiss", (CHUNK,)))
            .expect("the canister answers")
            > 0
        {}
        assert_eq!(self.held(), (ended, 0));
    }

    /// Until no message waits.
    fn come_to_rest(&self) {
        for _ in 0..MOST_ROUNDS {
            if self.held().1 == 0 {
                return;
            }
            self.answer();
            self.canister.replica().advance_time(Duration::from_secs(1));
            self.rest();
        }
        panic!("messages are stuck: {:?}", self.held());
    }

    /// Lets timers run that are due, and answers arrive.
    fn rest(&self) {
        (0..6).for_each(|_| self.canister.replica().tick());
    }

    /// Answers all outcalls that are under way: how many.
    fn answer(&self) -> usize {
        let replica = self.canister.replica();
        let pending = replica.get_canister_http();
        let count = pending.len();
        for outcall in pending {
            replica.mock_canister_http_response(MockCanisterHttpResponse {
                subnet_id: outcall.subnet_id,
                request_id: outcall.request_id,
                response: CanisterHttpResponse::CanisterHttpReply(CanisterHttpReply {
                    status: 200,
                    headers: vec![],
                    body: b"{}".to_vec(),
                }),
                additional_responses: vec![],
            });
        }
        count
    }

    /// What the canister is charged for outcalls, one a second, and for their answers.
    fn outcalls(&self) -> [Samples; 2] {
        let charged = || self.canister.cycles_charged(|| self.rest()).1 as u64;
        let mut samples = [Samples::default(), Samples::default()];
        for _ in 0..OUTCALLS {
            self.canister.replica().advance_time(Duration::from_secs(1));
            let attempt = charged();
            assert_eq!(self.answer(), 1, "one outcall a second");
            for (samples, charged) in samples.iter_mut().zip([attempt, charged()]) {
                samples.extend([charged]);
            }
        }
        samples
    }
}
