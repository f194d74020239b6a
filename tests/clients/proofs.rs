//! Proofs of what became of a call, up to the IC's root key: what a replica that lies can show is never believed.

use super::setup::{client, principal, root_key};
use candid::{Principal, decode_one, encode_args, encode_one};
use ic_agent::{Certificate, hash_tree};
use ic_cbor::CertificateToCbor;
use idempotency_agent::{MemoryJournal, ProofError, verified};
use idempotency_core::{
    IdempotencyError,
    certified::{Proof, Proven, Question, Unproven},
    identity::{Identity, RequestKey, Scope},
    outcome::{Asked, Verdict},
};
use integration_tests::{Canister, TEST_CANISTER, replica};
use pocket_ic::PocketIc;
use serde_bytes::ByteBuf;
use std::time::{Duration, SystemTime};

const CLIENT: u8 = 1;
const METHOD: &str = "idempotency_proof";
const STORE: &str = "first";

type Reply = Result<String, candid::Reserved>;

fn arg(key: &[u8]) -> Vec<u8> {
    encode_args((key, None::<u64>, "text")).expect("it encodes")
}

fn asked(key: &[u8]) -> Asked {
    Asked {
        method: "say_certified".into(),
        arg: ByteBuf::from(arg(key)),
    }
}

fn question(key: &[u8]) -> Question {
    let named = RequestKey::of(key).expect("a key");
    let caller = principal(CLIENT);
    Question {
        identity: Identity::new("say_certified", &Scope::Caller, &caller, &named).expect("valid"),
        created_at: None,
    }
}

/// A canister that certifies what became of calls.
fn certifying(replica: &PocketIc) -> Principal {
    let canister = Canister::install(replica, TEST_CANISTER, ());
    let () = canister
        .update(principal(CLIENT), "switch", ("certify", true))
        .expect("it is switched");
    canister.upgrade(TEST_CANISTER, ()).expect("it upgrades");
    canister.id()
}

fn say(replica: &PocketIc, canister: Principal, key: &[u8]) -> Vec<u8> {
    replica
        .update_call(canister, principal(CLIENT), "say_certified", arg(key))
        .expect("it answers")
}

/// Lets changes be hashed.
fn hash(replica: &PocketIc) {
    replica.advance_time(Duration::from_secs(11));
    (0..5).for_each(|_| replica.tick());
}

fn proof(replica: &PocketIc, canister: Principal, key: &[u8]) -> Proof {
    let question = encode_one(asked(key)).expect("it encodes");
    let answer = replica.query_call(canister, principal(CLIENT), METHOD, question);
    decode_one::<Result<Proof, IdempotencyError>>(&answer.expect("it answers"))
        .expect("it decodes")
        .expect("it is certified")
}

fn altered(proof: &Proof, alter: impl FnOnce(&mut Certificate)) -> Proof {
    let mut certificate = Certificate::from_cbor(&proof.certificate).expect("a certificate");
    alter(&mut certificate);
    let mut bytes = vec![];
    ciborium::into_writer(&certificate, &mut bytes).expect("it encodes");
    Proof {
        certificate: bytes.into(),
        ..proof.clone()
    }
}

