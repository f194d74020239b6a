//! Sends what a test wants, and counts how often it is told of each end.

use candid::CandidType;
use ic_stable_structures::{
    DefaultMemoryImpl, StableBTreeMap, StableCell,
    memory_manager::{MemoryId, MemoryManager, VirtualMemory},
};
use idempotency_core::{
    Policy, Steps, Store, idempotent,
    outbox::{
        self, Ended, MessageId, Outbox, Outcome, Overview, Request, Response, SendError,
        Sends as _, Status, Verification,
    },
    store::UnknownRequest,
};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use std::{cell::RefCell, time::Duration};

type Memory = VirtualMemory<DefaultMemoryImpl>;

outbox::export_transform!(TRANSFORM);

thread_local! {
    static MEMORY: RefCell<MemoryManager<DefaultMemoryImpl>> =
        RefCell::new(MemoryManager::init(DefaultMemoryImpl::default()));
    static SETTINGS: RefCell<StableCell<Vec<u8>, Memory>> =
        RefCell::new(StableCell::init(memory(0), vec![]));
    static OUTBOX: Outbox<Memory> =
        Outbox::new(memory(1), policy(), TRANSFORM).on_end(ended).verify(verify);
    static STORE: Store<Memory> = Store::new(memory(2), Policy::new());
    /// How often each end was told.
    static TOLD: RefCell<StableBTreeMap<u64, u32, Memory>> =
        RefCell::new(StableBTreeMap::init(memory(3)));
    static WORK: RefCell<StableCell<u64, Memory>> =
        RefCell::new(StableCell::init(memory(4), 0));
}

fn memory(id: u8) -> Memory {
    MEMORY.with_borrow(|manager| manager.get(MemoryId::new(id)))
}

/// How the outbox is set up, and what traps.
#[derive(CandidType, Deserialize, Clone, Default)]
struct Settings {
    in_flight: Option<u32>,
    per_host_per_second: Option<u32>,
    capacity: Option<u64>,
    max_attempts: Option<u16>,
    max_age_seconds: Option<u64>,
    cycles_kept: Option<u128>,
    /// Each end whose number is a multiple of this traps when it is told for the first time.
    traps_when_told: Option<u64>,
    /// Each question about a multiple of this traps.
    traps_when_verifying: Option<u64>,
}

fn settings() -> Settings {
    SETTINGS.with_borrow(|cell| candid::decode_one(cell.get()).unwrap_or_default())
}

fn policy() -> outbox::Policy {
    let settings = settings();
    let mut policy = outbox::Policy::new()
        .in_flight(settings.in_flight.unwrap_or(100))
        .per_host_per_second(settings.per_host_per_second.unwrap_or(1_000))
        .cycles_kept(settings.cycles_kept.unwrap_or(0));
    if let Some(capacity) = settings.capacity {
        policy = policy.capacity(capacity);
    }
    if let Some(attempts) = settings.max_attempts {
        policy = policy.max_attempts(attempts);
    }
    if let Some(seconds) = settings.max_age_seconds {
        policy = policy.max_age(Duration::from_secs(seconds));
    }
    policy
}

#[ic_cdk::init]
fn init(settings: Settings) {
    let bytes = candid::encode_one(settings).unwrap_or_default();
    SETTINGS.with_borrow_mut(|cell| cell.set(bytes));
    outbox::install(&OUTBOX);
    idempotency_core::install(&STORE);
}

#[ic_cdk::post_upgrade]
fn post_upgrade() {
    outbox::install(&OUTBOX);
    idempotency_core::install(&STORE);
}

/// A message as a test describes it.
#[derive(CandidType, Deserialize, Clone)]
struct Spec {
    url: String,
    method: String,
    body: ByteBuf,
    headers: Vec<(String, String)>,
    is_replicated: Option<bool>,
    is_keyed: bool,
    verify: Option<String>,
    lane: Option<ByteBuf>,
    scope: Option<ByteBuf>,
    max_response_bytes: u64,
    about: ByteBuf,
}

impl Spec {
    fn request(self) -> Request {
        let request = match self.method.as_str() {
            "GET" => Request::get(self.url),
            "HEAD" => Request::head(self.url),
            "PUT" => Request::put(self.url),
            "DELETE" => Request::delete(self.url),
            _ => Request::post(self.url),
        };
        let mut request = request
            .body(self.body.into_vec())
            .max_response_bytes(self.max_response_bytes)
            .about(self.about.into_vec());
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        if let Some(is_replicated) = self.is_replicated {
            request = request.replicated(is_replicated);
        }
        if !self.is_keyed {
            request = request.without_idempotency_key();
        }
        if let Some(url) = self.verify {
            request = request.verify(Request::get(url).max_response_bytes(1_000));
        }
        if let Some(lane) = self.lane {
            request = request.lane(lane);
        }
        if let Some(scope) = self.scope {
            request = request.scope(scope);
        }
        request
    }
}

