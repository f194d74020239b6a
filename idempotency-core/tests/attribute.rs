//! What the attribute refuses, with the message it gives, and what it takes.

#[test]
fn attribute() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/attribute/pass/*.rs");
    cases.compile_fail("tests/attribute/fail/*.rs");
}
