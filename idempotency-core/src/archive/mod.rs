//! Exactly once, for ever: archive canisters keep what a store's window forgets.

mod entry;
pub mod wire;

pub use crate::policy::Keep;
pub use entry::{ENTRY_BYTES, Entry, Id, Kept};
