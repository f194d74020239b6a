//! How the contents that the nodes of a subnet have got become the answer of an outcall.

use std::collections::BTreeMap;
use std::fmt::Write;

use pocket_ic::ErrorCode;
use sha2::{Digest, Sha256};

use crate::errors::Reject;

/// What a node proposes: the response after the transform, or why there is none.
pub(super) type Content = Result<Vec<u8>, Reject>;

/// The answer of a fully replicated outcall: what at least n − f of n nodes propose, f being the faults that n nodes
/// tolerate. Rejects take part like replies.
pub(super) fn agree(request_id: u64, contents: Vec<Content>) -> Content {
    let faulty = contents.len().saturating_sub(1) / 3;
    let threshold = contents.len() - faulty;
    let mut groups: BTreeMap<[u8; 32], (usize, Content)> = BTreeMap::new();
    for content in contents {
        groups.entry(digest(&content)).or_insert((0, content)).0 += 1;
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    // The most frequent first, and of equally frequent ones that with the larger digest.
    groups.sort_by_key(|(_, (count, _))| *count);
    groups.reverse();
    match groups.first() {
        Some((_, (count, content))) if *count >= threshold => content.clone(),
        _ => Err(no_consensus(request_id, &groups)),
    }
}

/// The answer of a non-replicated outcall: what its node proposes. The id of the outcall decides which node that is.
pub(super) fn of_one_node(request_id: u64, mut contents: Vec<Content>) -> Content {
    let index = request_id % contents.len() as u64;
    // Less than the number of nodes.
    contents.swap_remove(index as usize)
}

fn no_consensus(request_id: u64, groups: &[([u8; 32], (usize, Content))]) -> Reject {
    let mut text = format!(
        "No consensus could be reached. Replicas had different responses. Details: request_id: {request_id}, hashes: "
    );
    for (index, (digest, (count, _))) in groups.iter().enumerate() {
        text.push_str(if index == 0 { "[" } else { ", [" });
        for byte in digest {
            // Writing to a string can't fail.
            let _ = write!(text, "{byte:02x}");
        }
        let _ = write!(text, ": {count}]");
    }
    Reject::plain(ErrorCode::IngressMessageTimeout, text)
}

/// Tells contents apart; the IC has other digests.
fn digest(content: &Content) -> [u8; 32] {
    let mut hash = Sha256::new();
    match content {
        Ok(reply) => {
            hash.update([0]);
            hash.update(reply);
        }
        Err(reject) => {
            let (code, text) = reject.for_canister();
            hash.update([1]);
            hash.update(code.to_le_bytes());
            hash.update(text);
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(groups: &[(usize, Content)]) -> Vec<Content> {
        let each = |(count, content): &(usize, Content)| vec![content.clone(); *count];
        groups.iter().flat_map(each).collect()
    }

    fn reject(text: &str) -> Content {
        Err(Reject::plain(ErrorCode::CanisterTrapped, text))
    }

    fn is_no_consensus(content: &Content) -> bool {
        let text = "No consensus could be reached.";
        matches!(content, Err(reject) if reject.message.starts_with(text))
    }

    /// n, and how many of them have to agree.
    #[test]
    fn all_but_the_tolerated_faults_must_agree() {
        for (nodes, threshold) in [(1, 1), (2, 2), (3, 3), (4, 3), (7, 5), (13, 9), (34, 23)] {
            let split = |agreeing| {
                let other = (nodes - agreeing, Ok(b"other".to_vec()));
                agree(7, contents(&[(agreeing, Ok(b"one".to_vec())), other]))
            };
            assert_eq!(split(threshold), Ok(b"one".to_vec()), "{nodes}");
            if threshold > 1 {
                assert!(is_no_consensus(&split(threshold - 1)), "{nodes}");
            }
        }
    }

    #[test]
    fn rejects_agree_like_replies() {
        let reply = Ok(b"reply".to_vec());
        let most = agree(7, contents(&[(4, reply.clone()), (9, reject("no"))]));
        assert_eq!(most, reject("no"));
        let few = agree(7, contents(&[(9, reply.clone()), (4, reject("no"))]));
        assert_eq!(few, reply);
        let different: Vec<Content> = (0..13).map(|node| reject(&node.to_string())).collect();
        assert!(is_no_consensus(&agree(7, different)));
    }

    #[test]
    fn disagreement_is_told_with_the_most_frequent_first() {
        let groups = [
            (2, Ok(b"a".to_vec())),
            (8, reject("no")),
            (3, Ok(b"b".to_vec())),
        ];
        let refusal = agree(42, contents(&groups)).expect_err("no consensus");
        assert_eq!(refusal.code() as u64, 2, "transient");
        let (before, hashes) = refusal.message.split_once("hashes: ").expect("hashes");
        assert_eq!(
            before,
            "No consensus could be reached. Replicas had different responses. Details: request_id: 42, "
        );
        let counts: Vec<&str> = hashes
            .split("], [")
            .filter_map(|hash| hash.split(": ").nth(1))
            .collect();
        assert_eq!(counts, ["8", "3", "2]"]);
    }

    #[test]
    fn the_order_of_the_nodes_does_not_matter() {
        let mut all: Vec<Content> = (0..13).map(|node| Ok(vec![node % 7])).collect();
        let first = agree(1, all.clone());
        all.reverse();
        assert_eq!(agree(1, all), first);
    }

    #[test]
    fn one_node_speaks_for_a_non_replicated_outcall() {
        let all: Vec<Content> = (0..13).map(|node| Ok(vec![node])).collect();
        assert_eq!(of_one_node(0, all.clone()), Ok(vec![0]));
        assert_eq!(of_one_node(14, all), Ok(vec![1]));
    }
}
