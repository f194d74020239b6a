//! Canisters that use the library say what became of requests as the standard wants it, and the checks find who does not.

use candid::{Principal, decode_one, encode_args, encode_one};
use idempotency_core::{
    IdempotencyError, Timestamp,
    outcome::{Asked, Outcome, Verdict},
};
use integration_tests::{
    CALLER, Canister, DURABLE_CANISTER, TEST_CANISTER,
    conformance::{Case, METHOD, Problem, Subject, Who, check},
    replica, user,
};
use serde_bytes::ByteBuf;
use std::{cell::RefCell, process::Command};

struct OnReplica<'a>(Canister<'a>);

fn principal(who: Who) -> Principal {
    match who {
        Who::Owner => user(1),
        Who::Stranger => user(2),
        Who::Nobody => Principal::anonymous(),
    }
}

impl Subject for OnReplica<'_> {
    fn query(&self, who: Who, method: &str, arg: &[u8]) -> Result<Vec<u8>, String> {
        let canister = self.0;
        (canister.replica())
            .query_call(canister.id(), principal(who), method, arg.to_vec())
            .map_err(|reject| reject.to_string())
    }

    fn update(&self, who: Who, method: &str, arg: &[u8]) -> Result<Vec<u8>, String> {
        let reply = self.0.update_raw(principal(who), method, arg.to_vec());
        reply.map_err(|reject| reject.to_string())
    }
}

fn case(method: &str, arg: Vec<u8>, other_arg: Option<Vec<u8>>) -> Case {
    Case {
        method: method.to_owned(),
        arg,
        other_arg,
        is_shared: false,
    }
}

/// A call with a key and a text, and another text.
fn said(method: &str, key: &[u8]) -> Case {
    let arg = |text: &str| encode_args((ByteBuf::from(key), text)).expect("it encodes");
    case(method, arg("hello"), Some(arg("good-bye")))
}

fn with_subject(test: impl FnOnce(&OnReplica<'_>)) {
    let replica = replica();
    test(&OnReplica(Canister::install(&replica, TEST_CANISTER, ())));
}

#[test]
fn what_the_attribute_makes_conforms() {
    with_subject(|subject| {
        let number = encode_args((0u64, "hello")).expect("it encodes");
        let by_args = encode_args(("hello", 7u64)).expect("it encodes");
        let mut uuid = [7; 16];
        let made = (subject.0.replica().get_time()).as_nanos_since_unix_epoch() / 1_000_000;
        uuid[..6].copy_from_slice(&made.to_be_bytes()[2..]);
        (uuid[6], uuid[8]) = (0x70, 0x80);
        let shared = Case {
            is_shared: true,
            ..said("say_to_all", b"key")
        };
        for case in [
            said("say", b"key"),
            said("say_backwards", b"key"),
            said("say_timed", &uuid),
            shared,
            case("say_by_args", by_args, None),
            case("step", number, None),
        ] {
            assert_eq!(check(subject, &case), [], "{}", case.method);
        }
    });
}

#[test]
fn a_durable_method_conforms() {
    let replica = replica();
    let subject = OnReplica(Canister::install(&replica, DURABLE_CANISTER, ()));
    let arg =
        |acts: &[crate::durable::Act]| encode_args((ByteBuf::from([1]), acts)).expect("it encodes");
    let work = case(
        "work",
        arg(&[crate::durable::effect("debit")]),
        Some(arg(&[])),
    );
    assert_eq!(check(&subject, &work), []);
    // Its key is known now.
    let promises: Vec<u8> = check(&subject, &work).iter().map(|it| it.promise).collect();
    assert_eq!(promises, [7]);
}

type Answer = Result<Outcome, IdempotencyError>;

/// A canister that says something else than it should: what of each answer, is the test's.
struct Liar<'a, F> {
    subject: &'a OnReplica<'a>,
    lie: F,
}

impl<F: Fn(Who, bool, &[Asked], &mut Vec<Answer>)> Liar<'_, F> {
    fn altered(&self, (who, is_update): (Who, bool), arg: &[u8], reply: &[u8]) -> Vec<u8> {
        let asked: Vec<Asked> = decode_one(arg).expect("questions");
        let mut answers = decode_one(reply).expect("answers");
        (self.lie)(who, is_update, &asked, &mut answers);
        encode_one(answers).expect("it encodes")
    }
}

impl<F: Fn(Who, bool, &[Asked], &mut Vec<Answer>)> Subject for Liar<'_, F> {
    fn query(&self, who: Who, method: &str, arg: &[u8]) -> Result<Vec<u8>, String> {
        let reply = self.subject.query(who, method, arg)?;
        Ok(self.altered((who, false), arg, &reply))
    }

    fn update(&self, who: Who, method: &str, arg: &[u8]) -> Result<Vec<u8>, String> {
        let reply = self.subject.update(who, method, arg)?;
        Ok(match method {
            METHOD => self.altered((who, true), arg, &reply),
            _ => reply,
        })
    }
}

