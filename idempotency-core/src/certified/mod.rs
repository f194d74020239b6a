//! Certified outcomes: what became of a request, proved by a query.
//!
//! A store whose policy says [`certify`](crate::Policy::certify) keeps a hash tree over its requests. The canister certifies the root, so one
//! replica's answer to a query is as good as the subnet's: the client checks it by itself, with [`verify()`].
//!
//! ```
//! use ic_stable_structures::DefaultMemoryImpl;
//! use idempotency_core::{IdempotencyError, Policy, Store, certified, idempotent, outcome::Asked, prove};
//! use std::time::Duration;
//!
//! thread_local! {
//!     static STORE: Store<DefaultMemoryImpl> =
//!         Store::new(DefaultMemoryImpl::default(), Policy::new().certify(Duration::from_secs(10)));
//! }
//!
//! #[idempotent(store = STORE, key = request_id, required)]
//! #[ic_cdk::update]
//! fn transfer(request_id: Option<Vec<u8>>, amount: u64) -> u64 {
//!     amount
//! }
//!
//! #[ic_cdk::init]
//! fn init() {
//!     idempotency_core::install(&STORE);
//!     certified::install(&STORE, "transfers");
//! }
//!
//! #[ic_cdk::post_upgrade]
//! fn post_upgrade() {
//!     init();
//! }
//!
//! #[ic_cdk::query]
//! fn idempotency_proof(call: Asked) -> Result<certified::Proof, IdempotencyError> {
//!     prove!(call; transfer)
//! }
//! # fn main() {}
//! ```
//!
//! # The tree
//! ```text
//! "idempotency" ─ forks ┬ label of a store ─ fork ┬ "partitions" ─ forks ┬ until ─ tree of a partition ─ identity ─ leaf
//!                       └ …                       │                      └ …
//!                                                 └ "watermark" ─ leaf
//! ```
//! - *One tree for each partition.* A partition is forgotten as a whole, and its tree with it: nothing is ever taken out of a tree, and a
//!   change touches a small one. A request with a `created_at` can only be in partitions that are kept as long as its record would be, so a
//!   few labels show that it is nowhere; without one, each partition has to show it.
//! - *Hashed in batches.* Hashing one request by itself takes a way of some 15 forks up to the root, at two blocks of SHA-256 each. A
//!   batch hashes each node once, whatever the number of changes below. [`certify`](crate::Policy::certify) says how long changes may wait.
//! - *Complete, or open since.* The first change that the tree lacks makes the canister certify, in the same message, that the tree is open
//!   since that time. So a root that says nothing of the kind proves that nothing has changed, up to the certificate's own time.
//! - *Valid until.* A tree says all for an hour after it was published last. A timer renews it while there are requests. It is for the case
//!   that an upgrade brings a module that does not keep the tree: the IC keeps the certified data of a canister that says nothing.
//! - *Begun is one state.* Whether a request that has not ended runs, goes on by itself or is cut off changes without a message of its
//!   own, at an upgrade, or in a cleanup callback, where nothing can be certified. A query says it; no certificate does.

mod cbor;
pub(crate) mod leaf;
pub(crate) mod registry;
pub(crate) mod top;
pub(crate) mod tree;
mod verify;
pub(crate) mod watermark;

pub use registry::{LABEL, Proof, batch, install, publish_with, root};
pub use verify::{CertifiedData, Proven, Question, Unproven, verify};

#[cfg(test)]
mod tests;
