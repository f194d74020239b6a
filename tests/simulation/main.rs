//! Millions of message deliveries with faults, and the library's promises checked all along.
//!
//! - `plain`: requests by key, sync and async, whose clients retry.
//! - `sequences`: requests by number, in lanes.
//! - `durable`: durable requests by key and by number, most of which nobody retries.
//!
//! They run in process on `local-replica`. `IDEMPOTENCY_SEED=7` runs that seed alone; a failing run prints its seed and a schedule of
//! faults that fails too, made as short as a few more runs can make it.
#![forbid(unsafe_code)]

mod calls;
mod durable;
mod memory;
mod plain;
mod seeds;
mod sequences;
