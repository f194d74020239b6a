//! The tree of one partition: a binary trie over the bits of identities, without nodes that have one child. It is a hash tree of the IC: an
//! inner node is a `fork`, a leaf a `labeled` leaf whose label is the identity.
//!
//! ```text
//! offset  bytes  leaf            offset  bytes  inner node
//!      0      1  1                    0      1  2
//!      1     24  identity             1     24  identity of a leaf below it
//!     25     33  content             25      1  the first bit in which two leaves below it differ
//!                                    26    2×4  left and right node: address / 16
//!                                    34   2×32  their hashes
//! ```
//!
//! A batch of changes is put in from above: each node on a way to one of them is read, hashed and written once, however many of them lie
//! below. Nothing is ever taken out: a request whose record goes before its time has a leaf that says so, until the partition goes.

use super::leaf::LEAF_BYTES;
use crate::table::{Damaged, NODE_BYTES, field};
use ic_certification::{HashTree, fork, fork_hash, labeled, labeled_hash, leaf, leaf_hash, pruned};

/// An identity.
pub(crate) type Key = [u8; 24];

pub(crate) type Hash = [u8; 32];

/// Bits of a key.
const BITS: u8 = 192;

const LEAF: u8 = 1;
const INNER: u8 = 2;
const LEAF_NODE_BYTES: usize = 58;
const INNER_NODE_BYTES: usize = 98;

/// What the nodes of a request can take at the most, in bytes.
pub(crate) const BYTES_OF_A_REQUEST: u64 = 176;

/// Where nodes lie.
pub(crate) trait Nodes {
    /// The bytes of a node, and more.
    fn read(&self, node: u32) -> Result<[u8; NODE_BYTES], Damaged>;

    /// Writes a node over one of the same length.
    fn write(&mut self, node: u32, bytes: &[u8]) -> Result<(), Damaged>;

    /// Adds a node; never at 0.
    fn add(&mut self, bytes: &[u8]) -> Result<u32, Damaged>;
}

/// A node, and its hash as whoever leads to it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) node: u32,
    pub(crate) hash: Hash,
}

/// A leaf as it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) content: [u8; LEAF_BYTES],
}

#[derive(Clone, Copy)]
enum Node {
    Leaf {
        key: Key,
        content: [u8; LEAF_BYTES],
    },
    Inner {
        key: Key,
        bit: u8,
        children: [Child; 2],
    },
}

impl Node {
    fn read(nodes: &impl Nodes, node: u32) -> Result<Self, Damaged> {
        let bytes = nodes.read(node)?;
        let rest = &mut bytes.as_slice();
        let [kind] = field(rest);
        let key = field(rest);
        match kind {
            LEAF => Ok(Self::Leaf {
                key,
                content: field(rest),
            }),
            INNER => {
                let [bit] = field(rest);
                let [left, right] = [(); 2].map(|()| u32::from_le_bytes(field(rest)));
                let children = [left, right].map(|node| Child {
                    node,
                    hash: field(rest),
                });
                match bit < BITS {
                    true => Ok(Self::Inner { key, bit, children }),
                    false => Err(Damaged),
                }
            }
            _ => Err(Damaged),
        }
    }

    fn key(&self) -> &Key {
        match self {
            Self::Leaf { key, .. } | Self::Inner { key, .. } => key,
        }
    }

    /// The first bit in which two leaves below it differ.
    fn bit(&self) -> u8 {
        match self {
            Self::Leaf { .. } => BITS,
            Self::Inner { bit, .. } => *bit,
        }
    }
}

/// The first bit in which two keys differ, or the number of bits if none does.
fn first_difference(one: &Key, other: &Key) -> u8 {
    match one.iter().zip(other).position(|(a, b)| a != b) {
        Some(at) => at as u8 * 8 + (one[at] ^ other[at]).leading_zeros() as u8,
        None => BITS,
    }
}

fn is_set(key: &Key, bit: u8) -> bool {
    key[usize::from(bit / 8)] << (bit % 8) & 0x80 != 0
}

fn leaf_bytes(change: &Change) -> [u8; LEAF_NODE_BYTES] {
    let mut bytes = [LEAF; LEAF_NODE_BYTES];
    bytes[1..25].copy_from_slice(&change.key);
    bytes[25..].copy_from_slice(&change.content);
    bytes
}

