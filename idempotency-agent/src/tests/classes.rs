//! The five classes of errors of the IC's documentation of ingress messages, and what a call ends in with each.

use super::{
    scripted::{START, Scripted, agent, key},
    world::CANISTER,
};
use crate::{
    Draft, End, Error, FileJournal, IcTransport, Key, MemoryJournal, Message, Pace, Proof, Refusal,
    Reject, Repeats, Reply, SafeAgent, Status, Submitted, Transport, Trouble, journal::Journal,
    rules::plus,
};
use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use candid::encode_one;
use futures_util::FutureExt;
use ic_agent::{Agent, identity::AnonymousIdentity};
use idempotency_core::{
    IdempotencyError,
    outcome::{Outcome, Verdict},
};
use std::{sync::Arc, time::Duration};

/// The end of a call of a method of which nothing is known.
fn plain(agent: &SafeAgent<Scripted, MemoryJournal>) -> Result<End, Error> {
    let call = agent.call(CANISTER, "act", vec![], key());
    call.send()
        .now_or_never()
        .expect("it only waits for the script")
}

fn dated(agent: &SafeAgent<Scripted, MemoryJournal>) -> End {
    let call = agent
        .call(CANISTER, "act", vec![], key())
        .idempotent(Repeats::Dated);
    call.send()
        .now_or_never()
        .expect("it only waits for the script")
        .unwrap()
}

fn reject(code: u8) -> Reject {
    Reject {
        code,
        message: "no".into(),
        error_code: (code == 2).then(|| "IC0202".into()),
    }
}

fn outcome(outcome: Result<Outcome, IdempotencyError>) -> Result<Submitted, Trouble> {
    let reply = encode_one(vec![outcome]).unwrap();
    Ok(Submitted::Certified(Status::Replied(reply)))
}

fn is_question(message: &Message) -> bool {
    message.bytes.starts_with(b"idempotency_outcomes\0")
}

fn is_question_of_archives(message: &Message) -> bool {
    message.bytes.starts_with(b"idempotency_outcomes_ever\0")
}

#[test]
fn what_cannot_be_signed_is_not_sent() {
    let agent = agent(Scripted {
        signs: false,
        ..Scripted::default()
    });
    assert!(matches!(plain(&agent), Err(Error::Signing(_))));
    assert!(agent.transport().sent().is_empty());
    // The call can be made when the key is there.
    assert_eq!(agent.journal().open_calls().unwrap(), [key()]);
    assert!(
        agent
            .journal()
            .get(&key())
            .unwrap()
            .unwrap()
            .messages
            .is_empty()
    );
}

#[test]
fn without_a_boundary_node_nothing_is_sent() {
    let agent = agent(Scripted {
        has_time: false,
        ..Scripted::default()
    });
    assert_eq!(plain(&agent).unwrap(), End::NeverRan(Proof::NotSent));
    assert!(agent.transport().sent().is_empty());
    // It stays so.
    assert_eq!(plain(&agent).unwrap(), End::NeverRan(Proof::NotSent));
}

#[test]
fn a_boundary_node_that_goes_away_leaves_a_doubt() {
    let agent = agent(Scripted {
        submit: Box::new(|_, _| Err(Trouble::Unreachable("reset".into()))),
        status: Box::new(|_, _| Err(Trouble::Unreachable("reset".into()))),
        ..Scripted::default()
    });
    let End::StillUnknown {
        ask_again_after, ..
    } = plain(&agent).unwrap()
    else {
        panic!("it may have been executed");
    };
    assert!(ask_again_after.is_some());
    let sent = agent.transport().sent();
    assert!(
        sent.len() > 5 && sent.iter().all(|id| *id == sent[0]),
        "one request, time after time"
    );
}

#[test]
fn http_errors_and_refusals_of_one_replica_prove_nothing() {
    let troubles = [
        Trouble::Http {
            status: 400,
            message: String::new(),
        },
        Trouble::Http {
            status: 503,
            message: String::new(),
        },
        Trouble::NotTaken(reject(3)),
        Trouble::Certificate("malformed".into()),
    ];
    for trouble in troubles {
        // The answer is an error, and the message was delivered all the same.
        let agent = agent(Scripted {
            submit: Box::new(move |_, _| Err(trouble.clone())),
            status: Box::new(|_, now| match now > plus(START, Duration::from_secs(60)) {
                true => Ok(Status::Replied(b"done".into())),
                false => Ok(Status::Absent),
            }),
            ..Scripted::default()
        });
        assert_eq!(
            plain(&agent).unwrap(),
            End::Replied(Reply::Bytes(b"done".into()))
        );
    }
}

