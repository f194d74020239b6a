//! ICRC-3's values: their hash, and the bytes they are stored as; and the types of its methods.
//!
//! Of a typical transfer's block the bytes of [`Value::to_bytes`] are 189, those of candid 243: candid repeats the type in each.

use candid::{CandidType, Int, Nat, Principal};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use sha2::{Digest as _, Sha256};
use std::{cell::RefCell, collections::BTreeMap};

/// How deep values may lie in each other to be stored. A block of ICRC-1 or ICRC-2 is four deep.
pub const MAX_DEPTH: usize = 32;

/// A value of ICRC-3; a block is one.
///
/// Whoever decodes one from candid relies on candid for the bound of its depth.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub enum Value {
    /// Bytes.
    Blob(ByteBuf),
    /// A text.
    Text(String),
    /// A natural number.
    Nat(Nat),
    /// An integer.
    Int(Int),
    /// Values in their order.
    Array(Vec<Value>),
    /// Values by name. The order is kept, and counts for equality, but not for the hash.
    Map(Vec<(String, Value)>),
}

/// Why a value can't be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("values lie more than {MAX_DEPTH} deep in each other")]
pub struct TooDeep;

/// Why bytes are no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoValue {
    /// They end too early.
    #[error("the bytes of a value end too early")]
    Truncated,
    /// There are some after it.
    #[error("there are bytes after a value")]
    TrailingBytes,
    /// A kind of value that is not known.
    #[error("there is no kind of value {0}")]
    UnknownKind(u8),
    /// A length that fits no memory.
    #[error("the length of a value is too long")]
    Length,
    /// A text that is no UTF-8.
    #[error("a text is no UTF-8")]
    Text,
    /// See [`TooDeep`].
    #[error(transparent)]
    TooDeep(#[from] TooDeep),
}

mod kind {
    pub(super) const BLOB: u8 = 0;
    pub(super) const TEXT: u8 = 1;
    pub(super) const NAT: u8 = 2;
    pub(super) const INT: u8 = 3;
    pub(super) const ARRAY: u8 = 4;
    pub(super) const MAP: u8 = 5;
}

impl Value {
    /// A blob.
    pub fn blob(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Blob(ByteBuf::from(bytes))
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A natural number.
    pub fn nat(number: impl Into<Nat>) -> Self {
        Self::Nat(number.into())
    }

    /// Values by name.
    pub fn map<K: Into<String>>(fields: impl IntoIterator<Item = (K, Value)>) -> Self {
        Self::Map(
            fields
                .into_iter()
                .map(|(name, it)| (name.into(), it))
                .collect(),
        )
    }

    /// Of the name's values in a map the first.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Map(fields) => fields.iter().find(|it| it.0 == name).map(|it| &it.1),
            _ => None,
        }
    }

    /// The representation-independent hash, as ICRC-3 defines it. For a block it is what the next one has as its `phash`.
    ///
    /// It calls itself as deep as the value is.
    pub fn hash(&self) -> [u8; 32] {
        match self {
            Self::Blob(bytes) => sha256(bytes),
            Self::Text(text) => hash_of_text(text),
            Self::Nat(number) => sha256(&nat_to_bytes(number)),
            Self::Int(number) => sha256(&int_to_bytes(number)),
            Self::Array(values) => {
                let mut hasher = Sha256::new();
                for value in values {
                    hasher.update(value.hash());
                }
                hasher.finalize().into()
            }
            Self::Map(fields) => {
                let mut hashes: Vec<_> = (fields.iter())
                    .map(|(name, value)| (hash_of_text(name), value.hash()))
                    .collect();
                hashes.sort_unstable();
                let mut hasher = Sha256::new();
                for (name, value) in hashes {
                    hasher.update(name);
                    hasher.update(value);
                }
                hasher.finalize().into()
            }
        }
    }

    /// As it is stored: for each value a byte that says its kind; the length of a blob or a text, or the number of what is in an array or a
    /// map, in LEB128; numbers in LEB128, integers in signed LEB128; before each value of a map the length of its name and the name.
    ///
    /// # Errors
    /// If values lie more than [`MAX_DEPTH`] deep in each other.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TooDeep> {
        let mut bytes = Vec::with_capacity(256);
        self.write(&mut bytes, MAX_DEPTH)?;
        Ok(bytes)
    }

    /// The value that [`to_bytes`](Self::to_bytes) gave these bytes of.
    ///
    /// # Errors
    /// If they are no value's.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, NoValue> {
        let value = Self::read(&mut bytes, MAX_DEPTH)?;
        if bytes.is_empty() {
            Ok(value)
        } else {
            Err(NoValue::TrailingBytes)
        }
    }

    fn write(&self, into: &mut Vec<u8>, depth: usize) -> Result<(), TooDeep> {
        let depth = depth.checked_sub(1).ok_or(TooDeep)?;
        match self {
            Self::Blob(bytes) => {
                into.push(kind::BLOB);
                write_bytes(bytes, into);
            }
            Self::Text(text) => {
                into.push(kind::TEXT);
                write_bytes(text.as_bytes(), into);
            }
            Self::Nat(number) => {
                into.push(kind::NAT);
                into.extend(nat_to_bytes(number));
            }
            Self::Int(number) => {
                into.push(kind::INT);
                into.extend(int_to_bytes(number));
            }
            Self::Array(values) => {
                into.push(kind::ARRAY);
                write_length(values.len(), into);
                for value in values {
                    value.write(into, depth)?;
                }
            }
            Self::Map(fields) => {
                into.push(kind::MAP);
                write_length(fields.len(), into);
                for (name, value) in fields {
                    write_bytes(name.as_bytes(), into);
                    value.write(into, depth)?;
                }
            }
        }
        Ok(())
    }

    fn read(from: &mut &[u8], depth: usize) -> Result<Self, NoValue> {
        let depth = depth.checked_sub(1).ok_or(TooDeep)?;
        let &kind = from.split_off_first().ok_or(NoValue::Truncated)?;
        Ok(match kind {
            kind::BLOB => Self::blob(read_bytes(from)?),
            kind::TEXT => Self::Text(read_text(from)?),
            kind::NAT => Self::Nat(Nat::decode(from).map_err(|_| NoValue::Truncated)?),
            kind::INT => Self::Int(Int::decode(from).map_err(|_| NoValue::Truncated)?),
            // No room is reserved by a number that anyone may have written: what is there decides.
            kind::ARRAY => Self::Array(
                (0..read_length(from)?)
                    .map(|_| Self::read(from, depth))
                    .collect::<Result<_, _>>()?,
            ),
            kind::MAP => Self::Map(
                (0..read_length(from)?)
                    .map(|_| Ok((read_text(from)?, Self::read(from, depth)?)))
                    .collect::<Result<_, NoValue>>()?,
            ),
            unknown => return Err(NoValue::UnknownKind(unknown)),
        })
    }
}

