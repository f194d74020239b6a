//! What the answer to one attempt says: whether the server acted, and whether another attempt may follow.
//!
//! # What a server says
//! | status | verdict | reason |
//! |---|---|---|
//! | 200–299 | acknowledged | |
//! | 300–399: the IC follows no redirect | refused | `Refused` |
//! | 408 | uncertain | `TimedOut` |
//! | 409, as the IETF draft uses it | uncertain | `InProgress` |
//! | 425 | uncertain | `TooEarly` |
//! | 429 | uncertain | `TooManyRequests` |
//! | other 400–499 | refused | `Refused` |
//! | 500–599 | uncertain | `ServerError` |
//! | below 200, or above 599 | uncertain | `ServerError` |
//!
//! Uncertain ones bear the time that `Retry-After` (RFC 9110, section 10.2.3) says, at most an hour.
//!
//! # What the IC says
//! The reject codes of `http_request` do not mean what they mean for calls between canisters: of those, code 2 says that nothing ran.
//! Here an error of one replica's adapter, and of the transform that runs after the server's answer, are passed on with the code of the
//! error itself. So codes alone prove nothing, and only the texts of the management canister's own refusals are taken for proof. What
//! these texts are was read in [dfinity/ic](https://github.com/dfinity/ic), in the files that the table names; a text that is not in the
//! table, or will have changed, makes the attempt uncertain, which costs a repetition and never an effect.
//!
//! | code | text begins with | sent? | verdict | source |
//! |---|---|---|---|---|
//! | 0: ours, no code of the IC | any | no: the system API refused the call | not sent | `ic0.call_perform`, `ic0.call_cycles_add128` |
//! | 4 | `http_request request sent with` | no | not sent, too few cycles | `execution_environment.rs`, `try_add_http_context_to_replicated_state` |
//! | 4 | `max number (` | no: 3,000 outcalls of the subnet are in flight | not sent | the same |
//! | 4 | `url size`, `number of`, `total number of`, `max_response_bytes expected`, `transform principal id`, `transform needs`, `The requested HTTP method`, `No nodes available` | no: the arguments are refused | not sent | `types/src/canister_http.rs`, `generate_from_args` |
//! | 5 | `This API is not enabled` | no | not sent | `execution_environment.rs` |
//! | 2 | `Canister http request timed out` | perhaps: no agreement on an answer within 60 s | uncertain, `TimedOut` | `consensus/src/payload_builder.rs` |
//! | 2 | `No consensus could be reached` | yes, by most replicas | uncertain, `NoConsensus` | the same |
//! | 2 | `Connecting to` | perhaps: it stands for all that goes wrong before the answer's headers, also after the request was written. The adapter then tries again through proxies, so that one replica may send several times | uncertain, `ConnectionFailed` | `adapter/src/rpc_server.rs` |
//! | 1, 2 | `Timeout expired`, `Deadline Exceeded` | perhaps | uncertain, `TimedOut` | `client/src/client.rs` |
//! | 1 | `Header size exceeds`, `Http body exceeds`, `Transformed http response exceeds` | yes | uncertain, `AnswerTooLarge` | `rpc_server.rs`, `client.rs` |
//! | 1 | `number of`, `total number of` | yes: of the answer's headers | uncertain, `AnswerTooLarge` | `client.rs`, `validate_http_headers_and_body` |
//! | 3, 5 | any other | yes: the transform trapped, or is not there | uncertain, `TransformFailed` | `client.rs`, `transform_adapter_response` |
//! | 6 | any | perhaps: the caller no longer waited | uncertain, `TimedOut` | best-effort calls |
//! | any | any other, such as `Failed to parse URL`, `Insufficient cycles` (of the pricing that follows the answer) | perhaps | uncertain, `Rejected` | |

use super::{outcome::Reason, response::Response};
use crate::{runtime::Rejected, time::Timestamp};
use std::time::{Duration, UNIX_EPOCH};

/// What is believed of a server that says when to come again.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// What is kept of the IC's texts, in bytes.
const MAX_MESSAGE: usize = 512;

const SYS_FATAL: u32 = 1;
const SYS_TRANSIENT: u32 = 2;
const DESTINATION_INVALID: u32 = 3;
const CANISTER_REJECT: u32 = 4;
const CANISTER_ERROR: u32 = 5;
const SYS_UNKNOWN: u32 = 6;

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server did it.
    Acknowledged,
    /// The server will not do it, however often it is asked; [`Reason::Refused`].
    Refused,
    /// The server has not seen this attempt.
    NotSent(Reason),
    /// The server may have done it.
    Uncertain {
        reason: Reason,
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
    },
}

