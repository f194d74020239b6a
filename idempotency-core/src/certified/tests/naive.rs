//! Trees that are built anew from all they hold.

use crate::certified::{leaf::LEAF_BYTES, tree::Key};
use ic_certification::{HashTree, empty, fork, labeled, leaf};
use std::collections::BTreeMap;

pub(in crate::certified) type Map = BTreeMap<Key, [u8; LEAF_BYTES]>;

/// The tree of some labels, in the order of their bits.
pub(in crate::certified) fn tree(map: &Map) -> HashTree {
    let leaves: Vec<_> = map
        .iter()
        .map(|(key, content)| (key.to_vec(), labeled(key, leaf(content.to_vec()))))
        .collect();
    forks(&leaves)
}

/// Forks over labels, by the first bit in which any two of them differ.
pub(in crate::certified) fn forks(leaves: &[(Vec<u8>, HashTree)]) -> HashTree {
    match leaves {
        [] => empty(),
        [(_, one)] => one.clone(),
        more => {
            let bit_of = |key: &[u8], bit: usize| key[bit / 8] >> (7 - bit % 8) & 1;
            let bits = 8 * more[0].0.len();
            let bit = (0..bits)
                .find(|bit| {
                    let first = bit_of(&more[0].0, *bit);
                    more.iter().any(|(key, _)| bit_of(key, *bit) != first)
                })
                .expect("labels differ");
            let (left, right): (Vec<_>, Vec<_>) = more
                .iter()
                .cloned()
                .partition(|(key, _)| bit_of(key, bit) == 0);
            fork(forks(&left), forks(&right))
        }
    }
}
