//! An outbox in a canister, whose messages go over loopback to servers of all kinds.

mod ends;
mod lossy;
mod mail;
mod outbox;
mod refusals;
mod shop;
