//! Who shares the key space.

use super::key::{Key, KeyWriter};

/// Who shares the key space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each caller has keys of its own.
    Caller,
    /// All callers of the endpoint share one key space.
    Global,
    /// Requests with an equal value of this share a key space, for example those of an account.
    Of(KeyWriter),
}

impl Scope {
    /// The scope of an expression's value; all requests whose value is `None` share one.
    pub fn of(value: &(impl Key + ?Sized)) -> Self {
        Self::Of(KeyWriter::of(value))
    }
}
