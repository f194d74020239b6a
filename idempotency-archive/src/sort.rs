//! A chunk's entries become the rows of a run.

use crate::row;
use idempotency_core::archive::order;

/// The rows of entries, sorted, of each id the best. `places` has of each entry where its reply lies, if rows say so.
pub(crate) fn sorted<const W: usize>(entries: &[u8], places: &[u64]) -> Vec<u8> {
    let entry_bytes = row::entry_bytes(W);
    let mut rows = Vec::with_capacity(entries.len() / entry_bytes * W);
    for index in order(entries, entry_bytes) {
        let index = index as usize;
        let mut row = [0; W];
        row[..entry_bytes].copy_from_slice(&entries[index * entry_bytes..][..entry_bytes]);
        if W > entry_bytes {
            row[entry_bytes..].copy_from_slice(&places[index].to_le_bytes()[..W - entry_bytes]);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{NARROW, WIDE};
    use idempotency_core::archive::FULL_BYTES;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn entries<const N: usize>() -> impl Strategy<Value = Vec<[u8; N]>> {
        // Ids that are hashes, ids that are alike in front, and few ids.
        let id = prop_oneof![
            any::<[u8; 16]>(),
            any::<u8>().prop_map(|last| [[7; 15].as_slice(), &[last]].concat().try_into().unwrap()),
            any::<[u8; 8]>().prop_map(|it| [it, [0; 8]].concat().try_into().unwrap()),
            Just([255; 16]),
        ];
        let entry = (id, any::<[u8; 23]>()).prop_map(|(id, rest)| {
            let mut entry = [0; N];
            entry[..16].copy_from_slice(&id);
            entry[16..].copy_from_slice(&rest[..N - 16]);
            entry
        });
        prop::collection::vec(entry, 0..400)
    }

    /// Of each id the best of all rows.
    fn best(rows: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
        let mut best = BTreeMap::<_, Vec<u8>>::new();
        for row in rows {
            let kept = best
                .entry(row[..16].to_vec())
                .or_insert_with(|| row.clone());
            if row::is_better(&row, kept) {
                *kept = row;
            }
        }
        best.into_values().collect::<Vec<_>>().concat()
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
            prop_assert_eq!(sorted::<WIDE>(full.as_flattened(), &places), best(rows));
            let rows = short.iter().map(|entry| entry.to_vec());
            prop_assert_eq!(sorted::<NARROW>(short.as_flattened(), &[]), best(rows));
        }
    }
}
