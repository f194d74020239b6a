#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod archive;
mod blocks;
mod extents;
mod header;
pub mod icrc3;
mod log;
mod merge;
mod row;
mod runs;
mod sort;
pub mod wire;

pub use archive::{Archive, Damaged, MAX_CHUNK_BYTES, OpenError};
pub use runs::Merged;

#[cfg(test)]
mod tests;
