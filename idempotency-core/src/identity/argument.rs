//! A call's argument.

use super::{
    digest::Digest,
    encoding::{ARGUMENT_BYTES, ARGUMENT_VALUES, put_sized},
    values,
};
use candid::Principal;
use std::cell::OnceCell;

/// A call's argument as it was sent.
#[derive(Debug)]
pub struct Argument<'a> {
    bytes: &'a [u8],
    /// The endpoint's name, and who calls it.
    call: Option<(&'a str, &'a Principal)>,
    written: OnceCell<Written>,
    alias: OnceCell<Digest>,
}

/// What is hashed.
#[derive(Debug)]
struct Written {
    bytes: Vec<u8>,
    /// Where the argument begins: before it stands the name of the endpoint.
    argument_at: usize,
}

impl<'a> Argument<'a> {
    /// The encoded arguments of a call, as `candid::encode_args` gives them.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            call: None,
            written: OnceCell::new(),
            alias: OnceCell::new(),
        }
    }

    /// As [`new`](Self::new), of a call of an endpoint: it has an [`alias`](Self::alias).
    pub fn of_call(bytes: &'a [u8], endpoint: &'a str, caller: &'a Principal) -> Self {
        Self {
            call: Some((endpoint, caller)),
            ..Self::new(bytes)
        }
    }

    /// What stands for it in hashes, made when it is first needed.
    pub(super) fn hashed(&self) -> &[u8] {
        let written = self.written();
        &written.bytes[written.argument_at..]
    }

    /// A hash of endpoint, caller and values: it is known before the argument is decoded. `None` if it is not of a call.
    pub fn alias(&self) -> Option<Digest> {
        let (_, caller) = self.call?;
        let alias = || {
            let mut key = [0; blake3::KEY_LEN];
            let caller = caller.as_slice();
            key[0] = caller.len() as u8;
            key[1..=caller.len()].copy_from_slice(caller);
            Digest::of_blake3(blake3::keyed_hash(&key, &self.written().bytes))
        };
        Some(*self.alias.get_or_init(alias))
    }

    fn written(&self) -> &Written {
        self.written.get_or_init(|| {
            let mut bytes = Vec::with_capacity(self.bytes.len().max(USUAL_ARGUMENT_BYTES));
            if let Some((endpoint, _)) = self.call {
                put_sized(&mut bytes, endpoint.as_bytes());
            }
            let argument_at = bytes.len();
            bytes.push(ARGUMENT_VALUES);
            if values::write(self.bytes, &mut bytes).is_none() {
                bytes.truncate(argument_at);
                bytes.push(ARGUMENT_BYTES);
                bytes.extend_from_slice(self.bytes);
            }
            Written { bytes, argument_at }
        })
    }
}

/// Enough for the arguments of most calls: growing step by step takes longer than allocating too much.
const USUAL_ARGUMENT_BYTES: usize = 256;
