//! What the tests share: the test canister, and its types as a client sees them.

use candid::{CandidType, Principal, utils::ArgumentEncoder};
use integration_tests::{Canister, Sent, TEST_CANISTER, replica, user};
use pocket_ic::{
    PocketIc, RejectResponse,
    common::rest::{
        CanisterHttpReply, CanisterHttpRequest, CanisterHttpResponse, MockCanisterHttpResponse,
    },
};
use serde::Deserialize;
use std::time::Duration;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DRIFT: Duration = Duration::from_secs(60);
/// Records that expire within a thirty-second of window and twice the drift are forgotten together.
pub(crate) const PARTITION: Duration = Duration::from_secs((3600 + 2 * 60) / 32 + 1);
pub(crate) const NANOSECOND: Duration = Duration::from_nanos(1);

pub(crate) type Answer = Result<String, Failure>;

#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(crate) enum Failure {
    Own(String),
    Idempotency(Refusal),
}

/// The library's refusals as a client reads them: declared here, so that a change of the interface shows.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(crate) enum Refusal {
    MissingKey,
    InvalidKey {
        length: u64,
        max: u64,
    },
    AnonymousRefused,
    KeyReused,
    InProgress {
        since: u64,
    },
    OutcomeUnknown {
        since: u64,
    },
    ReplyDropped {
        executed_at: u64,
    },
    TooOld,
    CreatedInFuture {
        now: u64,
    },
    Full {
        retry_after: u64,
    },
    QuotaExceeded {
        retry_after: u64,
    },
    SequenceTooOld {
        expected: u64,
    },
    SequenceGap {
        expected: u64,
    },
    CyclesRequired {
        cycles: u64,
    },
    StoreDamaged,
    Other {
        code: u32,
        message: String,
        retry_after: Option<u64>,
    },
}

#[derive(CandidType, Clone, Copy, Debug, Deserialize, PartialEq)]
pub(crate) enum Plan {
    Answer,
    AnswerAtOnce,
    Hold,
    FailFirst,
    FailLater,
    TrapFirst,
    TrapLater,
    HoldAndTrap,
    TrapInCleanup,
    AnswerMuch,
}

#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct Stats {
    pub(crate) entries: u64,
    pub(crate) capacity: u64,
    pub(crate) bytes: u64,
    pub(crate) capacity_bytes: u64,
    pub(crate) oldest_expiry: Option<u64>,
    pub(crate) incarnation: u64,
}

/// Of each store of the test canister.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct AllStats {
    /// Of most endpoints.
    pub(crate) main: Stats,
    /// Soon full, of entries or of bytes.
    pub(crate) small: Stats,
    /// Keeps what has expired while there is room.
    pub(crate) retaining: Stats,
    /// Drops long replies sooner than it refuses a request.
    pub(crate) dropping: Stats,
    /// Of the requests with sequence numbers.
    pub(crate) lanes: Stats,
    /// Gives no caller more than a share.
    pub(crate) shared: Stats,
}

pub(crate) fn refused(refusal: Refusal) -> Answer {
    Err(Failure::Idempotency(refusal))
}

pub(crate) fn ok(text: &str) -> Answer {
    Ok(text.to_owned())
}

pub(crate) fn gap(expected: u64) -> Answer {
    refused(Refusal::SequenceGap { expected })
}

pub(crate) fn used(expected: u64) -> Answer {
    refused(Refusal::SequenceTooOld { expected })
}

pub(crate) fn is_unknown(answer: &Answer) -> bool {
    matches!(
        answer,
        Err(Failure::Idempotency(Refusal::OutcomeUnknown { .. }))
    )
}

pub(crate) fn is_in_progress(answer: &Answer) -> bool {
    matches!(
        answer,
        Err(Failure::Idempotency(Refusal::InProgress { .. }))
    )
}

/// A call in flight: it awaits an outcall.
pub(crate) struct Held {
    pub(crate) sent: Sent,
    url: String,
}

/// The test canister on a replica, with the calls that most tests make.
pub(crate) struct Fixture<'a> {
    pub(crate) replica: &'a PocketIc,
    pub(crate) canister: Canister<'a>,
}

