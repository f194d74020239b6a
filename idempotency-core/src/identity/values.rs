//! Candid values as bytes that do not depend on how they were encoded, for hashing.
//!
//! They are written as candid's `Serializer` walks them: no type table is built, which is most of the cost of encoding. As candid sorts record fields and variant cases by their hash, the order of declaration does not matter.

use super::put_length;
use candid::{
    CandidType, Int, Nat,
    types::{Compound, Serializer},
};

/// The arguments of a method: a tuple of up to 16 candid types.
pub trait Values {
    /// Writes every value.
    fn write(&self, writer: &mut ValueWriter);
}

/// Writes candid values, each with a tag for its type and, where it varies, its length.
#[derive(Debug)]
pub struct ValueWriter(Vec<u8>);

/// Enough for the arguments of most calls: growing step by step takes longer than allocating too much.
const USUAL_ARGUMENT_BYTES: usize = 256;

impl Default for ValueWriter {
    fn default() -> Self {
        Self(Vec::with_capacity(USUAL_ARGUMENT_BYTES))
    }
}

impl ValueWriter {
    /// Appends one value.
    pub fn value(&mut self, value: &(impl CandidType + ?Sized)) {
        // Only a hand-written `idl_serialize` can fail. What it wrote before and why it failed then stand for the value.
        if let Err(Unserializable(why)) = value.idl_serialize(&mut *self) {
            self.put_sized(Tag::Failed, why.as_bytes());
        }
    }

    pub(super) fn written(&self) -> &[u8] {
        &self.0
    }

    #[inline]
    fn put(&mut self, tag: Tag, bytes: &[u8]) {
        self.0.push(tag as u8);
        self.raw(bytes);
    }

    fn put_sized(&mut self, tag: Tag, bytes: &[u8]) {
        self.put_length(tag, bytes.len());
        self.raw(bytes);
    }

