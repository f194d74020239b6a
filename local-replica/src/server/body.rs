//! Bodies of requests.

use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use crate::errors::ApiError;

/// The body of a request, which has to be JSON and to say so.
pub(super) struct Body<'a> {
    headers: &'a HeaderMap,
    bytes: &'a [u8],
}

impl<'a> Body<'a> {
    pub(super) fn new(headers: &'a HeaderMap, bytes: &'a [u8]) -> Self {
        Self { headers, bytes }
    }

    /// What the request says, or why it is refused, with the status that PocketIC's framework has for it.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        if !self.is_json() {
            return Err(ApiError::unsupported_media_type(
                "Expected request with `Content-Type: application/json`",
            ));
        }
        serde_json::from_slice(self.bytes).map_err(|error| {
            if error.is_data() {
                ApiError::unprocessable(format!(
                    "Failed to deserialize the JSON body into the target type: {error}"
                ))
            } else {
                ApiError::bad_request(format!("Failed to parse the request body as JSON: {error}"))
            }
        })
    }

    fn is_json(&self) -> bool {
        let kind = self.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let kind = kind.to_ascii_lowercase();
        let subtype = kind.strip_prefix("application/");
        subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
    }
}
