//! Arguments and replies in candid.

use candid::{
    CandidType, DecoderConfig, Deserialize,
    ser::ValueSerializer,
    types::{Serializer, Type},
    utils::{ArgumentDecoder, ArgumentEncoder, decode_args_with_config, encode_args_ref},
};
use std::{any::TypeId, cell::RefCell, collections::BTreeMap, marker::PhantomData};

/// Candid bytes, or why there are none.
pub(crate) type Encoded = Result<Vec<u8>, candid::Error>;

/// A reply, and what `on_replay` makes of it.
pub(crate) type Both = Result<[Vec<u8>; 2], candid::Error>;

/// Decodes arguments as ic-cdk does: an empty argument is that of a method without arguments.
pub fn decode<A: for<'a> ArgumentDecoder<'a>>(mut bytes: &[u8]) -> Result<A, candid::Error> {
    if bytes.is_empty() {
        bytes = b"DIDL\x00\x00";
    }
    let mut config = DecoderConfig::new();
    config.set_skipping_quota(10_000);
    // Natively as in a canister, where an error does not repeat the input.
    config.set_full_error_message(false);
    decode_args_with_config(bytes, &config)
}

/// Encodes a reply of one value, to the bytes that candid encodes it to.
///
/// Candid works out the table of types again for each reply, and with it forgets the types of the arguments; for an
/// ICRC-1 transfer that takes half the call. The table is the same for all values of a Rust type, so it is kept.
pub fn encode_one<R: CandidType + 'static>(reply: R) -> Encoded {
    encode(&reply)
}

fn encode<R: CandidType + 'static>(reply: &R) -> Encoded {
    let mut values = ValueSerializer::new();
    reply.idl_serialize(&mut values)?;
    let table = || candid::encode_one(OnlyType::<R>(PhantomData));
    after_table(TypeId::of::<R>(), table, values.get_result())
}

/// The values after the table of their type. Apart from the type, so that a module has it once.
fn after_table(id: TypeId, make: fn() -> Encoded, values: &[u8]) -> Encoded {
    thread_local! {
        static TABLES: RefCell<BTreeMap<TypeId, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
    }
    let known = TABLES.with_borrow(|tables| Some([tables.get(&id)?.as_slice(), values].concat()));
    if let Some(bytes) = known {
        return Ok(bytes);
    }
    let table = make()?;
    let bytes = [&table, values].concat();
    TABLES.with_borrow_mut(|tables| tables.insert(id, table));
    Ok(bytes)
}

/// Encodes to the table of a type alone.
struct OnlyType<R>(PhantomData<R>);

impl<R: CandidType> CandidType for OnlyType<R> {
    fn ty() -> Type {
        R::ty()
    }

    fn id() -> candid::types::TypeId {
        R::id()
    }

    fn _ty() -> Type {
        R::_ty()
    }

    fn idl_serialize<S: Serializer>(&self, _: S) -> Result<(), S::Error> {
        Ok(())
    }
}

/// Encodes a reply of several values.
pub fn encode_all<R: ArgumentEncoder>(reply: R) -> Encoded {
    candid::encode_args(reply)
}

/// `on_replay` for a reply of one value that was just made.
pub fn both_one<R: CandidType + 'static>(reply: R, map: impl FnOnce(R) -> R) -> Both {
    Ok([encode(&reply)?, encode(&map(reply))?])
}

/// `on_replay` for a reply of several values that were just made.
pub fn both_all<R: ArgumentEncoder>(reply: R, map: impl FnOnce(R) -> R) -> Both {
    Ok([encode_args_ref(&reply)?, encode_all(map(reply))?])
}

/// `on_replay` for the bytes of a first reply of one value.
pub fn map_one<R>(bytes: &[u8], map: impl FnOnce(R) -> R) -> Encoded
where
    R: CandidType + for<'a> Deserialize<'a> + 'static,
{
    encode_one(map(candid::decode_one(bytes)?))
}

/// `on_replay` for the bytes of a first reply of several values.
pub fn map_all<R>(bytes: &[u8], map: impl FnOnce(R) -> R) -> Encoded
where
    R: ArgumentEncoder + for<'a> ArgumentDecoder<'a>,
{
    encode_all(map(candid::decode_args(bytes)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candid::{Nat, Principal};

    #[derive(CandidType, Clone)]
    struct List {
        head: Nat,
        tail: Option<Box<List>>,
    }

    #[derive(CandidType, Clone)]
    enum Refusal {
        Late { by: u64 },
        Poor,
    }

    /// As candid does, each time.
    fn encodes_alike<R: CandidType + Clone + 'static>(values: &[R]) {
        for value in values {
            let bytes = candid::encode_one(value).unwrap();
            assert_eq!(encode_one(value.clone()).unwrap(), bytes);
        }
    }

    #[test]
    fn bytes_are_those_of_candid() {
        let list = |head: u8, tail| List {
            head: head.into(),
            tail,
        };
        for _ in 0..2 {
            encodes_alike(&[(), ()]);
            encodes_alike(&[0u64, 7]);
            encodes_alike(&[vec![], vec![1u8, 2]]);
            encodes_alike(&[vec![0u16; 3], vec![]]);
            encodes_alike(&[String::new(), "text".into()]);
            encodes_alike::<Result<Nat, Refusal>>(&[
                Ok(1u8.into()),
                Err(Refusal::Late { by: 3 }),
                Err(Refusal::Poor),
            ]);
            encodes_alike::<Result<Nat, String>>(&[Ok(1u8.into()), Err("no".into())]);
            encodes_alike(&[(Principal::anonymous(), Some(list(1, None)))]);
            encodes_alike(&[list(1, None), list(2, Some(Box::new(list(3, None))))]);
        }
    }
}
