//! One effect per `Idempotency-Key`, for HTTP servers: [`IdempotencyLayer`] around a service, with records in memory
//! ([`MemoryBackend`]) or in a SQLite database (`SqliteBackend`, with the feature `sqlite`).
//!
//! ```
//! use axum::{Router, routing::post};
//! use idempotency_receiver::{IdempotencyLayer, Limits, MemoryBackend};
//!
//! let once = IdempotencyLayer::new(MemoryBackend::new(Limits::default()));
//! let router: Router = Router::new().route("/orders", post(async || "ordered").layer(once));
//! ```
//!
//! # What is where
//! ```text
//! layer ──► service ──► key, digest    a request's key, identity and fingerprint
//!              ├──► flights, quorum    copies wait for each other
//!              └──► run ──► backend    the first of them is looked up, executed, recorded
//!                    └──► problem      what the layer answers itself
//! ```
#![cfg_attr(feature = "sqlite", doc = "")]
#![cfg_attr(feature = "sqlite", doc = include_str!("../README.md"))]
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
