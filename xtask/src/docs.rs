//! The API docs and the book.

use crate::{
    steps::{Ended, ROOT, Step, cargo, quietly},
    target_directory, tools,
};
use std::process::Command;

/// Both, and the links of all pages. The links are a test, so that `cargo xtask test` checks them without mdBook.
pub(crate) fn steps() -> Vec<Step> {
    vec![
        rustdoc(),
        Step::new("links", cargo("test --workspace --test links")),
        Step::call("book", || {
            let mut build = Command::new(tools::MDBOOK.install()?);
            build.args(["build", "docs", "--dest-dir"]);
            build.arg(target_directory().join("book")).current_dir(ROOT);
            quietly(&mut build).map(|()| Ended::Done)
        }),
    ]
}

/// The API docs, of private items, too.
pub(crate) fn rustdoc() -> Step {
    let step = Step::new(
        "docs",
        cargo("doc --workspace --no-deps --document-private-items"),
    );
    step.with_env("RUSTDOCFLAGS", "--deny warnings")
}
