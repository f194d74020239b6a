//! A bank that pays out through a ledger, in three ways of which one is safe. Tests install this module twice, once for
//! each of the two.
#![forbid(unsafe_code)]

mod bank;
mod ledger;
mod stable;

/// What the bank starts with.
const DEPOSIT: u64 = 100;

#[ic_cdk::init]
fn init() {
    stable::BALANCE.set(DEPOSIT);
}
