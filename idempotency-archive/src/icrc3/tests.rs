use super::*;
use candid::{Decode, Encode};
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

/// A transfer as ICRC-3 encodes it, with a memo and a time.
fn transfer() -> Value {
    let account = |byte| Value::Array(vec![Value::blob([byte; 29])]);
    Value::map([
        ("phash", Value::blob([7; 32])),
        ("fee", Value::nat(10_000u64)),
        ("ts", Value::nat(1_753_344_728_820_625_931u64)),
        (
            "tx",
            Value::map([
                ("op", Value::text("xfer")),
                ("from", account(1)),
                ("to", account(2)),
                ("amt", Value::nat(50_419_165_435u64)),
                ("memo", Value::blob([3; 8])),
                ("ts", Value::nat(1_753_344_728_000_000_000u64)),
            ]),
        ),
    ])
}

/// The vectors of the standard (HASHINGVALUES.md), and the example of the IC's interface specification.
#[test]
fn hashes_are_the_standards() {
    let account = |text| Value::blob(hex(text));
    let vectors = [
        (
            Value::nat(42u8),
            "684888c0ebb17f374298b65ee2807526c066094c701bcc7ebbe1c1095f494fc1",
        ),
        (
            Value::Int((-42).into()),
            "de5a6f78116eca62d7fc5ce159d23ae6b889b365a1739ad2cf36f925a140d0cc",
        ),
        (
            Value::text("Hello, World!"),
            "dffd6021bb2bd5b0af676290809ec3a53191dd81c7f70a4b28688a362182986f",
        ),
        (
            Value::blob([1, 2, 3, 4]),
            "9f64a747e1b97f131fabb6b447296c9b6f0201e79fb3c5356e6c77e89b6a806a",
        ),
        (
            Value::Array(vec![
                Value::nat(3u8),
                Value::text("foo"),
                Value::blob([5, 6]),
            ]),
            "514a04011caa503990d446b7dec5d79e19c221ae607fb08b2848c67734d468d6",
        ),
        (
            Value::map([
                (
                    "from",
                    account("00abcdef0012340056789a00bcdef000012345678900abcdef01"),
                ),
                (
                    "to",
                    account("00ab0def0012340056789a00bcdef000012345678900abcdef01"),
                ),
                ("amount", Value::nat(42u8)),
                ("created_at", Value::nat(1_699_218_263u64)),
                ("memo", Value::nat(0u8)),
            ]),
            "c56ece650e1de4269c5bdeff7875949e3e2033f85b2d193c2ff4f7f78bdcfc75",
        ),
        (
            Value::map([
                ("request_type", Value::text("call")),
                ("canister_id", Value::blob(hex("00000000000004d2"))),
                ("method_name", Value::text("hello")),
                ("arg", Value::blob(*b"DIDL\x00\xFD*")),
            ]),
            "8781291c347db32a9d8c10eb62b710fce5a93be676474c42babc74c51858f94b",
        ),
    ];
    for (value, hash) in vectors {
        assert_eq!(hex::encode(value.hash()), hash, "{value:?}");
    }
}

/// The order of a map's fields is not in the hash; whether a number is positive by its type is.
#[test]
fn a_hash_is_of_what_a_value_says() {
    let fields = [("b", Value::nat(1u8)), ("a", Value::nat(2u8))];
    let [first, second] = fields.clone();
    assert_eq!(
        Value::map(fields).hash(),
        Value::map([second, first]).hash()
    );
    let positive = Value::Int(64.into()).hash();
    assert_eq!(positive, sha256(&[0xC0, 0x00]));
    assert_ne!(positive, Value::nat(64u8).hash());
}

#[test]
fn a_transfers_block_is_small() {
    let block = transfer();
    let (ours, candids) = (block.to_bytes().unwrap().len(), Encode!(&block).unwrap());
    assert_eq!((ours, candids.len()), (189, 243));
}

#[test]
fn depth_is_bounded() {
    let nested = |depth| (1..depth).fold(Value::nat(1u8), |it, _| Value::Array(vec![it]));
    let deepest = nested(MAX_DEPTH);
    let bytes = deepest.to_bytes().unwrap();
    assert_eq!(Value::from_bytes(&bytes), Ok(deepest));
    assert_eq!(nested(MAX_DEPTH + 1).to_bytes(), Err(TooDeep));
    let deeper = [&[kind::ARRAY, 1][..], &bytes].concat();
    assert_eq!(Value::from_bytes(&deeper), Err(TooDeep.into()));
    let hostile = [kind::ARRAY, 1].repeat(1_000_000);
    assert_eq!(Value::from_bytes(&hostile), Err(TooDeep.into()));
}

#[test]
fn bytes_that_are_none_say_why() {
    let bytes = transfer().to_bytes().unwrap();
    for length in 0..bytes.len() {
        assert_eq!(
            Value::from_bytes(&bytes[..length]),
            Err(NoValue::Truncated),
            "{length}"
        );
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(Value::from_bytes(&longer), Err(NoValue::TrailingBytes));
    assert_eq!(Value::from_bytes(&[6]), Err(NoValue::UnknownKind(6)));
    let endless = [kind::MAP, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F];
    assert_eq!(Value::from_bytes(&endless), Err(NoValue::Length));
    let latin = [kind::TEXT, 1, 0xE9];
    assert_eq!(Value::from_bytes(&latin), Err(NoValue::Text));
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<Vec<u8>>().prop_map(Value::blob),
        ".{0,20}".prop_map(Value::Text),
        any::<u128>().prop_map(Value::nat),
        any::<u128>().prop_map(|it| Value::nat(Nat::from(it) * u128::MAX)),
        any::<i128>().prop_map(|it| Value::Int(it.into())),
        any::<i128>().prop_map(|it| Value::Int(candid::Int::from(it) * i128::MAX)),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec((".{0,5}", inner), 0..6).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_stored_is_read(value in values()) {
        prop_assert_eq!(Value::from_bytes(&value.to_bytes().unwrap()), Ok(value.clone()));
        prop_assert_eq!(Decode!(&Encode!(&value).unwrap(), Value).unwrap(), value);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, (mut of_a_value, at, to) in (
        values().prop_map(|it| it.to_bytes().unwrap()), any::<prop::sample::Index>(), any::<u8>(),
    )) {
        let _ = Value::from_bytes(&bytes);
        let at = at.index(of_a_value.len());
        of_a_value[at] = to;
        let _ = Value::from_bytes(&of_a_value);
    }
}
