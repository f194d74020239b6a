//! The state machine and its driver against a simulated subnet, canister and network; and what is read later.

mod answers;
mod classes;
mod journals;
mod ledger;
mod ledgers;
mod net;
mod scripted;
mod signed;
mod simulation;
mod two_step;
mod world;