/// Notes a piece of work and sends a message for each, as far as the outbox takes them.
#[ic_cdk::update]
fn send(specs: Vec<Spec>) -> Vec<Result<MessageId, SendError>> {
    let send = |spec: Spec| {
        let sent = OUTBOX.send(spec.request());
        if sent.is_ok() {
            WORK.with_borrow_mut(|work| work.set(work.get() + 1));
        }
        sent
    };
    specs.into_iter().map(send).collect()
}

/// The same, and it traps at its end.
#[ic_cdk::update]
fn send_and_trap(specs: Vec<Spec>) {
    let sent = send(specs);
    ic_cdk::trap(format!("after {} messages", sent.len()));
}

/// The instructions that it takes to send a message, from a request that is made.
#[ic_cdk::update]
fn measure(spec: Spec) -> u64 {
    let request = spec.request();
    let before = ic_cdk::api::performance_counter(0);
    let sent = OUTBOX.send(request);
    let after = ic_cdk::api::performance_counter(0);
    if let Err(error) = sent {
        ic_cdk::trap(error.to_string());
    }
    after - before
}

/// How much work was noted.
#[ic_cdk::query]
fn work() -> u64 {
    WORK.with_borrow(|work| *work.get())
}

/// Awaits the end of a message in a durable method.
#[idempotent(store = STORE, key = key, durable)]
#[ic_cdk::update]
async fn order(steps: Steps, key: ByteBuf, spec: Spec) -> Result<String, String> {
    drop(key);
    let ended = steps.send("order", &OUTBOX, spec.request()).await;
    let ended = ended.map_err(|error| error.to_string())?;
    match ended.outcome {
        Outcome::Acknowledged(answer) => Ok(String::from_utf8_lossy(&answer.body).into_owned()),
        other => Err(format!("{other:?}")),
    }
}

/// Durable requests that nobody goes on with.
#[ic_cdk::query]
fn unknown() -> Vec<UnknownRequest> {
    STORE.with(|store| store.unknown(0, 10)).unwrap_or_default()
}

fn ended(message: &Ended) {
    let number = message.id.as_u64();
    // A trap undoes what it could be remembered by: the time says which attempt it is.
    let age = ic_cdk::api::time().saturating_sub(message.ended_at.as_nanos());
    let traps = settings().traps_when_told;
    if traps.is_some_and(|every| number.is_multiple_of(every)) && age < 1_000_000_000 {
        ic_cdk::trap("as the test wants");
    }
    TOLD.with_borrow_mut(|told| {
        let times = told.get(&number).unwrap_or(0);
        told.insert(number, times + 1);
    });
}

/// The server says whether it has the effect.
fn verify(id: MessageId, _about: &[u8], answer: &Response) -> Verification {
    let traps = settings().traps_when_verifying;
    if traps.is_some_and(|every| id.as_u64().is_multiple_of(every)) {
        ic_cdk::trap("as the test wants");
    }
    match (answer.status, answer.body.as_slice()) {
        (200, b"there") => Verification::Done,
        (404, _) | (200, b"not there") => Verification::NotDone,
        _ => Verification::Unsure,
    }
}

#[ic_cdk::query]
fn status(id: MessageId) -> Option<Status> {
    OUTBOX.status(id).unwrap_or_default()
}

#[ic_cdk::query]
fn statuses(ids: Vec<MessageId>) -> Vec<Option<Status>> {
    ids.into_iter().map(status).collect()
}

#[ic_cdk::query]
fn overview() -> Option<Overview> {
    OUTBOX.overview().ok()
}

#[ic_cdk::query]
fn dead_letters(after: Option<MessageId>, most: u64) -> Vec<Ended> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    OUTBOX.dead_letters(after, most).unwrap_or_default()
}

#[ic_cdk::update]
fn dismiss(id: MessageId) -> bool {
    OUTBOX.dismiss(id).unwrap_or_default()
}

#[ic_cdk::update]
fn resend(id: MessageId) -> bool {
    OUTBOX.resend(id).unwrap_or_default()
}

/// How often each end was told.
#[ic_cdk::query]
fn told() -> Vec<(u64, u32)> {
    TOLD.with_borrow(|told| told.iter().map(|entry| entry.into_pair()).collect())
}