#[test]
fn a_202_is_no_proof() {
    // It says that it has taken the message, and drops it.
    let agent = agent(Scripted::default());
    let end = plain(&agent).unwrap();
    assert!(
        matches!(
            end,
            End::StillUnknown {
                ask_again_after: None,
                ..
            }
        ),
        "{end:?}"
    );
    let sent = agent.transport().sent();
    assert!(
        (7..=9).contains(&sent.len()),
        "each 30 seconds in 4 minutes: {}",
        sent.len()
    );
    assert!(sent.iter().all(|id| *id == sent[0]));
}

#[test]
fn a_status_that_is_blocked_is_asked_of_the_canister() {
    let as_of = |now| Outcome::Absent {
        as_of: now,
        verdict: Verdict::CanStillRun {
            until: Some(plus(now, Duration::from_secs(9_000))),
        },
    };
    let agent = agent(Scripted {
        submit: Box::new(move |message, now| match is_question(message) {
            true => outcome(Ok(as_of(now))),
            false => Ok(Submitted::Accepted),
        }),
        status: Box::new(|_, _| Err(Trouble::Unreachable("blocked".into()))),
        ..Scripted::default()
    })
    .pace(Pace {
        messages: 1,
        ..Pace::default()
    });
    assert_eq!(dated(&agent), End::NeverRan(Proof::Expired));
    let asked = plus(START, agent.transport().elapsed());
    assert!(
        asked > plus(START, Pace::default().lifetime),
        "not before it expired"
    );
}

#[test]
fn an_invalid_certificate_is_no_answer() {
    let agent = agent(Scripted {
        status: Box::new(|_, now| match now < plus(START, Duration::from_secs(100)) {
            true => Err(Trouble::Certificate("the signature is another's".into())),
            false => Ok(Status::Replied(b"done".into())),
        }),
        ..Scripted::default()
    });
    assert_eq!(
        plain(&agent).unwrap(),
        End::Replied(Reply::Bytes(b"done".into()))
    );
}

#[test]
fn a_reject_proves_what_its_code_proves() {
    let with = |code| Scripted {
        status: Box::new(move |_, _| Ok(Status::Rejected(reject(code)))),
        ..Scripted::default()
    };
    for code in [1, 3] {
        assert_eq!(
            plain(&agent(with(code))).unwrap(),
            End::Rejected(Refusal::Reject(reject(code)))
        );
    }
    // It may pass, and nothing ran: other messages are sent, until the deadline.
    let busy = agent(with(2));
    assert_eq!(
        plain(&busy).unwrap(),
        End::Rejected(Refusal::Reject(reject(2)))
    );
    let sent = busy.transport().sent();
    assert!(sent.len() > 10 && sent.windows(2).all(|pair| pair[0] != pair[1]));
    // The method may have awaited, and then run out of cycles.
    for error_code in [Some("IC0207".into()), None] {
        let agent = agent(Scripted {
            status: Box::new(move |_, _| {
                Ok(Status::Rejected(Reject {
                    error_code: error_code.clone(),
                    ..reject(2)
                }))
            }),
            ..Scripted::default()
        });
        let end = plain(&agent).unwrap();
        assert!(
            matches!(
                end,
                End::StillUnknown {
                    ask_again_after: None,
                    ..
                }
            ),
            "{end:?}"
        );
    }
    for code in [4, 5] {
        // The method may have awaited.
        let end = plain(&agent(with(code))).unwrap();
        assert!(
            matches!(
                end,
                End::StillUnknown {
                    ask_again_after: None,
                    ..
                }
            ),
            "{end:?}"
        );
        // Unless whoever calls it knows that it does not.
        let agent = agent(with(code));
        let call = agent.call(CANISTER, "act", vec![], key()).rejects_undo();
        assert_eq!(
            call.send().now_or_never().unwrap().unwrap(),
            End::Rejected(Refusal::Reject(reject(code)))
        );
    }
}

