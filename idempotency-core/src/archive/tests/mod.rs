//! Archives around a canister, natively.

mod contents;
mod given;
pub(crate) mod ic;
mod look_ups;
pub(crate) mod others;
mod steps;
mod stories;
mod top_ups;
mod upgrades;
pub(crate) mod world;
