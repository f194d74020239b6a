//! How tests and the demo reach a replica and the canisters on it. The tests themselves are in `tests/`.
//!
//! ```no_run
//! use integration_tests::{Canister, TEST_CANISTER, replica, user};
//!
//! let replica = replica();
//! let canister = Canister::install(&replica, TEST_CANISTER, ());
//! canister.lose_answer(user(1), "pay", (7u64,));
//! let answer: Result<u64, _> = canister.update(user(1), "pay", (7u64,));
//! canister.upgrade(TEST_CANISTER, ()).expect("the upgrade succeeds");
//! ```

#![forbid(unsafe_code)]

pub mod archived;
mod canister;
pub mod conformance;
mod faults;
pub mod outside;
mod replica;
mod target;

pub use canister::{
    ARCHIVE, ARCHIVED_CANISTER, BENCH_ARCHIVE, BENCH_CANISTER, BENCH_FILTERS, BENCH_OUTBOX, CALLER,
    Canister, DURABLE_CANISTER, GUARDED_CANISTER, LEDGER, MAIL, OUTBOX_CANISTER, PAYOUT,
    PLAIN_CANISTER, SENDING_CANISTER, Sent, TEST_CANISTER, Wasm, call_fees, fixed_fees, user,
};
pub use faults::Faults;
pub use replica::replica;
