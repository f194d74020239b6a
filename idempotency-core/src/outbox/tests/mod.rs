//! An outbox beside servers of all kinds, natively.

mod ends;
mod limits_of_policy;
mod model;
mod world;
