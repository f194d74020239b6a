//! Calls to Internet Computer canisters from outside that are retried rightly, and end in what is proved.
//!
//! A client that calls a canister can lose the answer, and then can't tell "never ran" from "ran". [`SafeAgent`] goes on until the subnet has
//! certified one or the other: it polls, submits the same signed message again, asks the canister what became of the call, and sends another
//! message with the same argument only where the canister recognises it. It ends in exactly one [`End`]:
//!
//! | end | what it says | by what |
//! |---|---|---|
//! | [`Replied`](End::Replied) | it was executed, once | the certified reply, or the certified answer of the canister's outcome query |
//! | [`Rejected`](End::Rejected) | it was not executed, and will not be | a certified reject or refusal that proves it |
//! | [`NeverRan`](End::NeverRan) | the same | see [`Proof`] |
//! | [`StillUnknown`](End::StillUnknown) | nothing | make the same call again, with the same key, after the time it gives |
//!
//! ```no_run
//! use candid::{Principal, encode_one};
//! use ic_agent::{Agent, identity::BasicIdentity};
//! use idempotency_agent::{End, FileJournal, IcTransport, Repeats, Reply, SafeAgent};
//! use std::sync::Arc;
//!
//! # async fn pay(shop: Principal) -> Result<(), Box<dyn std::error::Error>> {
//! let identity = Arc::new(BasicIdentity::from_raw_key(&[7; 32])); // your key
//! let transport = IcTransport::new(Agent::builder().with_url("https://icp-api.io"), identity)?;
//! let agent = SafeAgent::new(transport, FileJournal::open("payments.journal")?);
//!
//! // First go on with what a crash has cut off.
//! for (key, end) in agent.resume().await? {
//!     println!("{key}: {:?}", end?);
//! }
//!
//! // A UUIDv7 that bears the subnet's time. The method has it as its `key`, and as its `created_at`.
//! let key = agent.new_key(shop).await?;
//! let arg = encode_one((key.as_bytes(), 100_u64))?;
//! match agent.call(shop, "pay", arg, key).idempotent(Repeats::Dated).send().await? {
//!     End::Replied(Reply::Bytes(reply)) => println!("paid: {} bytes", reply.len()),
//!     End::Replied(_) => println!("paid; look the receipt up"),
//!     End::Rejected(refusal) => println!("not paid: {refusal}"),
//!     End::NeverRan(_) => println!("not paid"),
//!     End::StillUnknown { why, .. } => println!("ask again later, with the same key: {why}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//! ```text
//! agent ──► call ──► run             the client; one call as it is asked for; on its way
//!    run ──► machine ──► rules      what to do next; what is proved by what: no I/O, no clock
//!    │          └──► clock, reply   an estimate of the subnet's time; a reply of an unknown type
//!    ├──► transport ──► ic          a trait; ic-agent
//!    ├──► ledger                    the blocks of a ledger, where no answer tells
//!    └──► journal                   a file, or a SQLite database
//! answer, proof ──► certificate     what others can read; up to the root key
//! ```
//!
//! # What others can read
//! What a canister says of calls can be kept, and shown to a third party that has the root key and nothing else, years later:
//! - [`IcTransport::certified_answer`] asks by an update, also what only the canister's archives know. [`CertifiedAnswer::verified`] reads it.
//! - [`IcTransport::proven`] asks by a query, where the canister's store certifies. [`verified`] reads such a proof.
//!
//! An answer is about the calls of the one who asked, and an [`Err`](Answered::outcomes) in it proves nothing of a call.
//!
//! # Time
//! No claim rests on a local clock. That a message can't run any more is proved by a certificate of the canister's subnet with a later time
//! than the message's `ingress_expiry`. Expiries are chosen by an estimate from certificates, so a clock that is minutes wrong does no harm.
//!
//! # Limits
//! - The canister stays on its subnet while a call is made: the times of two subnets can differ by seconds.
//! - Calls of the management canister are not made: they have another effective canister id.
//! - Whoever else has the key of the identity can make the same calls; what they do is not in this journal.
#![forbid(unsafe_code)]

mod agent;
mod answer;
mod call;
mod certificate;
mod clock;
mod end;
mod ic;
pub mod journal;
mod ledger;
pub mod machine;
mod proof;
mod reply;
mod request;
mod rules;
mod run;
#[cfg(test)]
mod tests;
mod transport;
mod two_step;

pub use agent::{Error, Progress, SafeAgent};
pub use answer::{AnswerError, Answered, CertifiedAnswer};
pub use call::Call;
pub use clock::SubnetClock;
pub use end::{End, Proof, Refusal, Reject, Reply};
pub use ic::IcTransport;
pub use idempotency_core::safe_call::{Account, Subaccount, Transfer, TransferError};
#[cfg(feature = "sqlite")]
pub use journal::SqliteJournal;
pub use journal::{FileJournal, Journal, JournalError, MemoryJournal};
pub use machine::{Action, Event, Pace};
pub use proof::{ProofError, verified};
pub use request::{Key, Repeats, Request, Terms};
pub use transport::{Draft, Message, Status, Submitted, Transport, Trouble};
pub use two_step::{TwoStep, TwoStepEnd, account_between};
