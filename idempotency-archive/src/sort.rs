//! A chunk's entries become the rows of a run.

use crate::row::{self, NARROW, WIDE};

/// So many are sorted by putting each in its place.
const FEW: usize = 12;

/// Has the rows of entries written in the order of ids, an extent's at a time, of each id the best. `places` has of each entry where its reply
/// lies, if rows say so.
///
/// A pass over buckets of the ids' first bits leaves little to sort where ids are hashes; where someone has made them alike, what is left is
/// sorted by comparisons.
pub(crate) fn sorted<const W: usize>(
    entries: &[u8],
    places: &[u64],
    mut write: impl FnMut(&[[u8; W]]),
) {
    let (entries, _) = entries.as_chunks::<NARROW>();
    let mut rows = vec![0; row::per_extent(W) as usize * W];
    let (slots, _) = rows.as_chunks_mut::<W>();
    // The last is held back, as the next may be of its id.
    let mut count = 0;
    let mut last_key = 0;
    for (prefix, index) in order(entries) {
        let entry = &entries[index as usize];
        let key = row::key(entry);
        let is_again = prefix == row::prefix(last_key) && key == last_key && count > 0;
        if is_again {
            let row = wide(entry, places, index);
            if row::is_better(&row[..W], &slots[count - 1]) {
                slots[count - 1].copy_from_slice(&row[..W]);
            }
            continue;
        }
        if count == slots.len() {
            write(slots);
            count = 0;
        }
        let slot = &mut slots[count];
        if W == WIDE {
            slot.copy_from_slice(&wide(entry, places, index)[..W]);
        } else {
            slot.copy_from_slice(&entry[..W]);
        }
        count += 1;
        last_key = key;
    }
    write(&slots[..count]);
}

/// The row of an entry that says where its reply lies.
#[inline(always)]
fn wide(entry: &[u8; NARROW], places: &[u64], index: u32) -> [u8; WIDE] {
    let mut row = [0; WIDE];
    row[..NARROW].copy_from_slice(entry);
    let place = places
        .get(index as usize)
        .map_or(0, |place| *place)
        .to_le_bytes();
    row[NARROW..].copy_from_slice(&place[..WIDE - NARROW]);
    row
}

/// The first half of each id's key, and its index, in the order of keys.
fn order(entries: &[[u8; NARROW]]) -> Vec<(u64, u32)> {
    let bits = entries.len().max(2).ilog2().min(16);
    let bucket = |prefix: u64| (prefix >> (64 - bits)) as usize;
    let prefix = |entry: &[u8; NARROW]| row::prefix(row::key(entry));
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
    let mut start = 0;
    for end in ends {
        let end = end as usize;
        sort_bucket(entries, &mut order[start..end]);
        start = end;
    }
    order
}

/// Most have one or two.
fn sort_bucket(entries: &[[u8; NARROW]], bucket: &mut [(u64, u32)]) {
    let key = |index: u32| row::key(&entries[index as usize]);
    let is_less = |one: &(u64, u32), other: &(u64, u32)| {
        one.0 < other.0 || one.0 == other.0 && key(one.1) < key(other.1)
    };
    if bucket.len() > FEW {
        bucket.sort_unstable_by_key(|&(_, index)| key(index));
        return;
    }
    for end in 1..bucket.len() {
        let mut at = end;
        while at > 0 && is_less(&bucket[at], &bucket[at - 1]) {
            bucket.swap(at, at - 1);
            at -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        prop::collection::vec(entry, 0..4000)
    }

    proptest! {
        #[test]
        fn each_ids_best_is_there_in_order(entries in entries()) {
            let places: Vec<_> = (0..entries.len() as u64).collect();
            let mut best = BTreeMap::<u128, Vec<u8>>::new();
            for (entry, place) in entries.iter().zip(&places) {
                let row = [&entry[..], &place.to_le_bytes()[..6]].concat();
                let kept = best.entry(row::key(entry)).or_insert_with(|| row.clone());
                if row::is_better(&row, kept) {
                    *kept = row;
                }
            }
            let mut rows = vec![];
            sorted::<WIDE>(entries.as_flattened(), &places, |part| rows.extend_from_slice(part));
            let expected: Vec<_> = best.into_values().collect();
            prop_assert_eq!(rows.as_flattened(), &expected.concat());
            let mut rows = vec![];
            sorted::<NARROW>(entries.as_flattened(), &[], |part| rows.extend_from_slice(part));
            let narrow = rows.as_flattened();
            let expected: Vec<_> = expected.iter().map(|row| row[..NARROW].to_vec()).collect();
            prop_assert_eq!(narrow, &expected.concat());
        }
    }
}
