//! The bank.

use candid::Principal;
use ic_cdk::call::{Call, CallErrorExt, CallFailed};

use crate::stable::BALANCE;

async fn pay(ledger: Principal, amount: u64) -> Result<(), CallFailed> {
    let call = Call::bounded_wait(ledger, "pay").with_arg(amount);
    call.await.map(drop)
}

/// Unsafe: looks, pays, and takes the money off the balance when it has been paid. Whoever comes while it waits sees the
/// old balance.
#[ic_cdk::update]
async fn withdraw_late(ledger: Principal, amount: u64) -> bool {
    if BALANCE.get() < amount || pay(ledger, amount).await.is_err() {
        return false;
    }
    BALANCE.set(BALANCE.get().saturating_sub(amount));
    true
}

/// Unsafe: takes the money off first, and puts it back if the call fails. A call that fails may have paid.
#[ic_cdk::update]
async fn withdraw_and_roll_back(ledger: Principal, amount: u64) -> bool {
    let Some(rest) = BALANCE.get().checked_sub(amount) else {
        return false;
    };
    BALANCE.set(rest);
    let paid = pay(ledger, amount).await.is_ok();
    if !paid {
        BALANCE.set(BALANCE.get() + amount);
    }
    paid
}

/// Safe: takes the money off first, and puts it back only if it is certain that the ledger never ran.
#[ic_cdk::update]
async fn withdraw(ledger: Principal, amount: u64) -> bool {
    let Some(rest) = BALANCE.get().checked_sub(amount) else {
        return false;
    };
    BALANCE.set(rest);
    match pay(ledger, amount).await {
        Ok(()) => true,
        Err(failed) => {
            if failed.is_clean_reject() {
                BALANCE.set(BALANCE.get() + amount);
            }
            false
        }
    }
}

#[ic_cdk::query]
fn balance() -> u64 {
    BALANCE.get()
}
