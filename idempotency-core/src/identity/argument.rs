//! A call's argument.

use super::{
    encoding::{ARGUMENT_BYTES, ARGUMENT_VALUES},
    values,
};
use std::cell::OnceCell;

/// A call's argument as it was sent.
#[derive(Debug)]
pub struct Argument<'a> {
    bytes: &'a [u8],
    hashed: OnceCell<Vec<u8>>,
}

impl<'a> Argument<'a> {
    /// The encoded arguments of a call, as `candid::encode_args` gives them.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            hashed: OnceCell::new(),
        }
    }

    /// What stands for it in hashes, made when it is first needed.
    pub(super) fn hashed(&self) -> &[u8] {
        self.hashed.get_or_init(|| {
            let mut hashed = Vec::with_capacity(self.bytes.len().max(USUAL_ARGUMENT_BYTES));
            hashed.push(ARGUMENT_VALUES);
            if values::write(self.bytes, &mut hashed).is_none() {
                hashed.clear();
                hashed.push(ARGUMENT_BYTES);
                hashed.extend_from_slice(self.bytes);
            }
            hashed
        })
    }
}

/// Enough for the arguments of most calls: growing step by step takes longer than allocating too much.
const USUAL_ARGUMENT_BYTES: usize = 256;
