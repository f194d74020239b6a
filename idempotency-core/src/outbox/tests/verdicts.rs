//! What each answer says: the tables of `answer.rs`.

use crate::{
    outbox::{
        Reason, Response,
        answer::{Verdict, judge, read},
    },
    runtime::Rejected,
    time::Timestamp,
};
use proptest::prelude::*;
use std::time::Duration;

/// Sun, 06 Nov 1994 08:49:37 GMT
const NOW: Timestamp = Timestamp::from_secs(784_111_777);

fn of_status(status: u16, headers: &[(&str, &str)]) -> Verdict {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    let response = Response {
        status,
        headers: headers.collect(),
        body: vec![],
    };
    judge(&Ok(response), NOW)
}

fn of_reject(code: u32, message: &str) -> Verdict {
    let message = message.to_owned();
    judge(&Err(Rejected { code, message }), NOW)
}

fn name(verdict: &Verdict) -> String {
    let name = |reason: &Reason| {
        let name = format!("{reason:?}");
        name.split(' ').next().unwrap_or_default().to_owned()
    };
    match verdict {
        Verdict::Acknowledged => "acknowledged".into(),
        Verdict::Refused => "refused".into(),
        Verdict::NotSent(reason) => format!("not sent: {}", name(reason)),
        Verdict::Uncertain { reason, .. } => format!("uncertain: {}", name(reason)),
    }
}

#[test]
fn each_status_has_its_verdict() {
    for (statuses, expected) in [
        (vec![200, 201, 202, 204, 206, 299], "acknowledged"),
        (vec![300, 301, 302, 304, 307, 308, 399], "refused"),
        (
            vec![
                400, 401, 402, 403, 404, 405, 406, 407, 410, 412, 413, 415, 422, 424, 426, 428,
                431, 451, 499,
            ],
            "refused",
        ),
        (vec![408], "uncertain: TimedOut"),
        (vec![409], "uncertain: InProgress"),
        (vec![425], "uncertain: TooEarly"),
        (vec![429], "uncertain: TooManyRequests"),
        (
            vec![500, 501, 502, 503, 504, 511, 599],
            "uncertain: ServerError",
        ),
        (
            vec![0, 100, 101, 199, 600, 999, u16::MAX],
            "uncertain: ServerError",
        ),
    ] {
        for status in statuses {
            assert_eq!(name(&of_status(status, &[])), expected, "{status}");
        }
    }
}

#[test]
fn each_reject_has_its_verdict() {
    const COUNT: &str = "number of all http headers 65 exceeds 64";
    const TOTAL: &str =
        "total number of bytes to represent all http header names and values 49153 exceeds 49152";
    for (code, text, expected) in [
        (0, "", "not sent: NotSent"),
        (0, "No consensus could be reached", "not sent: NotSent"),
        (
            4,
            "http_request request sent with 0 cycles, but 1_603_092_800 cycles are required.",
            "not sent: TooFewCycles",
        ),
        (
            4,
            "max number (3000) of http requests in-flight reached.",
            "not sent: NotSent",
        ),
        (4, "url size 8193 exceeds 8192", "not sent: NotSent"),
        (4, COUNT, "not sent: NotSent"),
        (4, TOTAL, "not sent: NotSent"),
        (
            4,
            "number of bytes to represent some http header name 8193 exceeds 8192",
            "not sent: NotSent",
        ),
        (
            4,
            "max_response_bytes expected to be in the range [0..2000000], got 2000001",
            "not sent: NotSent",
        ),
        (
            4,
            "transform principal id expected to be aaaaa-aa, got aaaaa-aa",
            "not sent: NotSent",
        ),
        (
            4,
            "transform needs to be exported by the caller canister aaaaa-aa",
            "not sent: NotSent",
        ),
        (
            4,
            "The requested HTTP method is only allowed for non-replicated requests.",
            "not sent: NotSent",
        ),
        (
            4,
            "No nodes available for delegation for non-replicated canister HTTP request.",
            "not sent: NotSent",
        ),
        (
            5,
            "This API is not enabled on this subnet",
            "not sent: NotSent",
        ),
        // The same texts from somewhere else prove nothing.
        (
            1,
            "http_request request sent with 0 cycles, but 1 cycles are required.",
            "uncertain: Rejected",
        ),
        (
            2,
            "max number (3000) of http requests in-flight reached.",
            "uncertain: Rejected",
        ),
        (
            5,
            "url size 8193 exceeds 8192",
            "uncertain: TransformFailed",
        ),
        (
            4,
            "This API is not enabled on this subnet",
            "uncertain: Rejected",
        ),
        (
            4,
            "see: http_request request sent with",
            "uncertain: Rejected",
        ),
        (4, "Insufficient cycles", "uncertain: Rejected"),
        (4, "", "uncertain: Rejected"),
        (2, "Canister http request timed out", "uncertain: TimedOut"),
        (1, "Timeout expired", "uncertain: TimedOut"),
        (1, "Deadline Exceeded", "uncertain: TimedOut"),
        (6, "Call deadline has expired.", "uncertain: TimedOut"),
        (
            2,
            "No consensus could be reached. Replicas had different responses. Details: request_id: 0",
            "uncertain: NoConsensus",
        ),
        (
            2,
            "Connecting to example.com failed: Failed to directly connect: …",
            "uncertain: ConnectionFailed",
        ),
        (
            2,
            "Failed to parse headers: failed to convert header to a str",
            "uncertain: Rejected",
        ),
        (
            2,
            "Canister rrkah-fqaaa-aaaaa-aaaaq-cai is out of cycles",
            "uncertain: Rejected",
        ),
        (
            1,
            "Header size exceeds specified response size limit 100",
            "uncertain: AnswerTooLarge",
        ),
        (
            1,
            "Http body exceeds size limit of 100 bytes.",
            "uncertain: AnswerTooLarge",
        ),
        (
            1,
            "Transformed http response exceeds limit: 100",
            "uncertain: AnswerTooLarge",
        ),
        (1, COUNT, "uncertain: AnswerTooLarge"),
        (1, TOTAL, "uncertain: AnswerTooLarge"),
        (
            1,
            "Failed to parse URL: invalid uri character",
            "uncertain: Rejected",
        ),
        (1, "Url need to specify https scheme", "uncertain: Rejected"),
        (
            3,
            "Canister aaaaa-aa not found",
            "uncertain: TransformFailed",
        ),
        (
            5,
            "Error from Canister aaaaa-aa: Canister called `ic0.trap` with message: 'x'",
            "uncertain: TransformFailed",
        ),
        (
            5,
            "Error from Canister aaaaa-aa: Canister has no query method '<idempotency outbox> transform'.",
            "uncertain: TransformFailed",
        ),
        (7, "", "uncertain: Rejected"),
        (u32::MAX, "", "uncertain: Rejected"),
    ] {
        assert_eq!(name(&of_reject(code, text)), expected, "{code}: {text}");
        let with_code = format!("IC0503: {text}");
        assert_eq!(
            name(&of_reject(code, &with_code)),
            expected,
            "{code}: {with_code}"
        );
    }
}

