//! Exactly once, for ever: archive canisters keep what a store's window forgets.
//!
//! ```
//! use ic_stable_structures::{
//!     DefaultMemoryImpl,
//!     memory_manager::{MemoryId, MemoryManager, VirtualMemory},
//! };
//! use idempotency_core::{Policy, Store, archive::{self, ArchivePolicy, Archives, Keep}, idempotent};
//! use std::cell::RefCell;
//!
//! type Memory = VirtualMemory<DefaultMemoryImpl>;
//!
//! thread_local! {
//!     static MEMORIES: RefCell<MemoryManager<DefaultMemoryImpl>> = RefCell::new(MemoryManager::init(DefaultMemoryImpl::default()));
//!     static STORE: Store<Memory> = Store::new(memory(1), Policy::new().archive(Keep::Replies));
//!     static ARCHIVES: Archives<Memory> = Archives::new(memory(2), ArchivePolicy::embedded(MODULE));
//! }
//!
//! /// The module of `idempotency-archive`: `include_bytes!("idempotency_archive.wasm.gz")`.
//! const MODULE: &[u8] = b"";
//!
//! fn memory(id: u8) -> Memory {
//!     MEMORIES.with_borrow(|memories| memories.get(MemoryId::new(id)))
//! }
//!
//! #[ic_cdk::init]
//! fn init() {
//!     idempotency_core::install(&STORE);
//!     archive::install(&STORE, &ARCHIVES);
//! }
//!
//! #[ic_cdk::post_upgrade]
//! fn post_upgrade() {
//!     init();
//! }
//! # fn main() {}
//! ```
//!
//! The endpoints of the store stay as they are.
//!
//! # What it promises
//! - A request that was executed is not executed again, however late it comes: it is answered from the store while it is there, and after
//!   that from an archive. [`Keep`] says with what.
//! - What has expired is forgotten when an archive has confirmed it, and not before. What has not ended is not archived: it stays in the store
//!   for another window.
//! - Whether an archive must be asked says a filter in this canister's stable memory: for most new requests the answer is no, and they run as
//!   without archives. A wrong "perhaps" costs a call, and changes no answer.
//! - If an archive that may hold a request can't be asked, the request is refused with code 8 of
//!   [`IdempotencyError::Other`](crate::IdempotencyError::Other), and nothing happens.
//!
//! # When an archive fails
//! [`Archives::overview`] says what is wrong, and since when.
//!
//! | an archive | then |
//! |---|---|
//! | is stopped, out of cycles or silent | what has expired stays in the store, and is sent again after growing pauses of up to 10 minutes. At its capacity the store refuses new requests as [`Full`](crate::IdempotencyError::Full) |
//! | takes a chunk, and its answer is lost | the same chunk is sent again, and the archive says that it has it |
//! | is full | the next one is made, or the next of those that were given is used |
//! | is deleted, reinstalled, or rolled back | its position shows it: it is [`Behind`](ArchiveState::Behind). The next archive is begun, and what the store still has is sent there. Requests that only the lost part could answer are refused |
//! | will never answer again for another reason | an operator [gives it up](Archives::give_up): the same |
//! | is ahead, because *this* canister was rolled back | it goes on from where it is; what it is sent twice it keeps once |
//!
//! # Costs
//! A chunk has up to 2 MB: some 120,000 ids, or as many replies as fit. The IC charges the sender 50 instructions for each byte of it, which is
//! 800 for an id; reading the log, the filter and the archive take some 300 each. [`OneIn`](generations::OneIn) has the filter's bytes.
//!
//! # Where each rule lives
//!
//! | rule | module |
//! |---|---|
//! | what an archive keeps of a request | `entry`; how that is sent, `packed` |
//! | what is said between a canister and its archives | [`wire`] |
//! | which requests may be archived, which rows are read | `store/shipping.rs` |
//! | what a chunk is, and what its answer means | `ship` |
//! | when something is sent, and when it is forgotten | `drive`; when it goes into the filter, `fill` |
//! | how archives are made | `create`; upgraded, `upgrade`; kept in cycles, `top_up` |
//! | what lies in stable memory | `contents`, `records`; the filter in `filter` and `generations` |
//! | which archives are asked, and when an answer counts | `look_up` |

mod any_bytes;
mod contents;
mod create;
mod drive;
mod entry;
mod fill;
#[doc(hidden)] // what the simulation of many archives works with
pub mod filter;
#[doc(hidden)]
pub mod generations;
mod handle;
mod in_background;
mod install;
mod look_up;
mod packed;
mod policy;
mod records;
mod ship;
mod status;
mod top_up;
mod upgrade;
pub mod wire;

pub use crate::policy::Keep;
#[doc(hidden)] // what the fuzzer works with
pub use any_bytes::__reads_any_bytes;
#[doc(hidden)] // what archives compare
pub use entry::COMPARED;
pub use entry::{Entry, FULL_BYTES, Head, Id, Kept, SHORT_BYTES, entry_bytes, sent_bytes};
pub use handle::Archives;
pub use in_background::in_background;
pub use install::install;
#[doc(hidden)] // what archives work with
pub use packed::{Stretch, stretches};
pub use policy::ArchivePolicy;
pub use status::{
    ArchiveState, ArchiveStatus, ChunkStatus, MakingStatus, Overview, Problem, TopUp, Trouble,
};
pub use upgrade::{Upgraded, upgrade_archives};

#[cfg(test)]
pub(crate) mod tests;
