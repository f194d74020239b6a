use crate::identity::Argument;
use candid::{CandidType, Int, Nat, Principal, Reserved, define_function, encode_args, encode_one};
use proptest::prelude::*;
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

fn hash(argument: &[u8]) -> Vec<u8> {
    Argument::new(argument).hashed().to_vec()
}

/// The values that an argument stands for, without what they are hashed to.
fn values(argument: &[u8]) -> Option<Vec<u8>> {
    let mut written = vec![];
    super::write(argument, &mut written).map(|()| written)
}

fn of(value: impl CandidType) -> Vec<u8> {
    let argument = encode_one(value).unwrap();
    values(&argument).expect("candid's own encoding is read")
}

fn of_args(arguments: impl candid::utils::ArgumentEncoder) -> Vec<u8> {
    values(&encode_args(arguments).unwrap()).expect("candid's own encoding is read")
}

// ------------------------------------------------- the same candid type in another Rust type

#[test]
fn the_rust_type_plays_no_part() {
    let numbers = [7u64, 1, 3];
    assert_eq!(of(numbers.to_vec()), of(VecDeque::from(numbers)));
    assert_eq!(of(vec![1u64, 3, 7]), of(BTreeSet::from(numbers)));
    assert_eq!(
        of(vec![("a", 1u8), ("b", 2)]),
        of(BTreeMap::from([("b", 2u8), ("a", 1)]))
    );
    assert_eq!(of(7u128), of(Nat::from(7u8)));
    assert_eq!(of(-7i128), of(Int::from(-7)));
    assert_eq!(of(vec![1u8, 2]), of(ByteBuf::from(vec![1, 2])));
    assert_eq!(of(vec![0u8; 0]), of(Vec::<String>::new()));
    assert_eq!(of("a"), of(String::from("a")));
    assert_eq!(of(Some(Box::new(1u8))), of(Some(1u8)));
}

// ------------------------------------------------- compatible changes of the interface

mod old {
    use super::*;

    #[derive(CandidType)]
    pub(super) struct Transfer {
        pub(super) to: Principal,
        pub(super) amount: Nat,
        pub(super) memo: Vec<u8>,
    }

    #[derive(CandidType)]
    pub(super) enum Operation {
        Burn(u64),
        Mint(u64),
        Rest,
    }
}

mod new {
    use super::*;

    #[derive(CandidType)]
    pub(super) struct Transfer {
        pub(super) amount: Int,
        pub(super) fee: Option<u64>,
        pub(super) memo: Option<Vec<u8>>,
        pub(super) note: Option<Option<String>>,
        pub(super) kept_for_later: Reserved,
        pub(super) to: Option<Principal>,
    }

    #[derive(CandidType)]
    pub(super) enum Operation {
        Approve(u64),
        Burn(u64),
        Mint(u64),
        Rest,
    }
}

fn old_transfer() -> old::Transfer {
    old::Transfer {
        to: Principal::from_slice(&[7; 29]),
        amount: 5u8.into(),
        memo: vec![1, 2],
    }
}

fn new_transfer() -> new::Transfer {
    new::Transfer {
        to: Some(Principal::from_slice(&[7; 29])),
        amount: 5.into(),
        memo: Some(vec![1, 2]),
        fee: None,
        note: None,
        kept_for_later: Reserved,
    }
}

#[test]
fn an_older_client_sends_the_same_values() {
    assert_eq!(of(old_transfer()), of(new_transfer()));
    assert_eq!(of(Some(old_transfer())), of(new_transfer()));
    assert_eq!(of(vec![old_transfer()]), of(vec![Some(new_transfer())]));
    assert_eq!(of_args((1u8,)), of_args((1u8, None::<u8>, ())));
    assert_eq!(
        of_args((1u8, None::<u8>, 2u8)),
        of_args((1u8, (), Some(2u8)))
    );
    assert_eq!(of_args(()), of_args((None::<u8>,)));
    assert_eq!(values(b"").unwrap(), of_args(()));
}

#[test]
fn a_case_more_changes_no_other() {
    assert_eq!(of(old::Operation::Burn(5)), of(new::Operation::Burn(5)));
    assert_eq!(of(old::Operation::Mint(5)), of(new::Operation::Mint(5)));
    assert_eq!(of(old::Operation::Rest), of(new::Operation::Rest));
    let all = [
        of(new::Operation::Approve(5)),
        of(new::Operation::Burn(5)),
        of(new::Operation::Mint(5)),
        of(new::Operation::Rest),
    ];
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}

