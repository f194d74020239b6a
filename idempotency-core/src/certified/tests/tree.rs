//! The tree of a partition against one that is built naively, of the crate that agents verify with.

use super::*;
use crate::certified::tests::naive::{self, Map};
use ic_certification::LookupResult;
use proptest::prelude::*;

/// Nodes on the heap; node n is entry n − 1.
#[derive(Clone, Default)]
struct Heap(Vec<[u8; NODE_BYTES]>);

impl Nodes for Heap {
    fn read(&self, node: u32) -> Result<[u8; NODE_BYTES], Damaged> {
        let place = (node as usize).checked_sub(1).ok_or(Damaged)?;
        self.0.get(place).copied().ok_or(Damaged)
    }

    fn write(&mut self, node: u32, bytes: &[u8]) -> Result<(), Damaged> {
        let place = (node as usize).checked_sub(1).ok_or(Damaged)?;
        let node = self.0.get_mut(place).ok_or(Damaged)?;
        node[..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) -> Result<u32, Damaged> {
        let mut node = [0; NODE_BYTES];
        node[..bytes.len()].copy_from_slice(bytes);
        self.0.push(node);
        Ok(self.0.len() as u32)
    }
}

/// Keys that are hashed, and such as share many of their first bits.
fn key(number: u16) -> Key {
    let mut key = [0; 24];
    key.copy_from_slice(&blake3::hash(&number.to_le_bytes()).as_bytes()[..24]);
    if number.is_multiple_of(3) {
        key[..20].fill(0xAA);
    }
    key
}

fn changes(batch: &[(u16, u8)]) -> Vec<Change> {
    let batch: Map = batch
        .iter()
        .map(|(number, content)| (key(number % 200), [*content; LEAF_BYTES]))
        .collect();
    let changes = batch.into_iter();
    changes
        .map(|(key, content)| Change { key, content })
        .collect()
}

fn batches() -> impl Strategy<Value = Vec<Vec<(u16, u8)>>> {
    let batch = prop::collection::vec(any::<(u16, u8)>(), 0..40);
    prop::collection::vec(batch, 0..6)
}

fn merged(batches: &[Vec<(u16, u8)>]) -> (Heap, Option<Child>, Map) {
    let (mut nodes, mut root, mut map) = (Heap::default(), None, Map::new());
    for batch in batches {
        let changes = changes(batch);
        root = merge(&mut nodes, root, &changes).unwrap();
        map.extend(changes.iter().map(|it| (it.key, it.content)));
    }
    (nodes, root, map)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn its_root_and_its_witnesses_are_those_of_a_tree_that_is_built_naively(batches in batches()) {
        let (nodes, root, map) = merged(&batches);
        let expected = naive::tree(&map).digest();
        prop_assert_eq!(root.map_or(ic_certification::empty().digest(), |root| root.hash), expected);
        // No node is lost: one for each leaf, and one for each fork.
        prop_assert_eq!(nodes.0.len(), (2 * map.len()).saturating_sub(1));
        for number in 0..250 {
            let key = key(number);
            let witness = witness(&nodes, root, &key).unwrap();
            prop_assert_eq!(witness.digest(), expected);
            let found = witness.lookup_path([key]);
            match map.get(&key) {
                Some(content) => prop_assert_eq!(found, LookupResult::Found(content)),
                None => prop_assert_eq!(found, LookupResult::Absent),
            }
            prop_assert_eq!(find(&nodes, root, &key).unwrap(), map.get(&key).copied());
            // Of others it shows no more than two labels.
            prop_assert!(witness.list_paths().len() <= 1);
        }
    }

    /// Whatever is written over nodes, there is a result, and soon.
    #[test]
    fn damaged_nodes_are_an_error_or_another_tree(
        batches in batches(),
        damage in prop::collection::vec(any::<(u16, u8, u8)>(), 1..20),
        more in prop::collection::vec(any::<(u16, u8)>(), 1..20),
    ) {
        let (mut nodes, root, _) = merged(&batches);
        let count = nodes.0.len();
        for (node, at, value) in damage {
            if count > 0 {
                nodes.0[usize::from(node) % count][usize::from(at) % NODE_BYTES] = value;
            }
        }
        for number in 0..20 {
            let _ = witness(&nodes, root, &key(number));
        }
        let _ = merge(&mut nodes, root, &changes(&more));
    }
}

#[test]
fn a_batch_hashes_each_node_once() {
    let numbers: Vec<_> = (0..150).map(|number| (number, 7)).collect();
    let (nodes, root, _) = merged(&[numbers[..100].to_vec(), numbers[100..].to_vec()]);
    let (others, at_once, _) = merged(&[numbers]);
    assert_eq!(nodes.0.len(), others.0.len());
    assert_eq!(root.unwrap().hash, at_once.unwrap().hash);
}

#[test]
fn bits_are_counted_from_the_first() {
    let (mut one, mut other) = ([0; 24], [0; 24]);
    assert_eq!(first_difference(&one, &other), BITS);
    other[23] = 1;
    assert_eq!(first_difference(&one, &other), 191);
    one[0] = 0x80;
    assert_eq!(first_difference(&one, &other), 0);
    assert!(is_set(&one, 0) && !is_set(&one, 1) && is_set(&other, 191));
}
