//! The trap matrix: every order of messages with every fault at every place, against each shape of an async method, as different clients
//! use it. Exhaustive within the bounds that each test prints with its counts.
//!
//! | shape | file |
//! |---|---|
//! | durable steps: repeatable, verified | `durable.rs` |
//! | durable steps in a lane | `lanes.rs` |
//! | the payout example: two ledgers that can't commit together | `payout.rs` |
//! | no steps: with a resolver, and without | `plain.rs` |

#![forbid(unsafe_code)]

mod durable;
mod lanes;
mod parked;
mod payout;
mod plain;
mod types;
mod world;
