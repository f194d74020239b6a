//! Requests as users write them, and what is kept of one.

use super::{
    error::RequestError,
    keep::Keep,
    key::{self, LENGTH},
    limits::{self, MAX_ABOUT, MAX_KEEP, MAX_RESPONSE},
    method::Method,
    outcall::{Headers, KeyHeader, Outcall},
    stored::Stored,
    url,
};
use std::{fmt, time::Duration};

/// The header that bears the idempotency key, as the IETF draft names it.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// A limit on the answer that most servers keep, and that a canister can pay for: at 10,400 cycles a byte, on a subnet of 13 nodes, some
/// 0.2 billion cycles, where the IC's own default of 2 MB takes 21 billion for each attempt.
const DEFAULT_MAX_RESPONSE_BYTES: u64 = 16 * 1_024;

/// As long as the IC itself waits for a server.
const DEFAULT_SETTLED_AFTER: Duration = Duration::from_secs(60);

/// A request to a server. What it may contain is checked when it is sent; nothing here fails.
///
/// ```
/// use idempotency_core::outbox::Request;
///
/// let order = 4711;
/// let request = Request::post("https://shop.example.com/v1/orders")
///     .header("Content-Type", "application/json")
///     .body(format!(r#"{{"order":{order}}}"#))
///     .max_response_bytes(4_096)
///     .extract("/id");
/// # let _ = request;
/// ```
///
/// # From how many replicas
/// GET and HEAD are sent by all replicas, and their answers must agree; whoever can deceive one replica deceives nobody. POST, PUT and
/// DELETE are sent by one replica, which is believed. [`replicated`](Self::replicated) says otherwise.
///
/// # When it may be repeated
/// The IC can lose an answer. A request is repeated if that does no harm: a GET, HEAD, PUT or DELETE by what HTTP says of them
/// (RFC 9110, section 9.2.2), a POST if it bears an idempotency key, or if its [`verify`](Self::verify) says that the effect is not there.
/// A DELETE that is repeated may be answered with 404, as the first one worked.
#[must_use = "it is sent by `Outbox::send`"]
#[derive(Clone)]
pub struct Request {
    method: Method,
    url: String,
    /// As they are kept.
    headers: Vec<u8>,
    body: Vec<u8>,
    max_response_bytes: u64,
    is_replicated: bool,
    key: Key,
    /// `None` for the header of the IETF draft.
    key_header: Option<String>,
    is_body_kept: bool,
    pointer: Option<String>,
    /// As they are kept.
    kept_headers: Vec<u8>,
    verify: Option<Box<Request>>,
    settled_after: Option<Duration>,
    lane: u64,
    scope: u64,
    about: Vec<u8>,
    max_attempts: Option<u32>,
    max_age: Option<Duration>,
    /// What can't even be written down. Boxed, as a request is moved with each method.
    fault: Option<Box<RequestError>>,
}

#[derive(Clone, PartialEq, Eq)]
enum Key {
    /// The server needs none, unless a header for it is named.
    ByMethod,
    Derived,
    Own(String),
    None,
}

/// What is kept of a request that can be sent, and what the outbox goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    /// As [`Stored::read`] reads it.
    pub(crate) stored: Vec<u8>,
    /// A number for host and port: [`url::host`].
    pub(crate) host: u64,
    /// A number for the lane; 0 if there is none.
    pub(crate) lane: u64,
    /// A number for the scope; 0 if there is none.
    pub(crate) scope: u64,
    /// An uncertain attempt may be repeated without asking what it did.
    pub(crate) is_repeatable: bool,
    pub(crate) has_verify: bool,
    /// The most that an answer has, to the request or to what verifies it.
    pub(crate) max_response_bytes: u32,
    pub(crate) settled_after: Duration,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) max_age: Option<Duration>,
}

