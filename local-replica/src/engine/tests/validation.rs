//! Modules the IC refuses.

use super::{Module, compile};

fn refused(wat: &str, part: &str) {
    let error = compile(wat).expect_err("must be refused").to_string();
    assert!(error.contains(part), "{error}");
}

#[test]
fn invalid_modules() {
    assert!(Module::compile(b"nonsense").is_err());
    refused("(module (func i32.add drop))", "not valid");
    refused(
        r#"(module (import "env" "f" (func)))"#,
        "Module imports function 'f' from 'env' that is not exported by the runtime.",
    );
    refused(
        r#"(module (import "ic0" "frobnicate" (func)))"#,
        "import section",
    );
    refused(
        r#"(module (import "ic0" "time" (func (result i32))))"#,
        "import section",
    );
    refused(
        r#"(module (import "ic0" "memory" (memory 1)))"#,
        "import section",
    );
    refused(
        r#"(module (func (export "canister_init") (param i32)))"#,
        "function signature",
    );
    refused(
        r#"(module (func (export "canister_frobnicate")))"#,
        "Exporting reserved function",
    );
    refused(
        r#"(module (func (export "canister_update a")) (func (export "canister_query a")))"#,
        "Duplicate function 'a'",
    );
    refused("(module (memory 1) (memory 1))", "not valid");
}

#[test]
fn what_a_module_tells() {
    let module = compile(
        r#"(module (func $f (export "canister_update a")) (func (export "canister_query b c")) (start $f)
        (@custom "icp:public candid:service" "service : {}") (@custom "icp:private x" "y") (@custom "other" "z"))"#,
    )
    .unwrap();
    assert!(module.has_update("a") && module.has_query("b c") && module.has_start());
    assert!(!module.has_update("b c") && !module.has_init());
    let metadata: Vec<_> = module
        .metadata()
        .iter()
        .map(|entry| (entry.name.as_str(), entry.public))
        .collect();
    assert_eq!(metadata, [("candid:service", true), ("x", false)]);
}

#[test]
fn functions_are_referred_to_because_they_are_exported() {
    let module = r#"(module (func $f (export "heap"))
        (func (export "canister_update a") ref.func $f drop))"#;
    assert!(compile(module).is_ok());
}
