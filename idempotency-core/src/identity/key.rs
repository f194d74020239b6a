//! What can be a request key.

use super::encoding::{put_length, put_sized};
use crate::{error::IdempotencyError, time::Timestamp};
use candid::{Int, Nat, Principal};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Longest part of a key in bytes: a UUID takes 16 or 36, a SHA-256 in hex 64.
pub const MAX_KEY_BYTES: usize = 256;

/// Enough for most keys: growing step by step takes longer than allocating too much.
const USUAL_KEY_BYTES: usize = 128;

/// A value that can identify a request, a scope or a lane, or be compared in a retry: anything that can be written as bytes.
///
/// Implemented for integers, text, bytes, principals, options, vectors, maps, sets, tuples of these, and references to them. A
/// tuple lists several fields: `key = (arg.to, arg.amount)`. Where a value stands alone, `Some(x)` is the same as `x`, and
/// `None` is no value: a request without a key. So a field of an argument may become optional, or required, and requests stay the
/// same. Inside a tuple `None` is a value like any other, and `Some(x)` differs from `x`.
///
/// Values of Rust types with the same candid type are written in the same way, such as `Nat` and `u128`, or `String` and `&str`.
/// The entries of maps and sets are written in one order, whatever order they are iterated in.
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
    message = "`{Self}` can't be a request key, a scope or a lane, or be compared in a retry",
    note = "use text, bytes, an integer, a principal, or a tuple of these; for a type of your own implement `idempotency_core::Key`"
)]
pub trait Key {
    /// Writes the value so that different values write different bytes.
    fn write(&self, key: &mut KeyWriter);

    /// Writes a value that stands alone: only an option differs.
    #[doc(hidden)]
    fn write_alone(&self, key: &mut KeyWriter) {
        self.write(key);
    }

