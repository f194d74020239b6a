//! What the transform keeps of an answer. It is written once, when the request is checked, and is the context with which the IC calls
//! the transform.
//!
//! ```text
//! 0   1   version: 1
//! 1   1   flags: 1 the body is kept, 2 all replicas ask, 4 there is a JSON pointer
//! 2   2   length of the pointer
//! 4   …   the pointer; then each header to keep: one byte of length, and the name in lower case
//! ```
//!
//! Numbers are little-endian. The transform runs in whatever version of the canister there is when the answer comes, so a version that
//! writes another layout still reads this one.

const VERSION: u8 = 1;
const BODY: u8 = 1;
const REPLICATED: u8 = 2;
const POINTER: u8 = 4;
const FLAGS: u8 = BODY | REPLICATED | POINTER;

/// What is kept of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keep<'a> {
    pub(super) is_body_kept: bool,
    pub(super) is_replicated: bool,
    pub(super) pointer: Option<&'a str>,
    /// As they are written.
    pub(super) headers: &'a [u8],
}

impl<'a> Keep<'a> {
    /// The length of what [`put`](Self::put) writes.
    pub(super) fn length(&self) -> usize {
        4 + self.pointer.map_or(0, str::len) + self.headers.len()
    }

    /// Writes it; a pointer and headers that are longer than [`MAX_KEEP`](super::limits::MAX_KEEP) were refused before.
    pub(super) fn put(&self, bytes: &mut Vec<u8>) {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = flag(self.is_body_kept, BODY)
            | flag(self.is_replicated, REPLICATED)
            | flag(self.pointer.is_some(), POINTER);
        let pointer = self.pointer.unwrap_or_default();
        bytes.extend_from_slice(&[VERSION, flags]);
        bytes.extend_from_slice(&(pointer.len() as u16).to_le_bytes());
        bytes.extend_from_slice(pointer.as_bytes());
        bytes.extend_from_slice(self.headers);
    }

    /// `None` if it is not written so.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&[version, flags, low, high], rest) = bytes.split_first_chunk()?;
        if version != VERSION || flags & !FLAGS != 0 {
            return None;
        }
        let length = usize::from(u16::from_le_bytes([low, high]));
        let (pointer, headers) = rest.split_at_checked(length)?;
        let pointer = std::str::from_utf8(pointer).ok()?;
        let has_pointer = flags & POINTER != 0;
        let mut names = names(headers);
        if (!has_pointer && length > 0) || names.by_ref().any(|name| name.is_none()) {
            return None;
        }
        Some(Self {
            is_body_kept: flags & BODY != 0,
            is_replicated: flags & REPLICATED != 0,
            pointer: has_pointer.then_some(pointer),
            headers,
        })
    }

    /// The names of the headers that are kept, in lower case, in the order in which they were named.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        names(self.headers).flatten()
    }
}

/// Each name, or `None` where there should be one.
fn names(mut bytes: &[u8]) -> impl Iterator<Item = Option<&str>> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first()?;
        let Some((name, rest)) = rest.split_at_checked(usize::from(*length)) else {
            bytes = &[];
            return Some(None);
        };
        bytes = rest;
        Some(std::str::from_utf8(name).ok())
    })
}
