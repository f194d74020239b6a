//! The page "Standard: outcome queries": its interface is the library's, and its vectors are what the library names requests by.
//! `UPDATE_VECTORS=1 cargo test -p book --test standard` writes the vectors' results anew.

use candid::{Int, Nat, Principal};
use candid_parser::utils::{CandidSource, service_compatible};
use idempotency_core::{
    Key, KeyWriter,
    identity::{Identity, LaneKey, RequestKey, Scope},
};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use std::{env, fs, path::PathBuf};

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn a_canister_with_this_library_has_the_interface() {
    let standard = read("src/idempotency.did");
    let interface = read("../example-payout/payout.did");
    service_compatible(
        CandidSource::Text(&interface),
        CandidSource::Text(&standard),
    )
    .unwrap_or_else(|error| panic!("{error}"));
}

/// What the standard says and the library says are the same types: neither has a case that the other lacks.
#[test]
fn the_interface_has_each_case_of_the_library() {
    use idempotency_core::{
        IdempotencyError,
        outcome::{Asked, Outcome},
    };
    #[ic_cdk::query]
    fn idempotency_outcomes(_calls: Vec<Asked>) -> Vec<Result<Outcome, IdempotencyError>> {
        vec![]
    }
    candid::export_service!();
    let standard = read("src/idempotency.did");
    candid_parser::utils::service_equal(
        CandidSource::Text(&__export_service()),
        CandidSource::Text(&standard),
    )
    .unwrap_or_else(|error| panic!("{error}"));
}

/// A value as the vectors have it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Value {
    Text(String),
    Blob(String),
    Principal(Principal),
    Bool(bool),
    Nat8(u8),
    Nat16(u16),
    Nat32(u32),
    Nat64(u64),
    Int8(i8),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    Nat(String),
    Int(String),
    Vec(Vec<Value>),
    Tuple(Vec<Value>),
    Opt(Option<Box<Value>>),
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// By the library's own types.
impl Key for Value {
    fn write(&self, key: &mut KeyWriter) {
        match self {
            Self::Text(text) => text.write(key),
            Self::Blob(blob) => bytes(blob).write(key),
            Self::Principal(principal) => principal.write(key),
            Self::Bool(bool) => bool.write(key),
            Self::Nat8(number) => number.write(key),
            Self::Nat16(number) => number.write(key),
            Self::Nat32(number) => number.write(key),
            Self::Nat64(number) => number.write(key),
            Self::Int8(number) => number.write(key),
            Self::Int16(number) => number.write(key),
            Self::Int32(number) => number.write(key),
            Self::Int64(number) => number.write(key),
            Self::Nat(number) => number.parse::<Nat>().expect("a nat").write(key),
            Self::Int(number) => number.parse::<Int>().expect("an int").write(key),
            Self::Vec(values) => values.write(key),
            Self::Tuple(parts) => parts.iter().for_each(|part| part.write(key)),
            Self::Opt(value) => value.as_deref().cloned().write(key),
        }
    }

    fn write_alone(&self, key: &mut KeyWriter) {
        match self {
            Self::Opt(value) => value.as_deref().cloned().write_alone(key),
            value => value.write(key),
        }
    }
}

/// By the page alone.
mod by_the_page {
    use super::{Value, bytes};
    use candid::Principal;

    pub(super) fn sized(bytes: &[u8]) -> Vec<u8> {
        [length(bytes.len()), bytes.to_vec()].concat()
    }

    fn length(length: usize) -> Vec<u8> {
        match length {
            0..255 => vec![length as u8],
            _ => [vec![255], (length as u64).to_le_bytes().to_vec()].concat(),
        }
    }

    /// Two's complement in as few bytes as it takes. The vectors' numbers fit into 129 bits, and those of that size are powers of two.
    fn int(number: &str) -> Vec<u8> {
        let number: i128 = number.parse().expect("an int");
        let mut bytes = number.to_le_bytes().to_vec();
        while let [.., before, last] = bytes[..] {
            let is_sign_only = match last {
                0 => before < 128,
                255 => before >= 128,
                _ => false,
            };
            if !is_sign_only {
                break;
            }
            bytes.pop();
        }
        bytes
    }

    fn nat(number: &str) -> Vec<u8> {
        let Ok(number) = number.parse::<u128>() else {
            assert_eq!(number, "340282366920938463463374607431768211456");
            return [vec![0; 16], vec![1]].concat();
        };
        let mut bytes = number.to_le_bytes().to_vec();
        while bytes.len() > 1 && bytes.last() == Some(&0) {
            bytes.pop();
        }
        bytes
    }