fn leaf_node_hash(change: &Change) -> Hash {
    labeled_hash(&change.key, &leaf_hash(&change.content))
}

fn inner_bytes(key: &Key, bit: u8, children: &[Child; 2]) -> [u8; INNER_NODE_BYTES] {
    let mut bytes = [INNER; INNER_NODE_BYTES];
    bytes[1..25].copy_from_slice(key);
    bytes[25] = bit;
    for (at, child) in children.iter().enumerate() {
        bytes[26 + 4 * at..30 + 4 * at].copy_from_slice(&child.node.to_le_bytes());
        bytes[34 + 32 * at..66 + 32 * at].copy_from_slice(&child.hash);
    }
    bytes
}

/// Puts changes into a tree; its root then. They are in the order of their keys, each of which is there once.
///
/// # Errors
/// [`Damaged`]: the tree may be changed in parts, and must not be used.
pub(crate) fn merge(
    nodes: &mut impl Nodes,
    root: Option<Child>,
    changes: &[Change],
) -> Result<Option<Child>, Damaged> {
    merge_below(nodes, root, changes, 0)
}

/// Puts changes into the subtree of those that have the bits before `from` in common.
fn merge_below(
    nodes: &mut impl Nodes,
    subtree: Option<Child>,
    changes: &[Change],
    from: u8,
) -> Result<Option<Child>, Damaged> {
    let [first, ..] = changes else {
        return Ok(subtree);
    };
    let last = &changes[changes.len() - 1].key;
    let Some(child) = subtree else {
        let bit = first_difference(&first.key, last);
        if bit == BITS {
            let node = nodes.add(&leaf_bytes(first))?;
            let hash = leaf_node_hash(first);
            return Ok(Some(Child { node, hash }));
        }
        return branch(nodes, None, [None, None], (first.key, bit), changes).map(Some);
    };
    let node = Node::read(nodes, child.node)?;
    let bit = first_difference(&first.key, node.key()).min(first_difference(last, node.key()));
    if bit < from || node.bit() < from {
        return Err(Damaged);
    }
    match node {
        Node::Leaf { .. } if bit == BITS => {
            nodes.write(child.node, &leaf_bytes(first))?;
            Ok(Some(Child {
                node: child.node,
                hash: leaf_node_hash(first),
            }))
        }
        Node::Inner {
            key,
            bit: own,
            children,
        } if bit >= own => {
            let at = Some(child.node);
            branch(nodes, at, children.map(Some), (key, own), changes).map(Some)
        }
        // Some differ from all that is below the node before these differ from one another.
        _ => {
            let mut children = [None, None];
            children[usize::from(is_set(node.key(), bit))] = Some(child);
            branch(nodes, None, children, (*node.key(), bit), changes).map(Some)
        }
    }
}

/// An inner node with children into which changes are put: a new one, or one that lies at a place.
fn branch(
    nodes: &mut impl Nodes,
    at: Option<u32>,
    [left, right]: [Option<Child>; 2],
    (key, bit): (Key, u8),
    changes: &[Change],
) -> Result<Child, Damaged> {
    let (lower, upper) = changes.split_at(changes.partition_point(|it| !is_set(&it.key, bit)));
    let left = merge_below(nodes, left, lower, bit + 1)?.ok_or(Damaged)?;
    let right = merge_below(nodes, right, upper, bit + 1)?.ok_or(Damaged)?;
    let bytes = inner_bytes(&key, bit, &[left, right]);
    let node = match at {
        Some(node) => {
            nodes.write(node, &bytes)?;
            node
        }
        None => nodes.add(&bytes)?,
    };
    let hash = fork_hash(&left.hash, &right.hash);
    Ok(Child { node, hash })
}

/// The content of a leaf, if there is one with this key.
pub(crate) fn find(
    nodes: &impl Nodes,
    root: Option<Child>,
    key: &Key,
) -> Result<Option<[u8; LEAF_BYTES]>, Damaged> {
    let mut at = root;
    let mut from = 0;
    while let Some(child) = at {
        match Node::read(nodes, child.node)? {
            Node::Leaf { key: own, content } => return Ok((own == *key).then_some(content)),
            Node::Inner { bit, children, .. } => {
                from = next_level(bit, from)?;
                at = Some(children[usize::from(is_set(key, bit))]);
            }
        }
    }
    Ok(None)
}

