//! Why a request is refused before anything of it is kept.

use crate::documented::documented_natively;
use candid::CandidType;
use serde::{Deserialize, Serialize};
use std::fmt;

documented_natively! {
/// Why a request is refused. Nothing of it is kept. Lengths are in bytes.
#[derive(CandidType, Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// The URL does not begin with `https://`: the IC sends nothing else.
    NotHttps,
    /// The URL is longer than the IC takes.
    UrlTooLong {
        /// Its length.
        length: u64,
        /// The most that the IC takes.
        max: u64,
    },
    /// The URL has a byte that it must not have, such as a space, a control character, or a letter beyond ASCII.
    UrlCharacter {
        /// The place of the byte, from 0 on.
        at: u64,
    },
    /// The URL has a name or a password before the host.
    UserInfo,
    /// The URL has a fragment, which no server is sent.
    Fragment,
    /// The URL's host is neither a name nor an address.
    InvalidHost,
    /// What follows the host's colon is no port.
    InvalidPort,
    /// The host is of a private network, or the replica itself.
    PrivateHost {
        /// The host.
        host: String,
    },
    /// GET and HEAD have no body.
    BodyNotAllowed,
    /// The IC sends PUT and DELETE from one replica only.
    NotReplicable,
    /// A header's name is no token of HTTP, or its value has characters that HTTP does not allow.
    InvalidHeader {
        /// The header's name, or what it begins with.
        name: String,
    },
    /// A header that the IC, the outbox or the connection sets by itself.
    ReservedHeader {
        /// The header's name.
        name: String,
    },
    /// A header's name or its value is longer than the IC takes.
    HeaderTooLong {
        /// What the header's name begins with.
        name: String,
        /// The most that the IC takes, for a name and for a value.
        max: u64,
    },
    /// There are more headers than the IC takes, that with the idempotency key included.
    TooManyHeaders {
        /// How many there are.
        count: u64,
        /// The most that the IC takes.
        max: u64,
    },
    /// All headers together are longer than the IC takes, that with the idempotency key included.
    HeadersTooLong {
        /// The length of all names and values.
        length: u64,
        /// The most that the IC takes.
        max: u64,
    },
    /// Headers and body are longer than the IC takes.
    RequestTooLong {
        /// Their length.
        length: u64,
        /// The most that the IC takes.
        max: u64,
    },
    /// The limit of the answer is none that the IC takes.
    MaxResponseBytes {
        /// The limit that was given.
        given: u64,
        /// The most that the IC takes.
        max: u64,
    },
    /// The idempotency key is empty, too long, or has characters that some server will not take.
    InvalidKey,
    /// What to extract is no JSON pointer: it must be empty, or begin with `/`, with `~` only as `~0` or `~1`.
    InvalidPointer,
    /// The names of the headers to keep and the JSON pointer are too long.
    KeepTooLong {
        /// The most that they may take.
        max: u64,
    },
    /// What the message is about is too long.
    AboutTooLong {
        /// Its length.
        length: u64,
        /// The most that it may be.
        max: u64,
    },
    /// The message may make no attempt, or has no time for one.
    NoAttempt,
    /// What verifies is no GET or HEAD.
    VerifyNotSafe,
    /// What verifies has what only the request itself can have: a key, a `verify`, a lane, a scope, `about`, or limits of its own.
    VerifyHasMore,
    /// What verifies can't be sent.
    InvalidVerify {
        /// Why not.
        error: Box<RequestError>,
    },
}
}

impl RequestError {
    /// With as much of a header's name as helps to find it.
    pub(super) fn invalid_header(name: &[u8]) -> Self {
        Self::InvalidHeader { name: start(name) }
    }

    pub(super) fn reserved_header(name: &[u8]) -> Self {
        Self::ReservedHeader { name: start(name) }
    }

    pub(super) fn header_too_long(name: &[u8], max: usize) -> Self {
        Self::HeaderTooLong {
            name: start(name),
            max: max as u64,
        }
    }
}

