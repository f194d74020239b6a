//! What the IC demands of a module beyond being valid Wasm.

use super::instrument::START;
use super::module::{InvalidModule, Metadata};
use std::collections::HashSet;
use wasmparser::types::Types;
use wasmparser::{Export, ExternalKind, Parser, Payload, TypeRef, Validator, WasmFeatures};

const MAX_METHODS: usize = 1_000;
const MAX_METHOD_NAMES: usize = 20_000;
const MAX_METADATA_SECTIONS: usize = 16;
const MAX_METADATA_BYTES: usize = 1 << 20;

/// Exports that are entry points without a method name.
const SYSTEM_METHODS: [&str; 7] = [
    "canister_init",
    "canister_inspect_message",
    "canister_pre_upgrade",
    "canister_post_upgrade",
    "canister_heartbeat",
    "canister_global_timer",
    "canister_on_low_wasm_memory",
];

/// What of a valid module is needed later.
pub(super) struct Valid {
    /// Names of all entry points.
    pub(super) exports: HashSet<String>,
    pub(super) metadata: Vec<Metadata>,
}

/// Checks a module.
pub(super) fn validate(wasm: &[u8]) -> Result<Valid, InvalidModule> {
    let types = check_wasm(wasm).map_err(|error| invalid("", error))?;
    let mut valid = Valid {
        exports: HashSet::new(),
        metadata: Vec::new(),
    };
    let mut methods = Methods::default();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(|error| invalid("", error))? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    check_import(&import.map_err(|error| invalid("", error))?)?;
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(|error| invalid("", error))?;
                    if export.kind == ExternalKind::Func && export.name.starts_with("canister_") {
                        check_type(&types, &export)?;
                        methods.add(export.name)?;
                        valid.exports.insert(export.name.to_owned());
                    }
                }
            }
            Payload::StartSection { .. } => {
                valid.exports.insert(START.to_owned());
            }
            Payload::CustomSection(section) => {
                let (public, name) = match section.name().split_once(' ') {
                    Some(("icp:public", name)) => (true, name),
                    Some(("icp:private", name)) => (false, name),
                    _ => continue,
                };
                let content = section.data().to_vec();
                valid.metadata.push(Metadata {
                    name: name.to_owned(),
                    public,
                    content,
                });
            }
            _ => {}
        }
    }
    check_metadata(&valid.metadata)?;
    Ok(valid)
}

fn invalid(section: &str, error: impl std::fmt::Display) -> InvalidModule {
    let prefix = match section {
        "" => "Wasm module is not valid.".to_owned(),
        section => format!("Wasm module has an invalid {section}."),
    };
    InvalidModule::Invalid(format!("{prefix} {error}"))
}

/// Plain validation, with the features that canisters have.
fn check_wasm(wasm: &[u8]) -> wasmparser::Result<Types> {
    let features = WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::CALL_INDIRECT_OVERLONG
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::BULK_MEMORY_OPT
        | WasmFeatures::SIMD
        | WasmFeatures::FLOATS
        | WasmFeatures::TAIL_CALL;
    Validator::new_with_features(features).validate_all(wasm)
}

fn check_import(import: &wasmparser::Import<'_>) -> Result<(), InvalidModule> {
    let section = "import section";
    if !matches!(import.ty, TypeRef::Func(_)) {
        return Err(invalid(section, "Only function imports are allowed."));
    }
    if import.module != "ic0" {
        return Err(invalid(
            section,
            format!(
                "Module imports function '{}' from '{}' that is not exported by the runtime.",
                import.name, import.module
            ),
        ));
    }
    Ok(())
}

/// Entry points take and return nothing.
fn check_type(types: &Types, export: &Export<'_>) -> Result<(), InvalidModule> {
    let function = types[types.as_ref().core_function_at(export.index)].unwrap_func();
    if function.params().is_empty() && function.results().is_empty() {
        return Ok(());
    }
    Err(invalid(
        "function signature",
        format!(
            "Expected input params and return type of '{}' to be [].",
            export.name
        ),
    ))
}

#[derive(Default)]
struct Methods<'a> {
    names: HashSet<&'a str>,
    bytes: usize,
}

impl<'a> Methods<'a> {
    fn add(&mut self, export: &'a str) -> Result<(), InvalidModule> {
        let section = "export section";
        if SYSTEM_METHODS.contains(&export) {
            return Ok(());
        }
        let Some(("canister_update" | "canister_query" | "canister_composite_query", name)) =
            export.split_once(' ')
        else {
            return Err(invalid(
                section,
                format!("Exporting reserved function '{export}' with \"canister_\" prefix"),
            ));
        };
        if !self.names.insert(name) {
            return Err(invalid(
                section,
                format!(
                    "Duplicate function '{name}' exported multiple times with different call types: update, query, or composite_query."
                ),
            ));
        }
        self.bytes += name.len();
        if self.names.len() > MAX_METHODS {
            return Err(invalid(
                section,
                format!(
                    "The number of exported functions called `canister_update <name>`, `canister_query <name>`, or `canister_composite_query <name>` exceeds {MAX_METHODS}."
                ),
            ));
        }
        if self.bytes > MAX_METHOD_NAMES {
            return Err(invalid(
                section,
                format!(
                    "The sum of `<name>` lengths in exported functions called `canister_update <name>`, `canister_query <name>`, or `canister_composite_query <name>` exceeds {MAX_METHOD_NAMES}."
                ),
            ));
        }
        Ok(())
    }
}

fn check_metadata(metadata: &[Metadata]) -> Result<(), InvalidModule> {
    let section = "custom section";
    if metadata.len() > MAX_METADATA_SECTIONS {
        let error =
            format!("Number of custom sections with prefix icp: exceeds {MAX_METADATA_SECTIONS}.");
        return Err(invalid(section, error));
    }
    let mut names = HashSet::new();
    if let Some(twice) = metadata.iter().find(|entry| !names.insert(&entry.name)) {
        return Err(invalid(
            section,
            format!("Multiple definitions of section '{}'.", twice.name),
        ));
    }
    if metadata
        .iter()
        .map(|entry| entry.name.len() + entry.content.len())
        .sum::<usize>()
        > MAX_METADATA_BYTES
    {
        return Err(invalid(
            section,
            format!("Custom sections are larger than {MAX_METADATA_BYTES} bytes."),
        ));
    }
    Ok(())
}
