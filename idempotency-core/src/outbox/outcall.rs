//! One HTTPS outcall: what is sent to the management canister, and what that is priced by.

use super::{keep::Keep, method::Method};
use candid::{CandidType, Func, Principal};
use ic_management_canister_types::{HttpMethod, TransformContext, TransformFunc};
use serde_bytes::Bytes;

/// An outcall, as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcall<'a> {
    pub(super) method: Method,
    pub(super) url: &'a str,
    pub(super) headers: Headers<'a>,
    /// The header that bears the idempotency key, unless the server knows none.
    pub(super) key: Option<KeyHeader<'a>>,
    pub(super) body: &'a [u8],
    pub(super) max_response_bytes: u32,
    pub(super) is_replicated: bool,
    pub(super) keep: Keep<'a>,
}

/// The header that bears the idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyHeader<'a> {
    pub(super) name: &'a str,
    /// The user's own key instead of the outbox's.
    pub(super) own: Option<&'a str>,
    /// As a string of RFC 8941, which is what the IETF draft asks for.
    pub(super) is_quoted: bool,
}

impl KeyHeader<'_> {
    /// How long its value is, with a derived key of so many bytes.
    pub(super) fn value_length(&self, derived: usize) -> usize {
        self.own.map_or(derived, str::len) + if self.is_quoted { 2 } else { 0 }
    }

    fn value(&self, derived: &str) -> String {
        let key = self.own.unwrap_or(derived);
        match self.is_quoted {
            true => format!("\"{key}\""),
            false => key.to_owned(),
        }
    }
}

/// Names and values of headers, after the lengths of both in two bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    /// As [`put`](Self::put) wrote them, one after the other.
    pub(super) fn written(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// `None` if they are not written so.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (name, value);
            (name, value, rest) = first(rest)?;
            std::str::from_utf8(name).ok()?;
            std::str::from_utf8(value).ok()?;
        }
        Some(Self(bytes))
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Adds one. `false`, and nothing is added, if its length does not fit into two bytes.
    pub(super) fn put(bytes: &mut Vec<u8>, name: &str, value: &str) -> bool {
        let (Ok(name_length), Ok(value_length)) =
            (u16::try_from(name.len()), u16::try_from(value.len()))
        else {
            return false;
        };
        if bytes.is_empty() {
            // Most requests need no more than this.
            bytes.reserve(ROOM);
        }
        let ([a, b], [c, d]) = (name_length.to_le_bytes(), value_length.to_le_bytes());
        bytes.extend_from_slice(&[a, b, c, d]);
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(value.as_bytes());
        true
    }

    /// Names and values, as bytes.
    pub(super) fn raw(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (name, value);
            (name, value, rest) = first(rest)?;
            Some((name, value))
        })
    }
}

/// Room for headers, in bytes.
const ROOM: usize = 256;

/// Name and value of the first header, and the others.
fn first(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&[a, b, c, d], rest) = bytes.split_first_chunk()?;
    let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([a, b])))?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([c, d])))?;
    Some((name, value, rest))
}

/// The argument of `http_request`. Not the type of `ic-management-canister-types`: that has the body as a vector of numbers, which candid
/// writes one by one, and would have everything copied before.
#[derive(CandidType)]
struct Arguments<'a> {
    url: &'a str,
    max_response_bytes: Option<u64>,
    method: HttpMethod,
    headers: Vec<Header<'a>>,
    body: Option<&'a Bytes>,
    transform: Option<TransformContext>,
    is_replicated: Option<bool>,
}

#[derive(CandidType)]
struct Header<'a> {
    name: &'a str,
    value: &'a str,
}

impl Outcall<'_> {
    /// The limit on the answer's headers and body, by which the IC prices the call.
    pub(crate) fn max_response_bytes(&self) -> u64 {
        self.max_response_bytes.into()
    }

    /// The size of the request by which `ic0.cost_http_request` prices it: URL, headers, body, and name and context of the transform, as
    /// `CanisterHttpRequestContext::variable_parts_size` of the IC has it. `key` is the derived key, if one is sent with it.
    pub(crate) fn size(&self, transform: &str, key: Option<&str>) -> u64 {
        let headers: usize = (self.headers.raw())
            .map(|(name, value)| name.len() + value.len())
            .sum();
        let key = self.key_header(key).map_or(0, |(header, key)| {
            header.name.len() + header.value_length(key.len())
        });
        let size =
            self.url.len() + headers + key + self.body.len() + transform.len() + self.keep.length();
        size as u64
    }

    /// The argument of the management canister's `http_request`, with the transform that this canister exports by that name.
    pub(crate) fn argument(
        &self,
        canister: Principal,
        transform: &str,
        key: Option<&str>,
    ) -> Vec<u8> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        let header = |(name, value)| Header {
            name: text(name),
            value: text(value),
        };
        let mut headers: Vec<Header> = self.headers.raw().map(header).collect();
        let key = self.key_header(key);
        let key = key.map(|(header, key)| (header.name, header.value(key)));
        headers.extend(key.iter().map(|(name, value)| Header { name, value }));
        let mut context = Vec::with_capacity(self.keep.length());
        self.keep.put(&mut context);
        let arguments = Arguments {
            url: self.url,
            max_response_bytes: Some(self.max_response_bytes()),
            method: match self.method {
                Method::Get => HttpMethod::GET,
                Method::Head => HttpMethod::HEAD,
                Method::Post => HttpMethod::POST,
                Method::Put => HttpMethod::PUT,
                Method::Delete => HttpMethod::DELETE,
            },
            headers,
            body: (!self.body.is_empty()).then(|| Bytes::new(self.body)),
            transform: Some(TransformContext {
                function: TransformFunc(Func {
                    principal: canister,
                    method: transform.to_owned(),
                }),
                context,
            }),
            is_replicated: Some(self.is_replicated),
        };
        // Texts, numbers and blobs: there is nothing in it that has no candid form.
        candid::encode_one(arguments).unwrap_or_default()
    }

    /// The header of the key, and the derived key. Without either there is none, but for a key of the user's own.
    fn key_header<'b>(&'b self, derived: Option<&'b str>) -> Option<(KeyHeader<'b>, &'b str)> {
        let header = self.key?;
        Some((header, derived.or(header.own)?))
    }
}
