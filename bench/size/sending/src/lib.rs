//! The method of `guarded-canister`, which sends a message, too: what the outbox adds to a module is what this one has beyond that.
#![forbid(unsafe_code)]

use bench_work::TransferArg;
use candid::{CandidType, Nat};
use ic_stable_structures::{
    DefaultMemoryImpl,
    memory_manager::{MemoryId, MemoryManager, VirtualMemory},
};
use idempotency_core::{
    IdempotencyError, Policy, Store, idempotent,
    outbox::{self, Ended, Outbox, Outcome, Request, SendError, Sends as _},
};

outbox::export_transform!(TRANSFORM);

thread_local! {
    static MEMORY: MemoryManager<DefaultMemoryImpl> =
        MemoryManager::init(DefaultMemoryImpl::default());

    static TRANSFERS: Store<VirtualMemory<DefaultMemoryImpl>> = Store::new(
        MEMORY.with(|memory| memory.get(MemoryId::new(0))),
        Policy::new(),
    );

    static OUTBOX: Outbox<VirtualMemory<DefaultMemoryImpl>> = Outbox::new(
        MEMORY.with(|memory| memory.get(MemoryId::new(1))),
        outbox::Policy::new(),
        TRANSFORM,
    )
    .on_end(ended);
}

/// Why there was no transfer.
#[derive(CandidType)]
enum Refused {
    /// Nothing was to be transferred.
    Nothing,
    /// The request was refused.
    Idempotency(IdempotencyError),
    /// The outbox did not take the message.
    Outbox(SendError),
}

impl From<IdempotencyError> for Refused {
    fn from(error: IdempotencyError) -> Self {
        Self::Idempotency(error)
    }
}

#[idempotent(store = TRANSFERS, key = arg.memo)]
#[ic_cdk::update]
fn transfer(arg: TransferArg) -> Result<Nat, Refused> {
    if arg.amount == 0_u8 {
        return Err(Refused::Nothing);
    }
    let memo = arg.memo.unwrap_or_default().into_vec();
    let receipt = Request::post("https://shop.example/receipts").body(memo);
    OUTBOX.send(receipt).map_err(Refused::Outbox)?;
    Ok(arg.amount)
}

fn ended(message: &Ended) {
    if !matches!(message.outcome, Outcome::Acknowledged(_)) {
        ic_cdk::api::debug_print("a receipt was not sent");
    }
}

#[ic_cdk::init]
fn init() {
    idempotency_core::install(&TRANSFERS);
    outbox::install(&OUTBOX);
}

#[ic_cdk::post_upgrade]
fn post_upgrade() {
    idempotency_core::install(&TRANSFERS);
    outbox::install(&OUTBOX);
}
