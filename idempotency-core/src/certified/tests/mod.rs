//! Certified outcomes: the tree against a naive one, stores against a naive model, and proofs that were meddled with.

mod lies;
mod model;
pub(super) mod naive;
mod store;
