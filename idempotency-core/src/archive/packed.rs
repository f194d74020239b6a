//! How entries are sent: without the time and the flags, which are said once of all that have them in common. The IC charges 50 instructions
//! for each byte, and on the IC all that is executed in one block has one time.
//!
//! ```text
//! entries, of each that is full         of each that is short
//! offset  bytes  field                  offset  bytes  field
//!      0     16  id                          0      3  digests
//!     16     16  digests                     3     13  id, without its first three bytes
//!
//! times, of each stretch of entries that are alike
//!   bytes  field
//!  1 to 5  how many entries: LEB128
//!  1 to 7  ms since the stretch before, or since 1970: signed LEB128
//!       1  flags
//! ```
//!
//! An [`Entry`](super::Entry) has the same fields: id, time and flags, digests.

use super::{
    entry::{Head, SHORT_DIGESTS, are_flags},
    wire::{Append, Position},
};
use serde_bytes::ByteBuf;
use std::{mem, ops::Range};

/// The most bytes of the last stretch, and of one that an entry more begins.
pub(super) const MOST_OPEN_BYTES: usize = 2 * MOST_STRETCH_BYTES;

const MOST_STRETCH_BYTES: usize = 13;

/// Times have 48 bits.
const TIMES: Range<i64> = 0..1 << 48;

/// Entries that have the time and the flags in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// How many.
    pub count: usize,
    /// Their time and flags, as they lie in each entry.
    pub head: Head,
}

/// Entries, taken apart as they are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) entries: Vec<u8>,
    pub(super) times: Times,
}

impl Packed {
    /// Adds an entry: all its bytes, as it is kept.
    pub(super) fn push(&mut self, entry: &[u8]) {
        if let Some((id, rest)) = entry.split_first_chunk::<16>()
            && let Some((head, digests)) = rest.split_first_chunk()
        {
            let (first, second) = match digests.len() {
                SHORT_DIGESTS => (digests, &id[SHORT_DIGESTS..]),
                _ => (&id[..], digests),
            };
            self.entries.extend_from_slice(first);
            self.entries.extend_from_slice(second);
            self.times.push(Head::from_bytes(*head));
        }
    }

    /// The chunk of them, so many, and of their replies.
    pub(super) fn append(self, from: Position, count: u64, replies: Vec<u8>) -> Append {
        let parts = [self.entries, self.times.done(), replies];
        let after = from.after(count, parts.each_ref().map(Vec::as_slice));
        let [entries, times, replies] = parts.map(ByteBuf::from);
        Append {
            from,
            after,
            entries,
            times,
            replies,
        }
    }
}

impl Append {
    /// The chunk of some [entries](super::Entry), as they are kept.
    pub fn of<E: AsRef<[u8]>>(
        from: Position,
        entries: impl IntoIterator<Item = E>,
        replies: Vec<u8>,
    ) -> Self {
        let (mut packed, mut count) = (Packed::default(), 0);
        for entry in entries {
            packed.push(entry.as_ref());
            count += 1;
        }
        packed.append(from, count, replies)
    }
}

/// When entries were executed, stretch by stretch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    bytes: Vec<u8>,
    /// Of the stretch before the last.
    before: i64,
    last: Option<Head>,
    /// How many entries of the last one there are.
    count: u64,
}

impl Times {
    /// Says it of one entry more.
    pub(super) fn push(&mut self, head: Head) {
        if self.last != Some(head) {
            self.end();
            self.last = Some(head);
        }
        self.count += 1;
    }

    /// Says of one entry more that it is like the last.
    #[inline(always)]
    pub(super) fn push_again(&mut self) {
        self.count += 1;
    }

    fn end(&mut self) {
        let Some(head) = self.last.take() else {
            return;
        };
        let count = mem::take(&mut self.count);
        let millis = head.millis() as i64;
        // A vector takes whatever is written.
        let _ = leb128::write::unsigned(&mut self.bytes, count);
        let _ = leb128::write::signed(&mut self.bytes, millis - self.before);
        self.bytes.push(head.flags());
        self.before = millis;
    }

    /// How many bytes there are, without the last stretch.
    #[inline(always)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn done(mut self) -> Vec<u8> {
        self.end();
        self.bytes
    }
}

