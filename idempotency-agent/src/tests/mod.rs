//! The state machine and its driver against a simulated subnet, canister and network.

mod classes;
mod journals;
mod simulation;
mod world;
