//! What the attribute refuses, with the message it gives. What it takes is in `attribute/pass`: each a test of its own.

use std::{fs, path::Path};

#[test]
fn attribute() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/attribute/fail/*.rs");
}

#[test]
fn each_program_that_is_taken_is_a_test() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(package.join("Cargo.toml")).expect("the manifest is there");
    let programs = fs::read_dir(package.join("tests/attribute/pass")).expect("they are there");
    for program in programs {
        let name = program.expect("it can be read").file_name();
        let path = format!("path = \"tests/attribute/pass/{}\"", name.display());
        assert!(manifest.contains(&path), "Cargo.toml lacks {path}");
    }
}
