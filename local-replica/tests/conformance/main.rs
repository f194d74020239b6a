//! What the real PocketIC server does, checked through its unmodified client.
//!
//! The server is ours, or the one named by `POCKET_IC_BIN`: run these tests against the real one where it can be had.
#![forbid(unsafe_code)]

mod bad_input;
mod calls;
mod cycles;
mod instances;
mod lifecycle;
mod management;
mod messages;
mod outcall_arguments;
mod outcall_nodes;
mod outcaller;
mod outcalls;
mod queries;
mod server;
mod speed;
mod timers;
mod upgrades;
mod world;
