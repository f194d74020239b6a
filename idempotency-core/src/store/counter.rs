//! A counter: what is kept of a lane or of a scope from one request to the next.
//!
//! ```text
//! offset  bytes  field
//!      0      1  1
//!      1      3  length of the body
//!      4      8  last use, ns
//!     12     16  the identity's last 16 bytes; its first 8 choose the place in the index
//!     28      …  body, padded to a multiple of 4
//!      …      4  zeros, until the next counter overwrites them
//! ```
//!
//! A counter is overwritten where it lies while its partition is the newest and its body is no longer than that, and otherwise written
//! anew in the newest: so the partitions are in the order of last use, and the idlest counters are forgotten by giving up the oldest
//! partition. The record of a strict lane's last number may lie in the lane's body: see `sequence/lane.rs`.

use crate::{
    identity::Identity,
    quota::Usage,
    sequence::{LONGEST_LAST, Lane, Last},
    table::{BlobPlace, Damaged, Family, Kind, Row, RowBytes, TERMINATOR, field, tail},
    time::Timestamp,
};

/// Most counters that a request changes: that of its lane, and that of its scope.
pub(super) const COUNTERS_OF_A_REQUEST: u64 = 2;

/// Longest body: the numbers of a lane of 1,024, and what goes with them.
pub(super) const MOST_BODY_BYTES: usize = 160;

/// Most bytes that a counter takes, the zeros after it included.
pub(super) const MOST_BYTES: usize = FIXED_BYTES + MOST_BODY_BYTES + TERMINATOR;

/// Most bytes that a counter takes in a partition: the largest one, or that of a lane whose last record was longer than the one before.
pub(super) const MOST_BYTES_IN_PARTITION: u64 = {
    let grown = 2 * (FIXED_BYTES + LONGEST_LAST);
    if grown > MOST_BYTES {
        grown as u64
    } else {
        MOST_BYTES as u64
    }
};

const FIXED_BYTES: usize = 28;

const MARK: u8 = 1;

/// What a counter says.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    /// Of a lane, and the record that lies in it.
    Lane(&'a Lane, Option<Last<'a>>),
    Usage(&'a Usage),
}

impl Body<'_> {
    /// How many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Lane(lane, last) => lane.bytes(last.as_ref()),
            Self::Usage(_) => Usage::BYTES,
        }
    }

    /// How many it takes if it is longer than what stands there. A lane's records are of many lengths: so that it does not move for each, it
    /// gets room for any.
    pub(super) fn bytes_grown(&self) -> usize {
        match self {
            Self::Lane(_, Some(_)) => LONGEST_LAST,
            Self::Lane(_, None) | Self::Usage(_) => self.bytes(),
        }
    }

    fn write(&self, bytes: &mut [u8]) {
        match self {
            Self::Lane(lane, last) => lane.write(last.as_ref(), bytes),
            Self::Usage(usage) => usage.write(bytes),
        }
    }
}

/// Puts a counter and the zeros after it together; its length without them. `body_bytes` is what the body takes or more, and at most
/// [`MOST_BODY_BYTES`].
pub(super) fn write(
    bytes: &mut RowBytes,
    identity: &Identity,
    body: Body<'_>,
    body_bytes: usize,
    last_use: Timestamp,
) -> usize {
    let length = (body_bytes as u32) << 8 | u32::from(MARK);
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..12].copy_from_slice(&last_use.as_nanos().to_le_bytes());
    bytes[12..FIXED_BYTES].copy_from_slice(&tail(identity.name()));
    let end = FIXED_BYTES + body_bytes;
    body.write(&mut bytes[FIXED_BYTES..end]);
    let length = end.next_multiple_of(4);
    for zeros in [end, length] {
        bytes[zeros..zeros + TERMINATOR].copy_from_slice(&[0; TERMINATOR]);
    }
    length
}

/// What the store must know of a counter to keep it anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(super) body_bytes: usize,
    pub(super) last_use: Timestamp,
}

/// Splits the bytes of a counter.
pub(super) fn read(bytes: &[u8]) -> Result<(Kept, &[u8]), Damaged> {
    let body_bytes = body_bytes(bytes).ok_or(Damaged)?;
    let kept = Kept {
        body_bytes,
        last_use: Timestamp::from_nanos(last_use(bytes)),
    };
    let body = bytes.get(FIXED_BYTES..FIXED_BYTES + body_bytes);
    Ok((kept, body.ok_or(Damaged)?))
}

/// If there is a counter.
fn body_bytes(bytes: &[u8]) -> Option<usize> {
    let [MARK, a, b, c, ..] = *bytes else {
        return None;
    };
    let length = u32::from_le_bytes([a, b, c, 0]) as usize;
    (bytes.len() >= FIXED_BYTES && length <= MOST_BODY_BYTES).then_some(length)
}

fn last_use(bytes: &[u8]) -> u64 {
    let mut rest = &bytes[4..];
    u64::from_le_bytes(field(&mut rest))
}

/// Counters, and what the store knows of each partition of them.
pub(super) struct Counters;

/// In the header's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// No lane in it has used this number or a higher one.
    pub(super) unused_from: u64,
    /// Nothing that its counters count is remembered for longer, ns. Not told from when they were used: an upgrade may change
    /// for how long requests are remembered. The partition is kept no shorter.
    pub(super) counts_until: u64,
}

impl From<[u64; 2]> for Bounds {
    fn from([unused_from, counts_until]: [u64; 2]) -> Self {
        Self {
            unused_from,
            counts_until,
        }
    }
}

impl From<Bounds> for [u64; 2] {
    fn from(bounds: Bounds) -> Self {
        [bounds.unused_from, bounds.counts_until]
    }
}

impl Family for Counters {
    const INDEX: usize = 1;
    const KIND: Kind = Kind::COUNTER;
    const MOST_PARTITIONS: u16 = 16;
    const TABLE: u64 = 256;
    const MOST_BYTES: usize = MOST_BYTES;
    /// All of it but for lanes that are very wide.
    const FIRST_READ: usize = 160;
    type Own = Bounds;

    #[inline]
    fn row(bytes: &[u8]) -> Result<Option<Row>, Damaged> {
        match bytes.first() {
            None | Some(0) => return Ok(None),
            Some(&MARK) => {}
            Some(_) => return Err(Damaged),
        }
        if bytes.len() < FIXED_BYTES {
            return Ok(None);
        }
        let body_bytes = body_bytes(bytes).ok_or(Damaged)?;
        let mut tail = &bytes[12..];
        Ok(Some(Row {
            length: (FIXED_BYTES + body_bytes).next_multiple_of(4),
            time: last_use(bytes),
            tail: field(&mut tail),
        }))
    }

    fn has_alias(_: &[u8], _: &[u8; 16]) -> bool {
        false
    }

    fn blob(_: &[u8]) -> Option<(BlobPlace, usize)> {
        None
    }

    fn count(_: &mut Bounds, _: &[u8]) {}
}
