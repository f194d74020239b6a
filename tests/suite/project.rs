//! `dfx.json` and `icp.yaml`: that they name what is there, and keep to their published schemas. And the tests themselves.

use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dfx_json() -> Value {
    serde_json::from_str(&read(&workspace().join("dfx.json"))).expect("dfx.json is JSON")
}

fn icp_yaml() -> Value {
    serde_saphyr::from_str(&read(&workspace().join("icp.yaml"))).expect("icp.yaml is YAML")
}

#[test]
fn both_build_the_ledger_and_its_archive_and_find_them() {
    for (number, name) in ["ledger", "archive"].into_iter().enumerate() {
        let ledger = &dfx_json()["canisters"][name];
        let text = |field: &str| ledger[field].as_str().expect("a text").to_owned();
        assert!(workspace().join(text("candid")).exists());
        assert_eq!(text("wasm"), format!("target/canisters/{name}.wasm"));
        assert_eq!(text("build"), "cargo xtask wasm");

        let canister = &icp_yaml()["canisters"][number];
        assert_eq!(canister["name"], name);
        let commands = canister["build"]["steps"][0]["commands"].to_string();
        assert!(
            commands.contains(&text("build")) && commands.contains(&text("wasm")),
            "{commands}"
        );
    }
}

/// The schemas are dfx's and icp's own, and not part of this project: `IDEMPOTENCY_SCHEMAS` names the folder that has them.
#[test]
fn both_keep_to_their_schemas() {
    let Some(schemas) = std::env::var_os("IDEMPOTENCY_SCHEMAS").map(PathBuf::from) else {
        println!("not checked: IDEMPOTENCY_SCHEMAS names no folder with dfx's and icp's schemas");
        return;
    };
    for (file, schema) in [
        (dfx_json(), "dfx-json-schema.json"),
        (icp_yaml(), "icp-yaml-schema.json"),
    ] {
        let schema = serde_json::from_str(&read(&schemas.join(schema))).expect("a JSON schema");
        jsonschema::validate(&schema, &file).expect("the file keeps to its schema");
    }
}

/// The guarantees that hold on a replica, as the tests name them: for each there is a test that shows it.
#[test]
fn each_guarantee_is_shown_by_a_test() {
    let suite = workspace().join("tests/suite");
    let sources: Vec<String> = std::fs::read_dir(suite)
        .expect("the suite is there")
        .map(|entry| read(&entry.expect("an entry can be read").path()))
        .collect();
    let lines = sources.iter().flat_map(|source| source.lines());
    let shown: BTreeSet<&str> = lines
        .filter_map(|line| line.strip_prefix("/// Shows ")?.strip_suffix('.'))
        .flat_map(|guarantees| guarantees.split(", "))
        .collect();
    let numbers = (1..=11).chain([15]);
    let missing: Vec<String> = numbers
        .map(|number| format!("G{number}"))
        .filter(|guarantee| !shown.contains(guarantee.as_str()))
        .collect();
    assert!(missing.is_empty(), "no test shows {missing:?}");
}
