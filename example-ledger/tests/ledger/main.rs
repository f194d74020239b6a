//! The ledger in memory: its methods against a model and the standards, its blocks, and their way to archives.

mod archiving;
mod blocks;
mod model;
mod standards;
mod support;
