//! A small canister host that speaks the part of PocketIC's HTTP protocol that our tests use.
#![forbid(unsafe_code)]

pub mod call_context;
pub mod canister;
pub mod cycles;
pub mod engine;
pub mod errors;
pub mod execution;
pub mod http_outcalls;
pub mod ingress;
pub mod instance;
pub mod management;
pub mod replica;
pub mod rounds;
pub mod server;
pub mod topology;