#[test]
fn a_text_is_kept_in_part() {
    let long = format!("Connecting to {}", "ü".repeat(1_000));
    let Verdict::Uncertain {
        reason: Reason::ConnectionFailed { message },
        ..
    } = of_reject(2, &long)
    else {
        panic!("it is uncertain");
    };
    assert!(long.starts_with(&message) && (510..=512).contains(&message.len()));
}

#[test]
fn a_reply_that_is_not_the_transforms_is_uncertain() {
    let reply = |status: u32| {
        let result = ic_management_canister_types::HttpRequestResult {
            status: status.into(),
            ..Default::default()
        };
        candid::encode_one(result).unwrap()
    };
    let judged = |reply| name(&judge(&read(Ok(reply)), NOW));
    assert_eq!(judged(reply(200)), "acknowledged");
    for status in [0, 99, 600, 65_736, u32::MAX] {
        assert_eq!(
            judged(reply(status)),
            "uncertain: TransformFailed",
            "{status}"
        );
    }
    for bytes in [
        vec![],
        b"DIDL\0\0".to_vec(),
        b"{}".to_vec(),
        candid::encode_one(200u16).unwrap(),
    ] {
        assert_eq!(judged(bytes), "uncertain: TransformFailed");
    }
    let rejected = Rejected {
        code: 2,
        message: "Canister http request timed out".into(),
    };
    assert_eq!(read(Err(rejected.clone())), Err(rejected));
}

#[test]
fn servers_say_when_to_come_again() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    for (value, expected) in [
        ("0", seconds(0)),
        ("120", seconds(120)),
        (" 7 ", seconds(7)),
        ("3600", seconds(3_600)),
        ("3601", seconds(3_600)),
        ("18446744073709551615", seconds(3_600)),
        ("99999999999999999999999999", seconds(3_600)),
        ("Sun, 06 Nov 1994 08:50:07 GMT", seconds(30)),
        ("Sunday, 06-Nov-94 08:50:07 GMT", seconds(30)),
        ("Sun Nov  6 08:50:07 1994", seconds(30)),
        ("Sun, 06 Nov 1994 08:00:00 GMT", seconds(0)),
        ("Mon, 07 Nov 1994 08:49:37 GMT", seconds(3_600)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", seconds(3_600)),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("soon", None),
        ("Sun, 32 Nov 1994 08:50:07 GMT", None),
    ] {
        for status in [408, 409, 425, 429, 500, 503] {
            let verdict = of_status(status, &[("a", "1"), ("Retry-After", value)]);
            let Verdict::Uncertain { retry_after, .. } = verdict else {
                panic!("{status} is uncertain");
            };
            assert_eq!(retry_after, expected, "{value}");
        }
    }
    assert_eq!(of_status(404, &[("retry-after", "1")]), Verdict::Refused);
}

proptest! {
    /// Nothing but an answer of the server itself, or a refusal of the management canister, is certain.
    #[test]
    fn every_answer_has_a_verdict(code in any::<u32>(), small in 0u32..8, text in any::<String>(), status in any::<u16>(), value in any::<String>()) {
        for code in [code, small] {
            let verdict = of_reject(code, &text);
            let is_uncertain = matches!(verdict, Verdict::Uncertain { retry_after: None, .. });
            prop_assert!(is_uncertain || code == 0);
        }
        let is_success = (200..300).contains(&status);
        prop_assert_eq!(of_status(status, &[("retry-after", &value)]) == Verdict::Acknowledged, is_success);
    }
}
