//! What the canister keeps: counts and switches in stable memory, and six stores.

use ic_stable_structures::{
    DefaultMemoryImpl, StableBTreeMap,
    memory_manager::{MemoryId, MemoryManager, VirtualMemory},
};
use idempotency_core::{Policy, Store};
use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

/// For how long the main store remembers.
pub(crate) const WINDOW: Duration = Duration::from_secs(3600);

pub(crate) type Memory = VirtualMemory<DefaultMemoryImpl>;

thread_local! {
    static MEMORY: RefCell<MemoryManager<DefaultMemoryImpl>> =
        RefCell::new(MemoryManager::init(DefaultMemoryImpl::default()));
    static NUMBERS: RefCell<StableBTreeMap<String, u64, Memory>> = RefCell::new(StableBTreeMap::init(memory(0)));
    static INSTALL_INSTRUCTIONS: Cell<u64> = const { Cell::new(0) };

    /// Deduplication state of most endpoints.
    pub(crate) static MAIN: Store<Memory> = Store::new(
        memory(1),
        Policy::new().window(WINDOW).drift(Duration::from_secs(60)).capacity(1_000),
    );

    /// A store that is soon full, of entries or of bytes.
    pub(crate) static SMALL: Store<Memory> = Store::new(
        memory(2),
        Policy::new()
            .window(Duration::from_secs(3600))
            .drift(Duration::from_secs(60))
            .capacity(3)
            .max_reply_bytes(1_000)
            .capacity_bytes(3_000),
    );

    /// A store that keeps what has expired, for a day and while there is room.
    pub(crate) static RETAINING: Store<Memory> = Store::new(
        memory(4),
        Policy::new()
            .window(WINDOW)
            .drift(Duration::from_secs(60))
            .capacity(3)
            .retention(Duration::from_secs(24 * 3600)),
    );

    /// A store that gives up long replies sooner than it refuses a request.
    pub(crate) static DROPPING: Store<Memory> = Store::new(
        memory(5),
        Policy::new()
            .window(WINDOW)
            .drift(Duration::from_secs(60))
            .capacity(5)
            .max_reply_bytes(1_000)
            .capacity_bytes(3_000)
            .drop_replies(),
    );

    /// Where the requests are that go by sequence numbers. A lane is soon forgotten when nobody uses it.
    pub(crate) static LANES: Store<Memory> = Store::new(
        memory(6),
        Policy::new()
            .window(WINDOW)
            .drift(Duration::from_secs(60))
            .capacity(1_000)
            .counter_idle(Duration::from_secs(4 * 3600)),
    );

    /// A store of which no caller gets more than a share.
    pub(crate) static SHARED: Store<Memory> = Store::new(
        memory(7),
        Policy::new()
            .window(WINDOW)
            .drift(Duration::from_secs(60))
            .capacity(1_100)
            .max_reply_bytes(1_000)
            .quota(10, 4_000),
    );
}

pub(crate) fn memory(id: u8) -> Memory {
    MEMORY.with_borrow(|memory| memory.get(MemoryId::new(id)))
}

/// Works on the memory where effects are counted.
pub(crate) fn effects<T>(work: impl FnOnce(&Memory) -> T) -> T {
    work(&memory(3))
}

pub(crate) fn install() {
    let before = ic_cdk::api::instruction_counter();
    idempotency_core::install(&MAIN);
    idempotency_core::install(&SMALL);
    idempotency_core::install(&RETAINING);
    idempotency_core::install(&DROPPING);
    idempotency_core::install(&LANES);
    idempotency_core::install(&SHARED);
    INSTALL_INSTRUCTIONS.set(ic_cdk::api::instruction_counter() - before);
}

pub(crate) fn install_instructions() -> u64 {
    INSTALL_INSTRUCTIONS.get()
}

/// Counts an execution; its number.
pub(crate) fn ran(endpoint: &str) -> u64 {
    NUMBERS.with_borrow_mut(|numbers| {
        let number = numbers.get(&endpoint.to_owned()).unwrap_or(0) + 1;
        numbers.insert(endpoint.to_owned(), number);
        number
    })
}

pub(crate) fn executions(endpoint: &str) -> u64 {
    NUMBERS.with_borrow(|numbers| numbers.get(&endpoint.to_owned()).unwrap_or(0))
}

pub(crate) fn switch(name: &str, on: bool) {
    NUMBERS.with_borrow_mut(|numbers| numbers.insert(format!("switch {name}"), on.into()));
}

pub(crate) fn is_on(name: &str) -> bool {
    executions(&format!("switch {name}")) != 0
}
