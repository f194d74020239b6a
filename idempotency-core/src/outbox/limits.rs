//! What the IC takes of an HTTPS outcall. What it would refuse must be refused before it is kept: a message that can't be sent would
//! only be found dead, after the state change that it belongs to.
//!
//! | limit | bytes | in the IC's source |
//! |---|---|---|
//! | URL | 8,192 | `MAX_CANISTER_HTTP_URL_SIZE` |
//! | number of headers | 64 of them | `MAX_CANISTER_HTTP_HEADER_NUM` |
//! | name of a header, value of a header | 8,192 each | `MAX_CANISTER_HTTP_HEADER_NAME_VALUE_LENGTH` |
//! | all names and values | 49,152 | `MAX_CANISTER_HTTP_HEADER_TOTAL_SIZE` |
//! | all names and values, and the body | 2,000,000 | `MAX_CANISTER_HTTP_REQUEST_BYTES` |
//! | `max_response_bytes` | 2,000,000 | `MAX_CANISTER_HTTP_RESPONSE_BYTES` |
//!
//! The constants, and `validate_http_headers_and_body` that applies them, are in `rs/types/types/src/canister_http.rs` of
//! [dfinity/ic](https://github.com/dfinity/ic). Names and values must be such as the crate `http` takes, with which the adapter of the
//! replica (`rs/https_outcalls/adapter`) reads them. It reads the URL with that crate, too, and refuses all but `https`.

use super::{characters, error::RequestError};

pub(super) const MAX_URL: usize = 8_192;
pub(super) const MAX_HEADERS: usize = 64;
pub(super) const MAX_HEADER: usize = 8_192;
pub(super) const MAX_ALL_HEADERS: usize = 48 * 1_024;
pub(super) const MAX_REQUEST: usize = 2_000_000;
pub(super) const MAX_RESPONSE: u64 = 2_000_000;

/// Ours: all of it lies in the context that the transform is sent, and is paid for with each attempt.
pub(super) const MAX_KEEP: usize = 1_024;
/// Ours: what a message is about is an id or two.
pub(super) const MAX_ABOUT: usize = 4_096;
/// Ours: the most that any of the well-known servers takes (Stripe).
pub(super) const MAX_KEY: usize = 255;

/// What HTTP/2 forbids or the connection sets, and what would let a canister speak of one server to another.
const RESERVED: [&[u8]; 11] = [
    b"connection",
    b"content-length",
    b"expect",
    b"host",
    b"keep-alive",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

/// Headers as they are checked one after the other, with their number and length.
#[derive(Default)]
pub(super) struct Headers {
    count: usize,
    length: usize,
}

impl Headers {
    /// One that the user gave, beside that of the key.
    pub(super) fn add(
        &mut self,
        name: &[u8],
        value: &[u8],
        key: Option<&[u8]>,
    ) -> Result<(), RequestError> {
        self.count_one(name, value.len())?;
        if !characters::is_token(name) || !characters::is_header_value(value) {
            return Err(RequestError::invalid_header(name));
        }
        if is_reserved(name) || key.is_some_and(|key| key.eq_ignore_ascii_case(name)) {
            return Err(RequestError::reserved_header(name));
        }
        Ok(())
    }

    /// That of the key, whose value is added to the request when it is sent.
    pub(super) fn add_key(
        &mut self,
        name: &[u8],
        value: usize,
        is_ours: bool,
    ) -> Result<(), RequestError> {
        self.count_one(name, value)?;
        if is_ours {
            return Ok(());
        }
        if !characters::is_token(name) {
            return Err(RequestError::invalid_header(name));
        }
        if is_reserved(name) {
            return Err(RequestError::reserved_header(name));
        }
        Ok(())
    }

    fn count_one(&mut self, name: &[u8], value: usize) -> Result<(), RequestError> {
        if name.len() > MAX_HEADER || value > MAX_HEADER {
            return Err(RequestError::header_too_long(name, MAX_HEADER));
        }
        self.count += 1;
        self.length += name.len() + value;
        Ok(())
    }

    /// Whether all of them and the body can be sent.
    pub(super) fn check(&self, body: usize) -> Result<(), RequestError> {
        if self.count > MAX_HEADERS {
            return Err(RequestError::TooManyHeaders {
                count: self.count as u64,
                max: MAX_HEADERS as u64,
            });
        }
        if self.length > MAX_ALL_HEADERS {
            return Err(RequestError::HeadersTooLong {
                length: self.length as u64,
                max: MAX_ALL_HEADERS as u64,
            });
        }
        let length = self.length.saturating_add(body);
        if length > MAX_REQUEST {
            return Err(RequestError::RequestTooLong {
                length: length as u64,
                max: MAX_REQUEST as u64,
            });
        }
        Ok(())
    }
}

fn is_reserved(name: &[u8]) -> bool {
    const LENGTHS: u32 = lengths();
    // Most headers are of no such length.
    name.len() < 32
        && LENGTHS >> name.len() & 1 == 1
        && RESERVED
            .iter()
            .any(|reserved| reserved.eq_ignore_ascii_case(name))
}

/// A bit for the length of each reserved name.
const fn lengths() -> u32 {
    let (mut lengths, mut index) = (0, 0);
    while index < RESERVED.len() {
        lengths |= 1 << RESERVED[index].len();
        index += 1;
    }
    lengths
}

/// Whether a key of the user's own is one that all servers take: without quotes and backslashes, it is the same as a quoted string.
pub(super) fn is_key(key: &str) -> bool {
    (1..=MAX_KEY).contains(&key.len())
        && (key.bytes()).all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

/// Whether it is a JSON pointer (RFC 6901).
pub(super) fn is_pointer(pointer: &str) -> bool {
    let escapes = pointer.split('~').skip(1);
    (pointer.is_empty() || pointer.starts_with('/'))
        && escapes
            .map(str::as_bytes)
            .all(|rest| matches!(rest.first(), Some(b'0' | b'1')))
}

/// Whether it may be the name of a header that is kept.
pub(super) fn is_name(name: &str) -> bool {
    characters::is_token(name.as_bytes())
}
