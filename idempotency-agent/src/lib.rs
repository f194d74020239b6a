//! x
#![forbid(unsafe_code)]

mod agent;
mod clock;
mod end;
mod ic;
pub mod journal;
pub mod machine;
mod reply;
mod request;
mod rules;
#[cfg(test)]
mod tests;
mod transport;
mod two_step;

pub use agent::{Call, Error, Progress, SafeAgent};
pub use clock::SubnetClock;
pub use end::{End, Proof, Refusal, Reject, Reply};
pub use ic::IcTransport;
pub use idempotency_core::safe_call::{Account, Subaccount, Transfer, TransferError};
pub use journal::{FileJournal, Journal, JournalError, MemoryJournal};
pub use machine::{Action, Event, Pace};
pub use request::{Key, Repeats, Request, Terms};
pub use two_step::{TwoStep, TwoStepEnd, account_between};
pub use transport::{Draft, Message, Status, Submitted, Transport, Trouble};
#[cfg(feature = "sqlite")]
pub use journal::SqliteJournal;
