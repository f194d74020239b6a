//! Durable methods in a [`world`](world::World) where everything happens that can.

mod cuts;
mod refusals;
mod replay;
mod world;
