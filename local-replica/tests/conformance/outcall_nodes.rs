//! HTTPS outcalls that the nodes of a subnet answer differently.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use pocket_ic::common::rest::{CanisterHttpReplication, CanisterHttpResponse};

use crate::outcaller::{Answer, Outcaller, PLENTY, reject, replies, reply, told, transformed};

fn is_no_consensus(answer: &Answer) -> bool {
    let text =
        "No consensus could be reached. Replicas had different responses. Details: request_id: ";
    matches!(answer, Err((2, message)) if message.starts_with(text))
}

/// So many nodes report the one, the others of 13 the other.
fn split(
    count: usize,
    one: &CanisterHttpResponse,
    other: &CanisterHttpResponse,
) -> Vec<CanisterHttpResponse> {
    let mut all = vec![other.clone(); 13 - count];
    all.extend(vec![one.clone(); count]);
    all
}

/// Four faults of 13 nodes are tolerated.
#[test]
fn nine_equal_responses_of_thirteen_are_consensus() {
    let it = Outcaller::new();
    let args = it.request(true, None);
    let (one, other) = (reply(&[], b"one"), reply(&[], b"other"));
    assert_eq!(it.ask(&args, split(13, &one, &other)), told(b"one"));
    assert_eq!(it.ask(&args, split(9, &one, &other)), told(b"one"));
    assert!(is_no_consensus(&it.ask(&args, split(8, &one, &other))));
    assert_eq!(it.ask(&args, split(4, &one, &other)), told(b"other"));
}

#[test]
fn headers_are_part_of_the_response() {
    let it = Outcaller::new();
    let dated = |second: usize| reply(&[("date", &format!("00:00:{second:02}"))], b"same");
    let responses: Vec<_> = (0..13).map(dated).collect();
    let answer = it.ask(&it.request(true, None), responses.clone());
    assert!(is_no_consensus(&answer), "{answer:?}");
    let answer = it.ask(&it.request(true, Some("fixed")), responses);
    assert_eq!(answer, transformed());
}

#[test]
fn each_node_transforms_for_itself() {
    let it = Outcaller::new();
    let args = it.request(true, Some("fixed"));
    let (fine, traps) = (reply(&[], b"fine"), reply(&[], b"!!!!"));
    let rejects = reply(&[], b"????");
    assert_eq!(it.ask(&args, split(9, &fine, &traps)), transformed());
    assert!(is_no_consensus(&it.ask(&args, split(8, &fine, &traps))));
    let (code, text) = it.ask(&args, split(4, &fine, &traps)).unwrap_err();
    assert_eq!(code, 5);
    assert!(text.starts_with("IC0503: Error from Canister"), "{text}");
    assert!(text.contains("boom"), "{text}");
    let answer = it.ask(&args, vec![rejects]);
    assert_eq!(answer, Err((4, "not today".to_owned())));
}

#[test]
fn rejects_of_nodes_take_part() {
    let it = Outcaller::new();
    let args = it.request(true, None);
    let refused = reject(2, "Connecting to example.com failed");
    let fine = reply(&[], b"fine");
    assert_eq!(it.ask(&args, split(9, &fine, &refused)), told(b"fine"));
    let answer = it.ask(&args, split(9, &refused, &fine));
    let text = "Connecting to example.com failed".to_owned();
    assert_eq!(answer, Err((2, text)));
    let each: Vec<_> = (0..13).map(|node| reject(2, &node.to_string())).collect();
    assert!(is_no_consensus(&it.ask(&args, each)));
}

/// PocketIC doesn't say which.
#[test]
fn one_node_answers_a_non_replicated_outcall() {
    let it = Outcaller::new();
    let args = it.request(false, None);
    let message = it.start(&args, PLENTY);
    assert_eq!(
        it.pending().replication,
        CanisterHttpReplication::NonReplicated
    );
    let bodies: Vec<Vec<u8>> = (0..13).map(|node| vec![node]).collect();
    it.answer(replies(bodies.iter().map(Vec::as_slice)));
    let (answer, _) = it.finish(message);
    let (_, body) = answer.expect("a reply");
    assert!(bodies.contains(&body), "{body:?}");

    assert_eq!(
        it.ask(&args, vec![reply(&[], b"the only one")]),
        told(b"the only one")
    );
    let args = it.request(false, Some("fixed"));
    assert_eq!(it.ask(&args, vec![reply(&[], b"fine")]), transformed());
    let (code, _) = it.ask(&args, vec![reply(&[], b"!!!!")]).unwrap_err();
    assert_eq!(code, 5);
}

