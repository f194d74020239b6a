//! The receiver, in front of real axum routers.
#![forbid(unsafe_code)]

mod crash;
mod hostile;
mod loopback;
mod model;
mod quorum;
mod rules;
mod transactions;
mod world;
