//! Archives around a canister, natively.

mod contents;
mod look_ups;
mod others;
mod steps;
mod stories;
mod upgrades;
mod world;
