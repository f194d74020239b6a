//! The receiver, in front of real axum routers.
#![forbid(unsafe_code)]

mod quorum;
mod rules;
mod world;
