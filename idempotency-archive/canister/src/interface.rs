//! `archive.did` against the code.

use super::*;

candid::export_service!();

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/archive.did");

/// `UPDATE_DID=1 cargo test -p idempotency-archive-canister` writes the file anew.
#[test]
fn archive_did_is_what_the_code_exports() {
    let exported = __export_service();
    if std::env::var_os("UPDATE_DID").is_some() {
        let lines: String = exported
            .lines()
            .flat_map(|line| [line.trim_end(), "\n"])
            .collect();
        std::fs::write(FILE, lines).unwrap();
    }
    let written = std::fs::read_to_string(FILE).unwrap();
    assert!(
        without_comments(&written).eq(without_comments(&exported)),
        "archive.did is out of date: run this test with UPDATE_DID=1"
    );
}

/// A reworded comment is no change of the interface.
fn without_comments(did: &str) -> impl Iterator<Item = &str> {
    did.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}
