//! The search for orders and faults, on canisters small enough to know all that can happen.
#![forbid(unsafe_code)]

mod bad_input;
mod faults;
mod orders;
mod pruning;
mod time;
mod world;
