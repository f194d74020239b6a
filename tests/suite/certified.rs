//! Certified outcomes: what a query proves, held against the data that the canister certifies.

use crate::common::{Answer, Fixture, Plan, Refusal, ok, with_canister};
use candid::{CandidType, Principal, encode_args, utils::ArgumentEncoder};
use ciborium::Value;
use idempotency_core::{
    Timestamp,
    certified::{CertifiedData, Proven, Question, Unproven, verify},
    identity::{Identity, RequestKey, Scope},
    outcome::Verdict,
};
use integration_tests::user;
use serde::Deserialize;
use serde_bytes::ByteBuf;
use std::time::Duration;

#[derive(CandidType)]
struct Asked {
    method: String,
    arg: ByteBuf,
}

/// As a client reads it: declared here, so that a change of the interface shows.
#[derive(CandidType, Clone, Debug, Deserialize)]
struct Proof {
    certificate: ByteBuf,
    witness: ByteBuf,
    label: String,
    reply: Option<ByteBuf>,
}

/// How long a change waits until it is hashed.
const EVERY: Duration = Duration::from_secs(10);

/// What a tree in CBOR has at a path.
fn look_up(tree: &Value, path: &[&[u8]]) -> Option<Vec<u8>> {
    let node = tree.as_array()?;
    match (u8::try_from(node[0].as_integer()?).ok()?, path) {
        (1, _) => look_up(&node[1], path).or_else(|| look_up(&node[2], path)),
        (2, [first, rest @ ..]) if node[1].as_bytes()?.as_slice() == *first => {
            look_up(&node[2], rest)
        }
        (3, []) => Some(node[1].as_bytes()?.clone()),
        _ => None,
    }
}

/// The certified data of a canister, and the certificate's time. Whoever signed it.
fn certified(certificate: &[u8], canister: Principal) -> (Vec<u8>, Timestamp) {
    let value: Value = ciborium::from_reader(certificate).expect("it is CBOR");
    let value = match value {
        Value::Tag(_, value) => *value,
        value => value,
    };
    let fields = value.into_map().expect("it is a map");
    let tree = fields
        .iter()
        .find(|(name, _)| name.as_text() == Some("tree"));
    let (_, tree) = tree.expect("it has a tree");
    let data = look_up(tree, &[b"canister", canister.as_slice(), b"certified_data"]);
    let time = look_up(tree, &[b"time"]).expect("it has a time");
    let time = time
        .iter()
        .rev()
        .fold(0, |time, byte| time << 7 | u64::from(byte & 0x7f));
    (
        data.expect("the canister certifies something"),
        Timestamp::from_nanos(time),
    )
}

impl Fixture<'_> {
    /// Upgrades the canister with a tree, or without.
    fn certify(&self, on: bool) {
        self.switch("certify", on);
        self.upgrade();
    }

    fn say_certified(&self, key: &[u8], created_at: Option<u64>, text: &str) -> Answer {
        let args = (key.to_vec(), created_at, text);
        self.canister
            .update(user(1), "say_certified", args)
            .expect("the endpoint answers")
    }

    /// Lets a batch be hashed.
    fn hash(&self) {
        self.wait(EVERY + Duration::from_secs(1));
        self.run_timers();
    }

    fn proof(&self, method: &str, args: impl ArgumentEncoder) -> Result<Proof, Refusal> {
        let asked = Asked {
            method: method.to_owned(),
            arg: ByteBuf::from(encode_args(args).expect("it encodes")),
        };
        self.canister
            .query(user(1), "idempotency_proof", (asked,))
            .expect("it answers")
    }

    fn verified(
        &self,
        proof: &Proof,
        question: &Question,
        reply: Option<&[u8]>,
    ) -> Result<Proven, Unproven> {
        let (data, time) = certified(&proof.certificate, self.canister.id());
        let certified = CertifiedData { data: &data, time };
        let path = [&b"idempotency"[..], proof.label.as_bytes()];
        verify(certified, &proof.witness, &path, question, reply)
    }

    /// What is proved of a call of `say_certified`.
    fn proven(&self, key: &[u8], created_at: Option<u64>) -> Result<Proven, Unproven> {
        // The text is not what was said: a request that is there would be another's.
        let proof = self.proof("say_certified", (key.to_vec(), created_at, "text"));
        let proof = proof.expect("it is certified");
        assert_eq!(proof.label, "first");
        let created_at = created_at.map(Timestamp::from_nanos);
        let identity = identity("say_certified", key);
        let question = Question {
            identity,
            created_at,
        };
        self.verified(
            &proof,
            &question,
            proof.reply.as_ref().map(|reply| reply.as_slice()),
        )
    }

    fn work_proven(&self, key: &[u8], plan: Plan) -> Result<Proven, Unproven> {
        let proof = self.proof("work_certified", (key.to_vec(), plan));
        let proof = proof.expect("it is certified");
        assert_eq!(proof.label, "second");
        let question = Question {
            identity: identity("work_certified", key),
            created_at: None,
        };
        self.verified(
            &proof,
            &question,
            proof.reply.as_ref().map(|reply| reply.as_slice()),
        )
    }
}

