//! What `cargo xtask bench` measures of the outbox: taking a message, and what the outbox adds to an outcall that is made by hand.
#![forbid(unsafe_code)]

mod by_hand;

use ic_stable_structures::{
    DefaultMemoryImpl,
    memory_manager::{MemoryId, MemoryManager, VirtualMemory},
};
use idempotency_core::outbox::{self, Outbox, Policy, Request, Sends as _};
use std::{cell::Cell, time::Duration};

type Memory = VirtualMemory<DefaultMemoryImpl>;

const URL: &str = "https://shop.example/v1/orders";
const CONTENT_TYPE: (&str, &str) = ("Content-Type", "application/json");
const MAX_RESPONSE_BYTES: u64 = 1_000;

outbox::export_transform!(TRANSFORM);

thread_local! {
    static MEMORY: MemoryManager<DefaultMemoryImpl> =
        MemoryManager::init(DefaultMemoryImpl::default());
    /// No outcall is made.
    static IS_PARKED: Cell<bool> = const { Cell::new(false) };
    static OUTBOX: Outbox<Memory> =
        Outbox::new(MEMORY.with(|memory| memory.get(MemoryId::new(0))), policy(), TRANSFORM);
}

/// One outcall a second, so that each is made in a message of its own.
fn policy() -> Policy {
    let policy = Policy::new()
        .capacity(10_000_000)
        .in_flight(200)
        .per_host_per_second(1);
    match IS_PARKED.get() {
        true => policy.cycles_kept(u128::MAX),
        false => policy,
    }
}

#[ic_cdk::init]
fn init(is_parked: bool) {
    IS_PARKED.set(is_parked);
    outbox::install(&OUTBOX);
}

#[ic_cdk::post_upgrade]
fn post_upgrade(is_parked: bool) {
    init(is_parked);
}

fn request(body_bytes: usize) -> Request {
    let (name, value) = CONTENT_TYPE;
    Request::post(URL)
        .header(name, value)
        .body(vec![b'x'; body_bytes])
        .max_response_bytes(MAX_RESPONSE_BYTES)
}

/// Instructions that it takes to send a message, from a request that is made.
#[ic_cdk::update]
fn send(body_bytes: u32) -> u64 {
    let request = request(body_bytes as usize);
    let before = ic_cdk::api::performance_counter(0);
    let sent = OUTBOX.send(request);
    let after = ic_cdk::api::performance_counter(0);
    if let Err(error) = sent {
        ic_cdk::trap(error.to_string());
    }
    after - before
}

/// Sends messages that end a second later, unless they were sent to their server by then.
#[ic_cdk::update]
fn send_short_lived(count: u32) {
    for _ in 0..count {
        if let Err(error) = OUTBOX.send(request(100).max_age(Duration::from_secs(1))) {
            ic_cdk::trap(error.to_string());
        }
    }
}

/// Lets so many of those go that have ended: how many there were. What is kept of them is what is kept of a message that was
/// acknowledged.
#[ic_cdk::update]
fn dismiss(most: u32) -> u64 {
    let dead = OUTBOX.dead_letters(None, most as usize).unwrap_or_default();
    let dismissed = dead
        .iter()
        .filter(|dead| OUTBOX.dismiss(dead.id) == Ok(true));
    dismissed.count() as u64
}

/// How many messages there are that have ended, and how many that have not.
#[ic_cdk::query]
fn held() -> (u64, u64) {
    let overview = OUTBOX.overview();
    overview.map_or((0, 0), |it| (it.messages - it.waiting, it.waiting))
}
