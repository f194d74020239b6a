//! What is written of steps.
//!
//! ```text
//! offset  bytes  field
//!      0      1  kind
//!      1      1  length n of the name
//!      2      n  name, in UTF-8
//!  2 + n      …  payload
//!
//! kind         name  payload
//! 1 began      yes
//! 2 done       yes   its result in CBOR: it began and ended in one message
//! 3 sleep            until when, ns, 8 bytes
//! 4 now              the time, ns, 8 bytes
//! 5 created_at yes   the time, ns, 8 bytes
//! 6 version    yes
//! 7 ended            the number of the entry with which it began, from 0, 4 bytes; its result in CBOR, of a sleep nothing
//! 8 tried       yes   the time of the first attempt, ns, 8 bytes; how many there were, 4 bytes; 1 if one may have been executed, 1 byte;
//!                    a digest of the call, 16 bytes
//! ```
//!
//! A step without a name is one of the library's own: random bytes. Integers are little-endian. A number, once given to a kind, never changes its meaning: a journal outlives upgrades.

use crate::{safe_call::transport::Tries, time::Timestamp};

/// What stands in the order of the request's steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Step,
    Sleep,
    Now,
}

/// How far a safe call has come, and which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tried {
    pub(super) tries: Tries,
    pub(super) digest: [u8; 16],
}

/// An entry as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// Something began; if `is_done`, it ended in the same message, and the payload is its result.
    Start {
        what: What,
        name: &'a [u8],
        is_done: bool,
        payload: &'a [u8],
    },
    /// What began with an earlier entry ended.
    End { start: u32, payload: &'a [u8] },
    /// `created_at` was used first.
    Frozen { name: &'a [u8], time: Timestamp },
    /// How far a safe call had come. It stands anywhere before the end of its step.
    Tried { name: &'a [u8], tried: Tried },
    /// The code had reached this version.
    Version { name: &'a [u8] },
}

const BEGAN: u8 = 1;
const DONE: u8 = 2;
const SLEEP: u8 = 3;
const NOW: u8 = 4;
const FROZEN: u8 = 5;
const VERSION: u8 = 6;
const ENDED: u8 = 7;
const TRIED: u8 = 8;

const TRIED_BYTES: usize = 8 + 4 + 1 + 16;

impl<'a> Entry<'a> {
    /// `None`: the bytes are none that this version of the library writes.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&[kind, length], rest) = bytes.split_first_chunk()?;
        let (name, payload) = rest.split_at_checked(usize::from(length))?;
        let start = |what, is_done| Self::Start {
            what,
            name,
            is_done,
            payload,
        };
        let entry = match kind {
            BEGAN if payload.is_empty() => start(What::Step, false),
            DONE => start(What::Step, true),
            SLEEP if payload.len() == 8 => start(What::Sleep, false),
            NOW if payload.len() == 8 => start(What::Now, true),
            FROZEN => Self::Frozen {
                name,
                time: time(payload)?,
            },
            TRIED => Self::Tried {
                name,
                tried: tried(payload.try_into().ok()?)?,
            },
            VERSION if payload.is_empty() => Self::Version { name },
            ENDED => {
                let (start, payload) = payload.split_first_chunk()?;
                Self::End {
                    start: u32::from_le_bytes(*start),
                    payload,
                }
            }
            _ => return None,
        };
        let may_have_name = !matches!(kind, SLEEP | NOW | ENDED);
        (may_have_name || name.is_empty()).then_some(entry)
    }
}

/// The time that is a payload.
pub(super) fn time(payload: &[u8]) -> Option<Timestamp> {
    let nanos = payload.try_into().ok()?;
    Some(Timestamp::from_nanos(u64::from_le_bytes(nanos)))
}

fn tried(payload: &[u8; TRIED_BYTES]) -> Option<Tried> {
    let (since, rest) = payload.split_first_chunk::<8>()?;
    let (made, rest) = rest.split_first_chunk()?;
    let (is_in_doubt, digest) = rest.split_first()?;
    Some(Tried {
        tries: Tries {
            since: time(since)?,
            made: u32::from_le_bytes(*made),
            is_in_doubt: match is_in_doubt {
                0 => false,
                1 => true,
                _ => return None,
            },
        },
        digest: digest.try_into().ok()?,
    })
}

fn put(entry: &mut Vec<u8>, kind: u8, name: &[u8]) {
    entry.clear();
    entry.push(kind);
    // Names that are longer have been refused.
    entry.push(name.len() as u8);
    entry.extend_from_slice(name);
}

fn put_time(entry: &mut Vec<u8>, kind: u8, name: &[u8], time: Timestamp) {
    put(entry, kind, name);
    entry.extend_from_slice(&time.as_nanos().to_le_bytes());
}

/// How long the entry is that says that a step of this name began.
pub(super) const fn began_bytes(name: &[u8]) -> usize {
    2 + name.len()
}

/// How long the entry is that freezes the time of this name.
pub(super) const fn frozen_bytes(name: &[u8]) -> usize {
    10 + name.len()
}

/// How long the entry is that says how far the safe call of this name has come.
pub(super) const fn tried_bytes(name: &[u8]) -> usize {
    2 + name.len() + TRIED_BYTES
}

pub(super) fn put_tried(entry: &mut Vec<u8>, name: &[u8], tried: &Tried) {
    let Tried { tries, digest } = tried;
    put_time(entry, TRIED, name, tries.since);
    entry.extend_from_slice(&tries.made.to_le_bytes());
    entry.push(tries.is_in_doubt.into());
    entry.extend_from_slice(digest);
}

pub(super) fn put_began(entry: &mut Vec<u8>, name: &[u8]) {
    put(entry, BEGAN, name);
}

/// A step began and ended; its result follows.
pub(super) fn put_done(entry: &mut Vec<u8>, name: &[u8]) {
    put(entry, DONE, name);
}

/// What began with entry `start` ended; its result follows.
pub(super) fn put_ended(entry: &mut Vec<u8>, start: u32) {
    put(entry, ENDED, &[]);
    entry.extend_from_slice(&start.to_le_bytes());
}

pub(super) fn put_sleep(entry: &mut Vec<u8>, until: Timestamp) {
    put_time(entry, SLEEP, &[], until);
}

pub(super) fn put_now(entry: &mut Vec<u8>, now: Timestamp) {
    put_time(entry, NOW, &[], now);
}

pub(super) fn put_frozen(entry: &mut Vec<u8>, name: &[u8], time: Timestamp) {
    put_time(entry, FROZEN, name, time);
}

pub(super) fn put_version(entry: &mut Vec<u8>, name: &[u8]) {
    put(entry, VERSION, name);
}