/// The promises that a lie breaks.
fn broken(method: &str, lie: impl Fn(Who, bool, &[Asked], &mut Vec<Answer>)) -> Vec<u8> {
    let mut promises = vec![];
    with_subject(|subject| {
        let problems: Vec<Problem> = check(&Liar { subject, lie }, &said(method, b"key"));
        promises = problems.iter().map(|problem| problem.promise).collect();
        promises.dedup();
    });
    promises
}

fn absent(verdict: Verdict) -> Answer {
    Ok(Outcome::Absent {
        as_of: Timestamp::from_nanos(7),
        verdict,
    })
}

#[test]
fn who_does_not_conform_is_found() {
    assert_eq!(broken("say", |_, _, _, _| {}), [0; 0]);
    let can_still_run = Verdict::CanStillRun { until: None };
    // Knows of nothing, or knows that nothing ever runs.
    let lie = |verdict: Verdict| {
        broken("say", move |_, _, _, answers| {
            let known = answers.iter_mut().filter(|answer| answer.is_ok());
            known.for_each(|answer| *answer = absent(verdict));
        })
    };
    assert_eq!(lie(can_still_run), [5]);
    assert_eq!(lie(Verdict::NeverRan), [7, 5]);
    // Tells everybody.
    let told = RefCell::new(None);
    let lie = |who, _: bool, asked: &[Asked], answers: &mut Vec<Answer>| match (who, &answers[..]) {
        (Who::Owner, [Ok(done @ Outcome::Done { .. })]) => *told.borrow_mut() = Some(done.clone()),
        (Who::Stranger, [Ok(_)]) => {
            assert_eq!(asked.len(), 1);
            if let Some(done) = &*told.borrow() {
                *answers = vec![Ok(done.clone())];
            }
        }
        _ => {}
    };
    assert_eq!(broken("say", lie), [3]);
    // Loses an answer, and turns their order round.
    assert_eq!(broken("say", |_, _, _, answers| drop(answers.pop())), [1]);
    let lie = |_, _, _: &[Asked], answers: &mut Vec<Answer>| answers.reverse();
    assert_eq!(broken("say", lie), [4]);
    // Says one thing as a query, and another as an update.
    let lie = |_, is_update, _: &[Asked], answers: &mut Vec<Answer>| {
        if is_update && matches!(answers[..], [Ok(Outcome::Done { .. })]) {
            *answers = vec![absent(can_still_run)];
        }
    };
    assert_eq!(broken("say", lie), [1, 5, 1]);
    // Another reply than a retry gets; and none for those who send other arguments.
    let lie = |_, _, _: &[Asked], answers: &mut Vec<Answer>| {
        if let [Ok(Outcome::Done { reply, .. })] = &mut answers[..] {
            reply.push(0);
        }
    };
    assert_eq!(broken("say", lie), [5]);
    let lie = |_, _, _: &[Asked], answers: &mut Vec<Answer>| {
        if let [Err(IdempotencyError::KeyReused)] = answers[..] {
            *answers = vec![absent(can_still_run)];
        }
    };
    assert_eq!(broken("say", lie), [4]);
    // A method that the canister does not answer for.
    assert_eq!(broken("say_plain", |_, _, _, _| {}), [4, 7, 5, 4]);
}

#[test]
fn who_has_no_such_query_is_found() {
    let replica = replica();
    let subject = OnReplica(Canister::install(&replica, CALLER, ()));
    let [problem] = check(&subject, &said("say", b"key"))
        .try_into()
        .expect("one");
    let Problem { promise, seen } = problem;
    assert_eq!(promise, 0, "{seen}");
    assert!(
        seen.contains("idempotency_outcomes as query fails"),
        "{seen}"
    );
}

/// The binary, which calls as anybody on any network would.
#[test]
fn a_canister_on_a_network_is_checked_from_the_command_line() {
    let mut replica = replica();
    let canister = Canister::install(&replica, TEST_CANISTER, ()).id();
    let url = replica.make_live(None);
    let check = |method: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_conformance"))
            .args(["--fetch-root-key", "--url", url.as_str()])
            .args(["--canister", &canister.to_text(), "--method", method])
            .args(["--arg", "(blob \"key\", \"hello\")"])
            .args(["--other-arg", "(blob \"key\", \"good-bye\")"])
            .output()
            .expect("it runs");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), printed)
    };
    let (conforms, printed) = check("say");
    assert!(conforms && printed.contains("conforms"), "{printed}");
    let (conforms, printed) = check("say_plain");
    assert!(!conforms && printed.contains("promise 7: "), "{printed}");
}