/// What the answer to an attempt says of that attempt.
pub(crate) fn judge(answer: &Result<Response, Rejected>, now: Timestamp) -> Verdict {
    match answer {
        Ok(response) => of_response(response, now),
        Err(rejected) => of_reject(rejected),
    }
}

/// The answer in a reply of `http_request`, or in its reject. A reply that is none of ours is as good as a transform that failed.
pub(crate) fn read(reply: Result<Vec<u8>, Rejected>) -> Result<Response, Rejected> {
    Response::read(&reply?).ok_or_else(|| Rejected {
        code: CANISTER_ERROR,
        message: "the answer is not one of the outbox's transform".to_owned(),
    })
}

fn of_response(response: &Response, now: Timestamp) -> Verdict {
    let reason = match response.status {
        200..=299 => return Verdict::Acknowledged,
        408 => Reason::TimedOut,
        409 => Reason::InProgress,
        425 => Reason::TooEarly,
        429 => Reason::TooManyRequests,
        300..=499 => return Verdict::Refused,
        _ => Reason::ServerError,
    };
    let retry_after = response.header("retry-after");
    Verdict::Uncertain {
        reason,
        retry_after: retry_after.and_then(|value| self::retry_after(value, now)),
    }
}

/// Seconds, or an HTTP date.
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let duration = match is_number {
        // More digits than a number has room for are many seconds, too.
        true => value.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs),
        false => {
            let date = httpdate::parse_http_date(value).ok()?;
            let since_epoch = date.duration_since(UNIX_EPOCH).unwrap_or_default();
            since_epoch.saturating_sub(Duration::from_nanos(now.as_nanos()))
        }
    };
    Some(duration.min(MAX_RETRY_AFTER))
}

fn of_reject(rejected: &Rejected) -> Verdict {
    let Rejected { code, message } = rejected;
    let message = without_code(message);
    let begins = |texts: &[&str]| texts.iter().any(|text| message.starts_with(text));
    let kept = || start(message).to_owned();
    let not_sent = || Verdict::NotSent(Reason::NotSent { message: kept() });
    let reason = match *code {
        0 => return not_sent(),
        CANISTER_REJECT if begins(&["http_request request sent with"]) => {
            return Verdict::NotSent(Reason::TooFewCycles { message: kept() });
        }
        CANISTER_REJECT if begins(&REFUSED_ARGUMENTS) || begins(&["max number ("]) => {
            return not_sent();
        }
        CANISTER_ERROR if begins(&["This API is not enabled"]) => return not_sent(),
        SYS_FATAL | SYS_TRANSIENT if begins(&TIMED_OUT) => Reason::TimedOut,
        SYS_UNKNOWN => Reason::TimedOut,
        SYS_TRANSIENT if begins(&["No consensus could be reached"]) => {
            Reason::NoConsensus { message: kept() }
        }
        SYS_TRANSIENT if begins(&["Connecting to"]) => Reason::ConnectionFailed { message: kept() },
        SYS_FATAL if begins(&TOO_LARGE) => Reason::AnswerTooLarge { message: kept() },
        DESTINATION_INVALID | CANISTER_ERROR => Reason::TransformFailed { message: kept() },
        code => Reason::Rejected {
            code,
            message: kept(),
        },
    };
    Verdict::Uncertain {
        reason,
        retry_after: None,
    }
}

const REFUSED_ARGUMENTS: [&str; 8] = [
    "url size",
    "number of",
    "total number of",
    "max_response_bytes expected",
    "transform principal id",
    "transform needs",
    "The requested HTTP method",
    "No nodes available",
];

const TIMED_OUT: [&str; 3] = [
    "Canister http request timed out",
    "Timeout expired",
    "Deadline Exceeded",
];

const TOO_LARGE: [&str; 5] = [
    "Header size exceeds",
    "Http body exceeds",
    "Transformed http response exceeds",
    "number of",
    "total number of",
];

/// Without `IC0406: `, which some versions of the replica put before a text.
fn without_code(message: &str) -> &str {
    let is_code = |code: &str| code.len() == 6 && code.starts_with("IC");
    match message.split_once(": ") {
        Some((code, rest)) if is_code(code) => rest,
        _ => message,
    }
}

fn start(message: &str) -> &str {
    &message[..message.floor_char_boundary(MAX_MESSAGE)]
}
