//! Each kind of fault on a small canister, in process and over HTTP.
#![forbid(unsafe_code)]

mod answers;
mod messages;
mod runs;
mod world;
