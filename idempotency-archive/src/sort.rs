//! A chunk's entries become the rows of a run.

use crate::row::{self, NARROW};
use std::cmp::Ordering;

/// The rows of entries, sorted, of each id the best. `places` has of each entry where its reply lies, if rows say so.
///
/// A pass over buckets of the ids' first bits leaves little to sort where ids are hashes; where someone has made them alike, what is left is
/// sorted by comparisons.
pub(crate) fn sorted<const W: usize>(entries: &[u8], places: &[u64]) -> Vec<u8> {
    let (entries, _) = entries.as_chunks::<NARROW>();
    let order = order(entries);
    let mut rows = Vec::with_capacity(entries.len() * W);
    for (_, index) in order {
        let mut row = [0; W];
        row[..NARROW].copy_from_slice(&entries[index as usize]);
        if W > NARROW {
            row[NARROW..].copy_from_slice(&places[index as usize].to_le_bytes()[..W - NARROW]);
        }
        match rows.last_chunk_mut::<W>() {
            Some(last) if last[..16] == row[..16] => {
                if row::is_better(&row, last) {
                    *last = row;
                }
            }
            _ => rows.extend_from_slice(&row),
        }
    }
    rows
}

/// The first 8 bytes of each id, and its index, in the order of ids.
fn order(entries: &[[u8; NARROW]]) -> Vec<(u64, u32)> {
    let bits = entries.len().max(2).ilog2().min(16);
    let bucket = |prefix: u64| (prefix >> (64 - bits)) as usize;
    let prefix = |entry: &[u8; NARROW]| entry.first_chunk().map_or(0, |it| u64::from_be_bytes(*it));
    let mut ends = vec![0u32; 1 << bits];
    for entry in entries {
        ends[bucket(prefix(entry))] += 1;
    }
    let mut sum = 0;
    for end in &mut ends {
        // Where the bucket begins; it is its end when all are put in.
        sum += std::mem::replace(end, sum);
    }
    let mut order = vec![(0, 0); entries.len()];
    for (index, entry) in entries.iter().enumerate() {
        let prefix = prefix(entry);
        let place = &mut ends[bucket(prefix)];
        order[*place as usize] = (prefix, index as u32);
        *place += 1;
    }
    let rest = |&(_, index): &(u64, u32)| &entries[index as usize][8..16];
    let mut start = 0;
    for end in ends {
        let end = end as usize;
        if end - start > 1 {
            order[start..end].sort_unstable_by(|one, other| match one.0.cmp(&other.0) {
                Ordering::Equal => rest(one).cmp(rest(other)),
                unequal => unequal,
            });
        }
        start = end;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::WIDE;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn entries() -> impl Strategy<Value = Vec<[u8; NARROW]>> {
        // Ids that are hashes, ids that are alike in front, and few ids.
        let id = prop_oneof![
            any::<[u8; 16]>(),
            any::<u8>().prop_map(|last| [[7; 15].as_slice(), &[last]].concat().try_into().unwrap()),
            any::<[u8; 8]>().prop_map(|it| [it, [0; 8]].concat().try_into().unwrap()),
            Just([255; 16]),
        ];
        let entry = (id, any::<[u8; 23]>())
            .prop_map(|(id, rest)| [&id[..], &rest].concat().try_into().unwrap());
        prop::collection::vec(entry, 0..400)
    }

    proptest! {
        #[test]
        fn each_ids_best_is_there_in_order(entries in entries()) {
            let places: Vec<_> = (0..entries.len() as u64).collect();
            let mut best = BTreeMap::<_, Vec<u8>>::new();
            for (entry, place) in entries.iter().zip(&places) {
                let row = [&entry[..], &place.to_le_bytes()[..6]].concat();
                let kept = best.entry(entry[..16].to_vec()).or_insert_with(|| row.clone());
                if row::is_better(&row, kept) {
                    *kept = row;
                }
            }
            let rows = sorted::<WIDE>(entries.as_flattened(), &places);
            let expected: Vec<_> = best.into_values().collect();
            prop_assert_eq!(&rows, &expected.concat());
            let narrow = sorted::<NARROW>(entries.as_flattened(), &[]);
            let expected: Vec<_> = expected.iter().map(|row| row[..NARROW].to_vec()).collect();
            prop_assert_eq!(narrow, expected.concat());
        }
    }
}
