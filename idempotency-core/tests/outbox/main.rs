//! What a canister must not do with outboxes, with the message that the compiler gives. What it may do is in `exported_transform.rs`.
#![cfg(feature = "outbox")]

#[test]
fn outbox() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/outbox/fail/*.rs");
}
