//! The method of `plain-canister` with the attribute, and a store as the README has it.
#![forbid(unsafe_code)]

use bench_work::TransferArg;
use candid::{CandidType, Nat};
use ic_stable_structures::{
    DefaultMemoryImpl,
    memory_manager::{MemoryId, MemoryManager, VirtualMemory},
};
use idempotency_core::{IdempotencyError, Policy, Store, idempotent};

thread_local! {
    static MEMORY: MemoryManager<DefaultMemoryImpl> =
        MemoryManager::init(DefaultMemoryImpl::default());

    static TRANSFERS: Store<VirtualMemory<DefaultMemoryImpl>> = Store::new(
        MEMORY.with(|memory| memory.get(MemoryId::new(0))),
        Policy::new(),
    );
}

/// Why there was no transfer.
#[derive(CandidType)]
enum Refused {
    /// Nothing was to be transferred.
    Nothing,
    /// The request was refused.
    Idempotency(IdempotencyError),
}

impl From<IdempotencyError> for Refused {
    fn from(error: IdempotencyError) -> Self {
        Self::Idempotency(error)
    }
}

#[idempotent(store = TRANSFERS, key = arg.memo)]
#[ic_cdk::update]
fn transfer(arg: TransferArg) -> Result<Nat, Refused> {
    match arg.amount == 0_u8 {
        true => Err(Refused::Nothing),
        false => Ok(arg.amount),
    }
}

#[ic_cdk::init]
fn init() {
    idempotency_core::install(&TRANSFERS);
}

#[ic_cdk::post_upgrade]
fn post_upgrade() {
    idempotency_core::install(&TRANSFERS);
}