fn identity(endpoint: &str, key: &[u8]) -> Identity {
    let key = RequestKey::of(&key.to_vec()).expect("there is a key");
    Identity::new(endpoint, &Scope::Caller, &user(1), &key).expect("it is valid")
}

fn is_done(proven: &Result<Proven, Unproven>) -> bool {
    matches!(proven, Ok(Proven::Done { .. }))
}

/// The last instant at which it had not run.
fn absent_as_of(proven: Result<Proven, Unproven>) -> u64 {
    match proven {
        Ok(Proven::Absent {
            as_of,
            verdict: Verdict::CanStillRun { .. },
            ..
        }) => as_of.as_nanos(),
        other => panic!("{other:?}"),
    }
}

/// Whether nothing is said of what ran by a time.
fn is_silent_on(proven: Result<Proven, Unproven>, time: u64) -> bool {
    match proven {
        Err(Unproven::NotCovered) => true,
        Ok(Proven::Absent { from, .. }) => from.is_some_and(|from| from.as_nanos() > time),
        _ => false,
    }
}

#[test]
fn a_query_proves_what_became_of_a_request() {
    with_canister(|it| {
        it.certify(true);
        it.wait(Duration::from_secs(1));
        let made = it.now();
        assert!(absent_as_of(it.proven(b"a", Some(made))) < made);
        assert_eq!(it.say_certified(b"a", Some(made), "text"), ok("1: text"));
        // The tree is open since then.
        it.wait(Duration::from_secs(5));
        it.run_timers();
        assert!(absent_as_of(it.proven(b"a", Some(made))) <= it.now() - 5_000_000_000);
        it.hash();
        assert!(is_done(&it.proven(b"a", Some(made))));
        // Nothing has happened since: the tree says all, up to now.
        it.wait(Duration::from_secs(60));
        it.run_timers();
        let since = it.now() - 5_000_000_000;
        assert!(absent_as_of(it.proven(b"b", Some(made))) > since);
        assert!(absent_as_of(it.proven(b"b", None)) > since);
        // Another reply than the first is none.
        let proof = it.proof("say_certified", (b"a".to_vec(), Some(made), "text"));
        let question = Question {
            identity: identity("say_certified", b"a"),
            created_at: Some(Timestamp::from_nanos(made)),
        };
        let proven = it.verified(&proof.unwrap(), &question, Some(b"another"));
        assert_eq!(proven, Err(Unproven::OtherReply));
        // With another text it is another request's key.
        let proof = it.proof("say_certified", (b"a".to_vec(), Some(made), "other"));
        assert_eq!(proof.unwrap_err(), Refusal::KeyReused);
    });
}

/// G1: what was never sent, and is too old, never runs.
#[test]
fn a_query_proves_that_a_request_never_ran() {
    with_canister(|it| {
        it.certify(true);
        it.wait(Duration::from_secs(1));
        let made = it.now();
        assert_eq!(
            it.say_certified(b"a", Some(made + 5_000_000_000), "text"),
            ok("1: text")
        );
        it.hash();
        // A timer renews the tree meanwhile. The other request is not forgotten yet: then nobody would know.
        let too_late = made + 3_661_000_000_000;
        for _ in 0..4 {
            let left = Duration::from_nanos(too_late - it.now());
            it.wait(left.min(Duration::from_secs(1_000)));
            it.run_timers();
        }
        let never = Verdict::NeverRan;
        let proven = it.proven(b"b", Some(made));
        assert!(
            matches!(&proven, Ok(Proven::Absent { verdict, .. }) if *verdict == never),
            "{proven:?}"
        );
        let refused = it.say_certified(b"b", Some(made), "text");
        assert_eq!(refused, crate::common::refused(Refusal::TooOld));
    });
}

#[test]
fn an_upgrade_between_change_and_batch_loses_nothing() {
    with_canister(|it| {
        it.certify(true);
        it.wait(Duration::from_secs(1));
        let before = it.now();
        assert_eq!(it.say_certified(b"a", None, "text"), ok("1: text"));
        it.wait(Duration::from_secs(2));
        it.upgrade();
        assert!(absent_as_of(it.proven(b"a", None)) <= before);
        it.wait(Duration::from_secs(2));
        it.run_timers();
        assert!(absent_as_of(it.proven(b"a", None)) <= before);
        it.hash();
        assert!(is_done(&it.proven(b"a", None)));
        it.upgrade();
        assert!(is_done(&it.proven(b"a", None)));
        // A new heap counts what had expired by then as forgotten, and nothing else.
        let after = it.now();
        it.wait(Duration::from_secs(5));
        it.run_timers();
        assert!(absent_as_of(it.proven(b"b", None)) >= after);
    });
}