/// Whether an end is the right one.
type Check = Box<dyn Fn(&End) -> bool>;

#[test]
fn after_a_trap_the_canister_is_asked_and_its_word_counts() {
    let reply = b"first".to_vec();
    let done = Outcome::Done {
        reply: reply.clone().into(),
        executed_at: START,
        guaranteed_until: START,
    };
    let absent = Outcome::Absent {
        as_of: START,
        verdict: Verdict::CanStillRun {
            until: Some(plus(START, Duration::from_secs(9_000))),
        },
    };
    let may_have_run = Outcome::Absent {
        as_of: START,
        verdict: Verdict::MayHaveRun,
    };
    let dropped = Outcome::ReplyDropped {
        executed_at: START,
        guaranteed_until: START,
        digest: None,
    };
    let forgotten = |end: &End| {
        matches!(
            end,
            End::StillUnknown {
                ask_again_after: None,
                ..
            }
        )
    };
    let rejected = End::Rejected(Refusal::Reject(reject(5)));
    let is = |expected: End| move |end: &End| *end == expected;
    let cases: Vec<(_, Check)> = vec![
        (Ok(done), Box::new(is(End::Replied(Reply::Bytes(reply))))),
        (
            Ok(dropped),
            Box::new(is(End::Replied(Reply::Dropped { executed_at: START }))),
        ),
        (Ok(absent), Box::new(is(rejected.clone()))),
        (Ok(may_have_run), Box::new(forgotten)),
        (Err(IdempotencyError::KeyReused), Box::new(is(rejected))),
    ];
    for (answer, is_right) in cases {
        let agent = agent(Scripted {
            submit: Box::new(move |message, _| match is_question(message) {
                true => outcome(answer.clone()),
                false => Ok(Submitted::Certified(Status::Rejected(reject(5)))),
            }),
            ..Scripted::default()
        });
        let end = dated(&agent);
        assert!(is_right(&end), "{end:?}");
    }
}

/// Each of the two methods, with what it says.
#[test]
fn before_a_call_ends_as_unknown_the_archives_are_asked() {
    let done = Outcome::Done {
        reply: b"first".to_vec().into(),
        executed_at: START,
        guaranteed_until: START,
    };
    let dropped = Outcome::ReplyDropped {
        executed_at: START,
        guaranteed_until: START,
        digest: Some(vec![7; 32].into()),
    };
    let absent = |verdict| {
        Ok(Outcome::Absent {
            as_of: START,
            verdict,
        })
    };
    let refused = |code| {
        Err(IdempotencyError::Other {
            code,
            message: String::new(),
            retry_after: None,
        })
    };
    let may_have_run = || absent(Verdict::MayHaveRun);
    let forgotten = Verdict::CanStillRun { until: None };
    let first = End::Replied(Reply::Bytes(b"first".to_vec()));
    let late = End::Replied(Reply::Dropped { executed_at: START });
    let rejected = End::Rejected(Refusal::Reject(reject(5)));
    // What both say, the end if it is proved, and how often they are asked.
    let cases = [
        (
            may_have_run(),
            Ok(done.clone()),
            Some(first.clone()),
            [1, 1],
        ),
        (may_have_run(), Ok(dropped), Some(late), [1, 1]),
        (
            may_have_run(),
            absent(Verdict::NeverRan),
            Some(rejected.clone()),
            [1, 1],
        ),
        (may_have_run(), may_have_run(), None, [1, 1]),
        (may_have_run(), refused(4), None, [1, 1]),
        (
            absent(forgotten),
            Ok(done.clone()),
            Some(first.clone()),
            [1, 1],
        ),
        (refused(10), Ok(done.clone()), Some(first.clone()), [1, 1]),
        (refused(10), refused(10), None, [1, 1]),
        (refused(4), Ok(done.clone()), Some(first.clone()), [1, 1]),
        (Ok(done.clone()), may_have_run(), Some(first), [1, 0]),
        (absent(Verdict::NeverRan), Ok(done), Some(rejected), [1, 0]),
    ];
    for (number, (plain, ever, expected, asked)) in cases.into_iter().enumerate() {
        let agent = agent(Scripted {
            submit: Box::new(move |message, _| {
                match (is_question(message), is_question_of_archives(message)) {
                    (true, _) => outcome(plain.clone()),
                    (_, true) => outcome(ever.clone()),
                    _ => Ok(Submitted::Certified(Status::Rejected(reject(5)))),
                }
            }),
            ..Scripted::default()
        });
        let call = agent
            .call(CANISTER, "act", vec![], key())
            .idempotent(Repeats::Within(Duration::ZERO))
            .outcomes_ever(Some("idempotency_outcomes_ever"));
        let end = call.send().now_or_never().expect("it waits for the script");
        let end = end.unwrap();
        match expected {
            Some(expected) => assert_eq!(end, expected, "case {number}"),
            None => assert!(
                matches!(end, End::StillUnknown { .. }),
                "case {number}: {end:?}"
            ),
        }
        let sent = agent.transport().sent();
        assert_eq!(sent.len(), 1 + asked.iter().sum::<usize>(), "case {number}");
    }
}

