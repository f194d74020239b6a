//! What is too long for a row: bytes in a chain of segments of its own, which may go on from one segment to the next.

use super::{
    chain::Chain,
    error::Damaged,
    layout::SEGMENT_BYTES,
    segments::{CHAIN_BYTES, Segments, address},
};
use ic_stable_structures::Memory;

/// Where a blob lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlobPlace {
    pub(crate) address: u64,
    /// How often the partition had given up its blobs when this one was written. Those before have gone.
    pub(crate) drops: u32,
}

/// Addresses are below 2^36.
const ADDRESS_BITS: u32 = 40;

/// How often a partition can give up its blobs.
pub(crate) const MOST_DROPS: u32 = (1 << (64 - ADDRESS_BITS)) - 1;

impl BlobPlace {
    pub(crate) fn bytes(self) -> [u8; 8] {
        (u64::from(self.drops) << ADDRESS_BITS | self.address).to_le_bytes()
    }

    pub(crate) fn from_bytes(bytes: [u8; 8]) -> Self {
        let both = u64::from_le_bytes(bytes);
        Self {
            address: both & ((1 << ADDRESS_BITS) - 1),
            drops: (both >> ADDRESS_BITS) as u32,
        }
    }
}

/// Appends a blob; the address at which it begins.
pub(super) fn append<M: Memory>(
    chain: &mut Chain,
    segments: &mut Segments<M>,
    mut blob: &[u8],
) -> Result<u64, Damaged> {
    if chain.room() == 0 {
        chain.extend(segments)?;
    }
    let at = chain.end();
    loop {
        let (now, later) = blob.split_at(blob.len().min(chain.room() as usize));
        segments.memory.write(chain.end(), now);
        chain.used += now.len() as u32;
        if later.is_empty() {
            return Ok(at);
        }
        chain.extend(segments)?;
        blob = later;
    }
}

/// Reads a blob.
pub(crate) fn read<M: Memory>(
    segments: &Segments<M>,
    at: u64,
    length: usize,
) -> Result<Vec<u8>, Damaged> {
    let mut blob = vec![0; length];
    let (mut segment, mut offset) = segment_of(at)?;
    let mut rest = blob.as_mut_slice();
    loop {
        let now = rest.len().min((SEGMENT_BYTES - offset) as usize);
        let (part, later) = rest.split_at_mut(now);
        segments.read_into(address(segment) + offset, part)?;
        if later.is_empty() {
            return Ok(blob);
        }
        rest = later;
        segment = segments.next_in_chain(segment)?;
        offset = CHAIN_BYTES;
    }
}

/// Brings the end of a chain behind a blob that is known to be there.
pub(super) fn skip<M: Memory>(
    chain: &mut Chain,
    segments: &Segments<M>,
    at: u64,
    length: usize,
) -> Result<(), Damaged> {
    let (mut segment, mut offset) = segment_of(at)?;
    let mut left = length as u64;
    while left > SEGMENT_BYTES - offset {
        left -= SEGMENT_BYTES - offset;
        segment = segments.next_in_chain(segment)?;
        offset = CHAIN_BYTES;
    }
    if segment == chain.tail {
        chain.used = chain.used.max((offset + left) as u32);
    }
    Ok(())
}

/// The segment of an address, and how far into it.
fn segment_of(at: u64) -> Result<(u32, u64), Damaged> {
    let segment = u32::try_from(at / SEGMENT_BYTES).map_err(|_| Damaged)?;
    Ok((segment, at % SEGMENT_BYTES))
}