/// Levels only go down, whatever stands in memory: so each way through a tree has an end.
fn next_level(bit: u8, from: u8) -> Result<u8, Damaged> {
    match bit >= from {
        true => Ok(bit + 1),
        false => Err(Damaged),
    }
}

/// What shows what a tree says of a key: its leaf, or the labels beside which it would lie.
pub(crate) fn witness(
    nodes: &impl Nodes,
    root: Option<Child>,
    key: &Key,
) -> Result<HashTree, Damaged> {
    let Some(root) = root else {
        return Ok(ic_certification::empty());
    };
    if find(nodes, Some(root), key)?.is_some() {
        return reveal(nodes, root, &[*key], true, 0);
    }
    let shown = neighbours(nodes, root, key)?;
    reveal(nodes, root, &shown, false, 0)
}

/// The greatest key below one that is not in a tree, and the least above it.
fn neighbours(nodes: &impl Nodes, root: Child, key: &Key) -> Result<Vec<Key>, Damaged> {
    let (mut at, mut from) = (root, 0);
    let (mut below, mut above) = (None, None);
    loop {
        let node = Node::read(nodes, at.node)?;
        let difference = first_difference(key, node.key());
        match node {
            Node::Inner { bit, children, .. } if difference >= bit => {
                from = next_level(bit, from)?;
                let [left, right] = children;
                match is_set(key, bit) {
                    true => (below, at) = (Some(left), right),
                    false => (above, at) = (Some(right), left),
                }
            }
            _ if difference == BITS => return Err(Damaged),
            _ => {
                match is_set(key, difference) {
                    true => below = Some(at),
                    false => above = Some(at),
                }
                break;
            }
        }
    }
    let outermost = |subtree: Option<Child>, side: usize| {
        subtree
            .map(|subtree| outermost(nodes, subtree, side))
            .transpose()
    };
    let (below, above) = (outermost(below, 1)?, outermost(above, 0)?);
    Ok(below.into_iter().chain(above).collect())
}

/// The first (`side` 0) or last (`side` 1) key of a subtree.
fn outermost(nodes: &impl Nodes, subtree: Child, side: usize) -> Result<Key, Damaged> {
    let (mut at, mut from) = (subtree, 0);
    loop {
        match Node::read(nodes, at.node)? {
            Node::Leaf { key, .. } => return Ok(key),
            Node::Inner { bit, children, .. } => {
                from = next_level(bit, from)?;
                at = children[side];
            }
        }
    }
}

/// The tree with the leaves of some keys, which are in it, and hashes for the rest; without the leaves' content if that is not to be seen.
fn reveal(
    nodes: &impl Nodes,
    subtree: Child,
    keys: &[Key],
    with_content: bool,
    from: u8,
) -> Result<HashTree, Damaged> {
    if keys.is_empty() {
        return Ok(pruned(subtree.hash));
    }
    match Node::read(nodes, subtree.node)? {
        Node::Leaf { key, content } => {
            let content = match with_content {
                true => leaf(content),
                false => pruned(leaf_hash(&content)),
            };
            Ok(labeled(key, content))
        }
        Node::Inner {
            bit,
            children: [left, right],
            ..
        } => {
            let from = next_level(bit, from)?;
            let (lower, upper) = keys.split_at(keys.partition_point(|key| !is_set(key, bit)));
            Ok(fork(
                reveal(nodes, left, lower, with_content, from)?,
                reveal(nodes, right, upper, with_content, from)?,
            ))
        }
    }
}

/// All leaves of a tree, in their order.
#[cfg(test)]
pub(crate) fn leaves(
    nodes: &impl Nodes,
    root: Option<Child>,
) -> Result<Vec<(Key, [u8; LEAF_BYTES])>, Damaged> {
    let Some(root) = root else {
        return Ok(vec![]);
    };
    match Node::read(nodes, root.node)? {
        Node::Leaf { key, content } => Ok(vec![(key, content)]),
        Node::Inner {
            children: [left, right],
            ..
        } => {
            let (left, right) = (leaves(nodes, Some(left))?, leaves(nodes, Some(right))?);
            Ok([left, right].concat())
        }
    }
}

#[cfg(test)]
#[path = "tests/tree.rs"]
mod tests;
