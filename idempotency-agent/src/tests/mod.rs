//! The state machine and its driver against a simulated subnet, canister and network.

mod classes;
mod journals;
mod ledger;
mod ledgers;
mod net;
mod scripted;
mod simulation;
mod two_step;
mod world;
