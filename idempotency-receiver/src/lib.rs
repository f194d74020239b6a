//! One effect per `Idempotency-Key`.
#![forbid(unsafe_code)]

mod answer;
pub mod backend;
mod digest;
mod flights;
mod key;
mod layer;
mod problem;
mod quorum;
mod run;
mod service;
mod settings;

pub use answer::Answer;
pub use backend::{Limits, MemoryBackend};
#[cfg(feature = "sqlite")]
pub use backend::{SqliteBackend, TransactionError, Transactional};
pub use digest::{Digest, RequestId};
pub use key::KeySyntax;
pub use layer::IdempotencyLayer;
pub use quorum::{Quorum, forwarded_for};
#[cfg(feature = "sqlite")]
pub use rusqlite;
pub use service::{AnswerBody, IdempotencyService};
pub use settings::{OnUnknown, RequestKey, Resolution, Verdict};