    /// Writes a vector: only one of bytes differs.
    #[doc(hidden)]
    fn write_all(values: &[Self], key: &mut KeyWriter)
    where
        Self: Sized,
    {
        key.begin_many(values.len());
        values.iter().for_each(|value| value.write(key));
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
    /// Of a value that stands alone.
    pub(super) fn of(value: &(impl Key + ?Sized)) -> Self {
        let mut writer = Self {
            written: Vec::with_capacity(USUAL_KEY_BYTES),
            ..Self::default()
        };
        value.write_alone(&mut writer);
        writer
    }

    /// Appends one part of the key. A request whose key has a part of more than [`MAX_KEY_BYTES`] is refused. A part of a
    /// fingerprint may be longer.
    pub fn bytes(&mut self, part: &[u8]) {
        self.longest_part = self.longest_part.max(part.len());
        self.content_bytes = self.content_bytes.saturating_add(part.len());
        put_sized(&mut self.written, part);
    }

    /// Appends that an optional part follows. That is no content: an empty key does not become one by being optional.
    fn begin_some(&mut self) {
        put_sized(&mut self.written, &[1]);
    }

    /// Appends that so many values follow, which is no content either.
    fn begin_many(&mut self, count: usize) {
        put_length(&mut self.written, count);
    }

    /// Appends values that have no order of their own.
    fn unordered<K: Key>(&mut self, values: impl Iterator<Item = K>) {
        let mut written: Vec<Self> = values
            .map(|value| {
                let mut writer = Self::default();
                value.write(&mut writer);
                writer
            })
            .collect();
        written.sort_unstable_by(|one, other| one.written.cmp(&other.written));
        self.begin_many(written.len());
        for value in written {
            self.written.extend_from_slice(&value.written);
            self.longest_part = self.longest_part.max(value.longest_part);
            self.content_bytes = self.content_bytes.saturating_add(value.content_bytes);
        }
    }

    /// Nothing was written, as of `None`.
    pub(super) fn is_absent(&self) -> bool {
        self.written.is_empty()
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
integers!(u16 u32 u64 i8 i16 i32 i64);

impl Key for u8 {
    fn write(&self, key: &mut KeyWriter) {
        key.bytes(&[*self]);
    }

    fn write_all(values: &[Self], key: &mut KeyWriter) {
        key.bytes(values);
    }
}

impl Key for u128 {
    fn write(&self, key: &mut KeyWriter) {
        let length = 16 - self.leading_zeros() as usize / 8;
        key.bytes(&self.to_le_bytes()[..length.max(1)]);
    }
}

impl Key for i128 {
    fn write(&self, key: &mut KeyWriter) {
        Int::from(*self).write(key);
    }
}

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

impl<K: Key> Key for [K] {
    fn write(&self, key: &mut KeyWriter) {
        K::write_all(self, key);
    }
}

impl<K: Key, const N: usize> Key for [K; N] {
    fn write(&self, key: &mut KeyWriter) {
        K::write_all(self, key);
    }
}

impl<K: Key> Key for Vec<K> {
    fn write(&self, key: &mut KeyWriter) {
        K::write_all(self, key);
    }
}

macro_rules! unordered {
    ($($collection:ident <$($parameter:ident),+ $(; $hasher:ident)?>)*) => {$(
        impl<$($parameter: Key),+ $(, $hasher)?> Key for $collection<$($parameter),+ $(, $hasher)?> {
            fn write(&self, key: &mut KeyWriter) {
                key.unordered(self.iter());
            }
        }
    )*};
}
unordered!(BTreeMap<K, V> BTreeSet<K> HashMap<K, V; S> HashSet<K; S>);

impl<K: Key + ?Sized> Key for &K {
    fn write(&self, key: &mut KeyWriter) {
        (**self).write(key);
    }

    fn write_alone(&self, key: &mut KeyWriter) {
        (**self).write_alone(key);
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

    fn write_alone(&self, key: &mut KeyWriter) {
        if let Some(value) = self {
            value.write_alone(key);
        }
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

    /// As inside a tuple.
    fn written(value: &(impl Key + ?Sized)) -> Vec<u8> {
        let mut writer = KeyWriter::default();
        value.write(&mut writer);
        writer.written
    }

    fn alone(value: &(impl Key + ?Sized)) -> Vec<u8> {
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
        let lists = |one: &[u16], other: &[u16]| written(&(one.to_vec(), other.to_vec()));
        assert_ne!(lists(&[1, 2], &[3]), lists(&[1], &[2, 3]));
        assert_ne!(written(&vec!["", ""]), written(&vec![""]));
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
    fn the_same_candid_number_in_another_rust_type_is_the_same_key() {
        let bits = [0, 1, 7, 8, 63, 64, 126, 127];
        for number in bits
            .map(|bit| 1u128 << bit)
            .into_iter()
            .chain([0, u128::MAX])
        {
            assert_eq!(written(&number), written(&Nat::from(number)), "{number}");
        }
        for number in bits
            .map(|bit| -1i128 << bit)
            .into_iter()
            .chain([0, 5, i128::MAX])
        {
            assert_eq!(written(&number), written(&Int::from(number)), "{number}");
        }
    }

    #[test]
    fn maps_and_sets_are_written_in_one_order() {
        let numbers = (0..300u32).rev();
        let set: HashSet<u32> = numbers.clone().collect();
        assert_eq!(
            written(&set),
            written(&set.iter().copied().collect::<HashSet<_>>())
        );
        assert_eq!(
            written(&set),
            written(&set.iter().copied().collect::<BTreeSet<_>>())
        );
        let map: HashMap<u32, String> = numbers.map(|it| (it, it.to_string())).collect();
        let again: HashMap<_, _> = map.clone().into_iter().collect();
        assert_eq!(written(&map), written(&again));
        assert_eq!(
            written(&map),
            written(&map.clone().into_iter().collect::<BTreeMap<_, _>>())
        );
        assert_ne!(written(&map), written(&HashMap::from([(1u32, "1")])));
    }

    #[test]
    fn an_option_is_told_from_its_value_unless_it_stands_alone() {
        assert_eq!(written(&None::<&str>), [1, 0]);
        assert_eq!(written(&Some("")), [1, 1, 0]);
        assert_eq!(written(&Some("a")), [1, 1, 1, b'a']);
        assert_eq!(alone(&Some("a")), written(&"a"));
        assert_eq!(alone(&Some(&Some("a"))), written(&"a"));
        assert_eq!(alone(&(Some("a"),)), written(&Some("a")));
    }

    #[test]
    fn only_a_none_that_stands_alone_is_absent() {
        let is_absent = |value: &dyn Fn() -> KeyWriter| value().is_absent();
        assert!(is_absent(&|| KeyWriter::of(&None::<u8>)));
        assert!(is_absent(&|| KeyWriter::of(&&&None::<&str>)));
        assert!(is_absent(&|| KeyWriter::of(&Some(None::<u8>))));
        assert!(!is_absent(&|| KeyWriter::of(&(None::<u8>, 1u8))));
        assert!(!is_absent(&|| KeyWriter::of("")));
        assert!(!is_absent(&|| KeyWriter::of(&Vec::<u8>::new())));
        assert!(!is_absent(&|| KeyWriter::of(&Vec::<u16>::new())));
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
        assert!(KeyWriter::of(&vec![""; 3]).check().is_err());
        assert!(KeyWriter::of(&HashSet::from([""])).check().is_err());
        assert!(
            KeyWriter::of(&BTreeSet::from([vec![1u8; 257]]))
                .check()
                .is_err()
        );
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
