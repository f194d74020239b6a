//! What a server said, as the transform left it.

use crate::codec;
use candid::CandidType;
use ic_management_canister_types::HttpRequestResult;
use serde::{Deserialize, Serialize};

/// The answer of a server, as far as it was kept.
#[derive(CandidType, Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status code, such as 201.
    pub status: u16,
    /// Name, in lower case, and value of each header that was kept.
    pub headers: Vec<(String, String)>,
    /// The body, or the part of it that was kept: see [`Request::extract`](super::request::Request::extract).
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

impl Response {
    /// Whether the status is one of success: 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..=299).contains(&self.status)
    }

    /// The first value of a header that was kept, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let is_it = |header: &&(String, String)| header.0.eq_ignore_ascii_case(name);
        (self.headers.iter().find(is_it)).map(|(_, value)| &**value)
    }

    /// From the reply of the management canister's `http_request`. `None` if it is none, or has a status that is none of HTTP: that of a
    /// transform which is not ours, or was called with what it does not know.
    pub(crate) fn read(reply: &[u8]) -> Option<Self> {
        let (result,): (HttpRequestResult,) = codec::decode(reply).ok()?;
        let status = u16::try_from(result.status.0).ok()?;
        let headers = result.headers.into_iter();
        (100..=599).contains(&status).then(|| Self {
            status,
            headers: headers.map(|it| (it.name, it.value)).collect(),
            body: result.body,
        })
    }
}