#[test]
fn other_numbers_of_responses_are_refused() {
    let it = Outcaller::new();
    let message = it.start(&it.request(true, None), PLENTY);
    for number in [2, 12, 14] {
        let responses = vec![reply(&[], b"fine"); number];
        let answer = catch_unwind(AssertUnwindSafe(|| it.answer(responses)));
        let panic = answer.expect_err("refused");
        let text = panic.downcast_ref::<String>().expect("a text");
        let expected = format!("InvalidMockCanisterHttpResponses(({number}, 13))");
        assert!(text.contains(&expected), "{text}");
    }
    it.answer(vec![reply(&[], b"fine"); 13]);
    assert_eq!(it.finish(message).0, told(b"fine"));
}

#[test]
fn composite_query_is_no_transform() {
    let it = Outcaller::new();
    let args = it.request(true, Some("composite"));
    let (code, text) = it.ask(&args, vec![reply(&[], b"fine")]).unwrap_err();
    assert_eq!(code, 5);
    let expected = "Composite query cannot be used as transform in canister http outcalls.";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn missing_transform_is_an_error_of_each_node() {
    let it = Outcaller::new();
    let args = it.request(true, Some("nowhere"));
    let (code, text) = it.ask(&args, vec![reply(&[], b"fine")]).unwrap_err();
    assert_eq!(code, 5);
    assert!(text.contains("has no query method 'nowhere'"), "{text}");
}

#[test]
fn what_the_transform_answers_is_limited() {
    let it = Outcaller::new();
    let too_much = |limit: u64| {
        let text = format!("Transformed http response exceeds limit: {limit}");
        Err((1, text))
    };
    let mut args = it.request(true, Some("bloated"));
    assert_eq!(it.ask(&args, vec![reply(&[], b"")]), too_much(1_000));
    // So is the text of its error.
    args = it.request(true, Some("fixed"));
    args.max_response_bytes = Some(20);
    assert_eq!(it.ask(&args, vec![reply(&[], b"!!!!")]), too_much(20));
}

#[test]
fn headers_of_a_response_are_limited() {
    let it = Outcaller::new();
    let mut args = it.request(true, None);
    args.max_response_bytes = None;
    let many: Vec<(&str, &str)> = vec![("x", "1"); 65];
    let long = "v".repeat(8_193);
    let most = "v".repeat(8_192);
    let answer = it.ask(&args, vec![reply(&many, b"")]);
    let text = "number of all http headers 65 exceeds 64";
    assert_eq!(answer, Err((1, text.to_owned())));
    let answer = it.ask(&args, vec![reply(&[("x", &long)], b"")]);
    let text = "number of bytes to represent some http header value 8193 exceeds 8192";
    assert_eq!(answer, Err((1, text.to_owned())));
    let answer = it.ask(&args, vec![reply(&[("x", most.as_str()); 6], b"")]);
    let text =
        "total number of bytes to represent all http header names and values 49158 exceeds 49152";
    assert_eq!(answer, Err((1, text.to_owned())));
}

#[test]
fn answer_that_comes_when_time_is_up_is_too_late() {
    let it = Outcaller::new();
    let args = it.request(true, None);
    let late = Err((2, "Canister http request timed out".to_owned()));
    let message = it.start(&args, PLENTY);
    it.pic.advance_time(Duration::from_secs(61));
    it.answer(vec![reply(&[], b"fine")]);
    let (answer, refund) = it.finish(message);
    assert_eq!(answer, late);
    assert!(
        (1..u128::from(PLENTY)).contains(&refund),
        "the fee is gone: {refund}"
    );

    let message = it.start(&args, PLENTY);
    it.pic.advance_time(Duration::from_secs(59));
    it.pic.tick();
    it.answer(vec![reply(&[], b"fine")]);
    assert_eq!(it.finish(message).0, told(b"fine"));
}
