//! How a call reaches the Internet Computer: a trait, so that tests have their own.

use crate::end::Reject;
use candid::Principal;
use idempotency_core::Timestamp;
use serde::{Deserialize, Serialize};
use std::{future::Future, time::Duration};

/// An update that is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The request id, by which the subnet recognises it.
    #[serde(with = "hex::serde")]
    pub id: [u8; 32],
    /// Its `ingress_expiry`.
    pub expiry: Timestamp,
    /// What is sent, time after time.
    #[serde(with = "hex::serde")]
    pub bytes: Vec<u8>,
}

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// The canister.
    pub canister: Principal,
    /// The method.
    pub method: &'a str,
    /// The argument, in candid.
    pub arg: &'a [u8],
    /// The `ingress_expiry`.
    pub expiry: Timestamp,
}

/// What a submission is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// A boundary node says that it was taken (202). That is no proof.
    Accepted,
    /// The subnet's certified word.
    Certified(Status),
}

/// The status of a request in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The certificate proves that the subnet has none.
    Absent,
    /// It waits for its execution.
    Received,
    /// Its execution has begun.
    Processing,
    /// It ended with this reply.
    Replied(Vec<u8>),
    /// It ended with this reject.
    Rejected(Reject),
    /// It ended, and how is forgotten.
    Done,
}

/// An answer that proves nothing: it did not come, or is not the subnet's word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The boundary node can't be reached, or does not answer in time.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// It answers with an HTTP error.
    #[error("HTTP status {status}: {message}")]
    Http {
        /// The HTTP status code.
        status: u16,
        /// The body, as text.
        message: String,
    },
    /// A replica says that it does not take the message. Nobody certifies that.
    #[error("not taken, says one replica: {0}")]
    NotTaken(Reject),
    /// The answer is no valid certificate for this canister and request.
    #[error("no valid certificate: {0}")]
    Certificate(String),
    /// A question can't be signed, or got no certified answer that can be read.
    #[error("no answer: {0}")]
    NoAnswer(String),
}

/// Signs messages and brings them to the Internet Computer, and certificates back. Only what has been verified is `Ok` with a status: that
/// the certificate is the canister's subnet's, and speaks of this request. How old it is does not matter.
pub trait Transport: Sync {
    /// In whose name messages are signed.
    ///
    /// # Errors
    /// In words.
    fn sender(&self) -> Result<Principal, String>;

    /// Signs an update. Each has another request id.
    ///
    /// # Errors
    /// In words.
    fn sign(&self, draft: Draft<'_>) -> Result<Message, String>;

    /// Sends an update, and waits for the answer.
    fn submit(
        &self,
        canister: Principal,
        message: &Message,
    ) -> impl Future<Output = Result<Submitted, Trouble>> + Send;

    /// Reads the status of an update, and the certificate's time. `expiry` is the `ingress_expiry` of the reading.
    fn status(
        &self,
        canister: Principal,
        message: &Message,
        expiry: Timestamp,
    ) -> impl Future<Output = Result<(Status, Timestamp), Trouble>> + Send;

    /// Reads the time of the canister's subnet from a certificate.
    fn time(&self, canister: Principal) -> impl Future<Output = Result<Timestamp, Trouble>> + Send;

    /// The time since any one instant, by a clock that never goes back.
    fn elapsed(&self) -> Duration;

    /// Waits.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;
}
