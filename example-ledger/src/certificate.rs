//! What the subnet certifies of the ledger: its last block, and that its status page needs no certification.
//!
//! ```text
//! fork ┬ "http_expr" ─ what `ic-http-certification` says of pages
//!      └ fork ┬ "last_block_hash" ─ 32 bytes
//!             └ "last_block_index" ─ LEB128
//! ```
//!
//! Without a block there is only the former.

use candid::Nat;
use ic_certification::{HashTree, fork, fork_hash, labeled, labeled_hash, leaf, leaf_hash, pruned};
use ic_http_certification::{
    CERTIFICATE_EXPRESSION_HEADER_NAME, DefaultCelBuilder, HttpCertification,
    HttpCertificationPath, HttpCertificationTree, HttpCertificationTreeEntry, HttpResponse,
    utils::{add_v2_certificate_header, skip_certification_certified_data},
};

use crate::blocks::Hash;

const HASH: &str = "last_block_hash";
const INDEX: &str = "last_block_index";

/// Index and hash of the last block.
type Tip = (u64, Hash);

thread_local! {
    /// The same in every message.
    static PAGES: Hash = skip_certification_certified_data();
}

/// The certified data.
pub(crate) fn root(tip: Option<Tip>) -> Hash {
    let pages = PAGES.with(|hash| *hash);
    match tip {
        Some(tip) => fork_hash(&pages, &blocks_hash(tip)),
        None => pages,
    }
}

/// The tree of `icrc3_get_tip_certificate`, in CBOR. `None` if there is no block.
pub(crate) fn tip_tree(tip: Option<Tip>) -> Option<Vec<u8>> {
    let (index, hash) = tip?;
    let blocks = fork(
        labeled(HASH, leaf(hash)),
        labeled(INDEX, leaf(leb128(index))),
    );
    let tree = fork(pruned(PAGES.with(|hash| *hash)), blocks);
    let mut bytes = vec![];
    ciborium::into_writer(&tree, &mut bytes).expect("writing to a Vec can't fail");
    Some(bytes)
}

/// Has an answer say that it needs no certification, and prove that the ledger says so.
pub(crate) fn skip(certificate: &[u8], tip: Option<Tip>, response: &mut HttpResponse<'_>) {
    let path = HttpCertificationPath::wildcard("");
    let tree = pages_tree(&path, tip);
    add_v2_certificate_header(certificate, response, &tree, &path.to_expr_path());
    response.add_header((
        CERTIFICATE_EXPRESSION_HEADER_NAME.to_owned(),
        DefaultCelBuilder::skip_certification().to_string(),
    ));
}

fn pages_tree(path: &HttpCertificationPath<'_>, tip: Option<Tip>) -> HashTree {
    let mut pages = HttpCertificationTree::default();
    pages.insert(&HttpCertificationTreeEntry::new(
        path,
        HttpCertification::skip(),
    ));
    let pages = pages.as_hash_tree();
    match tip {
        Some(tip) => fork(pages, pruned(blocks_hash(tip))),
        None => pages,
    }
}

fn blocks_hash((index, hash): Tip) -> Hash {
    fork_hash(
        &labeled_hash(HASH.as_bytes(), &leaf_hash(&hash)),
        &labeled_hash(INDEX.as_bytes(), &leaf_hash(&leb128(index))),
    )
}

fn leb128(index: u64) -> Vec<u8> {
    let mut bytes = vec![];
    let written = Nat::from(index).encode(&mut bytes);
    written.expect("writing to a Vec can't fail");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use ic_cbor::HashTreeToCbor as _;
    use ic_certification::{LookupResult, SubtreeLookupResult};

    const TIPS: [Option<Tip>; 3] = [None, Some((0, [7; 32])), Some((300, [8; 32]))];

    #[test]
    fn the_tip_is_in_the_tree_that_is_certified() {
        assert_eq!(tip_tree(None), None);
        for tip in TIPS.into_iter().flatten() {
            let tree = HashTree::from_cbor(&tip_tree(Some(tip)).unwrap()).unwrap();
            assert_eq!(tree.digest(), root(Some(tip)));
            let found = |label: &str| match tree.lookup_path([label.as_bytes()]) {
                LookupResult::Found(bytes) => bytes.to_vec(),
                other => panic!("{other:?}"),
            };
            assert_eq!(found(HASH), tip.1);
            let index = Nat::decode(&mut &found(INDEX)[..]).unwrap();
            assert_eq!(index, Nat::from(tip.0));
        }
    }

    #[test]
    fn the_page_is_in_the_tree_that_is_certified() {
        let path = HttpCertificationPath::wildcard("");
        for tip in TIPS {
            let tree = pages_tree(&path, tip);
            assert_eq!(tree.digest(), root(tip));
            let found = tree.lookup_subtree(["http_expr".as_bytes(), b"<*>"]);
            assert!(matches!(found, SubtreeLookupResult::Found(_)), "{found:?}");
        }
    }
}