/// Runs a test on a fresh canister.
pub(crate) fn with_canister(test: impl FnOnce(Fixture<'_>)) {
    let replica = replica();
    let canister = Canister::install(&replica, TEST_CANISTER, ());
    test(Fixture {
        replica: &replica,
        canister,
    });
}

impl Fixture<'_> {
    /// Calls an endpoint that takes a key and a text, as user 1.
    pub(crate) fn say(&self, endpoint: &str, key: &[u8], text: &str) -> Answer {
        self.say_as(user(1), endpoint, key, text)
    }

    pub(crate) fn say_as(
        &self,
        caller: Principal,
        endpoint: &str,
        key: &[u8],
        text: &str,
    ) -> Answer {
        self.canister
            .update(caller, endpoint, (key.to_vec(), text))
            .expect("the endpoint answers")
    }

    /// Calls an endpoint that takes a key and a creation time, as user 1.
    pub(crate) fn say_dated(&self, key: &[u8], created_at: u64) -> Answer {
        let args = (key.to_vec(), created_at, "dated");
        self.canister
            .update(user(1), "say_dated", args)
            .expect("the endpoint answers")
    }

    /// Calls an async endpoint, as user 1.
    pub(crate) fn work(
        &self,
        endpoint: &str,
        key: &[u8],
        plan: Plan,
    ) -> Result<Answer, RejectResponse> {
        self.canister
            .update(user(1), endpoint, (key.to_vec(), plan))
    }

    /// Calls an endpoint that takes a sequence number and a text, as user 1.
    pub(crate) fn step(&self, endpoint: &str, number: u64, text: &str) -> Answer {
        self.canister
            .update(user(1), endpoint, (number, text))
            .expect("the endpoint answers")
    }

    /// Calls an async endpoint by sequence number, as user 1.
    pub(crate) fn work_at(
        &self,
        endpoint: &str,
        number: u64,
        plan: Plan,
    ) -> Result<Answer, RejectResponse> {
        self.canister.update(user(1), endpoint, (number, plan))
    }

    /// With which number user 1's lane at an endpoint goes on.
    pub(crate) fn next_sequence(&self, endpoint: &str, lane: u64) -> u64 {
        self.canister
            .query(user(1), "next_sequence", (endpoint, lane))
            .expect("next_sequence answers")
    }

    pub(crate) fn executions(&self, endpoint: &str) -> u64 {
        self.canister
            .query(user(1), "executions", (endpoint,))
            .expect("executions answers")
    }

    pub(crate) fn switch(&self, name: &str, on: bool) {
        self.canister
            .update::<()>(user(1), "switch", (name, on))
            .expect("switch answers");
    }

    pub(crate) fn stats(&self) -> AllStats {
        self.canister
            .query(user(1), "stats", ())
            .expect("stats answers")
    }

    /// Installs the test canister's module again, on the same stable memory.
    pub(crate) fn upgrade(&self) {
        self.canister
            .upgrade(TEST_CANISTER, ())
            .expect("the upgrade succeeds");
    }

    pub(crate) fn now(&self) -> u64 {
        self.replica.get_time().as_nanos_since_unix_epoch()
    }

    /// Lets time pass, without a round: no timer runs.
    pub(crate) fn wait(&self, duration: Duration) {
        self.replica.advance_time(duration);
    }

    /// Runs rounds until timers that are due have run: each is a call of the canister to itself.
    pub(crate) fn run_timers(&self) {
        for _ in 0..5 {
            self.replica.tick();
        }
    }

    /// Sends a call and runs rounds until it awaits an outcall: in flight for as long as the test likes.
    pub(crate) fn hold(
        &self,
        caller: Principal,
        endpoint: &str,
        args: impl ArgumentEncoder,
    ) -> Held {
        self.hold_at(&self.canister, caller, endpoint, args)
    }

    /// As `hold`, by way of another canister that calls this one.
    pub(crate) fn hold_at(
        &self,
        canister: &Canister<'_>,
        caller: Principal,
        endpoint: &str,
        args: impl ArgumentEncoder,
    ) -> Held {
        let before = self.replica.get_canister_http();
        let sent = canister
            .send(caller, endpoint, args)
            .expect("the call is accepted");
        let outcall = self.outcall(|outcall| !before.contains(outcall));
        Held {
            sent,
            url: outcall.url,
        }
    }

    /// Answers the outcall that a call awaits with the outcall's own URL, and lets that arrive.
    pub(crate) fn release(&self, held: &Held) {
        // Not the first one, perhaps: one that nobody answers for a minute is rejected, and made again.
        let outcall = self.outcall(|outcall| outcall.url == held.url);
        self.replica
            .mock_canister_http_response(MockCanisterHttpResponse {
                subnet_id: outcall.subnet_id,
                request_id: outcall.request_id,
                response: CanisterHttpResponse::CanisterHttpReply(CanisterHttpReply {
                    status: 200,
                    headers: vec![],
                    body: outcall.url.into_bytes(),
                }),
                additional_responses: vec![],
            });
        self.run_timers();
    }

    /// Answers the outcall that a call awaits; what the call answers then.
    pub(crate) fn finish(&self, held: Held) -> Result<Answer, RejectResponse> {
        self.release(&held);
        self.canister.answer(held.sent)
    }

    /// Runs rounds until such an outcall is pending.
    fn outcall(&self, is_it: impl Fn(&CanisterHttpRequest) -> bool) -> CanisterHttpRequest {
        for _ in 0..20 {
            let mut pending = self.replica.get_canister_http().into_iter();
            if let Some(outcall) = pending.find(&is_it) {
                return outcall;
            }
            self.replica.tick();
        }
        panic!("no such outcall came");
    }
}
