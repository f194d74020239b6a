//! The bytes as which a request is kept until its message has ended.
//!
//! ```text
//! 0   1   version: 1
//! 1   2   length of what the message is about
//! 3   …   the outcall; what the message is about; then, if there is one, the outcall that verifies
//!
//! an outcall:
//! 0   1   method: 0 GET, 1 HEAD, 2 POST, 3 PUT, 4 DELETE
//! 1   1   flags: 1 all replicas send it, 2 a header bears the key, 4 the key is the user's own, 8 as a quoted string
//! 2   4   max_response_bytes
//! 6   2   length of the URL
//! 8   2   length of the headers
//! 10  2   length of the name of the key's header
//! 12  2   length of the user's own key
//! 14  2   length of what is kept of the answer
//! 16  4   length of the body
//! 20  …   these, in this order
//! ```
//!
//! Numbers are little-endian. A header is the lengths of its name and of its value, in two bytes each, then these; `keep.rs` says how it
//! is written what is kept. A message waits over upgrades, so a version that writes another layout still reads this one.

use super::{
    keep::Keep,
    method::Method,
    outcall::{Headers, KeyHeader, Outcall},
};

const VERSION: u8 = 1;
const HEAD: usize = 20;
const REPLICATED: u8 = 1;
const KEY: u8 = 2;
const OWN_KEY: u8 = 4;
const QUOTED: u8 = 8;
const FLAGS: u8 = REPLICATED | KEY | OWN_KEY | QUOTED;

/// A request as it was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored<'a> {
    outcall: Outcall<'a>,
    verify: Option<Outcall<'a>>,
    about: &'a [u8],
}

impl<'a> Stored<'a> {
    pub(super) fn new(outcall: Outcall<'a>, verify: Option<Outcall<'a>>, about: &'a [u8]) -> Self {
        Self {
            outcall,
            verify,
            about,
        }
    }

    /// What is sent.
    pub(crate) fn outcall(&self) -> &Outcall<'a> {
        &self.outcall
    }

    /// What is asked after an uncertain attempt.
    pub(crate) fn verify(&self) -> Option<&Outcall<'a>> {
        self.verify.as_ref()
    }

    /// What the user wrote down for the handler.
    pub(crate) fn about(&self) -> &'a [u8] {
        self.about
    }

    /// The bytes that are kept. All lengths fit, as they are below the IC's limits, which were checked.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let verify = self.verify.as_ref().map_or(0, length);
        let mut bytes = Vec::with_capacity(3 + length(&self.outcall) + self.about.len() + verify);
        bytes.push(VERSION);
        bytes.extend_from_slice(&(self.about.len() as u16).to_le_bytes());
        put(&mut bytes, &self.outcall);
        bytes.extend_from_slice(self.about);
        if let Some(verify) = &self.verify {
            put(&mut bytes, verify);
        }
        bytes
    }

    /// `None` if they are not written so: by a later version, or not by this library.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&[version, low, high], rest) = bytes.split_first_chunk()?;
        if version != VERSION {
            return None;
        }
        let (outcall, rest) = take(rest)?;
        let about = usize::from(u16::from_le_bytes([low, high]));
        let (about, rest) = rest.split_at_checked(about)?;
        let verify = match rest {
            [] => None,
            rest => {
                let (verify, rest) = take(rest)?;
                if !rest.is_empty() {
                    return None;
                }
                Some(verify)
            }
        };
        Some(Self {
            outcall,
            verify,
            about,
        })
    }
}

fn length(outcall: &Outcall) -> usize {
    let key = outcall
        .key
        .map_or(0, |key| key.name.len() + key.own.map_or(0, str::len));
    HEAD + outcall.url.len()
        + outcall.headers.bytes().len()
        + key
        + outcall.keep.length()
        + outcall.body.len()
}

fn put(bytes: &mut Vec<u8>, outcall: &Outcall) {
    let mut flags = 0;
    if outcall.is_replicated {
        flags |= REPLICATED;
    }
    let (mut name, mut own) = ("", "");
    if let Some(key) = outcall.key {
        flags |= KEY;
        name = key.name;
        if let Some(key) = key.own {
            flags |= OWN_KEY;
            own = key;
        }
        if key.is_quoted {
            flags |= QUOTED;
        }
    }
    let headers = outcall.headers.bytes();
    let mut head = [0; HEAD];
    head[0] = outcall.method as u8;
    head[1] = flags;
    head[2..6].copy_from_slice(&outcall.max_response_bytes.to_le_bytes());
    let lengths = [
        outcall.url.len(),
        headers.len(),
        name.len(),
        own.len(),
        outcall.keep.length(),
    ];
    for (place, length) in head[6..16].chunks_exact_mut(2).zip(lengths) {
        place.copy_from_slice(&(length as u16).to_le_bytes());
    }
    head[16..].copy_from_slice(&(outcall.body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(outcall.url.as_bytes());
    bytes.extend_from_slice(headers);
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(own.as_bytes());
    outcall.keep.put(bytes);
    bytes.extend_from_slice(outcall.body);
}

fn take(bytes: &[u8]) -> Option<(Outcall<'_>, &[u8])> {
    let (head, mut rest) = bytes.split_first_chunk::<HEAD>()?;
    let short = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let long = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let mut part = |length: usize| {
        let (part, others) = rest.split_at_checked(length)?;
        rest = others;
        Some(part)
    };
    let (url, headers, name, own) = (
        part(short(6))?,
        part(short(8))?,
        part(short(10))?,
        part(short(12))?,
    );
    let keep = part(short(14))?;
    let body = part(usize::try_from(long(16)).ok()?)?;
    let flags = head[1];
    let is = |flag: u8| flags & flag != 0;
    let text = |bytes| std::str::from_utf8(bytes).ok();
    // What is there without the flag that says so was not written so.
    let is_whole = flags & !FLAGS == 0
        && (is(KEY) || (name.is_empty() && !is(OWN_KEY) && !is(QUOTED)))
        && (is(OWN_KEY) || own.is_empty());
    if !is_whole {
        return None;
    }
    let key = match is(KEY) {
        true => Some(KeyHeader {
            name: text(name)?,
            own: match is(OWN_KEY) {
                true => Some(text(own)?),
                false => None,
            },
            is_quoted: is(QUOTED),
        }),
        false => None,
    };
    let outcall = Outcall {
        method: Method::read(head[0])?,
        url: text(url)?,
        headers: Headers::read(headers)?,
        key,
        body,
        max_response_bytes: long(2),
        is_replicated: is(REPLICATED),
        keep: Keep::read(keep)?,
    };
    Some((outcall, rest))
}
