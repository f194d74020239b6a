//! Certified answers: what is read, and what is refused.

use super::signed::{Subnet, TIME, canister, dated, delegated, delegation, encoded, number};
use crate::{AnswerError, Answered, CertifiedAnswer, certificate};
use candid::{Principal, encode_one};
use ic_certification::{Certificate, HashTree, empty, fork, labeled, leaf, pruned as hidden};
use idempotency_core::{
    IdempotencyError, Timestamp,
    outcome::{Asked, Outcome, Verdict},
};
use serde_bytes::ByteBuf;
use sha2::{Digest as _, Sha256};

fn calls() -> Vec<Asked> {
    let call = |arg: &[u8]| Asked {
        method: "pay".into(),
        arg: arg.to_vec().into(),
    };
    vec![call(b"1"), call(b"2"), call(b"3")]
}

fn outcomes() -> Vec<Result<Outcome, IdempotencyError>> {
    let done = Outcome::Done {
        reply: vec![7; 5_000].into(),
        executed_at: Timestamp::from_secs(1),
        guaranteed_until: Timestamp::from_nanos(u64::MAX),
    };
    let absent = Outcome::Absent {
        as_of: Timestamp::from_secs(70),
        verdict: Verdict::NeverRan,
    };
    vec![Ok(done), Ok(absent), Err(IdempotencyError::KeyReused)]
}

/// The parts of the tree of a request that was replied to.
fn replied(reply: Vec<u8>) -> HashTree {
    fork(labeled("reply", leaf(reply)), ended("replied"))
}

fn ended(status: &str) -> HashTree {
    labeled("status", leaf(status))
}

/// A question of canister 11, which was answered by subnet 2.
fn question() -> CertifiedAnswer {
    CertifiedAnswer {
        canister: canister(11),
        method: "idempotency_outcomes_ever".into(),
        arg: encode_one(calls()).unwrap().into(),
        sender: canister(1),
        nonce: Some(ByteBuf::from(*b"nonce")),
        ingress_expiry: Timestamp::from_secs(80),
        certificate: ByteBuf::new(),
    }
}

/// The request id, as the interface specification of the IC computes it.
fn id(asked: &CertifiedAnswer) -> Vec<u8> {
    let mut fields: Vec<(&str, Vec<u8>)> = vec![
        ("request_type", b"call".into()),
        ("canister_id", asked.canister.as_slice().into()),
        ("method_name", asked.method.clone().into_bytes()),
        ("arg", asked.arg.to_vec()),
        ("sender", asked.sender.as_slice().into()),
        ("ingress_expiry", number(asked.ingress_expiry)),
    ];
    if let Some(nonce) = &asked.nonce {
        fields.push(("nonce", nonce.to_vec()));
    }
    let hashed = |(name, value): &(&str, Vec<u8>)| {
        [
            Sha256::digest(name).to_vec(),
            Sha256::digest(value).to_vec(),
        ]
        .concat()
    };
    let mut hashes: Vec<_> = fields.iter().map(hashed).collect();
    hashes.sort();
    Sha256::digest(hashes.concat()).to_vec()
}

/// The request's end in a tree, among others.
fn status_of(asked: &CertifiedAnswer, end: HashTree) -> HashTree {
    let requests = fork(labeled(id(asked), end), hidden([9; 32]));
    dated(labeled("request_status", requests))
}

/// With the certificate of a subnet that the root has given the canisters 10 to 19.
fn certified(asked: CertifiedAnswer, tree: HashTree) -> CertifiedAnswer {
    let subnet = Subnet::new(2);
    let word = Subnet::root().certificate(delegated(&subnet, |shard| shard), None);
    let certificate = subnet.certificate(tree, delegation(&subnet, &word));
    with(asked, &certificate)
}

fn with(asked: CertifiedAnswer, certificate: &Certificate) -> CertifiedAnswer {
    CertifiedAnswer {
        certificate: encoded(certificate).into(),
        ..asked
    }
}

/// As canister 11 has answered.
fn answer() -> CertifiedAnswer {
    let reply = encode_one(outcomes()).unwrap();
    certified(question(), status_of(&question(), replied(reply)))
}

fn read(answer: &CertifiedAnswer) -> Result<Answered, AnswerError> {
    answer.verified(&Subnet::root().key())
}

fn certificate_of(answer: &CertifiedAnswer) -> Certificate {
    certificate::decoded(&answer.certificate).unwrap()
}