/// What has begun, whatever becomes of it: in flight, across an upgrade, and cut off by a trap.
#[test]
fn what_has_begun_is_proved_until_it_has_ended() {
    with_canister(|it| {
        it.certify(true);
        let args = (b"held".to_vec(), Plan::Hold);
        let held = it.hold(user(1), "work_certified", args);
        it.hash();
        let begun = |proven| matches!(proven, Ok(Proven::Begun { .. }));
        assert!(begun(it.work_proven(b"held", Plan::Hold)));
        assert!(it.finish(held).expect("it answers").is_ok());
        it.hash();
        assert!(is_done(&it.work_proven(b"held", Plan::Hold)));
        // The trap's cleanup can't certify anything, and need not.
        assert!(
            it.work("work_certified", b"trapped", Plan::TrapLater)
                .is_err()
        );
        it.hash();
        assert!(begun(it.work_proven(b"trapped", Plan::TrapLater)));
        let _cut_off = it.hold(user(1), "work_certified", (b"cut".to_vec(), Plan::Hold));
        it.upgrade();
        it.hash();
        assert!(begun(it.work_proven(b"cut", Plan::Hold)));
        // What failed before it did anything.
        assert!(
            it.work("work_certified", b"first", Plan::TrapFirst)
                .is_err()
        );
        it.hash();
        absent_as_of(it.work_proven(b"first", Plan::TrapFirst));
    });
}

/// Each store has its place in the tree, and so has what else a canister certifies.
#[test]
fn stores_and_what_else_is_certified_stand_side_by_side() {
    with_canister(|it| {
        for combine in [false, true] {
            it.switch("combine", combine);
            it.certify(true);
            let key = [u8::from(combine)];
            assert!(it.say_certified(&key, None, "text").is_ok());
            assert!(
                it.work("work_certified", &key, Plan::AnswerAtOnce)
                    .unwrap()
                    .is_ok()
            );
            it.hash();
            assert!(is_done(&it.proven(&key, None)));
            assert!(is_done(&it.work_proven(&key, Plan::AnswerAtOnce)));
            // The witness of one store proves nothing of the other.
            let proof = it
                .proof("say_certified", (key.to_vec(), None::<u64>, "text"))
                .unwrap();
            let question = Question {
                identity: identity("work_certified", &key),
                created_at: None,
            };
            let other = Proof {
                label: "second".to_owned(),
                ..proof.clone()
            };
            assert_eq!(
                it.verified(&other, &question, None),
                Err(Unproven::Incomplete)
            );
            let third = Proof {
                label: "third".to_owned(),
                ..proof.clone()
            };
            assert!(it.verified(&third, &question, None).is_err());
        }
    });
}

#[test]
fn a_tree_is_switched_on_over_what_was_there_and_off_again() {
    with_canister(|it| {
        let not_certified =
            |proof: Result<Proof, Refusal>| matches!(proof, Err(Refusal::Other { code: 6, .. }));
        assert_eq!(it.say_certified(b"old", None, "text"), ok("1: text"));
        let ask = || it.proof("say_certified", (b"old".to_vec(), None::<u64>, "text"));
        assert!(not_certified(ask()));
        let old = it.now();
        it.certify(true);
        it.hash();
        assert!(is_silent_on(it.proven(b"old", None), old));
        assert_eq!(it.say_certified(b"new", None, "text"), ok("2: text"));
        it.hash();
        assert!(is_done(&it.proven(b"new", None)));
        // When what was there must be gone, the tree says all.
        it.wait(Duration::from_secs(2 * 3_600));
        it.run_timers();
        it.hash();
        absent_as_of(it.proven(b"old", None));
        it.certify(false);
        assert!(not_certified(ask()));
        assert_eq!(it.say_certified(b"later", None, "text"), ok("3: text"));
        let later = it.now();
        it.certify(true);
        it.hash();
        assert!(is_silent_on(it.proven(b"later", None), later));
        assert_eq!(it.say_certified(b"later", None, "text"), ok("3: text"));
    });
}

#[test]
fn only_a_query_that_is_not_replicated_has_a_certificate() {
    with_canister(|it| {
        it.certify(true);
        let asked = |method: &str| Asked {
            method: method.to_owned(),
            arg: ByteBuf::from(encode_args((b"a".to_vec(), None::<u64>, "text")).unwrap()),
        };
        let as_update: Result<Proof, Refusal> = it
            .canister
            .update(user(1), "idempotency_proof", (asked("say_certified"),))
            .expect("it answers");
        assert!(matches!(as_update, Err(Refusal::Other { code: 6, .. })));
        let unknown: Result<Proof, Refusal> = it
            .canister
            .query(user(1), "idempotency_proof", (asked("say"),))
            .expect("it answers");
        assert!(matches!(unknown, Err(Refusal::Other { code: 4, .. })));
    });
}