#[test]
fn a_field_with_another_name_is_another_field() {
    #[derive(CandidType)]
    struct FromTo {
        from: u64,
        to: u64,
    }
    #[derive(CandidType)]
    struct PayerPayee {
        payer: u64,
        payee: u64,
    }
    #[derive(CandidType)]
    struct SenderReceiver {
        sender: u64,
        receiver: u64,
    }
    for (one, two) in [(1, 2), (2, 1), (1, 1)] {
        let named = of(FromTo { from: 1, to: 2 });
        assert_ne!(
            named,
            of(PayerPayee {
                payer: one,
                payee: two
            })
        );
        assert_ne!(
            named,
            of(SenderReceiver {
                sender: one,
                receiver: two
            })
        );
        assert_ne!(named, of((one, two)));
    }
}

#[test]
fn a_type_table_in_another_order_is_the_same() {
    // record { 0 : opt nat8; 1 : vec text }, first with its fields' types behind it, then before it and each twice.
    let value = [1, 9, 2, 1, b'a', 1, b'b'];
    let behind = [3, 0x6C, 2, 0, 1, 1, 2, 0x6E, 0x7B, 0x6D, 0x71, 1, 0];
    let before = [
        5, 0x6E, 0x7B, 0x6D, 0x71, 0x6C, 2, 0, 3, 1, 1, 0x6E, 0x7B, 0x6D, 0x71, 1, 2,
    ];
    let argument = |table: &[u8]| [b"DIDL", table, &value].concat();
    assert_eq!(values(&argument(&behind)), values(&argument(&before)));
    assert_eq!(
        values(&argument(&behind)).unwrap(),
        of((Some(9u8), vec!["a", "b"]))
    );
}

/// Candid takes a number with superfluous digits, and one client's library may write them.
#[test]
fn superfluous_digits_change_no_number() {
    let number = |of: u8, digits: &[u8]| values(&[b"DIDL\0\x01", &[of][..], digits].concat());
    const NAT: u8 = 0x7D;
    const INT: u8 = 0x7C;
    assert_eq!(number(NAT, &[5]), number(NAT, &[0x85, 0x80, 0]));
    assert_eq!(number(NAT, &[0]), number(NAT, &[0x80, 0]));
    assert_eq!(number(NAT, &[64]), number(INT, &[0xC0, 0]));
    assert_eq!(number(INT, &[0x7B]), number(INT, &[0xFB, 0xFF, 0x7F]));
    assert_eq!(number(INT, &[0x7F]), number(INT, &[0xFF, 0x7F]));
    assert_ne!(number(NAT, &[0x7F]), number(INT, &[0x7F]));
    assert_ne!(number(INT, &[0x40]), number(INT, &[0xC0, 0]));
    assert_eq!(number(NAT, &[0x85, 0x80]), None, "it has no end");
}

// ------------------------------------------------- other values

#[test]
fn different_values_differ() {
    define_function!(Callback : () -> ());
    let callback = |principal, method: &str| {
        Callback(candid::Func {
            principal,
            method: method.into(),
        })
    };
    let (one, other) = (Principal::from_slice(&[1]), Principal::from_slice(&[1, 1]));
    let all = [
        of((vec![1u8], vec![2u8, 3])),
        of((vec![1u8, 2], vec![3u8])),
        of(vec![vec![1u16], vec![2, 3]]),
        of(vec![vec![1u16, 2], vec![3]]),
        of((Some(1u8), None::<u8>)),
        of((None::<u8>, Some(1u8))),
        of((Some(Some(1u8)), Some(None::<u8>))),
        of((None::<Option<u8>>, 1u8, Some(Some(None::<u8>)))),
        of((2u8, Some(None::<u8>))),
        of(vec![None::<u8>]),
        of(vec![None::<u8>, None]),
        of(vec![Some(None::<u8>)]),
        of(vec![(); 3]),
        of(vec![(); 4]),
        of(Some(None::<u8>)),
        of(("1", "")),
        of(("", "1")),
        of("a"),
        of(b"a".to_vec()),
        of(one),
        of(other),
        of(callback(one, "a")),
        of(callback(other, "a")),
        of(callback(one, "b")),
        of(Ok::<u8, u8>(1)),
        of(Err::<u8, u8>(1)),
        of(1.0f64),
        of(1.0f32),
        of(1u8),
        of(1u16),
        of(1u32),
        of(1u64),
        of(1i8),
        of(1i16),
        of(1i32),
        of(1i64),
        of(1u128),
        of(-1i128),
        of(true),
        of(false),
        of(BTreeMap::from([(1u8, 2u8)])),
        of(vec![vec![1u8, 2]]),
        of_args((1u8, 2u8)),
        of_args((2u8, 1u8)),
        of_args((None::<u8>, 1u8)),
        of_args(()),
        of_args(((), (), 1u8)),
    ];
    let different: BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
}

