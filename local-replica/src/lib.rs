//! A small canister host that speaks the part of PocketIC's HTTP protocol that our tests use.
#![forbid(unsafe_code)]

pub mod engine;
