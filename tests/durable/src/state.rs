//! What survives upgrades.

use candid::Principal;
use ic_stable_structures::{
    DefaultMemoryImpl, Memory as _, StableBTreeMap, StableCell,
    memory_manager::{MemoryId, MemoryManager, VirtualMemory},
};
use idempotency_core::{Policy, Store};
use std::{cell::RefCell, time::Duration};

type Memory = VirtualMemory<DefaultMemoryImpl>;

const HOUR: Duration = Duration::from_secs(3_600);

/// One scope may take 100,001 requests, and there is room for 100,010.
const MANY_POLICY: Policy = Policy::new()
    .window(HOUR)
    .capacity(100_010)
    .quota(100_001, 1 << 30)
    .max_reply_bytes(256)
    .max_journal_bytes(2_048);

thread_local! {
    static MEMORIES: RefCell<MemoryManager<DefaultMemoryImpl>> =
        RefCell::new(MemoryManager::init(DefaultMemoryImpl::default()));

    pub(crate) static DURABLE: Store<Memory> =
        Store::new(memory(0), Policy::new().window(HOUR).capacity(10_000));

    /// For very many requests. It is there only where a test uses it.
    pub(crate) static MANY: Store<Memory> = Store::new(memory(4), MANY_POLICY);

    pub(crate) static EFFECTS: RefCell<StableBTreeMap<String, u64, Memory>> =
        RefCell::new(StableBTreeMap::init(memory(1)));

    /// The callee's principal.
    static CALLEE: RefCell<StableCell<Vec<u8>, Memory>> =
        RefCell::new(StableCell::init(memory(2), vec![]));

    /// Whether what traps is to trap: 0 or 1.
    static TRAPS: RefCell<StableCell<u64, Memory>> = RefCell::new(StableCell::init(memory(3), 0));
}

fn memory(id: u8) -> Memory {
    MEMORIES.with_borrow(|memories| memories.get(MemoryId::new(id)))
}

/// Whether the store for very many was ever used.
pub(crate) fn has_many() -> bool {
    memory(4).size() > 0
}

/// Counts an effect; how often it was counted.
pub(crate) fn effect(name: &str) -> u64 {
    EFFECTS.with_borrow_mut(|effects| {
        let count = effects.get(&name.to_owned()).unwrap_or(0) + 1;
        effects.insert(name.to_owned(), count);
        count
    })
}

/// How often an effect was counted.
pub(crate) fn effects_of(name: &str) -> u64 {
    EFFECTS.with_borrow(|effects| effects.get(&name.to_owned()).unwrap_or(0))
}

pub(crate) fn set(callee: Principal, traps: u64) {
    CALLEE.with_borrow_mut(|cell| drop(cell.set(callee.as_slice().to_vec())));
    TRAPS.with_borrow_mut(|cell| cell.set(traps));
}

pub(crate) fn callee() -> Principal {
    CALLEE.with_borrow(|cell| match cell.get().as_slice() {
        [] => ic_cdk::api::canister_self(),
        bytes => Principal::from_slice(bytes),
    })
}

/// Whether what traps is to trap.
pub(crate) fn traps() -> bool {
    TRAPS.with_borrow(|cell| *cell.get() > 0)
}