#[test]
fn an_end_stays_and_a_key_is_one_calls() {
    let agent = agent(Scripted {
        submit: Box::new(|_, _| Ok(Submitted::Certified(Status::Replied(b"done".into())))),
        ..Scripted::default()
    });
    for _ in 0..2 {
        assert_eq!(
            plain(&agent).unwrap(),
            End::Replied(Reply::Bytes(b"done".into()))
        );
    }
    assert_eq!(agent.transport().sent().len(), 1);
    let other = agent
        .call(CANISTER, "act", vec![7], key())
        .send()
        .now_or_never()
        .unwrap();
    assert!(matches!(other, Err(Error::KeyReused(_))), "{other:?}");
    let unknown = agent.go_on(Key::new([2])).send().now_or_never().unwrap();
    assert!(matches!(unknown, Err(Error::NoSuchCall(_))), "{unknown:?}");
    assert!(agent.resume().now_or_never().unwrap().unwrap().is_empty());
}

#[test]
fn a_call_can_be_watched_and_ended_early() {
    let agent = agent(Scripted::default());
    let token = tokio_util::sync::CancellationToken::new();
    let mut steps = 0;
    let call = agent
        .call(CANISTER, "act", vec![], key())
        .cancelled_by(token.clone())
        .on_progress(|_| {
            steps += 1;
            if steps == 20 {
                token.cancel();
            }
        });
    let end = call.send().now_or_never().unwrap().unwrap();
    assert!(
        matches!(
            end,
            End::StillUnknown {
                ask_again_after: Some(_),
                ..
            }
        ),
        "{end:?}"
    );
    assert!(steps >= 20);
    assert_eq!(agent.journal().open_calls().unwrap(), [key()]);
    // Nothing was signed before: that is certain.
    let other = agent
        .call(CANISTER, "act", vec![], Key::new([2]))
        .cancelled_by(token);
    assert_eq!(
        other.send().now_or_never().unwrap().unwrap(),
        End::NeverRan(Proof::NotSent)
    );
}

/// The same call can't be made twice at a time.
#[test]
fn a_call_that_is_being_made_is_busy() {
    let agent = agent(Scripted::default());
    let mut ends = vec![];
    let call = agent.call(CANISTER, "act", vec![], key()).on_progress(|_| {
        if ends.is_empty() {
            ends.push(plain(&agent));
        }
    });
    let _ = call.send().now_or_never().unwrap().unwrap();
    assert!(matches!(ends[0], Err(Error::Busy(_))), "{ends:?}");
}

