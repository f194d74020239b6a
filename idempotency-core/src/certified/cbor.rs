//! Hash trees in CBOR, as the interface specification of the IC defines them.

use ciborium::Value;
use ic_certification::{HashTree, empty, fork, labeled, leaf, pruned};

/// What says of itself that it is CBOR.
const SELF_DESCRIBED: [u8; 3] = [0xd9, 0xd9, 0xf7];
const SELF_DESCRIBED_TAG: u64 = 55_799;

/// Each level of a tree is one of arrays; a path of a store's tree has no more than 210 and those above it.
const MOST_DEPTH: usize = 1_000;

pub(super) fn encode(tree: &HashTree) -> Vec<u8> {
    let mut bytes = SELF_DESCRIBED.to_vec();
    // Memory does not refuse to be written.
    let _ = ciborium::into_writer(tree, &mut bytes);
    bytes
}

/// The tree that `bytes` encode, and nothing more; `None` if they encode something else.
pub(super) fn decode(mut bytes: &[u8]) -> Option<HashTree> {
    let value = ciborium::de::from_reader_with_recursion_limit(&mut bytes, MOST_DEPTH).ok()?;
    let value = match value {
        Value::Tag(SELF_DESCRIBED_TAG, value) => *value,
        value => value,
    };
    bytes.is_empty().then(|| tree(value))?
}

fn tree(value: Value) -> Option<HashTree> {
    let mut fields = value.into_array().ok()?.into_iter();
    let kind = u8::try_from(fields.next()?.into_integer().ok()?).ok()?;
    let (first, second, rest) = (fields.next(), fields.next(), fields.next());
    let tree = match (kind, first, second) {
        (0, None, None) => empty(),
        (1, Some(left), Some(right)) => fork(tree(left)?, tree(right)?),
        (2, Some(label), Some(below)) => labeled(label.into_bytes().ok()?.as_slice(), tree(below)?),
        (3, Some(content), None) => leaf(content.into_bytes().ok()?),
        (4, Some(hash), None) => {
            pruned(<[u8; 32]>::try_from(hash.into_bytes().ok()?.as_slice()).ok()?)
        }
        _ => return None,
    };
    rest.is_none().then_some(tree)
}