type Tree = (
    u64,
    Option<Option<String>>,
    Vec<(Option<bool>, Vec<u8>)>,
    Result<Vec<Option<u16>>, i128>,
);

fn tree() -> impl Strategy<Value = Tree> {
    let result = prop_oneof![
        prop::collection::vec(any::<Option<u16>>(), 0..3).prop_map(Ok),
        any::<i128>().prop_map(Err)
    ];
    let pairs = prop::collection::vec(
        (any::<Option<bool>>(), prop::collection::vec(0..2u8, 0..3)),
        0..3,
    );
    (
        0..2u64,
        prop::option::of(prop::option::of("[ab]{0,2}")),
        pairs,
        result,
    )
}

/// What nests at no cost in bytes: `record { 0 : record { 0 : … }; 1 : record { … } }`, 2^levels in all.
fn doubled(levels: u8) -> Vec<u8> {
    let mut argument = b"DIDL".to_vec();
    argument.push(levels + 1);
    for level in 0..levels {
        argument.extend_from_slice(&[0x6C, 2, 0, level + 1, 1, level + 1]);
    }
    argument.extend_from_slice(&[0x6C, 0, 1, 0]);
    argument
}

#[test]
fn what_would_take_long_is_not_read() {
    assert_eq!(
        values(&doubled(4)).unwrap().first(),
        Some(&super::tag::RECORD)
    );
    assert_eq!(values(&doubled(60)), None);
    // vec null, a billion of them.
    let nulls = [
        b"DIDL\x01\x6D\x7F\x01\0".as_slice(),
        &[0x80, 0x94, 0xEB, 0xDC, 3],
    ]
    .concat();
    assert_eq!(values(&nulls), None);
    // A record that contains itself has no value, and takes no bytes.
    assert_eq!(values(b"DIDL\x01\x6C\x01\0\0\x01\0"), None);
    // opt opt opt …, some and some again: deep, but no deeper than what is read.
    let nested =
        |depth: usize| [b"DIDL\x01\x6E\0\x01\0".as_slice(), &vec![1; depth], &[0]].concat();
    assert!(values(&nested(500)).is_some());
    assert_eq!(values(&nested(100_000)), None);
    assert_ne!(hash(&nested(100_000)), hash(&nested(100_001)));
}

#[test]
fn what_is_no_candid_is_not_read() {
    let argument = encode_args((old_transfer(), vec![1u64, 2], Some("text"))).unwrap();
    assert!(values(&argument).is_some());
    for length in 1..argument.len() {
        assert_eq!(
            values(&argument[..length]),
            None,
            "the first {length} bytes"
        );
    }
    assert_eq!(values(&[&argument[..], &[0]].concat()), None);
    assert_eq!(values(b"DIDM\0\0"), None);
    // A type that is not in the table, and an opaque principal.
    assert_eq!(values(b"DIDL\0\x01\x05"), None);
    assert_eq!(values(b"DIDL\0\x01\x68\0"), None);
}

proptest! {
    #[test]
    fn equal_exactly_when_candid_is_equal(one in tree(), other in tree()) {
        let (one, other) = (encode_one(one).unwrap(), encode_one(other).unwrap());
        prop_assert_eq!(one == other, values(&one).unwrap() == values(&other).unwrap());
    }

    /// What was read can only be told apart from another if no value's bytes are the beginning of another's.
    #[test]
    fn no_value_begins_another(one in tree(), other in tree()) {
        let (one, other) = (of_args((one, 1u8)), of_args((other, 1u8)));
        prop_assert!(one == other || !one.starts_with(&other));
    }

    #[test]
    fn nothing_panics(
        of in tree(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        random in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut argument = encode_one(of).unwrap();
        let at = at.index(argument.len());
        argument[at] = byte;
        let _ = values(&argument);
        let _ = values(&[b"DIDL", &random[..]].concat());
    }

    #[test]
    fn numbers(number in any::<i128>(), shift in 0..128u32) {
        let number = number >> shift;
        let int = of(Int::from(number));
        prop_assert_eq!(&int, &of(number));
        if let Ok(natural) = u128::try_from(number) {
            prop_assert_eq!(&int, &of(Nat::from(natural)));
        }
        prop_assert_ne!(int, of(number.wrapping_add(1)));
    }
}
