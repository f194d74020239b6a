//! What JSON pointers lead to.

use crate::outbox::json::extract;
use proptest::prelude::*;
use serde_json::Value;

fn found(body: &str, pointer: &str) -> Option<String> {
    extract(body.as_bytes(), pointer).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn the_examples_of_the_rfc() {
    const BODY: &str = r#"{
        "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8
    }"#;
    for (pointer, expected) in [
        ("/foo", r#"["bar","baz"]"#),
        ("/foo/0", r#""bar""#),
        ("/", "0"),
        ("/a~1b", "1"),
        ("/c%d", "2"),
        ("/e^f", "3"),
        ("/g|h", "4"),
        ("/i\\j", "5"),
        ("/k\"l", "6"),
        ("/ ", "7"),
        ("/m~0n", "8"),
    ] {
        assert_eq!(found(BODY, pointer).as_deref(), Some(expected), "{pointer}");
    }
    for pointer in [
        "/no", "/foo/2", "/foo/-", "/foo/01", "/foo/+1", "/foo/x", "/foo/", "/foo/0/1", "//0",
        "/a/b",
    ] {
        assert_eq!(found(BODY, pointer), None, "{pointer}");
    }
}

#[test]
fn numbers_stay_as_they_were_written() {
    for number in [
        "0",
        "-1",
        "1.10",
        "1e3",
        "123456789012345678901234567890",
        "0.1234567890123456789012345",
        "1E400",
    ] {
        let body = format!("{{\"a\": [ {number} ] }}");
        assert_eq!(found(&body, "/a/0").as_deref(), Some(number));
        assert_eq!(found(&body, "").unwrap(), format!("{{\"a\":[{number}]}}"));
    }
}

#[test]
fn what_means_the_same_is_the_same() {
    let one = found("{ \"b\" : [ true , null ], \"a\" : \"\\u00e4\\/\\n\" }", "");
    assert_eq!(one.as_deref(), Some("{\"a\":\"ä/\\n\",\"b\":[true,null]}"));
    assert_eq!(found("{\"a\":1,\"a\":2}", "").as_deref(), Some("{\"a\":2}"));
    assert_eq!(found("{\"a\":1,\"a\":2}", "/a").as_deref(), Some("2"));
    assert_eq!(found("{\"a\":{\"b\":1},\"a\":2}", "/a/b"), None);
    assert_eq!(found("{\"\\u0061\":1}", "/a").as_deref(), Some("1"));
}

#[test]
fn what_is_no_json_has_nothing_in_it() {
    for body in [
        "",
        " ",
        "{",
        "{\"a\":1}x",
        "{\"a\":1,}",
        "{'a':1}",
        "<html>",
        "{\"a\":01}",
        "{\"a\":1}{\"a\":2}",
        "nul",
    ] {
        assert_eq!(found(body, "/a"), None, "{body}");
        assert_eq!(found(body, ""), None, "{body}");
    }
    assert_eq!(extract(b"{\"a\":\"\xff\"}", "/a"), None);
    for body in ["1", "-1", "1.5", "true", "null", "\"a\"", "[]", "{}"] {
        assert_eq!(found(body, "/a"), None);
        assert_eq!(found(body, "").as_deref(), Some(body));
    }
}

#[test]
fn what_is_deep_is_left_alone() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(found(&nested(32), ""), Some(nested(32)));
    assert_eq!(found(&nested(33), ""), None);
    let deep = nested(500_000);
    assert_eq!(
        found(&format!("{{\"a\":{deep},\"b\":1}}"), "/b").as_deref(),
        Some("1")
    );
    assert_eq!(found(&deep, ""), None);
    assert_eq!(found(&deep, &"/0".repeat(500)), None);
}

/// A value's text, however it may be written.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-c/~\"ä]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c/~]{0,2}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// serde_json's own, where it does the same.
    #[test]
    fn it_finds_what_serde_json_finds(value in json(), pointer in "(/([a-c0-3]|~0|~1){0,2}){0,4}") {
        for body in [serde_json::to_string(&value)?, serde_json::to_string_pretty(&value)?] {
            let expected = value.pointer(&pointer).map(|value| {
                let mut value = value.clone();
                value.sort_all_objects();
                value.to_string()
            });
            prop_assert_eq!(found(&body, &pointer), expected);
        }
    }

    #[test]
    fn any_bytes_are_read(body in prop::collection::vec(any::<u8>(), 0..60), text in "[\\[\\]{}\":,0-9a\\\\ue. -]{0,40}", pointer in "(/[a0-9]{0,2}){0,3}") {
        let _ = extract(&body, &pointer);
        let _ = extract(text.as_bytes(), &pointer);
    }
}
