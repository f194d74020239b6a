//! What a safe call needs of its surroundings.

use crate::{
    runtime::{Outgoing, Rejected, Runtime},
    time::Timestamp,
};
use candid::Principal;
use std::{
    future::{Future, ready},
    time::Duration,
};

/// How far a call has come, attempt after attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tries {
    /// The time of the first attempt.
    pub(crate) since: Timestamp,
    /// How many were sent.
    pub(crate) made: u32,
    /// Whether one of them may have been executed.
    pub(crate) is_in_doubt: bool,
}

/// The time, calls, and pauses between them. Outside durable methods it is [`Plain`]; a durable method records what is noted, and
/// its pauses end the attempt at the method.
pub(crate) trait Transport {
    /// The time of the present message.
    fn now(&self) -> Timestamp;

    /// This canister.
    fn canister(&self) -> Principal;

    /// Makes one call.
    fn call(&self, call: Outgoing) -> impl Future<Output = Result<Vec<u8>, Rejected>>;

    /// How far the call had come when it was cut off, or paused.
    fn resumed(&self) -> Option<Tries> {
        None
    }

    /// Keeps in mind how far the call has come: before an attempt is sent, and before a pause.
    fn note(&self, _: Tries) -> impl Future<Output = ()> {
        ready(())
    }

    /// Lets about this much time pass. It may end earlier, and it always ends.
    fn pause(&self, time: Duration) -> impl Future<Output = ()>;
}

/// How a call is made by any other async method.
pub(crate) struct Plain<R>(pub(crate) R);

/// A call of `raw_rand` takes a second or somewhat less.
const CALLS_PER_SECOND: u128 = 1;

impl<R: Runtime> Transport for Plain<R> {
    fn now(&self) -> Timestamp {
        self.0.time()
    }

    fn canister(&self) -> Principal {
        self.0.canister()
    }

    fn call(&self, call: Outgoing) -> impl Future<Output = Result<Vec<u8>, Rejected>> {
        self.0.call(call)
    }

    /// A timer can't wake a method, only an answer can. `raw_rand` is never answered in the round in which it was asked for, and
    /// it costs no more than the fee of a call. The number of calls is limited, as a clock may stand still.
    async fn pause(&self, time: Duration) {
        let end = self.now().plus(time);
        let most = time.as_millis() * CALLS_PER_SECOND / 1_000;
        for _ in 0..=most {
            if self.now() >= end {
                return;
            }
            let next_round = Outgoing {
                callee: Principal::management_canister(),
                method: "raw_rand".to_owned(),
                argument: b"DIDL\0\0".to_vec(),
                cycles: 0,
                timeout: Some(60),
            };
            // A call that can't be made is answered at once, and so would be the next.
            if let Err(Rejected { code: 0, .. }) = self.0.call(next_round).await {
                return;
            }
        }
    }
}
