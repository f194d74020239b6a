//! The Internet Computer's own interface, as the unmodified `ic-agent` sees it.
//!
//! The agent verifies certificates and query signatures in all of these tests.
#![forbid(unsafe_code)]

mod calls;
mod gateway;
mod history;
mod hostile;
mod queries;
mod state;
mod subnets;
mod world;
