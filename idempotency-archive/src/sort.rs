//! A chunk's entries become the rows of a run.

use crate::row::{self, NARROW, WIDE};
use idempotency_core::archive::{Stretch, sent_bytes};
use std::cmp::Ordering;

/// Bytes of an entry as it is sent to an archive that keeps replies, and to another one.
pub(crate) const WIDE_SENT: usize = sent_bytes(row::entry_bytes(WIDE));
pub(crate) const NARROW_SENT: usize = sent_bytes(row::entry_bytes(NARROW));

/// So many are sorted by putting each in its place.
const FEW: usize = 12;

/// Rows of `W` bytes of entries that were sent as `SENT` each, in the order of ids, of each id the best. `places` has of each entry where its
/// reply lies, if rows say so.
///
/// Each goes to the bucket of its id's first bits, where it has little company if ids are hashes; where someone has made them alike, a bucket
/// is sorted by comparisons.
pub(crate) fn sorted<const SENT: usize, const W: usize>(
    entries: &[u8],
    stretches: &[Stretch],
    places: &[u64],
) -> Vec<[u8; W]> {
    let (mut entries, _) = entries.as_chunks::<SENT>();
    let bits = entries.len().max(2).ilog2().min(16);
    let bucket = |entry: &[u8; SENT]| (row::prefix(row::key(entry)) >> (64 - bits)) as usize;
    let mut ends = vec![0u32; 1 << bits];
    for entry in entries {
        ends[bucket(entry)] += 1;
    }
    let mut sum = 0;
    for end in &mut ends {
        // Where the bucket begins; it is its end when all are put in.
        sum += std::mem::replace(end, sum);
    }
    let mut rows = vec![[0; W]; entries.len()];
    let mut places = places.iter();
    for stretch in stretches {
        let (alike, rest) = entries.split_at(stretch.count.min(entries.len()));
        entries = rest;
        let head = stretch.head.bytes();
        for entry in alike {
            let place = &mut ends[bucket(entry)];
            let row = &mut rows[*place as usize];
            *place += 1;
            let (id, digests) = entry.split_at(16);
            row[..16].copy_from_slice(id);
            row[16..23].copy_from_slice(&head);
            row[23..23 + SENT - 16].copy_from_slice(digests);
            if W == WIDE {
                let place = places.next().copied().unwrap_or_default();
                row[WIDE - 6..].copy_from_slice(&place.to_le_bytes()[..6]);
            }
        }
    }
    let (mut start, mut has_equal) = (0, false);
    for end in ends {
        let end = end as usize;
        if end - start > 1 {
            has_equal |= sort(&mut rows[start..end]);
        }
        start = end;
    }
    if has_equal {
        rows.dedup_by(|row, kept| {
            let is_equal = row::key(row) == row::key(kept);
            if is_equal && row::is_better(row, kept) {
                *kept = *row;
            }
            is_equal
        });
    }
    rows
}

/// Whether two of them have one id.
fn sort<const W: usize>(rows: &mut [[u8; W]]) -> bool {
    if rows.len() > FEW {
        rows.sort_unstable_by_key(|row| row::key(row));
        return rows
            .windows(2)
            .any(|two| row::key(&two[0]) == row::key(&two[1]));
    }
    let mut has_equal = false;
    for end in 1..rows.len() {
        for at in (1..=end).rev() {
            match row::key(&rows[at]).cmp(&row::key(&rows[at - 1])) {
                Ordering::Less => rows.swap(at, at - 1),
                order => {
                    has_equal |= order == Ordering::Equal;
                    break;
                }
            }
        }
    }
    has_equal
}

#[cfg(test)]
mod tests {
    use super::*;
    use idempotency_core::archive::{
        FULL_BYTES, stretches,
        wire::{Append, Position},
    };
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn entries<const N: usize>() -> impl Strategy<Value = Vec<[u8; N]>> {
        // Ids that are hashes, ids that are alike in front, and few ids.
        let id = prop_oneof![
            any::<[u8; 16]>(),
            any::<u8>().prop_map(|last| [[7; 15].as_slice(), &[last]].concat().try_into().unwrap()),
            any::<u8>()
                .prop_map(|first| [&[first], [7; 15].as_slice()].concat().try_into().unwrap()),
            any::<[u8; 8]>().prop_map(|it| [it, [0; 8]].concat().try_into().unwrap()),
            Just([255; 16]),
        ];
        let entry = (id, 0u64..3, 0u8..4, any::<[u8; 16]>());
        let entry = entry.prop_map(|(id, millis, flags, digests)| {
            let mut entry = [0; N];
            entry[..16].copy_from_slice(&id);
            entry[16..22].copy_from_slice(&millis.to_le_bytes()[..6]);
            entry[22] = flags;
            entry[23..].copy_from_slice(&digests[..N - 23]);
            entry
        });
        prop::collection::vec(entry, 0..4000)
    }

    /// Of each id the best of all rows.
    fn best(rows: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
        let mut best = BTreeMap::<u128, Vec<u8>>::new();
        for row in rows {
            let kept = best.entry(row::key(&row)).or_insert_with(|| row.clone());
            if row::is_better(&row, kept) {
                *kept = row;
            }
        }
        best.into_values().collect::<Vec<_>>().concat()
    }

    fn sent<const SENT: usize, const W: usize>(
        entries: &[impl AsRef<[u8]>],
        places: &[u64],
    ) -> Vec<u8> {
        let append = Append::of(Position::default(), entries, vec![]);
        let stretches = stretches(&append.times, entries.len()).unwrap();
        let rows = sorted::<SENT, W>(&append.entries, &stretches, places);
        rows.as_flattened().to_vec()
    }

    proptest! {
        #[test]
        fn each_ids_best_is_there_in_order(
            full in entries::<FULL_BYTES>(),
            short in entries::<NARROW>(),
        ) {
            let places: Vec<_> = (0..full.len() as u64).collect();
            let rows = full.iter().zip(&places);
            let rows = rows.map(|(entry, place)| [&entry[..], &place.to_le_bytes()[..6]].concat());
            prop_assert_eq!(sent::<WIDE_SENT, WIDE>(&full, &places), best(rows));
            let rows = short.iter().map(|entry| entry.to_vec());
            prop_assert_eq!(sent::<NARROW_SENT, NARROW>(&short, &[]), best(rows));
        }
    }
}