fn start(name: &[u8]) -> String {
    const MOST: usize = 64;
    String::from_utf8_lossy(&name[..name.len().min(MOST)]).into_owned()
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttps => write!(f, "NotHttps: the URL must begin with https://"),
            Self::UrlTooLong { length, max } => {
                write!(
                    f,
                    "UrlTooLong: the URL is {length} bytes long, and at most {max} can be sent; put what is long into the body"
                )
            }
            Self::UrlCharacter { at } => write!(
                f,
                "UrlCharacter: the URL must not have the byte at {at}; percent-encode it, and write a host beyond ASCII in Punycode"
            ),
            Self::UserInfo => write!(
                f,
                "UserInfo: the URL has a name or a password before the host; send an Authorization header"
            ),
            Self::Fragment => write!(
                f,
                "Fragment: no server sees what follows the # of a URL; leave it out"
            ),
            Self::InvalidHost => write!(
                f,
                "InvalidHost: the URL's host is neither a domain name nor an IP address; write IPv4 addresses as four decimal numbers"
            ),
            Self::InvalidPort => write!(
                f,
                "InvalidPort: the URL's port must be a number from 1 to 65535"
            ),
            Self::PrivateHost { host } => {
                write!(
                    f,
                    "PrivateHost: {host} is in no public network; send to a server that all replicas can reach"
                )
            }
            Self::BodyNotAllowed => write!(
                f,
                "BodyNotAllowed: GET and HEAD have no body; leave it out, or send a POST"
            ),
            Self::NotReplicable => write!(
                f,
                "NotReplicable: the IC sends PUT and DELETE from one replica only; leave out `replicated(true)`"
            ),
            Self::InvalidHeader { name } => write!(
                f,
                "InvalidHeader: the name or the value of header {name:?} has characters that HTTP does not allow; values are visible ASCII, \
                 spaces and tabs"
            ),
            Self::ReservedHeader { name } => write!(
                f,
                "ReservedHeader: {name} is set by itself; leave it out. What names the idempotency key is `idempotency_header`"
            ),
            Self::HeaderTooLong { name, max } => write!(
                f,
                "HeaderTooLong: the name or the value of header {name:?} is longer than {max} bytes; put what is long into the body"
            ),
            Self::TooManyHeaders { count, max } => write!(
                f,
                "TooManyHeaders: there are {count} headers, that with the key included, and at most {max} can be sent"
            ),
            Self::HeadersTooLong { length, max } => write!(
                f,
                "HeadersTooLong: all headers, that with the key included, are {length} bytes long, and at most {max} can be sent"
            ),
            Self::RequestTooLong { length, max } => write!(
                f,
                "RequestTooLong: headers and body are {length} bytes long, and at most {max} can be sent; send less, or in parts"
            ),
            Self::MaxResponseBytes { given, max } => write!(
                f,
                "MaxResponseBytes: max_response_bytes is {given}, and must be from 1 to {max}"
            ),
            Self::InvalidKey => write!(
                f,
                "InvalidKey: an idempotency key of your own is 1 to 255 visible ASCII characters, without spaces, quotes and backslashes"
            ),
            Self::InvalidPointer => write!(
                f,
                "InvalidPointer: a JSON pointer is empty, or begins with /; write ~0 for ~ and ~1 for / in a name"
            ),
            Self::KeepTooLong { max } => write!(
                f,
                "KeepTooLong: the JSON pointer and the names of the headers to keep are longer than {max} bytes; keep less"
            ),
            Self::AboutTooLong { length, max } => write!(
                f,
                "AboutTooLong: what the message is about is {length} bytes long, and at most {max} are kept; keep it under an id of yours"
            ),
            Self::NoAttempt => write!(
                f,
                "NoAttempt: max_attempts and max_age must leave room for one attempt"
            ),
            Self::VerifyNotSafe => {
                write!(f, "VerifyNotSafe: what verifies must be a GET or a HEAD")
            }
            Self::VerifyHasMore => write!(
                f,
                "VerifyHasMore: what verifies has no key, no `verify`, no lane, no scope, no `about` and no limits; they are the request's"
            ),
            Self::InvalidVerify { error } => {
                write!(f, "InvalidVerify: what verifies can't be sent: {error}")
            }
        }
    }
}

impl std::error::Error for RequestError {}
