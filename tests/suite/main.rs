//! The library on a replica, through the `pocket-ic` crate. One binary, so that one server compiles each canister once.

mod admission;
mod adversary;
mod asynchronous;
mod bad_input;
mod capacity;
mod common;
mod eviction;
mod evolution;
mod expiry;
mod fair_shares;
mod faults;
mod icrc;
mod identity;
mod inspection;
mod ledger;
mod ledger_refusals;
mod payer;
mod project;
mod replies;
mod room;
mod safe_calls;
mod sequences;
mod sequences_in_flight;
mod sequences_over_time;
mod takeover;
mod upgrade;
