//! What can be a request key.

use super::put_sized;
use crate::{error::IdempotencyError, time::Timestamp};
use candid::{Int, Nat, Principal};

/// Longest part of a key in bytes: a UUID takes 16 or 36, a SHA-256 in hex 64.
pub const MAX_KEY_BYTES: usize = 256;

/// Enough for most keys: growing step by step takes longer than allocating too much.
const USUAL_KEY_BYTES: usize = 128;

/// A value that can identify a request: anything that turns into bytes.
///
/// Implemented for integers, text, bytes, principals and tuples, references and options of these. A tuple lists several
/// fields: `key = (arg.to, arg.amount)`. A top-level `None` means that the request has no key; inside a tuple `None` is
/// a value like any other.
///
/// For a type of your own, write its fields:
///
/// ```
/// use idempotency_core::{Key, KeyWriter};
///
/// struct OrderId { shop: u32, number: u64 }
///
/// impl Key for OrderId {
///     fn write(&self, key: &mut KeyWriter) {
///         (self.shop, self.number).write(key);
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a request key or a scope",
    note = "use text, bytes, an integer, a principal, or a tuple of these; for a type of your own implement `idempotency_core::Key`"
)]
pub trait Key {
    /// Writes the value so that different values write different bytes.
    fn write(&self, key: &mut KeyWriter);

    /// The request has no key. Only `None` says so.
    fn is_absent(&self) -> bool {
        false
    }
}

/// Collects the parts of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyWriter {
    written: Vec<u8>,
    content_bytes: usize,
    longest_part: usize,
}

impl KeyWriter {
    pub(super) fn of(value: &(impl Key + ?Sized)) -> Self {
        let mut writer = Self {
            written: Vec::with_capacity(USUAL_KEY_BYTES),
            ..Self::default()
        };
        value.write(&mut writer);
        writer
    }

    /// Appends one part of the key. A part over [`MAX_KEY_BYTES`] makes the request be refused.
    pub fn bytes(&mut self, part: &[u8]) {
        self.longest_part = self.longest_part.max(part.len());
        self.content_bytes = self.content_bytes.saturating_add(part.len());
        if part.len() <= MAX_KEY_BYTES {
            put_sized(&mut self.written, part);
        }
    }

    /// Appends that an optional part follows. That is no content: an empty key does not become one by being optional.
    fn begin_some(&mut self) {
        put_sized(&mut self.written, &[1]);
    }

    pub(super) fn written(&self) -> &[u8] {
        &self.written
    }

    pub(super) fn check(&self) -> Result<(), IdempotencyError> {
        if self.content_bytes == 0 || self.longest_part > MAX_KEY_BYTES {
            return Err(IdempotencyError::InvalidKey {
                length: self.longest_part as u64,
                max: MAX_KEY_BYTES as u64,
            });
        }
        Ok(())
    }
}

macro_rules! integers {
    ($($int:ty)*) => {$(
        impl Key for $int {
            fn write(&self, key: &mut KeyWriter) {
                key.bytes(&self.to_le_bytes());
            }
        }
    )*};
}
integers!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128);

impl Key for bool {
    fn write(&self, key: &mut KeyWriter) {
        key.bytes(&[u8::from(*self)]);
    }
}

impl Key for Nat {
    fn write(&self, key: &mut KeyWriter) {
        key.bytes(&self.0.to_bytes_le());
    }
}

impl Key for Int {
    fn write(&self, key: &mut KeyWriter) {
        key.bytes(&self.0.to_signed_bytes_le());
    }
}

impl Key for Timestamp {
    fn write(&self, key: &mut KeyWriter) {
        self.as_nanos().write(key);
    }
}

impl Key for Principal {
    fn write(&self, key: &mut KeyWriter) {
        key.bytes(self.as_slice());
    }
}

impl Key for str {
    fn write(&self, key: &mut KeyWriter) {
        key.bytes(self.as_bytes());
    }
}

impl Key for String {
    fn write(&self, key: &mut KeyWriter) {
        key.bytes(self.as_bytes());
    }
}

