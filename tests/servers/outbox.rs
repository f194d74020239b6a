//! The canister that sends, and what it says.

use candid::{CandidType, Deserialize};
use idempotency_core::outbox::{Ended, MessageId, Outcome, Overview, SendError, Status};
use idempotency_core::store::UnknownRequest;
use integration_tests::outside::Outside;
use integration_tests::{Canister, OUTBOX_CANISTER, user};
use pocket_ic::PocketIc;
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use std::time::Duration;

/// As the canister has it.
#[derive(CandidType, Deserialize, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) in_flight: Option<u32>,
    pub(crate) per_host_per_second: Option<u32>,
    pub(crate) capacity: Option<u64>,
    pub(crate) max_attempts: Option<u16>,
    pub(crate) max_age_seconds: Option<u64>,
    pub(crate) cycles_kept: Option<u128>,
    pub(crate) traps_when_told: Option<u64>,
    pub(crate) traps_when_verifying: Option<u64>,
}

/// As the canister has it.
#[derive(CandidType, Deserialize, Clone)]
pub(crate) struct Spec {
    pub(crate) url: String,
    pub(crate) method: String,
    pub(crate) body: ByteBuf,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) is_replicated: Option<bool>,
    pub(crate) is_keyed: bool,
    pub(crate) verify: Option<String>,
    pub(crate) lane: Option<ByteBuf>,
    pub(crate) scope: Option<ByteBuf>,
    pub(crate) max_response_bytes: u64,
    pub(crate) about: ByteBuf,
}

impl Spec {
    pub(crate) fn post(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            method: "POST".to_owned(),
            body: ByteBuf::from("one"),
            headers: vec![],
            is_replicated: None,
            is_keyed: true,
            verify: None,
            lane: None,
            scope: None,
            max_response_bytes: 1_000,
            about: ByteBuf::new(),
        }
    }

    pub(crate) fn replicated(self) -> Self {
        Self {
            is_replicated: Some(true),
            ..self
        }
    }

    pub(crate) fn without_key(self) -> Self {
        Self {
            is_keyed: false,
            ..self
        }
    }

    pub(crate) fn verify(self, url: impl Into<String>) -> Self {
        Self {
            verify: Some(url.into()),
            ..self
        }
    }
}

/// The canister, and the world outside of it.
pub(crate) struct Sender<'a> {
    pub(crate) canister: Canister<'a>,
    pub(crate) outside: Outside,
}

impl<'a> Sender<'a> {
    pub(crate) fn install(replica: &'a PocketIc, settings: Settings, outside: Outside) -> Self {
        Self {
            canister: Canister::install(replica, OUTBOX_CANISTER, (settings,)),
            outside,
        }
    }

    fn replica(&self) -> &'a PocketIc {
        self.canister.replica()
    }

    pub(crate) fn send(&self, specs: Vec<Spec>) -> Vec<Result<MessageId, SendError>> {
        let sent = self.canister.update(user(1), "send", (specs,));
        sent.expect("the canister takes messages")
    }

    /// One message that is taken.
    pub(crate) fn send_one(&self, spec: Spec) -> MessageId {
        let sent = self.send(vec![spec]).remove(0);
        sent.expect("there is room for a message")
    }

    pub(crate) fn upgrade(&self) {
        (self.canister.upgrade(OUTBOX_CANISTER, ())).expect("the outbox opens again");
    }

    fn query<T: CandidType + serde::de::DeserializeOwned>(
        &self,
        method: &str,
        args: impl candid::utils::ArgumentEncoder,
    ) -> T {
        self.canister.query(user(1), method, args).expect("a query")
    }

    pub(crate) fn overview(&self) -> Overview {
        let overview: Option<Overview> = self.query("overview", ());
        overview.expect("an outbox that is not damaged")
    }

    pub(crate) fn work(&self) -> u64 {
        self.query("work", ())
    }

    /// Durable requests that nobody goes on with.
    pub(crate) fn unknown(&self) -> Vec<UnknownRequest> {
        self.query("unknown", ())
    }

    pub(crate) fn status(&self, id: MessageId) -> Option<Status> {
        self.query("status", (id,))
    }

    pub(crate) fn ended(&self, id: MessageId) -> Ended {
        match self.status(id) {
            Some(Status::Ended(ended)) => ended,
            other => panic!("{id} has not ended: {other:?}"),
        }
    }

    /// How each of these messages ended.
    pub(crate) fn all_ended(&self, ids: &[MessageId]) -> BTreeMap<MessageId, Ended> {
        let mut ended = BTreeMap::new();
        for ids in ids.chunks(500) {
            let statuses: Vec<Option<Status>> = self.query("statuses", (ids.to_vec(),));
            for (id, status) in ids.iter().zip(statuses) {
                match status {
                    Some(Status::Ended(end)) => ended.insert(*id, end),
                    other => panic!("{id} has not ended: {other:?}"),
                };
            }
        }
        ended
    }

    pub(crate) fn dead_letters(&self) -> Vec<Ended> {
        self.query("dead_letters", (None::<MessageId>, 100_000_u64))
    }

    /// How often each end was told.
    pub(crate) fn told(&self) -> BTreeMap<u64, u32> {
        let told: Vec<(u64, u32)> = self.query("told", ());
        told.into_iter().collect()
    }

    /// Sends what is to be sent, brings answers back, and lets some seconds pass.
    pub(crate) fn step(&mut self) {
        let replica = self.replica();
        let moved = self.outside.step(replica);
        let is_waiting = moved == 0 && self.outside.under_way() == 0;
        if is_waiting && self.outside.unanswered() > 0 {
            self.outside.let_time_out(replica);
        }
        replica.advance_time(Duration::from_secs(2));
        for _ in 0..4 {
            replica.tick();
        }
    }

    /// Until all messages have ended, and what is to be told of them was told.
    pub(crate) fn run(&mut self) {
        for _ in 0..2_000 {
            if self.overview().waiting == 0 {
                for _ in 0..10 {
                    self.step();
                }
                return;
            }
            self.step();
        }
        panic!("messages are stuck: {:?}", self.overview());
    }
}

/// Whether somebody must look at it.
pub(crate) fn is_acknowledged(ended: &Ended) -> bool {
    matches!(ended.outcome, Outcome::Acknowledged(_))
}