    fn put_length(&mut self, tag: Tag, length: usize) {
        self.put(tag, &[]);
        put_length(&mut self.0, length);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

#[derive(Clone, Copy)]
enum Tag {
    Null,
    Bool,
    Nat,
    Int,
    Nat8,
    Nat16,
    Nat32,
    Nat64,
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Text,
    None,
    Some,
    Record,
    Vec,
    Variant,
    Principal,
    Function,
    Failed,
}

/// What a hand-written `idl_serialize` reported.
#[derive(Debug)]
pub struct Unserializable(String);

impl std::fmt::Display for Unserializable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unserializable {}

impl serde::ser::Error for Unserializable {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

type Written = Result<(), Unserializable>;

macro_rules! scalars {
    ($($method:ident $type:ty = $tag:ident)*) => {$(
        fn $method(self, value: $type) -> Written {
            self.put(Tag::$tag, &value.to_le_bytes());
            Ok(())
        }
    )*};
}

impl<'a> Serializer for &'a mut ValueWriter {
    type Error = Unserializable;
    type Compound = Elements<'a>;

    scalars! {
        serialize_nat8 u8 = Nat8
        serialize_nat16 u16 = Nat16
        serialize_nat32 u32 = Nat32
        serialize_nat64 u64 = Nat64
        serialize_int8 i8 = Int8
        serialize_int16 i16 = Int16
        serialize_int32 i32 = Int32
        serialize_int64 i64 = Int64
        serialize_float32 f32 = Float32
        serialize_float64 f64 = Float64
    }

    fn serialize_bool(self, value: bool) -> Written {
        self.put(Tag::Bool, &[u8::from(value)]);
        Ok(())
    }

    fn serialize_nat(self, value: &Nat) -> Written {
        match u64::try_from(&value.0) {
            Ok(small) => self.serialize_u128(small.into()),
            Err(_) => {
                self.put_sized(Tag::Nat, &value.0.to_bytes_le());
                Ok(())
            }
        }
    }

    /// As `serialize_nat` of the same number: both are candid's `nat`.
    fn serialize_u128(self, value: u128) -> Written {
        let bytes = value.to_le_bytes();
        let length = (16 - value.leading_zeros() as usize / 8).max(1);
        self.put_sized(Tag::Nat, &bytes[..length]);
        Ok(())
    }

    fn serialize_int(self, value: &Int) -> Written {
        self.put_sized(Tag::Int, &value.0.to_signed_bytes_le());
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Written {
        self.serialize_int(&Int::from(value))
    }

    fn serialize_text(self, value: &str) -> Written {
        self.put_sized(Tag::Text, value.as_bytes());
        Ok(())
    }

    fn serialize_null(self, (): ()) -> Written {
        self.put(Tag::Null, &[]);
        Ok(())
    }

    fn serialize_empty(self) -> Written {
        Err(serde::ser::Error::custom("a value of type empty"))
    }

    fn serialize_option<T: CandidType + ?Sized>(self, value: Option<&T>) -> Written {
        match value {
            None => {
                self.put(Tag::None, &[]);
                Ok(())
            }
            Some(value) => {
                self.put(Tag::Some, &[]);
                value.idl_serialize(self)
            }
        }
    }

    fn serialize_struct(self) -> Result<Self::Compound, Unserializable> {
        self.put(Tag::Record, &[]);
        Ok(Elements(self))
    }

    fn serialize_vec(self, elements: usize) -> Result<Self::Compound, Unserializable> {
        self.put_length(Tag::Vec, elements);
        Ok(Elements(self))
    }

    /// As `serialize_vec` of the same bytes: both are candid's `blob`.
    fn serialize_blob(self, value: &[u8]) -> Written {
        self.put_sized(Tag::Vec, value);
        Ok(())
    }

    fn serialize_variant(self, index: u64) -> Result<Self::Compound, Unserializable> {
        self.put(Tag::Variant, &index.to_le_bytes());
        Ok(Elements(self))
    }

    fn serialize_principal(self, value: &[u8]) -> Written {
        self.put_sized(Tag::Principal, value);
        Ok(())
    }

    fn serialize_function(self, principal: &[u8], method: &str) -> Written {
        self.put_sized(Tag::Function, principal);
        self.put_sized(Tag::Text, method.as_bytes());
        Ok(())
    }
}

/// The elements of a record, vector or variant.
#[derive(Debug)]
pub struct Elements<'a>(&'a mut ValueWriter);

impl Compound for Elements<'_> {
    type Error = Unserializable;

    fn serialize_element<T: CandidType + ?Sized>(&mut self, value: &T) -> Written {
        value.idl_serialize(&mut *self.0)
    }

    fn serialize_blob(&mut self, value: &[u8]) -> Written {
        Serializer::serialize_blob(&mut *self.0, value)
    }

    fn try_write_raw_elements(&mut self, bytes: &[u8]) -> Result<bool, Unserializable> {
        self.0.raw(bytes);
        Ok(true)
    }
}

macro_rules! tuples {
    ($(($($value:ident)*))*) => {$(
        impl<$($value: CandidType),*> Values for ($($value,)*) {
            fn write(&self, _writer: &mut ValueWriter) {
                #[allow(non_snake_case)]
                let ($($value,)*) = self;
                $(_writer.value($value);)*
            }
        }
    )*};
}
tuples! {
    () (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H) (A B C D E F G H I)
    (A B C D E F G H I J) (A B C D E F G H I J K) (A B C D E F G H I J K L) (A B C D E F G H I J K L M)
    (A B C D E F G H I J K L M N) (A B C D E F G H I J K L M N O) (A B C D E F G H I J K L M N O P)
}

#[cfg(test)]
mod tests {
    use crate::identity::Digest;
    use candid::{Nat, Principal};
    use proptest::prelude::*;
    use serde_bytes::ByteBuf;
    use std::collections::BTreeSet;

    fn digest(value: &impl candid::CandidType) -> [u8; 8] {
        Digest::of_value(value).0
    }

    #[test]
    fn the_same_candid_value_in_other_rust_types() {
        for number in [
            0u128,
            1,
            255,
            256,
            65_535,
            u128::from(u64::MAX) + 1,
            u128::MAX,
        ] {
            assert_eq!(digest(&number), digest(&Nat::from(number)), "{number}");
        }
        assert_eq!(digest(&-5i128), digest(&candid::Int::from(-5)));
        assert_eq!(digest(&vec![1u8, 2]), digest(&ByteBuf::from(vec![1, 2])));
        assert_eq!(digest(&String::from("a")), digest(&"a"));
    }

    #[test]
    fn different_values_differ() {
        let digests = [
            digest(&(vec![1u8], vec![2u8, 3])),
            digest(&(vec![1u8, 2], vec![3u8])),
            digest(&(Some(1u8), None::<u8>)),
            digest(&(None::<u8>, Some(1u8))),
            digest(&(Some(Some(1u8)), None::<u8>)),
            digest(&("1", "")),
            digest(&("", "1")),
            digest(&Principal::anonymous()),
            digest(&Principal::management_canister()),
            digest(&Ok::<u8, u8>(1)),
            digest(&Err::<u8, u8>(1)),
            digest(&1.0f64),
            digest(&1u64),
            digest(&1i64),
            digest(&()),
        ];
        assert_eq!(digests.iter().collect::<BTreeSet<_>>().len(), digests.len());
    }

    proptest! {
        #[test]
        fn blobs_are_vectors_of_bytes(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..6)) {
            let blobs: Vec<ByteBuf> = pieces.iter().cloned().map(ByteBuf::from).collect();
            prop_assert_eq!(digest(&pieces), digest(&blobs));
        }

        #[test]
        fn equal_exactly_when_candid_is_equal(a in any::<(u64, Option<String>, Vec<u16>)>(), b in any::<(u64, Option<String>, Vec<u16>)>()) {
            prop_assert_eq!(digest(&a), digest(&a.clone()));
            let same = candid::encode_one(&a).unwrap() == candid::encode_one(&b).unwrap();
            prop_assert_eq!(same, digest(&a) == digest(&b));
        }
    }
}