/// A client that crashed goes on with the bytes that it had signed; and whoever resumes twice at a time makes each call once.
#[test]
fn what_was_cut_off_goes_on_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let open = || FileJournal::open(folder.path().join("journal")).unwrap();
    let first = SafeAgent::new(Scripted::default(), open());
    for number in 1..4 {
        let call = first.call(CANISTER, "act", vec![number], Key::new([number]));
        let end = call
            .deadline(Duration::from_secs(60))
            .send()
            .now_or_never()
            .unwrap()
            .unwrap();
        assert!(
            matches!(
                end,
                End::StillUnknown {
                    ask_again_after: Some(_),
                    ..
                }
            ),
            "{end:?}"
        );
    }
    let messages = |journal: &FileJournal| {
        let keys = journal.open_calls().unwrap();
        let calls = keys.iter().map(|key| journal.get(key).unwrap().unwrap());
        calls.flat_map(|call| call.messages).collect::<Vec<_>>()
    };
    let signed = messages(first.journal());
    assert_eq!(signed.len(), 3);
    drop(first);

    // It can't sign: what it sends is what was signed before.
    let network = Scripted {
        signs: false,
        status: Box::new(|message, _| Ok(Status::Replied(message.id.into()))),
        ..Scripted::default()
    };
    let second = SafeAgent::new(network, open());
    assert_eq!(messages(second.journal()), signed);
    let (ends, others) = futures_util::future::join(second.resume(), second.resume())
        .now_or_never()
        .unwrap();
    let mut both: Vec<_> = ends.unwrap().into_iter().chain(others.unwrap()).collect();
    both.retain(|(_, end)| !matches!(end, Err(Error::Busy(_))));
    let replied: Vec<_> = both.into_iter().map(|(_, end)| end.unwrap()).collect();
    for message in &signed {
        assert!(replied.contains(&End::Replied(Reply::Bytes(message.id.into()))));
    }
    let mut sent = second.transport().sent();
    sent.sort();
    sent.dedup();
    let mut ids: Vec<_> = signed.iter().map(|message| message.id).collect();
    ids.sort();
    assert_eq!(sent, ids);
    assert!(second.resume().now_or_never().unwrap().unwrap().is_empty());
}

/// A boundary node that answers with this, whatever it is asked.
async fn boundary_node(status: u16, body: &'static [u8]) -> IcTransport {
    let answer = move |_: Bytes| async move { (StatusCode::from_u16(status).unwrap(), body) };
    let routes = Router::new().route("/{*path}", post(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    IcTransport::new(Agent::builder().with_url(url), Arc::new(AnonymousIdentity)).unwrap()
}

/// What ic-agent makes of the answers, and we of that.
#[tokio::test]
async fn answers_that_prove_nothing_are_told_apart() {
    let draft = |expiry| Draft {
        canister: CANISTER,
        method: "act",
        arg: b"DIDL\0\0",
        expiry,
    };
    // {"status": "non_replicated_rejection", "reject_code": 3, "reject_message": "no"} in CBOR.
    const REJECTION: &[u8] = b"\xa3\x66status\x78\x18non_replicated_rejection\x6breject_code\x03\x6ereject_message\x62no";
    let submitted = async |status, body| {
        let node = boundary_node(status, body).await;
        let message = node.sign(draft(START)).unwrap();
        node.submit(CANISTER, &message).await
    };
    assert_eq!(submitted(202, b"").await, Ok(Submitted::Accepted));
    assert!(
        matches!(submitted(400, b"no").await, Err(Trouble::Http { status: 400, message }) if message == "no")
    );
    assert!(matches!(
        submitted(500, b"").await,
        Err(Trouble::Http { status: 500, .. })
    ));
    assert!(matches!(
        submitted(200, b"garbage").await,
        Err(Trouble::Certificate(_))
    ));
    assert!(matches!(
        submitted(200, REJECTION).await,
        Err(Trouble::NotTaken(Reject { code: 3, .. }))
    ));
    let node = boundary_node(200, b"garbage").await;
    let message = node.sign(draft(START)).unwrap();
    assert!(matches!(
        node.status(CANISTER, &message, START).await,
        Err(Trouble::Certificate(_))
    ));
    assert!(matches!(
        node.time(CANISTER).await,
        Err(Trouble::Certificate(_))
    ));

    let nobody = Agent::builder().with_url("http://127.0.0.1:1");
    let nobody = IcTransport::new(nobody, Arc::new(AnonymousIdentity)).unwrap();
    assert!(matches!(
        nobody.submit(CANISTER, &message).await,
        Err(Trouble::Unreachable(_))
    ));
    // Each message is another request, and bears its expiry.
    let other = node.sign(draft(START)).unwrap();
    assert_ne!(message.id, other.id);
    assert_eq!(other.expiry, START);
}
