//! Entries in the order of their ids, as a filter is filled and a run is written.

use super::entry::Id;

/// The indexes of entries of so many bytes each, in the order of their ids.
///
/// A pass over buckets of the ids' first bits leaves little to sort where ids are hashes; where someone has made them alike, what is left is
/// sorted by comparisons.
pub fn order(entries: &[u8], entry_bytes: usize) -> Vec<u32> {
    let count = entries.len() / entry_bytes.max(1);
    let bits = count.max(2).ilog2().min(16);
    let bucket = |prefix: u64| (prefix >> (64 - bits)) as usize;
    let each = || {
        let entries = entries.chunks_exact(entry_bytes.max(1));
        entries.map(|entry| entry.first_chunk().map_or(0, |it| u64::from_be_bytes(*it)))
    };
    let mut ends = vec![0u32; 1 << bits];
    let mut last = 0;
    let mut is_sorted = true;
    for prefix in each() {
        ends[bucket(prefix)] += 1;
        is_sorted &= last < prefix;
        last = prefix;
    }
    if is_sorted {
        return (0..count as u32).collect();
    }
    let mut sum = 0;
    for end in &mut ends {
        // Where the bucket begins; it is its end when all are put in.
        sum += std::mem::replace(end, sum);
    }
    let mut order = vec![(0, 0); count];
    for (index, prefix) in each().enumerate() {
        let place = &mut ends[bucket(prefix)];
        order[*place as usize] = (prefix, index as u32);
        *place += 1;
    }
    let id =
        |index: u32| -> Option<&Id> { entries.get(index as usize * entry_bytes..)?.first_chunk() };
    let mut start = 0;
    for end in ends {
        let end = end as usize;
        if end - start > 1 {
            order[start..end].sort_unstable_by(|one, other| {
                (one.0.cmp(&other.0)).then_with(|| id(one.1).cmp(&id(other.1)))
            });
        }
        start = end;
    }
    order.into_iter().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_order_of_ids(
            ids in prop::collection::vec(
                prop_oneof![
                    any::<Id>(),
                    any::<u8>().prop_map(|last| [[7; 15].as_slice(), &[last]].concat().try_into().unwrap()),
                    any::<[u8; 8]>().prop_map(|it| [it, [0; 8]].concat().try_into().unwrap()),
                    Just([255; 16]),
                ],
                0..300,
            ),
            rest in 0usize..30,
            is_sorted: bool,
        ) {
            let mut ids = ids;
            if is_sorted {
                ids.sort_unstable();
                ids.dedup();
            }
            let entries: Vec<_> = ids.iter().flat_map(|id| [&id[..], &vec![9; rest]].concat()).collect();
            let order = order(&entries, 16 + rest);
            let found: Vec<_> = order.iter().map(|index| ids[*index as usize]).collect();
            ids.sort_unstable();
            prop_assert_eq!(found, ids);
            let mut indexes = order.clone();
            indexes.sort_unstable();
            prop_assert!(indexes.into_iter().eq(0..order.len() as u32));
        }
    }
}
