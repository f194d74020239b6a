//! What a client tells its requests apart by.

use super::{
    argument::Argument,
    key::{Key, KeyWriter},
};

/// The request id within its endpoint and scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey(pub(super) KeyWriter);

impl RequestKey {
    /// The key of an expression's value; `None` if the value is `None`: the request brings no key.
    pub fn of(value: &(impl Key + ?Sized)) -> Option<Self> {
        let key = KeyWriter::of(value);
        (!key.is_absent()).then_some(Self(key))
    }

    /// `key = args`: all arguments by value.
    pub fn of_argument(argument: &Argument<'_>) -> Self {
        let mut key = KeyWriter::default();
        key.bytes(blake3::hash(argument.hashed()).as_bytes());
        Self(key)
    }
}

/// Which of its scope's lanes a sequence number belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneKey(pub(super) KeyWriter);

impl LaneKey {
    /// `lane = EXPR`; a value of `None` is the lane of an endpoint without the option.
    pub fn of(value: &(impl Key + ?Sized)) -> Self {
        Self(KeyWriter::of(value))
    }
}
