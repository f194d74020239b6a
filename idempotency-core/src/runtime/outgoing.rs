//! Calls to canisters, and what comes back.

use candid::Principal;

/// A call to a canister.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) callee: Principal,
    pub(crate) method: String,
    pub(crate) argument: Vec<u8>,
    /// Those that the callee does not accept come back.
    pub(crate) cycles: u128,
    /// How long to wait for the answer, in seconds, at most 300; `None` for as long as it takes.
    pub(crate) timeout: Option<u32>,
}

/// Why a call has no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// The IC's reject code; 0 if the call was not sent.
    pub(crate) code: u32,
    pub(crate) message: String,
}

/// The answer to a call: a reply, or why there is none.
#[cfg(any(feature = "archive", feature = "outbox"))]
pub(crate) type Answer = Result<Vec<u8>, Rejected>;
