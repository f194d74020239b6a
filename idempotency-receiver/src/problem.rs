//! What the layer itself answers: problem details (RFC 9457).

use crate::answer::Answer;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;
use std::time::Duration;

/// Where the problems are explained unless the layer says otherwise.
pub(crate) const DOCUMENTATION: &str = "https://docs.rs/idempotency-receiver";

/// Why the layer answers itself, and the handler doesn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    MissingKey,
    MalformedKey,
    KeyTooLong,
    NoScope,
    BodyTooLarge,
    BodyTooSlow,
    BodyBroken,
    KeyReused,
    InProgress,
    OutcomeUnknown,
    AnswerNotKept,
    TooFewCopies,
    Busy,
    Full(Duration),
    Unavailable,
}

impl Problem {
    /// The name at the end of its type, the status, the title, and what it means.
    fn text(self) -> (&'static str, StatusCode, &'static str, &'static str) {
        use StatusCode as Code;
        match self {
            Self::MissingKey => (
                "missing-key",
                Code::BAD_REQUEST,
                "Idempotency-Key is missing",
                "This operation needs an idempotency key. Nothing was done.",
            ),
            Self::MalformedKey => (
                "malformed-key",
                Code::BAD_REQUEST,
                "Idempotency-Key is malformed",
                "The key must be given once, as a string in quotes, and not be empty. Nothing was done.",
            ),
            Self::KeyTooLong => (
                "key-too-long",
                Code::BAD_REQUEST,
                "Idempotency-Key is too long",
                "Use a UUID. Nothing was done.",
            ),
            Self::NoScope => (
                "no-scope",
                Code::UNAUTHORIZED,
                "The sender is not known",
                "Keys belong to who sends them, which this request doesn't tell. Nothing was done.",
            ),
            Self::BodyTooLarge => (
                "body-too-large",
                Code::PAYLOAD_TOO_LARGE,
                "The body is too large",
                "Nothing was done.",
            ),
            Self::BodyTooSlow => (
                "body-too-slow",
                Code::REQUEST_TIMEOUT,
                "The body did not arrive in time",
                "Nothing was done.",
            ),
            Self::BodyBroken => (
                "body-broken",
                Code::BAD_REQUEST,
                "The body broke off",
                "Nothing was done.",
            ),
            Self::KeyReused => (
                "key-reused",
                Code::UNPROCESSABLE_ENTITY,
                "Idempotency-Key is already used",
                "The key was used for another request. This one did nothing. Use a new key for each request, and the same for its copies.",
            ),
            Self::InProgress => (
                "in-progress",
                Code::CONFLICT,
                "A request is outstanding for this Idempotency-Key",
                "Send the same request again later to get its answer.",
            ),
            Self::OutcomeUnknown => (
                "outcome-unknown",
                Code::CONFLICT,
                "The outcome of the request is unknown",
                "It was begun, and it is not known whether it did what it should. It is not repeated.",
            ),
            Self::AnswerNotKept => (
                "answer-not-kept",
                Code::INTERNAL_SERVER_ERROR,
                "The answer could not be kept",
                "The request was executed, once. Its answer was too large or broke off.",
            ),
            Self::TooFewCopies => (
                "too-few-copies",
                Code::SERVICE_UNAVAILABLE,
                "Too few copies of the request arrived",
                "It is executed when enough senders have sent it. Nothing was done yet.",
            ),
            Self::Busy => (
                "busy",
                Code::SERVICE_UNAVAILABLE,
                "Too many requests are in progress",
                "This one did nothing. Send it again later.",
            ),
            Self::Full(_) => (
                "full",
                Code::SERVICE_UNAVAILABLE,
                "There is no room to remember another request",
                "This one did nothing. Send it again later.",
            ),
            Self::Unavailable => (
                "unavailable",
                Code::SERVICE_UNAVAILABLE,
                "The records can't be reached",
                "Send the same request again later.",
            ),
        }
    }

    fn retry_after(self) -> Option<u64> {
        match self {
            Self::InProgress | Self::TooFewCopies | Self::Busy => Some(1),
            Self::Unavailable => Some(5),
            Self::Full(wait) => Some(wait.as_secs().clamp(1, 3600)),
            _ => None,
        }
    }

    /// The answer, with a type below the URL of the documentation.
    pub(crate) fn answer(self, documentation: &str) -> Answer {
        let (name, status, title, detail) = self.text();
        let body = json!({
            "type": format!("{documentation}#{name}"),
            "title": title,
            "status": status.as_u16(),
            "detail": detail,
        });
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        Answer {
            status,
            headers,
            body: Bytes::from(body.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_docs_explain_each() {
        use Problem::{
            AnswerNotKept, BodyBroken, BodyTooLarge, BodyTooSlow, Busy, Full, InProgress,
            KeyReused, KeyTooLong, MalformedKey, MissingKey, NoScope, OutcomeUnknown, TooFewCopies,
            Unavailable,
        };
        let docs = include_str!("../README.md");
        let full = Full(Duration::from_secs(90));
        for problem in [
            AnswerNotKept,
            BodyBroken,
            BodyTooLarge,
            BodyTooSlow,
            Busy,
            full,
            InProgress,
            KeyReused,
            KeyTooLong,
            MalformedKey,
            MissingKey,
            NoScope,
            OutcomeUnknown,
            TooFewCopies,
            Unavailable,
        ] {
            let (name, status, ..) = problem.text();
            let row = docs
                .lines()
                .find(|line| line.contains(&format!("`{name}`")))
                .unwrap_or_default();
            assert!(row.contains(status.as_str()), "{name}");
            assert_eq!(
                row.contains("Retry-After"),
                problem.retry_after().is_some(),
                "{name}"
            );
            let answer = problem.answer(DOCUMENTATION);
            let body: serde_json::Value =
                serde_json::from_slice(answer.body()).expect("it is JSON");
            assert_eq!(body["status"], status.as_u16());
            assert_eq!(
                body["type"],
                format!("https://docs.rs/idempotency-receiver#{name}")
            );
        }
        assert_eq!(full.answer(DOCUMENTATION).headers()["retry-after"], "90");
    }
}