#[test]
fn it_is_read_with_the_root_key_alone_however_old_it_is() {
    let answer = answer();
    let answered = read(&answer).unwrap();
    let expected = Answered {
        canister: canister(11),
        method: "idempotency_outcomes_ever".into(),
        sender: canister(1),
        calls: calls(),
        outcomes: outcomes(),
        time: TIME,
    };
    assert_eq!(answered, expected);
    // As it may be kept.
    let candid = encode_one(&answer).unwrap();
    assert_eq!(
        candid::decode_one::<CertifiedAnswer>(&candid).unwrap(),
        answer
    );
    let json = serde_json::to_string(&answer).unwrap();
    assert_eq!(
        serde_json::from_str::<CertifiedAnswer>(&json).unwrap(),
        answer
    );
    let cbor: CertifiedAnswer = ciborium::from_reader(&encoded(&answer)[..]).unwrap();
    assert_eq!(cbor, answer);
    // The subnet with the root key answers without a delegation.
    let tree = certificate_of(&answer).tree;
    let of_the_root = with(question(), &Subnet::root().certificate(tree, None));
    assert_eq!(read(&of_the_root).unwrap(), expected);
}

#[test]
fn a_reply_may_be_as_long_as_the_ic_permits() {
    let long = Outcome::Done {
        reply: vec![1; 2_900_000].into(),
        executed_at: TIME,
        guaranteed_until: TIME,
    };
    let (call, outcomes) = (&calls()[..1], vec![Ok::<_, IdempotencyError>(long)]);
    let asked = CertifiedAnswer {
        arg: encode_one(call).unwrap().into(),
        ..question()
    };
    let reply = replied(encode_one(&outcomes).unwrap());
    let answer = certified(asked.clone(), status_of(&asked, reply));
    assert_eq!(read(&answer).unwrap().outcomes, outcomes);
}