/// Texts that are remembered with their hashes, and the longest of them. A ledger's blocks have some twenty: names of fields, and of operations.
const MOST_TEXTS: usize = 64;
const LONGEST_TEXT: usize = 32;

/// The hash of a text. The same ones come in each block, and a hash takes 5,000 instructions.
fn hash_of_text(text: &str) -> [u8; 32] {
    thread_local! {
        static TEXTS: RefCell<BTreeMap<String, [u8; 32]>> = const { RefCell::new(BTreeMap::new()) };
    }
    TEXTS.with_borrow_mut(|texts| {
        if let Some(hash) = texts.get(text) {
            return *hash;
        }
        let hash = sha256(text.as_bytes());
        if texts.len() < MOST_TEXTS && text.len() <= LONGEST_TEXT {
            texts.insert(text.to_owned(), hash);
        }
        hash
    })
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn nat_to_bytes(number: &Nat) -> Vec<u8> {
    let mut bytes = vec![];
    number
        .encode(&mut bytes)
        .expect("writing to a Vec can't fail");
    bytes
}

fn int_to_bytes(number: &Int) -> Vec<u8> {
    let mut bytes = vec![];
    number
        .encode(&mut bytes)
        .expect("writing to a Vec can't fail");
    bytes
}

fn write_length(mut length: usize, into: &mut Vec<u8>) {
    while length >= 128 {
        into.push(length as u8 | 128);
        length >>= 7;
    }
    into.push(length as u8);
}

fn write_bytes(bytes: &[u8], into: &mut Vec<u8>) {
    write_length(bytes.len(), into);
    into.extend_from_slice(bytes);
}

fn read_length(from: &mut &[u8]) -> Result<usize, NoValue> {
    let mut length = 0u32;
    for shift in [0, 7, 14, 21] {
        let &byte = from.split_off_first().ok_or(NoValue::Truncated)?;
        length |= u32::from(byte & 127) << shift;
        if byte < 128 {
            return Ok(length as usize);
        }
    }
    Err(NoValue::Length)
}

fn read_bytes<'a>(from: &mut &'a [u8]) -> Result<&'a [u8], NoValue> {
    let length = read_length(from)?;
    from.split_off(..length).ok_or(NoValue::Truncated)
}

fn read_text(from: &mut &[u8]) -> Result<String, NoValue> {
    let text = str::from_utf8(read_bytes(from)?).map_err(|_| NoValue::Text)?;
    Ok(text.to_owned())
}

/// A range of blocks.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct GetBlocksArg {
    /// The first block's index.
    pub start: Nat,
    /// How many.
    pub length: Nat,
}

/// A block, and where it stands in the log.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct BlockWithId {
    /// Its index.
    pub id: Nat,
    /// Itself.
    pub block: Value,
}

mod function {
    #![allow(missing_docs)] // the macro takes none
    use super::{GetBlocksArg, GetBlocksResult};
    candid::define_function!(pub GetBlocks : (Vec<GetBlocksArg>) -> (GetBlocksResult) query);
}

/// The `icrc3_get_blocks` of an archive.
pub use function::GetBlocks;

/// Blocks that lie elsewhere.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct ArchivedBlocks {
    /// What to ask for there.
    pub args: Vec<GetBlocksArg>,
    /// Whom to ask.
    pub callback: GetBlocks,
}

/// The result of `icrc3_get_blocks`.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct GetBlocksResult {
    /// The number of blocks in the log.
    pub log_length: Nat,
    /// Those asked for that lie here.
    pub blocks: Vec<BlockWithId>,
    /// Where the others lie.
    pub archived_blocks: Vec<ArchivedBlocks>,
}

/// The argument of `icrc3_get_archives`.
#[derive(CandidType, Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct GetArchivesArgs {
    /// The last archive that the client has seen.
    pub from: Option<Principal>,
}

/// An archive of blocks.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct ArchiveInfo {
    /// Which canister.
    pub canister_id: Principal,
    /// Its first block.
    pub start: Nat,
    /// Its last block.
    pub end: Nat,
}

#[cfg(test)]
mod tests;
