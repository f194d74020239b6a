//! What messages end in, as it is kept and as it is told.

use crate::{
    outbox::{Ended, Limit, MessageId, Outcome, Reason, RequestError, Response},
    time::Timestamp,
};
use candid::{Decode, Encode};
use proptest::{collection::vec, prelude::*};

fn response() -> impl Strategy<Value = Response> {
    (
        any::<u16>(),
        vec(any::<(String, String)>(), 0..3),
        vec(any::<u8>(), 0..40),
    )
        .prop_map(|(status, headers, body)| Response {
            status,
            headers,
            body,
        })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let reason = prop_oneof![
        Just(Reason::Refused),
        Just(Reason::Interrupted),
        any::<String>().prop_map(|message| Reason::NoConsensus { message }),
        any::<(u32, String)>().prop_map(|(code, message)| Reason::Rejected { code, message }),
    ];
    let limit = prop_oneof![
        Just(None),
        Just(Some(Limit::Attempts)),
        Just(Some(Limit::NotRepeatable))
    ];
    prop_oneof![
        response().prop_map(Outcome::Acknowledged),
        (
            reason,
            limit,
            proptest::option::of(response()),
            any::<bool>()
        )
            .prop_map(|(reason, limit, answer, is_dead)| match is_dead {
                true => Outcome::Dead {
                    reason,
                    limit,
                    answer
                },
                false => Outcome::Unknown {
                    reason,
                    limit,
                    answer
                },
            }),
    ]
}

/// An outcome that was kept before an upgrade is read after it.
#[test]
fn a_kept_outcome_stays_readable() {
    let outcome = Outcome::Dead {
        reason: Reason::Refused,
        limit: None,
        answer: Some(Response {
            status: 422,
            headers: vec![("a".into(), "b".into())],
            body: vec![1],
        }),
    };
    let hex = "01a16444656164a366726561736f6e6752656675736564656c696d6974f666616e73776572a3667374617475731901a66768\
               65616465727381826161616264626f64794101";
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    assert_eq!(outcome.bytes(), bytes);
    assert_eq!(Outcome::read(&bytes), Some(outcome));
}

#[test]
fn what_is_told_is_candid() {
    let ended = Ended {
        id: MessageId::from_u64(7),
        outcome: Outcome::Acknowledged(Response::default()),
        attempts: 2,
        created_at: Timestamp::from_nanos(1),
        ended_at: Timestamp::from_nanos(2),
        about: vec![3],
    };
    let bytes = Encode!(&ended).unwrap();
    assert_eq!(Decode!(&bytes, Ended).unwrap(), ended);
    assert_eq!(MessageId::from_u64(7).to_string(), "7");
    assert_eq!(
        Decode!(&Encode!(&MessageId::from_u64(7)).unwrap(), u64).unwrap(),
        7
    );
    let error = RequestError::InvalidVerify {
        error: Box::new(RequestError::UrlCharacter { at: 3 }),
    };
    assert_eq!(
        Decode!(&Encode!(&error).unwrap(), RequestError).unwrap(),
        error
    );
}

#[test]
fn headers_are_found_in_any_case() {
    let response = Response {
        status: 299,
        headers: vec![
            ("a".into(), "1".into()),
            ("b".into(), "2".into()),
            ("b".into(), "3".into()),
        ],
        body: vec![],
    };
    assert_eq!(response.header("A"), Some("1"));
    assert_eq!(response.header("b"), Some("2"));
    assert_eq!(response.header("c"), None);
    assert!(response.is_success());
    for status in [0, 199, 300, 404] {
        assert!(
            !Response {
                status,
                ..Response::default()
            }
            .is_success()
        );
    }
}

proptest! {
    #[test]
    fn a_kept_outcome_is_read_as_it_was(outcome in outcome()) {
        let bytes = outcome.bytes();
        prop_assert_eq!(Outcome::read(&bytes), Some(outcome));
        prop_assert_eq!(Outcome::read(&bytes[..bytes.len() - 1]), None);
        prop_assert_eq!(Outcome::read(&[&bytes[..], &[0]].concat()), None);
    }

    #[test]
    fn any_bytes_are_read(mut bytes in vec(any::<u8>(), 0..200)) {
        let _ = Outcome::read(&bytes);
        let _ = Response::read(&bytes);
        bytes.insert(0, 1);
        let _ = Outcome::read(&bytes);
        let _ = Response::read(&[b"DIDL", &bytes[..]].concat());
    }
}
