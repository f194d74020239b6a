//! What pages include is there: mdBook leaves out silently what it doesn't find.

use std::{fs, path::PathBuf};

#[test]
fn what_pages_include_is_there() {
    let pages = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut anchors = 0;
    for entry in fs::read_dir(&pages).expect("the pages are there") {
        let path = entry.expect("an entry can be read").path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let page = fs::read_to_string(&path).expect("a page is text");
        for include in page.split("{{#include ").skip(1) {
            let include = include
                .split("}}")
                .next()
                .expect("a split has a first part");
            let (file, anchor) = match include.split_once(':') {
                Some((file, anchor)) => (file, Some(anchor)),
                None => (include, None),
            };
            let text = fs::read_to_string(pages.join(file));
            let text = text.unwrap_or_else(|error| panic!("{}: {file}: {error}", path.display()));
            let Some(anchor) = anchor else { continue };
            let (begin, end) = (
                format!("// ANCHOR: {anchor}"),
                format!("// ANCHOR_END: {anchor}"),
            );
            let place = |mark: &str| text.lines().position(|line| line.trim() == mark);
            assert!(
                place(&begin).is_some_and(|begin| Some(begin) < place(&end)),
                "{}: {file} has no {anchor}",
                path.display()
            );
            anchors += 1;
        }
    }
    assert!(anchors > 0, "the pages are not read");
}
