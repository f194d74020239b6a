//! Exactly once, for ever: archive canisters keep what a store's window forgets.

mod entry;
#[doc(hidden)] // what the simulation of many archives works with
pub mod filter;
#[doc(hidden)]
pub mod generations;
pub mod wire;

pub use crate::policy::Keep;
pub use entry::{ENTRY_BYTES, Entry, Id, Kept};
