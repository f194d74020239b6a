//! What today's `IdempotencyError` makes of replies that a later version of the library may send: the rule in the docs of
//! `error`, from the client's side.

use candid::{
    CandidType, Deserialize,
    types::{internal::TypeContainer, subtype::subtype},
};
use idempotency_core::{IdempotencyError, Timestamp};
use std::{collections::HashSet, fmt::Debug};

/// What a later version may send: a case with another field, `Other` with another field, and a case of its own. Cases of
/// today that the tests do not send are left out.
#[derive(CandidType)]
enum Later {
    InProgress {
        since: u64,
        attempt: Option<u64>,
    },
    Other {
        code: u32,
        message: String,
        retry_after: Option<u64>,
        details: Option<Vec<String>>,
    },
    Parked {
        since: u64,
    },
}

/// The part of `Later` that keeps to the rule.
#[derive(CandidType)]
enum LaterByTheRule {
    #[allow(dead_code)] // only its type matters
    InProgress { since: u64, attempt: Option<u64> },
    #[allow(dead_code)]
    Other {
        code: u32,
        message: String,
        retry_after: Option<u64>,
        details: Option<Vec<String>>,
    },
}

/// A reply as clients declare it.
#[derive(CandidType, Debug, Deserialize, PartialEq)]
struct Answer<E> {
    balance: u64,
    error: Option<E>,
}

fn decoded_today(sent: impl CandidType) -> Result<IdempotencyError, candid::Error> {
    let bytes = candid::encode_one(sent).expect("a reply encodes");
    candid::decode_one(&bytes)
}

/// Whether candid lets a canister replace `Old` by `New` in a reply.
fn may_replace<New: CandidType, Old: CandidType>() -> bool {
    let mut types = TypeContainer::new();
    let (new, old) = (types.add::<New>(), types.add::<Old>());
    subtype(&mut HashSet::new(), &types.env, &new, &old).is_ok()
}

#[test]
fn a_new_kind_of_refusal_is_an_other_and_decodes() {
    let sent = Later::Other {
        code: 4_000_000_000,
        message: "the request is parked".into(),
        retry_after: Some(9),
        details: Some(vec!["unknown today".into()]),
    };
    let error = decoded_today(sent).expect("an unknown code decodes");
    assert_eq!(
        error,
        IdempotencyError::Other {
            code: 4_000_000_000,
            message: "the request is parked".into(),
            retry_after: Some(Timestamp::from_nanos(9)),
        }
    );
    assert_eq!(
        error.to_string(),
        "Other: the request is parked (code 4000000000)"
    );
}

#[test]
fn a_new_field_is_ignored() {
    let sent = Later::InProgress {
        since: 7,
        attempt: Some(2),
    };
    assert_eq!(
        decoded_today(sent).expect("another field decodes"),
        IdempotencyError::InProgress {
            since: Timestamp::from_nanos(7)
        }
    );
}

/// Why the rule is there.
#[test]
fn a_new_case_does_not_decode_and_vanishes_in_an_option() {
    let parked = || Later::Parked { since: 7 };
    assert!(decoded_today(parked()).is_err());

    let bytes = candid::encode_one(Answer {
        balance: 5,
        error: Some(parked()),
    });
    let answer = candid::decode_one::<Answer<IdempotencyError>>(&bytes.expect("a reply encodes"));
    let without_error = Answer {
        balance: 5,
        error: None,
    };
    assert_eq!(answer.expect("it decodes"), without_error);
}

#[test]
fn candid_allows_what_the_rule_allows_and_no_new_case() {
    assert!(may_replace::<LaterByTheRule, IdempotencyError>());
    assert!(!may_replace::<Later, IdempotencyError>());
}