#[test]
fn a_replica_that_lies_proves_nothing() {
    let mut replica = replica();
    let (canister, other) = (certifying(&replica), certifying(&replica));
    hash(&replica);
    let before = proof(&replica, canister, b"a");
    let reply = say(&replica, canister, b"a");
    say(&replica, other, b"b");
    hash(&replica);
    let after = proof(&replica, canister, b"a");
    let of_another_key = proof(&replica, canister, b"z");
    let of_another_canister = proof(&replica, other, b"a");
    let url = replica.make_live(None).to_string();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let key = runtime.block_on(root_key(&url));
    // The replica's clock is years behind: what is verified below is as old.
    let says = |proof: &Proof| verified(&key, canister, STORE, proof, &question(b"a"));

    // What is true is proved: of what ran, of what did not, and by a stale certificate of what had not run then.
    let Ok(Proven::Done { executed_at }) = says(&after) else {
        panic!("{:?}", says(&after));
    };
    assert_eq!(after.reply.as_ref().map(|it| &it[..]), Some(&reply[..]));
    let is_absent = |proven: Result<Proven, ProofError>| match proven {
        Ok(Proven::Absent {
            as_of,
            verdict: Verdict::CanStillRun { until: None },
            ..
        }) => as_of,
        other => panic!("{other:?}"),
    };
    assert!(is_absent(says(&before)) < executed_at);
    let absent = verified(&key, canister, STORE, &of_another_key, &question(b"z"));
    assert!(is_absent(absent) > executed_at);

    let with_witness = |witness: &ByteBuf| Proof {
        witness: witness.clone(),
        ..after.clone()
    };
    let nothing: Vec<u8> = {
        let mut bytes = vec![];
        let tree: hash_tree::HashTree<Vec<u8>> = hash_tree::pruned([7; 32]);
        ciborium::into_writer(&tree, &mut bytes).expect("it encodes");
        bytes
    };
    let is_unproven = |proof: &Proof, why: Unproven| match says(proof) {
        Err(ProofError::Unproven(found)) => assert_eq!(found, why),
        other => panic!("{other:?}"),
    };
    // Its neighbour's place, shown instead of its own; another canister's tree; an earlier one; none; and cut off.
    is_unproven(&with_witness(&of_another_key.witness), Unproven::Incomplete);
    is_unproven(
        &with_witness(&of_another_canister.witness),
        Unproven::OtherRoot,
    );
    is_unproven(&with_witness(&before.witness), Unproven::OtherRoot);
    is_unproven(&with_witness(&nothing.into()), Unproven::OtherRoot);
    let cut = after.witness[..after.witness.len() / 2].to_vec();
    is_unproven(&with_witness(&cut.into()), Unproven::NotATree);
    let other_reply = Proof {
        reply: Some(ByteBuf::from(*b"another")),
        ..after.clone()
    };
    is_unproven(&other_reply, Unproven::OtherReply);
    let relabelled = Proof {
        label: "second".into(),
        ..after.clone()
    };
    assert!(matches!(says(&relabelled), Err(ProofError::OtherStore(label)) if label == "second"));

    let is_no_certificate = |proof: &Proof| match says(proof) {
        Err(ProofError::Certificate(_)) => {}
        other => panic!("{other:?}"),
    };
    // Another canister's certificate, though the subnet has signed it; a changed signature; a tree without what was signed.
    is_no_certificate(&of_another_canister);
    is_no_certificate(&altered(&after, |it| it.signature[5] ^= 1));
    is_no_certificate(&altered(&after, |it| {
        it.tree = hash_tree::pruned(it.tree.digest());
    }));
    is_no_certificate(&altered(&after, |it| it.tree = hash_tree::empty()));
    // No CBOR, and CBOR in which each byte opens an array.
    for bytes in [b"none".to_vec(), vec![0x81; 10_000_000]] {
        let no_certificate = Proof {
            certificate: bytes.into(),
            ..after.clone()
        };
        let says = says(&no_certificate);
        assert!(matches!(says, Err(ProofError::Unreadable(_))), "{says:?}");
    }
    // By another root key it is nobody's word.
    let mut wrong = key.clone();
    wrong[90] ^= 1;
    let says = verified(&wrong, canister, STORE, &after, &question(b"a"));
    assert!(matches!(says, Err(ProofError::Certificate(_))), "{says:?}");
}

/// The client's own call, by a query that is signed and verified as any other.
#[test]
fn a_client_asks_for_a_proof() {
    let mut replica = replica();
    // So that it does not leap over windows when it goes live.
    replica.set_time(SystemTime::now().into());
    let canister = certifying(&replica);
    let reply = say(&replica, canister, b"a");
    hash(&replica);
    let url = replica.make_live(None).to_string();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let key = root_key(&url).await;
        let safe = client(CLIENT, &url, key, MemoryJournal::default()).await;
        let transport = safe.transport();
        let ask = |store: &'static str, key: &'static [u8]| async move {
            let call = asked(key);
            (transport.proven(canister, (METHOD, store), &call, &question(key))).await
        };
        let proven = ask(STORE, b"a").await;
        assert!(
            matches!(&proven, Ok((Proven::Done { .. }, Some(told))) if *told == reply),
            "{proven:?}"
        );
        decode_one::<Reply>(&reply)
            .expect("it decodes")
            .expect("it ran");
        let proven = ask(STORE, b"b").await;
        assert!(
            matches!(&proven, Ok((Proven::Absent { .. }, None))),
            "{proven:?}"
        );
        let refused = ask("second", b"a").await;
        assert!(
            matches!(&refused, Err(ProofError::OtherStore(_))),
            "{refused:?}"
        );
        // A canister without such a query.
        let (call, question) = (asked(b"a"), question(b"a"));
        let nothing = transport.proven(canister, ("no such query", STORE), &call, &question);
        let nothing = nothing.await;
        assert!(
            matches!(&nothing, Err(ProofError::Certificate(_))),
            "{nothing:?}"
        );
    });
}