/// Whoever changes what was asked, by whom or of whom has no certificate of it.
#[test]
fn a_changed_field_is_another_request() {
    let changed = |change: fn(&mut CertifiedAnswer)| {
        let mut answer = answer();
        change(&mut answer);
        read(&answer)
    };
    let changes: [fn(&mut CertifiedAnswer); 8] = [
        // Another canister of the same subnet.
        |it| it.canister = canister(12),
        |it| it.method = "idempotency_outcomes".into(),
        |it| it.arg = encode_one(&calls()[..2]).unwrap().into(),
        |it| it.sender = canister(2),
        |it| it.nonce = Some(ByteBuf::from(*b"other")),
        |it| it.nonce = None,
        |it| it.ingress_expiry = Timestamp::from_secs(81),
        // Another request's certificate.
        |it| {
            let other = CertifiedAnswer {
                nonce: None,
                ..question()
            };
            let end = replied(encode_one(outcomes()).unwrap());
            it.certificate = certified(other.clone(), status_of(&other, end)).certificate;
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let read = changed(change);
        assert!(
            matches!(read, Err(AnswerError::OtherRequest)),
            "{number}: {read:?}"
        );
    }
    // A canister of another subnet.
    for other in [canister(9), canister(20), Principal::management_canister()] {
        let read = read(&CertifiedAnswer {
            canister: other,
            ..answer()
        });
        assert!(matches!(read, Err(AnswerError::OtherSubnet)), "{read:?}");
    }
}

#[test]
fn only_a_reply_is_an_answer() {
    let read = |end: HashTree| read(&certified(question(), status_of(&question(), end)));
    for status in ["received", "processing", "something new"] {
        let read = read(ended(status));
        assert!(matches!(read, Err(AnswerError::NotEnded)), "{read:?}");
    }
    let reply = labeled("reply", leaf(encode_one(outcomes()).unwrap()));
    let without_reply = fork(hidden(reply.digest()), ended("replied"));
    let dropped = [without_reply, ended("replied"), ended("done")];
    for end in dropped {
        let read = read(end);
        assert!(matches!(read, Err(AnswerError::NoReply)), "{read:?}");
    }
    let code = labeled("reject_code", leaf([5]));
    let message = labeled("reject_message", leaf("no"));
    let rejected = fork(code, fork(message, ended("rejected")));
    match read(rejected) {
        Err(AnswerError::Rejected(reject)) => {
            assert_eq!((reject.code, reject.message.as_str()), (5, "no"));
            assert_eq!(reject.error_code, None);
        }
        other => panic!("{other:?}"),
    }
    // A reply without a status, and nothing at all.
    for end in [fork(reply, hidden([3; 32])), hidden([3; 32]), empty()] {
        let read = read(end);
        assert!(matches!(read, Err(AnswerError::OtherRequest)), "{read:?}");
    }
}

#[test]
fn what_is_no_answer_to_the_question_is_refused() {
    let read = |reply: Vec<u8>| {
        read(&certified(
            question(),
            status_of(&question(), replied(reply)),
        ))
    };
    let fewer = encode_one(&outcomes()[..2]).unwrap();
    let more = encode_one([outcomes(), outcomes()].concat()).unwrap();
    for reply in [
        fewer,
        more,
        encode_one(7_u8).unwrap(),
        vec![],
        b"DIDL".into(),
    ] {
        let read = read(reply);
        assert!(matches!(read, Err(AnswerError::Unreadable(_))), "{read:?}");
    }
    // A question that asks nothing.
    let asked = CertifiedAnswer {
        arg: encode_one("calls").unwrap().into(),
        ..question()
    };
    let reply = replied(encode_one(outcomes()).unwrap());
    let read = self::read(&certified(asked.clone(), status_of(&asked, reply)));
    assert!(matches!(read, Err(AnswerError::Unreadable(_))), "{read:?}");
}

#[test]
fn what_the_root_key_does_not_vouch_for_is_nobodys_word() {
    let (answer, subnet, root) = (answer(), Subnet::new(2), Subnet::root());
    let is_refused = |certificate: &Certificate| {
        let read = read(&with(question(), certificate));
        assert!(matches!(read, Err(AnswerError::Unsigned(_))), "{read:?}");
    };
    let good = certificate_of(&answer);
    for byte in [0, 20, 47] {
        let mut changed = good.clone();
        changed.signature[byte] ^= 1;
        is_refused(&changed);
    }
    // Another reply under the same signature.
    let other = encode_one(vec![outcomes()[1].clone(); 3]).unwrap();
    is_refused(&Certificate {
        tree: status_of(&question(), replied(other)),
        ..good.clone()
    });
    // The subnet's word without the root's, and the root's word for another subnet's key.
    is_refused(&Certificate {
        delegation: None,
        ..good.clone()
    });
    let word = root.certificate(delegated(&Subnet::new(3), |shard| shard), None);
    is_refused(&subnet.certificate(good.tree.clone(), delegation(&Subnet::new(3), &word)));
    is_refused(&subnet.certificate(good.tree.clone(), delegation(&subnet, &word)));
    // A word of somebody else, and one in the second degree.
    let forged = Subnet::new(3).certificate(delegated(&subnet, |shard| shard), None);
    is_refused(&subnet.certificate(good.tree.clone(), delegation(&subnet, &forged)));
    let word = root.certificate(delegated(&Subnet::new(3), |shard| shard), None);
    let second = Subnet::new(3).certificate(
        delegated(&subnet, |shard| shard),
        delegation(&Subnet::new(3), &word),
    );
    is_refused(&subnet.certificate(good.tree.clone(), delegation(&subnet, &second)));
    // Without a time; by another root key; by none.
    let tree = fork(hidden([1; 32]), hidden([2; 32]));
    is_refused(&root.certificate(tree, None));
    for key in [Subnet::new(4).key(), vec![], b"a key".into()] {
        let read = answer.verified(&key);
        assert!(matches!(read, Err(AnswerError::Unsigned(_))), "{read:?}");
    }
}

/// Otherwise each subnet could speak for all canisters.
#[test]
fn a_subnet_that_hides_which_canisters_it_has_speaks_for_none() {
    let subnet = Subnet::new(2);
    let tree = certificate_of(&answer()).tree;
    for shard in [|shard: HashTree| hidden(shard.digest()), |_| empty()] {
        let word = Subnet::root().certificate(delegated(&subnet, shard), None);
        let certificate = subnet.certificate(tree.clone(), delegation(&subnet, &word));
        let read = read(&with(question(), &certificate));
        assert!(matches!(read, Err(AnswerError::OtherSubnet)), "{read:?}");
    }
}

#[test]
fn bytes_that_are_no_certificate_are_refused() {
    let good = answer().certificate.into_vec();
    let longer = [&good[..], b"\0"].concat();
    // Each byte opens one more array.
    let (deep, wide) = (vec![0x81; 10_000_000], vec![0x9b; 10_000]);
    for bytes in [
        vec![],
        good[..good.len() / 2].to_vec(),
        longer,
        encoded(&"certificate"),
        deep,
        wide,
    ] {
        let read = read(&CertifiedAnswer {
            certificate: bytes.into(),
            ..question()
        });
        assert!(
            matches!(read, Err(AnswerError::NoCertificate(_))),
            "{read:?}"
        );
    }
}
