//! Exactly once, for ever: archive canisters keep what a store's window forgets.

mod entry;
mod keep;
pub mod wire;

pub use entry::{ENTRY_BYTES, Entry, Id, Kept};
pub use keep::Keep;
