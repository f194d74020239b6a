//! The ledger: it pays whatever it is asked to, as often as it is asked.

use crate::stable::PAID;

#[ic_cdk::update]
fn pay(amount: u64) {
    PAID.set(PAID.get() + amount);
}

#[ic_cdk::query]
fn paid() -> u64 {
    PAID.get()
}
