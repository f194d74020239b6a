//! Durable methods in a [`world`](world::World) where everything happens that can.

mod callee;
mod changes;
mod cuts;
mod refusals;
mod replay;
mod safe_calls;
pub(crate) mod ways;
mod world;
