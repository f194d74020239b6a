//! What `cargo xtask bench` measures on a replica: the deduplication store against two opponents, and endpoints with and
//! without the attribute. The runner, in `bench/runner`, decides how much of what is done, and when.
//!
//! Each request is made ready, which takes hashing, before the counter is read: the store alone is measured.
#![forbid(unsafe_code)]

mod certified;
mod contestant;
mod durable;
mod endpoints;
mod heap_pair;
mod ours;
mod sequences;
mod two_btrees;

use bench_work::{Measured, Room, Who, Work};
use contestant::Contestant;
use ic_stable_structures::{
    DefaultMemoryImpl,
    memory_manager::{MemoryId, MemoryManager, VirtualMemory},
};
use std::cell::{Cell, RefCell};

type Memory = VirtualMemory<DefaultMemoryImpl>;

thread_local! {
    static MEMORY: RefCell<MemoryManager<DefaultMemoryImpl>> =
        RefCell::new(MemoryManager::init(DefaultMemoryImpl::default()));
    static POST_UPGRADE_INSTRUCTIONS: Cell<u64> = const { Cell::new(0) };
}

fn memory(id: u8) -> Memory {
    MEMORY.with_borrow(|memory| memory.get(MemoryId::new(id)))
}

fn instructions() -> u64 {
    ic_cdk::api::performance_counter(0)
}

#[ic_cdk::init]
fn init() {
    idempotency_core::install(&ours::STORE);
}

#[ic_cdk::post_upgrade]
fn post_upgrade() {
    let before = instructions();
    idempotency_core::install(&ours::STORE);
    POST_UPGRADE_INSTRUCTIONS.set(instructions() - before);
}

/// Instructions that the library used in `post_upgrade`, opening the memory manager included.
#[ic_cdk::query]
fn post_upgrade_instructions() -> u64 {
    POST_UPGRADE_INSTRUCTIONS.get()
}

/// Does the work and measures it.
#[ic_cdk::update]
fn run(work: Work) -> Measured {
    match work.who {
        Who::Store => ours::Ours::with(|it| contestant::measure(it, &work)),
        Who::Aliased => ours::Ours::with_aliases(|it| contestant::measure(it, &work)),
        Who::Sequences => sequences::Sequences::with(|it| contestant::measure(it, &work)),
        Who::Certified => certified::Certified::with(|it| contestant::measure(it, &work)),
        Who::TwoBtrees => two_btrees::TwoBtrees::with(|it| contestant::measure(it, &work)),
        Who::HeapPair => heap_pair::HeapPair::with(|it| contestant::measure(it, &work)),
    }
}

/// The room that a contestant takes.
#[ic_cdk::query]
fn room(who: Who) -> Room {
    let stable_pages = match who {
        Who::Store | Who::Aliased => ours::Ours::with(|it| it.stable_pages()),
        Who::Sequences => sequences::Sequences::with(|it| it.stable_pages()),
        Who::Certified => certified::Certified::with(|it| it.stable_pages()),
        Who::TwoBtrees => two_btrees::TwoBtrees::with(|it| it.stable_pages()),
        Who::HeapPair => heap_pair::HeapPair::with(|it| it.stable_pages()),
    };
    Room {
        stable_pages,
        heap_pages: heap_pages(),
    }
}

#[cfg(target_family = "wasm")]
fn heap_pages() -> u64 {
    core::arch::wasm32::memory_size(0) as u64
}

/// Only a canister has a heap of pages.
#[cfg(not(target_family = "wasm"))]
fn heap_pages() -> u64 {
    0
}

/// How many requests the store holds.
#[ic_cdk::query]
fn entries() -> u64 {
    ours::Ours::with(|it| it.entries())
}

/// Has the timer evict what has expired.
#[ic_cdk::update]
fn start_timer() {
    idempotency_core::install(&ours::STORE);
}