    pub(super) fn written(value: &Value, is_alone: bool) -> Vec<u8> {
        let parts = |values: &[Value]| -> Vec<u8> {
            values
                .iter()
                .flat_map(|value| written(value, false))
                .collect()
        };
        match value {
            Value::Text(text) => sized(text.as_bytes()),
            Value::Blob(blob) => sized(&bytes(blob)),
            Value::Principal(principal) => sized(principal.as_slice()),
            Value::Bool(bool) => sized(&[u8::from(*bool)]),
            Value::Nat8(number) => sized(&number.to_le_bytes()),
            Value::Nat16(number) => sized(&number.to_le_bytes()),
            Value::Nat32(number) => sized(&number.to_le_bytes()),
            Value::Nat64(number) => sized(&number.to_le_bytes()),
            Value::Int8(number) => sized(&number.to_le_bytes()),
            Value::Int16(number) => sized(&number.to_le_bytes()),
            Value::Int32(number) => sized(&number.to_le_bytes()),
            Value::Int64(number) => sized(&number.to_le_bytes()),
            Value::Nat(number) => sized(&nat(number)),
            Value::Int(number) => sized(&int(number)),
            Value::Vec(values) => [length(values.len()), parts(values)].concat(),
            Value::Tuple(values) => parts(values),
            Value::Opt(None) if is_alone => vec![],
            Value::Opt(Some(value)) if is_alone => written(value, true),
            Value::Opt(None) => vec![1, 0],
            Value::Opt(Some(value)) => [vec![1, 1], written(value, false)].concat(),
        }
    }

    pub(super) fn name(hashed: &[u8]) -> [u8; 24] {
        let hash = blake3::hash(hashed);
        let (name, _) = hash.as_bytes().split_first_chunk().expect("32 bytes");
        *name
    }

    pub(super) fn scope(scope: &super::ScopeOf, caller: &Principal) -> Vec<u8> {
        match scope {
            super::ScopeOf::Caller => [vec![0], sized(caller.as_slice())].concat(),
            super::ScopeOf::Global => vec![1],
            super::ScopeOf::Value(value) => [vec![2], sized(&written(value, true))].concat(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ScopeOf {
    Caller,
    Global,
    Value(Value),
}

#[derive(Debug, Deserialize)]
struct Vector {
    about: String,
    endpoint: String,
    scope: ScopeOf,
    caller: Principal,
    key: Option<Value>,
    #[serde(default)]
    lane: Option<Value>,
    number: Option<u64>,
    hashed: Option<String>,
    identity: Option<String>,
}

impl Vector {
    /// What the page says is hashed.
    fn hashed(&self) -> Vec<u8> {
        use by_the_page::{name, scope, sized, written};
        let named = |kind: u8, value: Option<&Value>| {
            let value = value.map(|value| written(value, true)).unwrap_or_default();
            let endpoint = sized(self.endpoint.as_bytes());
            [
                vec![kind],
                endpoint,
                scope(&self.scope, &self.caller),
                value,
            ]
            .concat()
        };
        match (&self.key, self.number) {
            (Some(key), _) => named(1, Some(key)),
            (None, None) => named(2, self.lane.as_ref()),
            (None, Some(number)) => {
                let lane = name(&named(2, self.lane.as_ref()));
                [&[3], &lane[..], &number.to_le_bytes()].concat()
            }
        }
    }

    /// How the library names it.
    fn identity(&self) -> Identity {
        let scope = match &self.scope {
            ScopeOf::Caller => Scope::Caller,
            ScopeOf::Global => Scope::Global,
            ScopeOf::Value(value) => Scope::of(value),
        };
        if let Some(key) = &self.key {
            let key = RequestKey::of(key).expect("it is a key");
            return Identity::new(&self.endpoint, &scope, &self.caller, &key).expect("it is valid");
        }
        let lane = self.lane.as_ref().map(LaneKey::of).unwrap_or_default();
        let lane =
            Identity::of_lane(&self.endpoint, &scope, &self.caller, &lane).expect("it is valid");
        match self.number {
            Some(number) => Identity::of_number(&lane, number),
            None => lane,
        }
    }
}

/// The bytes of an identity, as it is sent.
fn sent(identity: &Identity) -> Vec<u8> {
    let encoded = candid::encode_one(identity).expect("it encodes");
    candid::decode_one::<serde_bytes::ByteBuf>(&encoded)
        .expect("a blob")
        .into_vec()
}

#[test]
fn the_vectors_are_what_the_library_names_requests_by() {
    const FILE: &str = "src/idempotency-vectors.json";
    let text = read(FILE);
    let vectors: Vec<Vector> = serde_json::from_str(&text).expect("vectors");
    assert!(vectors.len() > 10);
    if env::var_os("UPDATE_VECTORS").is_some() {
        let mut lines: Vec<Map<String, Json>> = serde_json::from_str(&text).expect("vectors");
        for (line, vector) in lines.iter_mut().zip(&vectors) {
            line.insert("hashed".into(), json!(hex(&vector.hashed())));
            line.insert("identity".into(), json!(hex(&sent(&vector.identity()))));
        }
        let lines: Vec<String> = (lines.iter())
            .map(|line| format!("  {}", serde_json::to_string(line).expect("it encodes")))
            .collect();
        let text = format!("[\n{}\n]\n", lines.join(",\n"));
        fs::write(path(FILE), text).expect("it is written");
        return;
    }
    for vector in vectors {
        let about = &vector.about;
        let hashed = vector.hashed();
        assert_eq!(Some(hex(&hashed)), vector.hashed, "{about}");
        let identity = sent(&vector.identity());
        assert_eq!(identity, by_the_page::name(&hashed), "{about}");
        assert_eq!(Some(hex(&identity)), vector.identity, "{about}");
    }
}