impl Request {
    /// A request for something: safe to repeat, so it bears no idempotency key. Sent by all replicas.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::Get, url.into())
    }

    /// As [`get`](Self::get), for status and headers alone.
    pub fn head(url: impl Into<String>) -> Self {
        Self::new(Method::Head, url.into())
    }

    /// A request that does something. It bears an idempotency key, and is sent by one replica.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new(Method::Post, url.into())
    }

    /// A request that puts something in its place. It bears an idempotency key, and is sent by one replica, as the IC demands.
    pub fn put(url: impl Into<String>) -> Self {
        Self::new(Method::Put, url.into())
    }

    /// A request that deletes something. It bears an idempotency key, and is sent by one replica, as the IC demands.
    pub fn delete(url: impl Into<String>) -> Self {
        Self::new(Method::Delete, url.into())
    }

    fn new(method: Method, url: String) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            body: Vec::new(),
            max_response_bytes: DEFAULT_MAX_RESPONSE_BYTES,
            is_replicated: method.is_safe(),
            key: match method.is_safe() {
                true => Key::ByMethod,
                false => Key::Derived,
            },
            key_header: None,
            is_body_kept: true,
            pointer: None,
            kept_headers: Vec::new(),
            verify: None,
            settled_after: None,
            lane: 0,
            scope: 0,
            about: Vec::new(),
            max_attempts: None,
            max_age: None,
            fault: None,
        }
    }

    /// Adds a header. Several may have one name. At most 64 headers, that with the key included; names and values up to 8,192 bytes
    /// each, 49,152 bytes together.
    ///
    /// All node providers of the subnet can read what is sent, and stable memory holds it until the message has ended: a secret in a
    /// header is not safe from them.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let (name, value) = (name.as_ref(), value.as_ref());
        if !Headers::put(&mut self.headers, name, value) {
            let error = RequestError::header_too_long(name.as_bytes(), limits::MAX_HEADER);
            self.fault.get_or_insert_with(|| Box::new(error));
        }
        self
    }

    /// The body; at most 2,000,000 bytes with all headers. Without it there is none.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// How long the answer may be, headers included and before anything is extracted; 16 KiB by default, at most 2,000,000 bytes. It is
    /// what an attempt costs most by. If an answer is longer, the server has acted, and what it said is lost: such an attempt is
    /// uncertain.
    pub fn max_response_bytes(mut self, bytes: u64) -> Self {
        self.max_response_bytes = bytes;
        self
    }

    /// Whether all replicas send it. Then the server sees as many equal requests as the subnet has nodes, at about the same time, and
    /// what is kept of their answers must be equal: keep only what all of them have in common.
    pub fn replicated(mut self, is_replicated: bool) -> Self {
        self.is_replicated = is_replicated;
        self
    }

    /// The header in which the server looks for the idempotency key. It bears the bare key: `req.idempotency_header("Idempotency-Key")`
    /// is for servers that take it so. The default is `Idempotency-Key` with the key in quotes, as a string of RFC 8941: the IETF
    /// draft asks for that, and a server that takes any text takes the quotes as a part of it.
    pub fn idempotency_header(mut self, name: impl Into<String>) -> Self {
        self.key_header = Some(name.into());
        if self.key == Key::ByMethod {
            self.key = Key::Derived;
        }
        self
    }

    /// A key of your own instead of the one that the outbox derives: 1 to 255 visible ASCII characters, without spaces, quotes and
    /// backslashes. It must be another for each message, and have nothing to do with time, chance or the attempt. For a server that
    /// looks for the key in the body, write the same one there.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.key = Key::Own(key.into());
        self
    }

    /// The server ignores keys: none is sent. A POST is not repeated after an uncertain attempt then, unless [`verify`](Self::verify)
    /// says that it did nothing.
    pub fn without_idempotency_key(mut self) -> Self {
        self.key = Key::None;
        self
    }

    /// Keeps a header of the answer, by its name in any case. All others are dropped, but for `retry-after` of an answer that is not
    /// replicated.
    pub fn keep_header(mut self, name: impl AsRef<str>) -> Self {
        let name = name.as_ref();
        match u8::try_from(name.len()) {
            Ok(length) if self.kept_headers.len() <= MAX_KEEP => {
                self.kept_headers.push(length);
                let names = name.bytes().map(|byte| byte.to_ascii_lowercase());
                self.kept_headers.extend(names);
            }
            _ => {
                let max = MAX_KEEP as u64;
                (self.fault).get_or_insert_with(|| Box::new(RequestError::KeepTooLong { max }));
            }
        }
        self
    }

    /// Keeps of the body of a successful answer only what a JSON pointer (RFC 6901) leads to, as JSON: `/id`, `/items/0/name`, or an
    /// empty one for the whole. If the body is no JSON, or the pointer leads nowhere, the body that is kept is empty.
    ///
    /// Of an object the members are sorted, and white space is dropped, so that replicas agree; numbers stay as they were written.
    pub fn extract(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self.is_body_kept = true;
        self
    }

    /// Whether the body of a successful answer is kept; it is by default. Of any other answer that one replica got the first 1,024 bytes
    /// are kept in any case, as they say why.
    pub fn keep_body(mut self, is_kept: bool) -> Self {
        self.is_body_kept = is_kept;
        self
    }

    /// A GET or HEAD that shows whether the effect is there. It is asked after each uncertain attempt, before any repetition. It has a
    /// URL, headers, a limit on its answer, and what is kept of that; its limits and its lane are the request's.
    pub fn verify(mut self, verify: Self) -> Self {
        self.verify = Some(Box::new(verify));
        self
    }

    /// How long the server may still act on a request after the IC has given it up; 60 s by default. `verify` is not asked earlier: what it
    /// does not find might be there a moment later.
    pub fn settled_after(mut self, duration: Duration) -> Self {
        self.settled_after = Some(duration);
        self
    }

    /// The messages of a lane are sent one after the other, each when the one before has ended. Between lanes there is no order, nor
    /// is there any between messages without one.
    pub fn lane(mut self, lane: impl AsRef<[u8]>) -> Self {
        self.lane = number(key::LANE, lane.as_ref());
        self
    }

    /// Whose quota the message counts against, such as the principal on whose behalf it is sent.
    pub fn scope(mut self, scope: impl AsRef<[u8]>) -> Self {
        self.scope = number(key::SCOPE, scope.as_ref());
        self
    }

    /// What the message is about, for the canister's own handler: at most 4,096 bytes. It is not sent.
    pub fn about(mut self, about: impl Into<Vec<u8>>) -> Self {
        self.about = about.into();
        self
    }

    /// The most attempts, instead of the policy's number; at least 1.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// How long after `send` the last attempt may begin, instead of the policy's time.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// What is kept of it, or why it can't be sent. It reads each byte of URL and headers once, and copies the rest.
    pub(crate) fn check(&self) -> Result<Checked, RequestError> {
        let (outcall, host) = self.outcall()?;
        if self.about.len() > MAX_ABOUT {
            return Err(RequestError::AboutTooLong {
                length: self.about.len() as u64,
                max: MAX_ABOUT as u64,
            });
        }
        if self.max_attempts == Some(0) || self.max_age == Some(Duration::ZERO) {
            return Err(RequestError::NoAttempt);
        }
        let verify = match &self.verify {
            Some(verify) => Some(verify.as_verify()?),
            None => None,
        };
        let max_verify_bytes = verify.map_or(0, |verify| verify.max_response_bytes);
        let is_repeatable = self.method.is_idempotent() || outcall.key.is_some();
        let has_verify = verify.is_some();
        Ok(Checked {
            max_response_bytes: outcall.max_response_bytes.max(max_verify_bytes),
            stored: Stored::new(outcall, verify, &self.about).bytes(),
            host,
            lane: self.lane,
            scope: self.scope,
            is_repeatable,
            has_verify,
            settled_after: self.settled_after.unwrap_or(DEFAULT_SETTLED_AFTER),
            max_attempts: self.max_attempts,
            max_age: self.max_age,
        })
    }

    /// As what verifies another.
    fn as_verify(&self) -> Result<Outcall<'_>, RequestError> {
        if !self.method.is_safe() {
            return Err(RequestError::VerifyNotSafe);
        }
        let is_alone = matches!(self.key, Key::ByMethod | Key::None)
            && self.verify.is_none()
            && self.settled_after.is_none()
            && (self.lane, self.scope) == (0, 0)
            && self.about.is_empty()
            && self.max_attempts.is_none()
            && self.max_age.is_none();
        if !is_alone {
            return Err(RequestError::VerifyHasMore);
        }
        match self.outcall() {
            Ok((outcall, _)) => Ok(outcall),
            Err(error) => Err(RequestError::InvalidVerify {
                error: Box::new(error),
            }),
        }
    }

    /// What is sent, and the number of the host.
    fn outcall(&self) -> Result<(Outcall<'_>, u64), RequestError> {
        if let Some(fault) = &self.fault {
            return Err(RequestError::clone(fault));
        }
        let host = url::host(&self.url)?;
        if self.method.is_safe() && !self.body.is_empty() {
            return Err(RequestError::BodyNotAllowed);
        }
        if self.is_replicated && !self.method.may_be_replicated() {
            return Err(RequestError::NotReplicable);
        }
        let key = self.key_header()?;
        let headers = Headers::written(&self.headers);
        let mut checked = limits::Headers::default();
        for (name, value) in headers.raw() {
            checked.add(name, value, key.map(|key| key.name.as_bytes()))?;
        }
        if let Some(key) = key {
            let is_ours = self.key_header.is_none();
            checked.add_key(key.name.as_bytes(), key.value_length(LENGTH), is_ours)?;
        }
        checked.check(self.body.len())?;
        let max_response_bytes = match self.max_response_bytes {
            given @ 1..=MAX_RESPONSE => given as u32,
            given => {
                return Err(RequestError::MaxResponseBytes {
                    given,
                    max: MAX_RESPONSE,
                });
            }
        };
        let outcall = Outcall {
            method: self.method,
            url: &self.url,
            headers,
            key,
            body: &self.body,
            max_response_bytes,
            is_replicated: self.is_replicated,
            keep: self.keep()?,
        };
        Ok((outcall, host))
    }

    fn key_header(&self) -> Result<Option<KeyHeader<'_>>, RequestError> {
        let own = match &self.key {
            Key::ByMethod | Key::None => return Ok(None),
            Key::Derived => None,
            Key::Own(key) if limits::is_key(key) => Some(&**key),
            Key::Own(_) => return Err(RequestError::InvalidKey),
        };
        Ok(Some(KeyHeader {
            name: self.key_header.as_deref().unwrap_or(IDEMPOTENCY_KEY),
            own,
            is_quoted: self.key_header.is_none(),
        }))
    }

    fn keep(&self) -> Result<Keep<'_>, RequestError> {
        let keep = Keep {
            is_body_kept: self.is_body_kept,
            is_replicated: self.is_replicated,
            pointer: self.pointer.as_deref(),
            headers: &self.kept_headers,
        };
        if keep.length() > MAX_KEEP {
            return Err(RequestError::KeepTooLong {
                max: MAX_KEEP as u64,
            });
        }
        if !keep.pointer.is_none_or(limits::is_pointer) {
            return Err(RequestError::InvalidPointer);
        }
        for name in keep.names() {
            if !limits::is_name(name) {
                return Err(RequestError::invalid_header(name.as_bytes()));
            }
        }
        Ok(keep)
    }
}

/// A number that stands for a name; never 0.
///
/// It is 8 bytes of BLAKE3, some 2,500 instructions: names may come from users, and it must take 2^64 hashes to find one with the number
/// of another's. Two lanes with one number would share an order, so that one could hold up the other; two scopes a quota.
fn number(kind: u8, name: &[u8]) -> u64 {
    let mut hashed = Vec::with_capacity(1 + name.len());
    hashed.push(kind);
    hashed.extend_from_slice(name);
    key::number(&hashed)
}

/// Without headers and body, which may hold secrets, as may the URL's query.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.url.find(['?', '#']).unwrap_or(self.url.len());
        f.debug_struct("Request")
            .field("method", &self.method.name())
            .field("url", &&self.url[..end])
            .field("is_replicated", &self.is_replicated)
            .finish_non_exhaustive()
    }
}