/// The stretches that `times` tells of; `None` if they are not of so many entries, or no times.
pub fn stretches(mut times: &[u8], entries: usize) -> Option<Vec<Stretch>> {
    let mut stretches = vec![];
    let (mut left, mut millis) = (entries, 0i64);
    while !times.is_empty() {
        let count = usize::try_from(leb128::read::unsigned(&mut times).ok()?).ok()?;
        left = left.checked_sub(count).filter(|_| count > 0)?;
        millis = millis.checked_add(leb128::read::signed(&mut times).ok()?)?;
        let (flags, rest) = times.split_first()?;
        times = rest;
        if !TIMES.contains(&millis) || !are_flags(*flags) {
            return None;
        }
        let head = Head::new(millis as u64, *flags);
        stretches.push(Stretch { count, head });
    }
    (left == 0).then_some(stretches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::entry::{SHORT_BYTES, entry_bytes, sent_bytes};
    use proptest::prelude::*;

    /// The entries, without the bytes of ids that are not sent.
    fn unpacked(entries: &[u8], times: &[u8], is_full: bool) -> Option<Vec<Vec<u8>>> {
        let mut packed = entries.chunks_exact(sent_bytes(is_full));
        let mut all = vec![];
        for Stretch { count, head } in stretches(times, packed.len())? {
            for entry in packed.by_ref().take(count) {
                let (id, digests) = match is_full {
                    true => entry.split_at(16),
                    false => (&[&[0; 3], &entry[3..]].concat()[..], &entry[..3]),
                };
                all.push([id, &head.bytes(), digests].concat());
            }
        }
        Some(all)
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(
            heads in prop::collection::vec((prop_oneof![0..3u64, any::<u64>()], 0u8..3, 1usize..4), 0..50),
            is_full: bool,
        ) {
            let width = entry_bytes(is_full);
            let mut packed = Packed::default();
            let mut entries = vec![];
            for (millis, flags, count) in heads {
                for _ in 0..count {
                    let number = entries.len() as u8;
                    let mut entry = vec![number; width];
                    entry[16..22].copy_from_slice(&millis.to_le_bytes()[..6]);
                    entry[22] = flags;
                    let most = packed.times.bytes() + MOST_OPEN_BYTES;
                    packed.push(&entry);
                    if !is_full {
                        entry[..3].fill(0);
                    }
                    entries.push(entry);
                    prop_assert!(packed.times.clone().done().len() <= most);
                }
            }
            let Packed { entries: sent, times } = packed;
            prop_assert_eq!(unpacked(&sent, &times.done(), is_full), Some(entries));
        }

        #[test]
        fn any_bytes_are_times_or_none(bytes in prop::collection::vec(any::<u8>(), 0..40), entries in 0usize..300) {
            if let Some(stretches) = stretches(&bytes, entries) {
                prop_assert_eq!(stretches.iter().map(|it| it.count).sum::<usize>(), entries);
            }
        }
    }

    #[test]
    fn what_is_alike_is_said_once() {
        let mut packed = Packed::default();
        for number in 0..1_000u64 {
            let mut entry = [0; SHORT_BYTES];
            // A hundred in each second.
            entry[16..22].copy_from_slice(&(number / 100 * 1_000).to_le_bytes()[..6]);
            packed.push(&entry);
        }
        let (entries, times) = (packed.entries, packed.times.done());
        assert_eq!(entries.len(), 16 * 1_000);
        assert!(times.len() <= 4 * 10, "{}", times.len());
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let good = {
            let mut packed = Packed::default();
            packed.push(&[1; SHORT_BYTES]);
            packed.push(&[2; SHORT_BYTES]);
            packed.times.done()
        };
        assert_eq!(stretches(&good, 2).map(|it| it.len()), Some(2));
        let stretch = |count: u64, millis: i64, flags: u8| {
            let mut times = vec![];
            leb128::write::unsigned(&mut times, count).unwrap();
            leb128::write::signed(&mut times, millis).unwrap();
            times.push(flags);
            times
        };
        for (times, entries) in [
            (good.clone(), 1),
            (good.clone(), 3),
            (good[..good.len() - 1].to_vec(), 2),
            (stretch(0, 0, 0), 0),
            (stretch(1, -1, 0), 1),
            (stretch(1, 1 << 48, 0), 1),
            (stretch(1, i64::MAX, 0), 1),
            (stretch(1, 0, 64), 1),
            (stretch(u64::MAX, 0, 0), 1),
            ([stretch(1, 1, 0), stretch(1, i64::MAX, 0)].concat(), 2),
            (vec![], 1),
        ] {
            assert_eq!(stretches(&times, entries), None, "{times:?}");
        }
    }
}
