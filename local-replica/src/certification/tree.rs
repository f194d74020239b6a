//! Labelled trees, and the parts of them that a certificate shows.

use std::collections::BTreeMap;

use ic_certification::{Hash, HashTree, empty, fork, labeled, leaf, pruned};

/// A labelled tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    Leaf(Vec<u8>),
    Node(BTreeMap<Vec<u8>, Tree>),
    /// A part that nobody is shown: its hash.
    Hidden(Hash),
}

impl Tree {
    /// A tree without anything in it.
    pub(crate) fn new() -> Self {
        Tree::Node(BTreeMap::new())
    }

    /// The tree with one more child. A leaf is replaced by it.
    pub(crate) fn with(self, label: impl AsRef<[u8]>, child: Tree) -> Self {
        let mut children = match self {
            Tree::Leaf(_) | Tree::Hidden(_) => BTreeMap::new(),
            Tree::Node(children) => children,
        };
        children.insert(label.as_ref().to_vec(), child);
        Tree::Node(children)
    }

    /// The tree with one more leaf.
    pub(crate) fn with_leaf(self, label: impl AsRef<[u8]>, content: impl Into<Vec<u8>>) -> Self {
        self.with(label, Tree::Leaf(content.into()))
    }

    /// The tree, seen by nobody.
    pub(crate) fn hidden(&self) -> Self {
        Tree::Hidden(self.whole().digest())
    }

    /// What is at the paths, with the proof of what isn't there: the labels on either side. The rest is but hashes.
    pub(crate) fn witness<P: AsRef<[L]>, L: AsRef<[u8]>>(&self, paths: &[P]) -> HashTree {
        let paths: Vec<Vec<&[u8]>> = paths
            .iter()
            .map(|path| path.as_ref().iter().map(AsRef::as_ref).collect())
            .collect();
        let paths: Vec<&[&[u8]]> = paths.iter().map(Vec::as_slice).collect();
        self.part(&paths)
    }

    fn part(&self, paths: &[&[&[u8]]]) -> HashTree {
        if paths.iter().any(|path| path.is_empty()) {
            return self.whole();
        }
        match self {
            Tree::Node(children) if !paths.is_empty() => {
                let shown = shown(children, paths);
                balanced(children.iter().map(|(label, child)| {
                    let paths = shown.get(label.as_slice());
                    let part = labeled(
                        label.clone(),
                        child.part(paths.map_or(&[][..], Vec::as_slice)),
                    );
                    match paths {
                        Some(_) => Part::Shown(part),
                        None => Part::Pruned(pruned(part.digest())),
                    }
                }))
            }
            _ => pruned(self.whole().digest()),
        }
    }

    fn whole(&self) -> HashTree {
        match self {
            Tree::Leaf(content) => leaf(content.clone()),
            Tree::Hidden(hash) => pruned(*hash),
            Tree::Node(children) => balanced(
                children
                    .iter()
                    .map(|(label, child)| Part::Shown(labeled(label.clone(), child.whole()))),
            ),
        }
    }
}

/// The children that are seen, and what of each.
fn shown<'a, 'b>(
    children: &'b BTreeMap<Vec<u8>, Tree>,
    paths: &[&'a [&'a [u8]]],
) -> BTreeMap<&'b [u8], Vec<&'a [&'a [u8]]>> {
    let mut shown: BTreeMap<&[u8], Vec<_>> = BTreeMap::new();
    for path in paths {
        let Some((first, rest)) = path.split_first() else {
            continue;
        };
        if let Some((label, _)) = children.get_key_value(*first) {
            shown.entry(label).or_default().push(rest);
            continue;
        }
        let below = children
            .keys()
            .take_while(|label| label.as_slice() < *first)
            .last();
        let above = children.keys().find(|label| label.as_slice() > *first);
        for label in below.into_iter().chain(above) {
            shown.entry(label).or_default();
        }
    }
    shown
}

enum Part {
    Shown(HashTree),
    Pruned(HashTree),
}

/// A tree with these leaves, in this order, in which what is pruned as a whole is one hash.
fn balanced(parts: impl Iterator<Item = Part>) -> HashTree {
    let mut level: Vec<Part> = parts.collect();
    while level.len() > 1 {
        let mut parts = level.into_iter();
        let mut next = Vec::new();
        while let Some(left) = parts.next() {
            next.push(match (left, parts.next()) {
                (left, None) => left,
                (Part::Pruned(left), Some(Part::Pruned(right))) => {
                    Part::Pruned(pruned(fork(left, right).digest()))
                }
                (
                    Part::Shown(left) | Part::Pruned(left),
                    Some(Part::Shown(right) | Part::Pruned(right)),
                ) => Part::Shown(fork(left, right)),
            });
        }
        level = next;
    }
    match level.pop() {
        Some(Part::Shown(tree) | Part::Pruned(tree)) => tree,
        None => empty(),
    }
}

#[cfg(test)]
mod tests {
    use ic_certification::LookupResult;
    use ic_certification::SubtreeLookupResult;

    use super::*;

    fn tree(labels: &[&str]) -> Tree {
        labels
            .iter()
            .fold(Tree::new(), |tree, label| tree.with_leaf(label, *label))
    }

    #[test]
    fn witness_has_the_hash_of_the_whole() {
        let labels = ["a", "b", "d", "e", "g"];
        let tree = tree(&labels).with("c", tree(&["x", "y"]));
        let whole = tree.whole().digest();
        let paths: [&[&str]; 6] = [&["a"], &["c", "x"], &["c", "z"], &["c"], &["f"], &["A"]];
        for chosen in 0..1 << paths.len() {
            let paths: Vec<_> = (0..paths.len())
                .filter(|bit| chosen & (1 << bit) != 0)
                .map(|bit| paths[bit])
                .collect();
            assert_eq!(tree.witness(&paths).digest(), whole, "{paths:?}");
        }
    }

    #[test]
    fn what_is_asked_for_is_found_and_the_rest_unknown() {
        let tree = tree(&["a", "b", "d"]).with("c", tree(&["x", "y"]));
        let witness = tree.witness(&[&["c", "x"]]);
        assert_eq!(
            witness.lookup_path(["c", "x"]),
            LookupResult::Found(b"x".as_slice())
        );
        for hidden in [&["a"][..], &["c", "y"], &["aa"]] {
            assert_eq!(witness.lookup_path(hidden), LookupResult::Unknown);
        }
    }

    #[test]
    fn hidden_parts_are_not_shown_and_change_nothing() {
        let inner = tree(&["x", "y"]);
        let tree = tree(&["a", "b"]);
        let hiding = tree.clone().with("c", inner.hidden());
        let whole = tree.with("c", inner).whole().digest();
        for paths in [&[&["c", "x"][..]][..], &[&["c"]], &[&[]]] {
            let witness = hiding.witness(paths);
            assert_eq!(witness.digest(), whole);
            assert_eq!(witness.lookup_path(["c", "x"]), LookupResult::Unknown);
        }
    }

    #[test]
    fn absence_is_proved_at_every_place() {
        let tree = tree(&["b", "d", "f"]);
        for absent in ["a", "c", "e", "g"] {
            let witness = tree.witness(&[&[absent]]);
            assert_eq!(witness.lookup_path([absent]), LookupResult::Absent);
            assert_eq!(
                witness.lookup_subtree([absent.as_bytes()]),
                SubtreeLookupResult::Absent
            );
            assert_eq!(witness.digest(), tree.whole().digest());
        }
        let empty = Tree::new().witness(&[&["a"]]);
        assert_eq!(empty.lookup_path(["a"]), LookupResult::Absent);
    }
}