impl Key for [u8] {
    fn write(&self, key: &mut KeyWriter) {
        key.bytes(self);
    }
}

impl<const N: usize> Key for [u8; N] {
    fn write(&self, key: &mut KeyWriter) {
        key.bytes(self);
    }
}

impl Key for Vec<u8> {
    fn write(&self, key: &mut KeyWriter) {
        key.bytes(self);
    }
}

impl Key for serde_bytes::ByteBuf {
    fn write(&self, key: &mut KeyWriter) {
        key.bytes(self);
    }
}

impl<const N: usize> Key for serde_bytes::ByteArray<N> {
    fn write(&self, key: &mut KeyWriter) {
        key.bytes(self.as_slice());
    }
}

impl<K: Key + ?Sized> Key for &K {
    fn write(&self, key: &mut KeyWriter) {
        (**self).write(key);
    }

    fn is_absent(&self) -> bool {
        (**self).is_absent()
    }
}

impl<K: Key> Key for Option<K> {
    fn write(&self, key: &mut KeyWriter) {
        match self {
            None => false.write(key),
            Some(value) => {
                key.begin_some();
                value.write(key);
            }
        }
    }

    fn is_absent(&self) -> bool {
        self.as_ref().is_none_or(Key::is_absent)
    }
}

macro_rules! tuples {
    ($(($($part:ident)+))*) => {$(
        impl<$($part: Key),+> Key for ($($part,)+) {
            fn write(&self, key: &mut KeyWriter) {
                #[allow(non_snake_case)]
                let ($($part,)+) = self;
                $($part.write(key);)+
            }
        }
    )*};
}
tuples! {
    (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H) (A B C D E F G H I)
    (A B C D E F G H I J) (A B C D E F G H I J K) (A B C D E F G H I J K L)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &(impl Key + ?Sized)) -> Vec<u8> {
        KeyWriter::of(value).written
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(written(&("ab", "c")), written(&("a", "bc")));
        assert_ne!(
            written(&(Some("a"), None::<&str>)),
            written(&(None::<&str>, Some("a")))
        );
        assert_ne!(written(&Nat::from(1u8)), written(&Nat::from(256u16)));
    }

    #[test]
    fn the_same_value_in_another_type_of_bytes_is_the_same_key() {
        assert_eq!(written(&vec![1u8, 2]), written(&[1u8, 2]));
        assert_eq!(written(&"ab"), written(&String::from("ab")));
        assert_eq!(
            written(&serde_bytes::ByteBuf::from(vec![1, 2])),
            written(&[1u8, 2][..])
        );
    }

    #[test]
    fn an_option_is_told_from_its_value() {
        assert_eq!(written(&None::<&str>), [1, 0]);
        assert_eq!(written(&Some("")), [1, 1, 0]);
        assert_eq!(written(&Some("a")), [1, 1, 1, b'a']);
    }

    #[test]
    fn only_a_top_level_none_is_absent() {
        assert!(None::<u8>.is_absent());
        assert!(Key::is_absent(&&None::<&str>));
        assert!(Some(None::<u8>).is_absent());
        assert!(!(None::<u8>, 1u8).is_absent());
    }

    #[test]
    fn length_limits() {
        let check = |bytes: usize| KeyWriter::of(&vec![7u8; bytes]).check();
        assert_eq!(
            check(0),
            Err(IdempotencyError::InvalidKey {
                length: 0,
                max: 256
            })
        );
        assert_eq!(check(1), Ok(()));
        assert_eq!(check(256), Ok(()));
        assert_eq!(
            check(257),
            Err(IdempotencyError::InvalidKey {
                length: 257,
                max: 256
            })
        );
        assert!(KeyWriter::of(&("", "")).check().is_err());
        assert!(KeyWriter::of(&Some("")).check().is_err());
        assert!(KeyWriter::of(&Some("a")).check().is_ok());
        assert!(KeyWriter::of(&(None::<&str>, Some(""))).check().is_ok());
        assert!(
            KeyWriter::of(&(vec![1u8; 200], vec![1u8; 200]))
                .check()
                .is_ok()
        );
    }
}
