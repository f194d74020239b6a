//! The tree of a store: its partitions and its watermark.
//!
//! ```text
//! fork ┬ "partitions" ─ forks ┬ until (8 bytes, big-endian) ─ tree of a partition (`tree.rs`)
//!      │                      ├ …
//!      │                      └ until ─ tree of the last partition
//!      └ "watermark" ─ leaf (`watermark.rs`)
//! ```
//!
//! The forks between partitions are a binary trie over the bits of `until`: when the first partition goes or another is begun at the end, only
//! the forks at that edge change.

use super::{tree::Hash, watermark::Watermark};
use ic_certification::{
    HashTree, empty, fork, fork_hash, labeled, labeled_hash, leaf, leaf_hash, pruned,
};
use std::collections::BTreeMap;

pub(crate) const PARTITIONS: &str = "partitions";
pub(crate) const WATERMARK: &str = "watermark";

/// A partition as it stands in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its label: it is kept until then, ns.
    pub(crate) until: u64,
    pub(crate) number: u16,
    /// Of its tree.
    pub(crate) root: u32,
    pub(crate) hash: Hash,
}

/// Hashes of forks, by the first and the last partition below them. Partitions come at the end and go at the beginning, so these say which
/// lie between.
#[derive(Debug, Default)]
pub(crate) struct Forks(BTreeMap<(u64, u64), Hash>);

impl Forks {
    /// A partition has changed.
    pub(crate) fn forget(&mut self, until: u64) {
        (self.0).retain(|(first, last), _| until < *first || *last < until);
    }

    /// Those who have gone are not asked for again.
    pub(crate) fn forget_before(&mut self, until: u64) {
        self.0.retain(|(first, _), _| *first >= until);
    }

    /// The hash of the forks over some partitions, in the order of their labels.
    pub(crate) fn hash(&mut self, parts: &[Part]) -> Hash {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            return empty().digest();
        };
        let place = (first.until, last.until);
        if let Some(hash) = self.0.get(&place) {
            return *hash;
        }
        let hash = match split(parts) {
            Some((left, right)) => fork_hash(&self.hash(left), &self.hash(right)),
            None => labeled_hash(&label(first.until), &first.hash),
        };
        self.0.insert(place, hash);
        hash
    }

    /// The forks over some partitions, of which `show` has the trees of those that are to be seen. `None` in its place shows the label.
    pub(crate) fn witness(
        &mut self,
        parts: &[Part],
        show: &mut BTreeMap<u64, Option<HashTree>>,
    ) -> HashTree {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            return empty();
        };
        if show.range(first.until..=last.until).next().is_none() {
            return pruned(self.hash(parts));
        }
        match split(parts) {
            Some((left, right)) => fork(self.witness(left, show), self.witness(right, show)),
            None => {
                let shown = show.remove(&first.until).flatten();
                let tree = shown.unwrap_or_else(|| pruned(first.hash));
                labeled(label(first.until), tree)
            }
        }
    }
}

pub(crate) fn label(until: u64) -> [u8; 8] {
    until.to_be_bytes()
}

/// Where the labels of partitions first differ; `None` if there is one partition.
fn split(parts: &[Part]) -> Option<(&[Part], &[Part])> {
    let (first, last) = (parts.first()?.until, parts.last()?.until);
    let bit = (first ^ last).checked_ilog2()?;
    Some(parts.split_at(parts.partition_point(|part| part.until >> bit & 1 == 0)))
}

/// The root of a store's tree.
pub(crate) fn root(partitions: &Hash, watermark: &Watermark) -> Hash {
    let watermark = leaf_hash(&watermark.bytes());
    fork_hash(
        &labeled_hash(PARTITIONS.as_bytes(), partitions),
        &labeled_hash(WATERMARK.as_bytes(), &watermark),
    )
}

/// A store's tree, of which the partitions are shown as they are given.
pub(crate) fn tree(partitions: HashTree, watermark: &Watermark) -> HashTree {
    fork(
        labeled(PARTITIONS, partitions),
        labeled(WATERMARK, leaf(watermark.bytes())),
    )
}
