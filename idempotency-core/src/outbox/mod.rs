//! Messages to servers outside of the IC, committed with the state change that causes them.
#![allow(dead_code, reason = "what sends is not here yet")]

mod answer;
mod characters;
mod error;
mod json;
mod keep;
mod key;
mod limits;
mod method;
mod outcall;
mod outcome;
mod request;
mod response;
mod stored;
#[cfg(test)]
mod tests;
mod transform;
mod url;

#[doc(inline)]
pub use crate::__export_outbox_transform as export_transform;
pub use error::RequestError;
pub use outcome::{Ended, Limit, MessageId, Outcome, Reason};
pub use request::Request;
pub use response::Response;
pub use transform::{Transform, answer_transform};
