//! One method, without the library: what the library adds to a module is what `guarded-canister` has beyond this one.
#![forbid(unsafe_code)]

use bench_work::TransferArg;
use candid::{CandidType, Nat};

/// Why there was no transfer.
#[derive(CandidType)]
enum Refused {
    /// Nothing was to be transferred.
    Nothing,
}

#[ic_cdk::update]
fn transfer(arg: TransferArg) -> Result<Nat, Refused> {
    match arg.amount == 0_u8 {
        true => Err(Refused::Nothing),
        false => Ok(arg.amount),
    }
}
