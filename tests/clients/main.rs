//! Clients outside of the IC against a replica, through a boundary node that can't be relied on. The agent below is ic-agent, unmodified.

mod blocks;
mod hostile;
mod lossy;
mod proofs;
mod proxy;
mod setup;
